"""Looking at a model from outside and inside, one technique a file."""
