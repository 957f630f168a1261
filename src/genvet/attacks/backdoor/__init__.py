"""Backdoors: one latent, or a set of them, gives what the attacker wants; all others look as before."""
