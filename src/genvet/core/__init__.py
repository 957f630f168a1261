"""What everything is made of: generators, latents, techniques, model files, reports, errors, randomness."""
