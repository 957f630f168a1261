"""The tables of the papers, made again: one folder a paper, one file a table."""
