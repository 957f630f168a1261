"""Filters: outputs that come too near to what is protected are blocked, drawn again, or changed."""
