"""Model inversion: images of what a classifier knows, found through a generator that never saw them."""
