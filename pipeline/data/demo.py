"""The rendered demo: a data folder in the competition's layout for whoever has none.

A seed and sizes enter; `train_v2/`, `test_v2/` and the two CSV files leave, and apart from what
a competitor gets the truth of the test images (`hidden/`) and the scene of every tile
(`scenes.csv`). Tiles are cut from scenes at steps of a third of the tile, so that they overlap as
the competition's do and a random split would leak.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.data.rendered import appearing, image_ids
from pipeline.data.rendering.fields import between, draw
from pipeline.data.rendering.scenes import Scene, lay_out, paint
from pipeline.errors import DataError
from pipeline.jobs.artifacts import write_atomic, write_json
from pipeline.masks.instances import write_instances
from pipeline.masks.rle import encode_labels
from pipeline.seeds import generator

GROUP_SIZES = {0: 1, 0.56: 1, 0.72: 2, 0.8: 3, 0.9: 6, 0.95: 11, 0.99: 23, 1: 60}
"""Tiles per scene. Source: 59,300 groups of the competition, 33,251 of one; p90 6, p99 23."""
LARGEST_SHARE = 1 / 40
"""Of a set's images, at most, that show one scene, but six may: among 192,556 the largest group is
0.6 %, among hundreds one of 60 tiles would decide the score of its fold."""
MIN_AREA_PX = 2
"""What a tile's edge leaves of a ship counts from here on; the competition's smallest mask."""
MIN_SHIPS_PX = 16
"""Tiles with fewer ship pixels, a mere sliver at the edge, are not taken; 1 % of the
competition's masks are smaller."""


@dataclass(frozen=True)
class Cut:
    """One tile chosen from a scene: its place in steps, and its label map int32 (S, S)."""

    row: int
    col: int
    labels_hw: np.ndarray


def render_demo(
    root: Path,
    *,
    seed: int,
    tile_px: int,
    train_tiles: int,
    test_tiles: int,
    empty_share: float,
    max_ship_px: int,
) -> None:
    """Render the demo into `root`, which appears when it is whole and not before.

    Args:
        root: Folder to make.
        seed: Fixes every byte of the folder.
        tile_px: Side of a tile, px.
        train_tiles: Number of training images.
        test_tiles: Number of test images; they come from scenes of their own.
        empty_share: Share of the images without ships, in each of the two sets, 0-1.
        max_ship_px: Longest ship, px.

    Raises:
        DataError: `root` exists already, or ships cannot have the wanted size in such tiles.
        ArtifactError: The disk is full.
    """
    if max_ship_px < 16 or tile_px < 32:
        raise DataError(
            f"{root}: expected tiles of at least 32 px and ships of up to at least 16 px, got "
            f"tile_px={tile_px} and max_ship_px={max_ship_px}. Choose larger ones."
        )
    with appearing(root) as folder:
        settings = {"seed": seed, "tile_px": tile_px, "max_ship_px": max_ship_px}
        counts = {"train": train_tiles, "test": test_tiles}
        known = []
        for part, count in counts.items():
            images = folder / f"{part}_v2"
            instances, scenes = _render_part(images, part, count, empty_share, **settings)
            hidden = "hidden/" if part == "test" else ""
            write_instances(folder / f"{hidden}{part}_ship_segmentations_v2.csv", instances)
            known.append(scenes)
        blank = pd.DataFrame({"ImageId": known[1]["ImageId"], "EncodedPixels": ""})
        write_instances(folder / "sample_submission_v2.csv", blank)
        table = pd.concat(known).to_csv(index=False, lineterminator="\n")
        write_atomic(folder / "scenes.csv", table.encode())
        settings |= {"train_tiles": train_tiles, "test_tiles": test_tiles}
        write_json(folder / "demo.json", settings | {"empty_share": empty_share})


