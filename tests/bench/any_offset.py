"""Finding shared ground at any offset: pairs by kind and by faintness, strangers, half steps.

    python -m tests.bench.any_offset [pairs] [faint] [strangers] [half]

`pairs` draws scenes of nine kinds and cuts two tiles from each at a random offset that leaves a
quarter or more: the second moved by a fraction of a pixel, turned or mirrored, brighter or darker,
each compressed at a quality of its own from 70 to 95. `faint` does so with textures of one
deviation and quality each. `strangers` has as many tiles as scenes: whatever is found is wrong.
`half` cuts the demo's scenes at half steps.
"""

import tempfile
import time
from collections import Counter
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from pipeline.data.any_offset import find_pairs
from pipeline.data.landmarks import turned
from pipeline.data.overlaps import link_tiles
from pipeline.data.rendering.scenes import lay_out
from pipeline.data.rendering.scenes import paint as render
from pipeline.data.signature_store import read_signatures
from tests.bench.sizes import do_named, sized

SIDES = sized(((144, 360), (256, 180), (768, 36)), ((96, 9),))
STRANGERS = sized(2000, 18)
DEVIATIONS = sized((1.0, 1.5, 2.0, 3.0, 5.0), (3.0,))
QUALITIES = sized((70, 80, 90, 95), (90,))
MIN_SHARE = 0.25


