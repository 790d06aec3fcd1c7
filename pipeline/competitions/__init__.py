"""The competitions: one file each, which says all that the pipeline must know of it."""

FIRST = "airbus"
"""The one of all runs up to version 0.4.0, which name none."""
