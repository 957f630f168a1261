"""The command line: commands are the catalogue, flags are the fields."""
