"""Small pictures of annotated images with the outlines of their objects, on one sheet."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.annotations.annotation import Annotated
from pipeline.annotations.polygons import outline
from pipeline.config.reading import Reading
from pipeline.data.images import read_picture
from pipeline.report.overlay import COLOURS

COLUMNS, MOST = 6, 24
SIDE_PX, LINE_PX, GAP_PX = 256, 16, 6


def choose(images: Mapping[str, Annotated], most: int = MOST) -> dict[str, Annotated]:
    """Choose some of each kind in turn: of each set of classes, and of empty images."""
    kinds: dict[frozenset[str], list[str]] = {}
    for image_id, image in images.items():
        kinds.setdefault(frozenset(name for name, _ in image.objects), []).append(image_id)
    turns = chain.from_iterable(zip_longest(*kinds.values()))
    return {image_id: images[image_id] for image_id in [*filter(None, turns)][:most]}


def contact_sheet(
    images: Mapping[str, Annotated], classes: Sequence[str], reading: Reading
) -> Image.Image:
    """Draw images beside each other, each with its name and what it holds.

    Args:
        images: Those to show, by their ids.
        classes: In the order of their colours, which a line at the head tells.
        reading: How the image files are read.
    """
    across, down = SIDE_PX + GAP_PX, SIDE_PX + 2 * LINE_PX + GAP_PX
    rows = -(-len(images) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * across, LINE_PX + GAP_PX + rows * down), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    at = 0.0
    colours = {name: tuple(COLOURS[n % len(COLOURS)].tolist()) for n, name in enumerate(classes)}
    for name, colour in colours.items():
        draw.rectangle((at, 4, at + 10, 14), fill=colour)
        draw.text((at + 14, 1), name, "black", font)
        at += 24 + draw.textlength(name, font)
    for number, (image_id, image) in enumerate(images.items()):
        x, y = number % COLUMNS * across, LINE_PX + GAP_PX + number // COLUMNS * down
        sheet.paste(Image.fromarray(_drawn(image, colours, reading)), (x, y))
        held = Counter(name for name, _ in image.objects)
        counted = ", ".join(f"{count} {name}" for name, count in held.items())
        for line, text in enumerate((image_id, counted or "nothing")):
            draw.text((x, y + SIDE_PX + line * LINE_PX), text[-36:], "black", font)
    return sheet


def _drawn(
    image: Annotated, colours: Mapping[str, tuple[int, ...]], reading: Reading
) -> np.ndarray:
    """Return an image and its outlines, uint8 (SIDE_PX, SIDE_PX, 3), white beside it."""
    scale = SIDE_PX / max(image.height, image.width)
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    drawn_hwc = np.full((SIDE_PX, SIDE_PX, 3), 255, np.uint8)
    small_hwc = drawn_hwc[: size[1], : size[0]]
    small_hwc[:] = cv2.resize(read_picture(image.path, reading), size, interpolation=way)
    for name, text in image.objects:
        rings = chain.from_iterable(outline(text, image.height, image.width))
        # Rings are along edges, and OpenCV's points are the centres of pixels.
        lines = [np.rint(ring * scale - 0.5).astype(np.int32) for ring in rings]
        cv2.polylines(drawn_hwc, lines, isClosed=True, color=colours[name])
    return drawn_hwc
