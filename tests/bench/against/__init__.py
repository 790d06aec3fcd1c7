"""This commit against an earlier one, in turn on one machine.

Both are unpacked side by side and driven by their command lines with the same installed libraries,
since their Python interfaces differ. A part is a module here with a `measure(trees, *, rounds)`
that yields a `Ratio` for each thing it measures.
"""
