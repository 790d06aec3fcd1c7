"""Images and objects to write in every form."""

import cv2
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.annotations.annotation import Annotated
from pipeline.masks.rle import encode_mask

SPAN = 768

masks = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1)
)
"""Small masks with holes, parts, corners that touch, and none of an object."""


def image(folder, name, height, width):
    """Write a black image and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width), np.uint8))
    return path


def rectangle(rng, area_px):
    """The mask of a rotated rectangle of about this area."""
    ratio, angle = rng.uniform(1, 6), rng.uniform(0, 180)
    sides = (area_px * ratio) ** 0.5, (area_px / ratio) ** 0.5
    corners = cv2.boxPoints((rng.uniform(60, SPAN - 60, 2), np.subtract(sides, 1), angle))
    mask_hw = np.zeros((SPAN, SPAN), np.uint8)
    cv2.fillPoly(mask_hw, [np.rint(corners).astype(np.int32)], 1)
    return mask_hw


def rectangles(folder, count, each=20, classes=("ship",)):
    """Images with `each` rotated rectangles of 4 to 20,000 px and, in turn, these classes."""
    rng = np.random.default_rng(0)
    texts = [encode_mask(rectangle(rng, area)) for area in np.geomspace(4, 20_000, count)]
    rng.shuffle(texts)
    images = []
    for first in range(0, count, each):
        path = image(folder, f"{first:05}.png", SPAN, SPAN)
        some = [(classes[at % len(classes)], text) for at, text in enumerate(texts[first:][:each])]
        images.append(Annotated(path, SPAN, SPAN, some, ""))
    return images


def holed(folder):
    """An image with a ring, a ring in a ring, and two pixels that touch at a corner."""
    shapes = []
    for box in ((0, 0, 30, 20), (31, 0, 60, 40)):
        mask_hw = np.zeros((40, 61), np.uint8)
        for inset in range(0, 12, 3):
            left, top, right, bottom = np.add(box, np.multiply(inset, (1, 1, -1, -1)))
            mask_hw[top:bottom, left:right] = inset % 2 == 0
            shapes.append(encode_mask(mask_hw))
    corner_hw = np.zeros((40, 61), np.uint8)
    corner_hw[[38, 39], [0, 1]] = 1
    shapes.append(encode_mask(corner_hw))
    path = image(folder, "in/holed.png", 40, 61)
    return Annotated(path, 40, 61, [("ship", text) for text in shapes], "")


def sample(folder, classes=("ship",)):
    """Many rectangles, what is hard to write, and an image without objects."""
    empty = Annotated(image(folder, "empty.png", 7, 9), 7, 9, [], "")
    return [*rectangles(folder, 200, classes=classes), empty, holed(folder)]


def pixels(images):
    """What must come through: file, size and objects of each image."""
    return [(each.path, each.height, each.width, each.objects) for each in images]
