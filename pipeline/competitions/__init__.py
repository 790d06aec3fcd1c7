"""The competitions: one file each, which says all that the pipeline must know of it."""
