"""Sets of ships as the competition's annotators drew them, only harder: most of them touch.

A random generator enters; label maps leave. Ships are turned rectangles with the competition's
lengths and widths (p5 9/5, p50 39/13, p95 201/39 px); where two met, what they share is background,
so they touch and never overlap. The kinds:

- `typical`: as many to an image as there, so that of several some touch in a third of the images.
- `raft`: a row of equal ships of 3 px width or more, side by side.
- `marina`: rows of boats of 3 to 7 px width on both sides of a pier, some of them larger.
- `tugs`: one large ship and boats of a few pixels along its sides and on its ends.
- `string`: bow to stern, each turned a little.
- `crossing`: ships that lie across one another.
"""

import cv2
import numpy as np
import pandas as pd

from pipeline.masks.instances import COLUMNS
from pipeline.masks.rle import encode_labels
from pipeline.separation.separate import draw_labels, find_components

KINDS = ("typical", "raft", "marina", "tugs", "string", "crossing")
# Images with so many ships in the competition, in hundreds.
COUNTS = np.repeat([1, 2, 3, 4, 5, 6, 8, 11, 15], [271, 77, 30, 16, 9, 7, 9, 5, 2])


def size(rng):
    """Length and width of a ship, px."""
    length = np.clip(rng.lognormal(np.log(39), 1.0), 2, 320)
    return length, max(1.17 * length**0.66 * rng.lognormal(0, 0.3), 1)


def beside(rng, ship, length, width):
    """A ship of this size that touches `ship`, alongside or end on, somewhere along it."""
    x, y, theirs, broad, angle = ship
    turned = np.deg2rad(angle)
    along, across = np.array([np.cos(turned), np.sin(turned)]), [-np.sin(turned), np.cos(turned)]
    side, sign = rng.random() < 0.7, rng.choice([-1, 1])
    reach = (broad + width) / 2 if side else (theirs + length) / 2
    # From an overlap, which becomes background, to a gap of a pixel.
    reach = sign * (reach + rng.uniform(-1.5, 1.0))
    shift = rng.uniform(-0.5, 0.5) * (theirs if side else broad)
    offset = np.multiply(across, reach) + along * shift
    if not side:
        offset = along * reach + np.multiply(across, shift)
    return (x + offset[0], y + offset[1], length, width, angle + rng.normal(0, 3))


def typical(rng, span):
    ships = []
    for _ in range(rng.choice(COUNTS)):
        if ships and rng.random() < 0.2:
            ships.append(beside(rng, ships[rng.integers(len(ships))], *size(rng)))
        else:
            ships.append((*rng.uniform(0, span, 2), *size(rng), rng.uniform(0, 180)))
    return ships


def raft(rng, span):
    length, width = size(rng)
    length, width = np.clip(length, 9, span / 3), max(width, 3)
    ship = (*rng.uniform(0.2 * span, 0.8 * span, 2), length, width, rng.uniform(0, 180))
    ships, turned = [], np.deg2rad(ship[4])
    for _ in range(rng.integers(2, 11)):
        ships.append(ship)
        broad = width * rng.uniform(0.8, 1.2)
        step = (ship[3] + broad) / 2 + rng.uniform(-1, 0.5)
        shift = rng.normal(0, 0.1 * length)
        x = ship[0] - np.sin(turned) * step + np.cos(turned) * shift
        y = ship[1] + np.cos(turned) * step + np.sin(turned) * shift
        ship = (x, y, length * rng.uniform(0.8, 1.2), broad, ship[4] + rng.normal(0, 1.5))
    return ships


def marina(rng, span):
    ships = []
    angle = rng.uniform(0, 180)
    along = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    across = np.array([-along[1], along[0]])
    start = rng.uniform(0.2 * span, 0.6 * span, 2)
    length = rng.uniform(8, 24)
    for side in (-1, 1):
        place = 0.0
        for _ in range(rng.integers(4, 16)):
            width = rng.uniform(3, 7)
            place += width + rng.uniform(-0.7, 0.6) + rng.choice([0, 0, 0, 6])
            own = length * rng.uniform(0.8, 1.3)
            x, y = (
                start + along * (place - width / 2) + across * side * (own / 2 + rng.uniform(0, 3))
            )
            ships.append((x, y, own, width, angle + 90 + rng.normal(0, 2)))
    return ships


def tugs(rng, span):
    length = rng.uniform(60, 300)
    large = (*rng.uniform(0.3 * span, 0.7 * span, 2), length, length / rng.uniform(4, 7), 0)
    large = (*large[:4], rng.uniform(0, 180))
    small = [(rng.uniform(1, 16), rng.uniform(1, 7)) for _ in range(rng.integers(1, 7))]
    return [large, *(beside(rng, large, *one) for one in small)]


def string(rng, span):
    ship = (*rng.uniform(0.2 * span, 0.8 * span, 2), *size(rng), rng.uniform(0, 180))
    ships = [ship]
    for _ in range(rng.integers(1, 10)):
        x, y, length, _, angle = ships[-1]
        own, width = size(rng)
        heading, reach = np.deg2rad(angle), (length + own) / 2 + rng.uniform(-1.5, 0.5)
        x, y = x + np.cos(heading) * reach, y + np.sin(heading) * reach
        ships.append((x, y, own, width, angle + rng.normal(0, 10)))
    return ships


def crossing(rng, span):
    ships = typical(rng, span)[:3]
    x, y, length, _, angle = ships[0]
    shift = rng.uniform(-0.4, 0.4) * length * np.array([np.cos(angle), np.sin(angle)])
    return [*ships, (x + shift[0], y + shift[1], *size(rng), angle + rng.uniform(30, 150))]


def draw(ships, span):
    """Paint ships, (x, y, length, width, degrees) each, as int32 (span, span), 1..n."""
    labels_hw = np.zeros((span, span), np.int32)
    taken_hw = np.zeros((span, span), np.uint8)
    for label, (x, y, length, width, angle) in enumerate(ships, start=1):
        corners = cv2.boxPoints(((x, y), (max(length - 1, 0), max(width - 1, 0)), angle))
        ship_hw = np.zeros_like(taken_hw)
        cv2.fillPoly(ship_hw, [np.rint(corners).astype(np.int32)], 1)
        labels_hw[ship_hw > 0] = label
        taken_hw += ship_hw
    labels_hw[taken_hw > 1] = 0
    return np.unique(labels_hw, return_inverse=True)[1].reshape(span, span).astype(np.int32)


def annotate(rng, kind, span=768):
    """A label map of one kind, int32 (span, span)."""
    while True:
        labels_hw = draw(globals()[kind](rng, span), span)
        if labels_hw.any() and not labels_hw.all():
            return labels_hw


def annotation_set(images, seed=0, span=768):
    """The ships of `images` images, the kinds in turn, named <kind>-<number>.jpg: instances."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(images):
        kind = KINDS[index % len(KINDS)]
        texts = encode_labels(annotate(rng, kind, span))
        rows += [(f"{kind}-{index:05}.jpg", text) for text in texts]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=str)


def separate(maps, how, min_area_px):
    """Cut the maps of an image into a label map: all components that are large enough."""
    components = find_components(maps, how)
    return draw_labels(components, components.area_px >= min_area_px)
