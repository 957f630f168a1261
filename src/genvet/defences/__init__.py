"""What lowers a risk: one technique a file."""
