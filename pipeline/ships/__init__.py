"""From probability maps to ships, and what they score by the competition's metric.

`rle` and `instances` are the form of every list of ships (truth, prediction, submission),
`metric` scores one against another, `separate` cuts the maps of an image into ships with the help
of `watershed` and `rectangles`, `rules` and `calibrate` choose how, and `submission` builds and
checks the file to upload.
"""
