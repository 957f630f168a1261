"""The pickle machine, and what torch, numpy and StyleGAN keep in pickles. Runs in the child: standard library only."""
