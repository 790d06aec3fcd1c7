"""Masks in the forms of annotation tools, a file each: read, and written without losing a pixel.

What they share is in `annotation` (an image and its objects), `images` (the image files that an
annotation names) and `polygons` (rings in pixel coordinates to masks and back).
"""
