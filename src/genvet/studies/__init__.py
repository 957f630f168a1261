"""Studies: what is inside, and how good it is. One file a study."""
