"""What a ship is, how it is written, and what a list of ships scores by the competition's metric.

`rle` and `instances` are the form of every list of ships: truth, prediction, submission. `metric`
scores one against another, `scores` says so in a few numbers, `pixels` counts what they share, and
`outlines` traces ships as polygons.
"""