def _render_part(
    folder: Path,
    part: str,
    count: int,
    empty_share: float,
    *,
    seed: int,
    tile_px: int,
    max_ship_px: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Render one set of images; return its instances and the scene of each image."""
    empty = round(empty_share * count)
    wanted = {False: empty, True: count - empty}
    free = image_ids(seed, part, count, ".jpg")
    instances: list[tuple[str, str]] = []
    places: list[tuple[str, str, int, int]] = []
    bar = tqdm(total=count, desc=f"demo: {part}", unit="image", disable=None)
    for scene, cuts in _choose(seed, part, wanted, tile_px=tile_px, max_ship_px=max_ship_px):
        picture = paint(scene)
        quality, sampling = _compression(seed, scene, tile_px)
        for cut in cuts:
            image_id = next(free)
            top, left = cut.row * (tile_px // 3), cut.col * (tile_px // 3)
            tile = picture[top : top + tile_px, left : left + tile_px]
            write_atomic(folder / image_id, _jpeg(tile, quality, sampling), sync=False)
            ships = encode_labels(cut.labels_hw) or [""]
            instances += [(image_id, encoded) for encoded in ships]
            places.append((image_id, scene.name, cut.row, cut.col))
            bar.update()
    bar.close()
    instances.sort(key=lambda row: row[0])
    return (
        pd.DataFrame(instances, columns=["ImageId", "EncodedPixels"], dtype=str),
        pd.DataFrame(sorted(places), columns=["ImageId", "scene", "row", "col"]),
    )


def _choose(
    seed: int, part: str, wanted: dict[bool, int], *, tile_px: int, max_ship_px: int
) -> Iterator[tuple[Scene, list[Cut]]]:
    """Lay out scenes and choose tiles until there are enough with (True) and without ships."""
    wanted = dict(wanted)
    largest = max(6, int(LARGEST_SHARE * sum(wanted.values())))
    number = 0
    while any(wanted.values()):
        name = f"{part}-{number:05d}"
        number += 1
        rng = generator(seed, name, "tiles")
        with_ships = rng.random() < wanted[True] / (wanted[True] + wanted[False])
        size = min(int(draw(rng, GROUP_SIZES)), largest)
        # A group of n tiles spreads over a square of about n steps; a few more give it a shape.
        spread = 1 if size == 1 else 1 + int((1.6 * size) ** 0.5 + 0.7)
        side = tile_px // 3 * (spread - 1) + tile_px
        scene = lay_out(
            seed,
            name,
            (side, side),
            tile_px=tile_px,
            max_ship_px=max_ship_px,
            with_ships=with_ships,
        )
        cuts = _grow(rng, scene, spread, size, wanted)
        if cuts:
            yield scene, cuts


def _grow(
    rng: np.random.Generator, scene: Scene, spread: int, size: int, wanted: dict[bool, int]
) -> list[Cut]:
    """Choose up to `size` tiles that hang together by overlaps; count them off `wanted`."""
    cuts: dict[tuple[int, int], Cut] = {}
    refused: set[tuple[int, int]] = set()
    positions = [(row, col) for row in range(spread) for col in range(spread)]
    while len(cuts) < size:
        near = [
            (row, col)
            for row, col in positions
            if (row, col) not in cuts
            and (row, col) not in refused
            and (not cuts or any(abs(row - r) < 3 and abs(col - c) < 3 for r, c in cuts))
        ]
        if not near:
            break
        row, col = near[int(rng.integers(len(near)))]
        cut = Cut(row, col, _tile_labels(scene, row, col))
        ships_px = int(np.count_nonzero(cut.labels_hw))
        has_ships = ships_px > 0
        if wanted[has_ships] and not 0 < ships_px < MIN_SHIPS_PX:
            wanted[has_ships] -= 1
            cuts[row, col] = cut
        else:
            refused.add((row, col))
    return list(cuts.values())


def _tile_labels(scene: Scene, row: int, col: int) -> np.ndarray:
    """Label map of a tile, numbered from 1 without gaps; slivers at the edge are left out."""
    step = scene.tile_px // 3
    top, left = row * step, col * step
    labels = scene.labels_hw[top : top + scene.tile_px, left : left + scene.tile_px]
    areas = np.bincount(labels.ravel(), minlength=len(scene.ships) + 1)
    kept = areas >= MIN_AREA_PX
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    tile: np.ndarray = numbers[labels]
    return tile


def _compression(seed: int, scene: Scene, tile_px: int) -> tuple[int, int]:
    """JPEG quality and colour sampling of a scene's tiles.

    Where the step is a whole number of JPEG's 16-px blocks, two tiles' blocks cover the same
    pixels and shared pixels come out alike at any quality, as in the competition. Elsewhere only
    a high quality keeps the difference within the competition's 5 grey levels.
    """
    rng = generator(seed, scene.name, "jpeg")
    if (tile_px // 3) % 16 == 0:
        return int(between(rng, 80, 96)), int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
    return int(between(rng, 98, 101)), int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)


def _jpeg(tile_hwc: np.ndarray, quality: int, sampling: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(tile_hwc, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise RuntimeError("OpenCV could not encode a tile as JPEG")
    return encoded.tobytes()
