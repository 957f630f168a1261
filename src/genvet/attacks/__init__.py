"""What an adversary does, one technique a file."""