def noise(rng, shape, blur, deviation):
    """Noise of one blur, drawn on a coarser grid where that is wide."""
    factor = max(int(blur // 4), 1)
    coarse = rng.standard_normal([side // factor + 8 for side in shape]).astype(np.float32)
    field = cv2.GaussianBlur(coarse, (0, 0), blur / factor)
    field = cv2.resize(field, shape[::-1], interpolation=cv2.INTER_CUBIC) if factor > 1 else field
    field = field[: shape[0], : shape[1]]
    return field / field.std() * deviation


def pink(rng, shape, deviation, slope=1.0):
    """Noise of all sizes, its amplitude falling with the frequency."""
    down, right = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    frequency = np.maximum(np.hypot(down, right), 1 / max(shape))
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) / frequency**slope, shape)
    return (field / field.std() * deviation).astype(np.float32)


def calm(rng, shape):
    return noise(rng, shape, 0.6, rng.uniform(1.2, 2))


def sea(rng, shape):
    return noise(rng, shape, 1, rng.uniform(2, 4)) + noise(rng, shape, 6, 3)


def rough(rng, shape):
    return pink(rng, shape, rng.uniform(3, 25), rng.uniform(0.7, 1.6))


def swell(rng, shape):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    angle, length, total = rng.uniform(0, np.pi), rng.uniform(10, 30), np.zeros(shape)
    for _ in range(30):
        one, wave = angle + rng.normal(0, 0.3), length * np.exp(rng.normal(0, 0.25))
        phase = rng.uniform(0, 2 * np.pi)
        total += np.sin(2 * np.pi * (x * np.cos(one) + y * np.sin(one)) / wave + phase)
    return total / total.std() * rng.uniform(2, 8) + noise(rng, shape, 0.8, 1)


def coast(rng, shape):
    water = noise(rng, shape, 1, rng.uniform(1.5, 4))
    return np.where(noise(rng, shape, 40, 1) > 0, water + 60 + pink(rng, shape, 20), water)


def cloud(rng, shape):
    white = np.clip(noise(rng, shape, 25, 1) + pink(rng, shape, 0.3, 1.3), 0, None)
    return noise(rng, shape, 0.8, rng.uniform(1.2, 3)) + 80 * white


def city(rng, shape):
    image = np.zeros(shape, np.float32)
    for _ in range(shape[0] * shape[1] // 500):
        y, x, high, wide = rng.integers((0, 0, 4, 4), (*shape, 24, 24))
        image[y : y + high, x : x + wide] = rng.uniform(-60, 140)
    return cv2.GaussianBlur(image, (0, 0), 0.8) + noise(rng, shape, 0.6, 2)


def ships(rng, shape):
    image = noise(rng, shape, 0.8, 1.2)
    for _ in range(max(shape[0] * shape[1] // 12_000, 1)):
        hull, (y, x) = np.zeros(shape, np.float32), rng.integers((0, 0), shape).tolist()
        axes = int(rng.integers(6, 30)), int(rng.integers(2, 7))
        cv2.ellipse(hull, (x, y), axes, rng.uniform(0, 180), 0, 360, rng.uniform(20, 120), -1)
        image = image + cv2.GaussianBlur(hull, (0, 0), 0.8)
    return image


def repeated(rng, shape):
    """One texture again and again, the same in all scenes, with noise of its own."""
    tile = noise(np.random.default_rng(7), (64, 64), 1.5, 12)
    whole = np.tile(tile, [side // 64 + 1 for side in shape])[: shape[0], : shape[1]]
    return whole + noise(rng, shape, 0.7, 2.5)


KINDS = [calm, sea, rough, swell, coast, cloud, city, ships, repeated]


def write(path, gray, quality):
    image = np.rint(np.clip(gray, 0, 255)).astype(np.uint8)
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), options)
    return path


def write_pair(stem, kind, rng, side, qualities):
    """Write two tiles of one scene at `stem`; return their paths."""
    scene = kind(rng, (2 * side, 2 * side))
    scene = scene - scene.mean() + rng.uniform(60, 140)
    while True:
        y, x = rng.integers(-3 * side // 4, 3 * side // 4 + 1, 2).tolist()
        if (side - abs(y)) * (side - abs(x)) >= MIN_SHARE * side**2:
            break
    move = np.array([[1, 0, rng.uniform(-0.5, 0.5)], [0, 1, rng.uniform(-0.5, 0.5)]])
    moved = cv2.warpAffine(scene.astype(np.float32), move, scene.shape, flags=cv2.INTER_CUBIC)
    moved = moved * rng.uniform(0.8, 1.25) + rng.uniform(-15, 15)
    at, there = (max(-y, 0), max(-x, 0)), (max(y, 0), max(x, 0))
    cut = [p[a : a + side, b : b + side] for p, (a, b) in ((scene, at), (moved, there))]
    tiles = cut[0], turned(cut[1], int(rng.integers(8)))
    return [
        write(stem.with_name(f"{stem.name}-{number}.jpg"), tile, rng.choice(qualities))
        for number, tile in enumerate(tiles)
    ]


def search(paths):
    """Find all pairs; return them as sets, and the milliseconds of processor time a tile."""
    before = time.process_time()
    signatures = read_signatures(paths, jobs=2, store=None)
    groups = link_tiles(signatures)
    found = find_pairs(signatures, paths, np.arange(len(paths)), jobs=2, every=True)
    spent_ms = 1e3 * (time.process_time() - before) / len(paths)
    return {pair[:2] for pair in found}, groups, spent_ms


def tell(name, paths, names):
    """Print recall by name, of tiles 2 n and 2 n + 1, and the pairs of other tiles."""
    found, groups, spent_ms = search(paths)
    hits = Counter(
        name
        for number, name in enumerate(names)
        if (2 * number, 2 * number + 1) in found or groups[2 * number] == groups[2 * number + 1]
    )
    wrong = sum(one // 2 != other // 2 for one, other in found)
    recall = ", ".join(f"{name} {hits[name] / count:.2f}" for name, count in Counter(names).items())
    print(f"{name}: {len(paths)} tiles, {wrong} wrong, {spent_ms:.1f} ms a tile; recall: {recall}")


def pairs():
    """Recall by kind of scene, all changes at once."""
    for side, count in SIDES:
        with tempfile.TemporaryDirectory() as folder:
            paths, names = [], []
            for number in range(count):
                kind, rng = KINDS[number % len(KINDS)], np.random.default_rng([side, number])
                stem = Path(folder) / f"{number:05d}"
                paths += write_pair(stem, kind, rng, side, range(70, 96))
                names.append(kind.__name__)
            tell(f"{side} px", paths, names)


def faint():
    """Recall by deviation and JPEG quality, of noise with blur 1 and of noise of all sizes."""
    for side, count in sized(((144, 20), (256, 20)), ((96, 2),)):
        for quality in QUALITIES:
            with tempfile.TemporaryDirectory() as folder:
                paths, names = [], []
                for deviation, number in product(DEVIATIONS, range(count)):
                    for what, draw in (("fine", noise), ("rough", pink)):
                        rng = np.random.default_rng([side, number, int(10 * deviation)])

                        def kind(rng, shape, draw=draw, deviation=deviation):
                            if draw is noise:
                                return noise(rng, shape, 1, deviation)
                            return pink(rng, shape, deviation)

                        stem = Path(folder) / f"{len(names):05d}"
                        paths += write_pair(stem, kind, rng, side, [quality])
                        names.append(f"{what} {deviation}")
                tell(f"{side} px, quality {quality}", paths, names)


def strangers():
    """Pairs found among tiles of as many scenes."""
    for side, share in sized(((144, 1), (256, 1), (768, 1)), ((96, 1),)):
        with tempfile.TemporaryDirectory() as folder:
            paths, names = [], []
            for number in range(STRANGERS // share):
                kind, rng = KINDS[number % len(KINDS)], np.random.default_rng([side, number, 1])
                gray = kind(rng, (side, side))
                gray = gray - gray.mean() + rng.uniform(60, 140)
                paths.append(write(Path(folder) / f"{number:05d}.jpg", gray, rng.integers(70, 96)))
                names.append(kind.__name__)
            found, groups, spent_ms = search(paths)
            alone = len(np.unique(groups)) == len(paths)
            print(
                f"{side} px: {len(paths)} tiles of as many scenes: {len(found)} pairs found at any "
                f"offset, {'none' if alone else 'SOME'} at thirds; {spent_ms:.1f} ms a tile"
            )


def half():
    """Pairs of the demo's scenes, cut at half steps."""
    for side, quality in product(sized((192, 256), (96,)), sized((70, 85, 95), (85,))):
        with tempfile.TemporaryDirectory() as folder:
            paths, corners, scenes = [], [], []
            for number in range(sized(34, 2)):
                layout = lay_out(
                    0,
                    f"scene-{number}",
                    (2 * side, 2 * side),
                    tile_px=side,
                    max_ship_px=side // 2,
                    with_ships=number % 2 == 0,
                )
                picture = cv2.cvtColor(render(layout), cv2.COLOR_RGB2GRAY)
                for y, x in product((0, side // 2, side), repeat=2):
                    path = Path(folder) / f"{len(paths):05d}.jpg"
                    paths.append(write(path, picture[y : y + side, x : x + side], quality))
                    corners.append((y, x))
                    scenes.append(number)
            apart = np.abs(np.subtract.outer(corners, corners)[:, [0, 1], :, [0, 1]])
            shared = (side - apart).clip(0).prod(axis=0) >= MIN_SHARE * side**2
            true = {
                (one, other)
                for one, other in np.argwhere(np.triu(shared, 1)).tolist()
                if scenes[one] == scenes[other]
            }
            found, _, spent_ms = search(paths)
            print(
                f"half steps, {side} px, quality {quality}: {len(paths)} tiles, {len(true)} pairs; "
                f"recall {len(found & true) / len(true):.4f}, {len(found - true)} wrong, "
                f"{spent_ms:.1f} ms a tile"
            )


def main():
    do_named(pairs, faint, strangers, half)


if __name__ == "__main__":
    main()
