"""Which components of a map are objects: what calibration chose, applied to any map.

`rules` reads what was chosen and finds the objects of one image: by a few numbers, or by an
`candidates` learnt with `trees`. `submission` does so for a table of images, in several processes
(`workers`), and checks the file to upload.
"""
