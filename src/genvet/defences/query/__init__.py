"""Guards: what stands between a served model and whoever asks it."""
