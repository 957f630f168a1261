"""Who was in the training set: attacks on members of it, and what came of them."""
