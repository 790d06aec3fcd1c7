"""From the maps of an image to what in them may be an object.

`separate` cuts maps at one threshold into components, split by `watershed` where objects touch.
`segments` cuts them at several and measures every piece, within the `foreground`, all that any
threshold could keep, from `sums` over its pixels.
"""
