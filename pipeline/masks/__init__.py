"""What an object is, and how it is written.

`rle` and `instances` are the form of every list of objects: truth, prediction, submission.
`outlines` traces objects as polygons.
"""
