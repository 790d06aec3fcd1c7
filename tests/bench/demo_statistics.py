"""Measure images in the competition's layout beside the competition's own numbers.

    python -m tests.bench.demo_statistics data/demo-1234abcd [--contact-sheet sheet.png]

Ships are measured on their masks: length and width of the smallest rectangle around the pixels,
contrast against the water within 6 px that is no ship. The "real" column is the competition's
training set (6,000 masks, 342 tiles, ship counts of 42,556 images).
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from pipeline.masks.instances import read_instances
from pipeline.masks.rle import decode_labels

REAL = {
    "length, px": {5: 9, 25: 17, 50: 39, 75: 81, 95: 201, 99: 284},
    "width, px": {5: 5, 25: 8, 50: 13, 75: 21, 95: 39, 99: 54},
    "aspect": {5: 1.3, 50: 3.0, 95: 5.9},
    "area, px": {1: 16, 5: 35, 10: 53, 25: 115, 50: 423, 75: 1492, 90: 4780, 95: 7271, 99: 14973},
    "contrast, grey": {5: -12, 25: 3, 50: 24, 95: 88},
    "red": {5: 2, 50: 22, 95: 118},
    "green": {5: 4, 50: 51, 95: 132},
    "blue": {5: 6, 50: 61, 95: 125},
    "grey std": {5: 3, 50: 10, 95: 43},
}
REAL_SHARES = {
    "tiles without ships": 0.779,
    "ship images with 1": 0.637,
    "ship images with 2": 0.180,
    "ship images with 3-5": 0.129,
    "ship images with 6+": 0.054,
    "touching, of 2+": 0.36,
    "ship pixels, of ship images": 0.0051,
}


def main() -> None:
    """Print the table, and draw the contact sheet if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder in the competition's layout")
    parser.add_argument("--contact-sheet", type=Path, help="PNG of tiles, plain and with masks")
    parser.add_argument("--tiles", type=int, default=24, help="tiles on the sheet")
    parser.add_argument("--skip", type=int, default=0, help="tiles to leave out before them")
    arguments = parser.parse_args()
    rows = read_instances(arguments.root / "train_ship_segmentations_v2.csv")
    ships = {
        image_id: [text for text in texts if text]
        for image_id, texts in rows.groupby("ImageId", sort=True)["EncodedPixels"]
    }
    images = {name: arguments.root / "train_v2" / name for name in ships}
    measured, shares = measure(images, ships)
    report(measured, shares)
    if arguments.contact_sheet:
        chosen = list(ships)[arguments.skip : arguments.skip + arguments.tiles]
        draw_sheet({name: images[name] for name in chosen}, ships, arguments.contact_sheet)


def measure(
    images: dict[str, Path], ships: dict[str, list[str]]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Measure every image and every ship."""
    tiles, masks, counts, touching = [], [], [], []
    for name, path in images.items():
        image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        tiles.append((*image.reshape(-1, 3).mean(axis=0), grey.std()))
        labels = decode_labels(ships[name], *grey.shape)
        counts.append((len(ships[name]), (labels > 0).mean()))
        number = cv2.connectedComponents((labels > 0).astype(np.uint8), connectivity=8)[0] - 1
        touching.append(number < len(ships[name]))
        masks += [mask_numbers(labels, n, grey) for n in range(1, len(ships[name]) + 1)]
    red, green, blue, std = np.array(tiles).T
    length, width, area, contrast = np.array(masks).T
    number, share = np.array(counts).T
    some = number[number > 0]
    measured = {
        "length, px": length,
        "width, px": width,
        "aspect": length / width,
        "area, px": area,
        "contrast, grey": contrast,
        "red": red,
        "green": green,
        "blue": blue,
        "grey std": std,
    }
    shares = {
        "tiles without ships": (number == 0).mean(),
        "ship images with 1": (some == 1).mean(),
        "ship images with 2": (some == 2).mean(),
        "ship images with 3-5": ((some > 2) & (some < 6)).mean(),
        "ship images with 6+": (some > 5).mean(),
        "touching, of 2+": np.array(touching)[number > 1].mean(),
        "ship pixels, of ship images": share[number > 0].mean(),
    }
    return measured, shares


def mask_numbers(
    labels: np.ndarray, number: int, grey: np.ndarray
) -> tuple[float, float, float, float]:
    """Length, width, area and contrast of one ship's mask."""
    mask = labels == number
    points = np.argwhere(mask)[:, ::-1].astype(np.float32)
    # A mask's pixels are squares: the rectangle around their centres is 1 px too small.
    sides = np.add(cv2.minAreaRect(points)[1], 1)
    top, left = np.maximum(points[:, ::-1].min(axis=0).astype(int) - 7, 0)
    bottom, right = points[:, ::-1].max(axis=0).astype(int) + 8
    box = slice(top, bottom), slice(left, right)
    wide = cv2.dilate(mask[box].astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    around = wide & (labels[box] == 0)
    contrast = grey[mask].mean() - grey[box][around].mean() if around.any() else 0.0
    return float(sides.max()), float(sides.min()), float(mask.sum()), float(contrast)


def report(measured: dict[str, np.ndarray], shares: dict[str, float]) -> None:
    """Print measured beside real."""
    for name, real in REAL.items():
        found = np.percentile(measured[name], list(real))
        cells = (f"p{p} {x:.4g} ({y:g})" for (p, y), x in zip(real.items(), found, strict=True))
        print(f"{name:28}", *cells, sep="  ")
    for name, value in REAL_SHARES.items():
        print(f"{name:28}  {shares[name]:.4f} ({value:g})")
    print("in brackets: the competition;", len(measured["area, px"]), "ships measured")


def draw_sheet(images: dict[str, Path], ships: dict[str, list[str]], path: Path) -> None:
    """Draw tiles side by side: six to a row, below each row the same with its masks outlined."""
    plain, marked = [], []
    for name, image_path in images.items():
        image = cv2.imread(str(image_path), cv2.IMREAD_COLOR_RGB)
        labels = decode_labels(ships[name], *image.shape[:2])
        outlined = image.copy()
        for number in range(1, len(ships[name]) + 1):
            outline = cv2.findContours(
                (labels == number).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )[0]
            cv2.drawContours(outlined, outline, -1, (255, 60, 60), 1)
        frame = ((0, 3), (0, 3), (0, 0))
        plain.append(np.pad(image, frame, constant_values=255))
        marked.append(np.pad(outlined, frame, constant_values=255))
    rows = []
    for start in range(0, len(plain) - len(plain) % 6, 6):
        rows += [np.hstack(plain[start : start + 6]), np.hstack(marked[start : start + 6])]
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
