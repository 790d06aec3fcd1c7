"""A stand-in for a competition's data: its files, forms and sizes, with blobs in noise.

A competition's description, a seed and numbers of images enter; a folder in its layout leaves, and
apart from what a competitor gets the masks of the test images (`hidden_truth`), and `demo.json`,
which says that the folder is rendered. It shows that everything runs, not how well it would do.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.config.competitions import Competition
from pipeline.data.files import DEMO
from pipeline.data.rendered import appearing, image_ids
from pipeline.data.rendering.blobs import Blob, draw_blobs
from pipeline.jobs.artifacts import write_atomic, write_json
from pipeline.masks.instances import columns_of, write_rows
from pipeline.masks.rle import encode_mask
from pipeline.masks.rle_forms import shrink
from pipeline.masks.sizes import Sizes
from pipeline.masks.table_writing import rows_of, to_rows
from pipeline.seeds import generator


def render_stand_in(
    root: Path,
    competition: Competition,
    *,
    seed: int,
    train_tiles: int,
    test_tiles: int,
    empty_share: float,
) -> None:
    """Render a stand-in into `root`, which appears when it is whole and not before.

    Args:
        root: Folder to make.
        competition: Whose data it stands in for.
        seed: Fixes every byte of the folder.
        train_tiles: Number of training images.
        test_tiles: Number of test images.
        empty_share: Share of the images without objects, in each of the two sets, 0-1.

    Raises:
        DataError: `root` exists already.
        ArtifactError: The disk is full.
    """
    with appearing(root) as folder:
        train, test = (
            _render(folder, competition, (part, count, round(empty_share * count)), seed)
            for part, count in (("train", train_tiles), ("test", test_tiles))
        )
        if competition.read_truth is None:
            sizes = Sizes(competition.stand_in.shape)
            _write_table(folder / competition.truth, train, competition, sizes)
        else:
            write_json(folder / competition.truth, sorted(set(train.ImageId)))
        if competition.mask_shape is not None:
            shapes = competition.stand_in.shape, competition.mask_shape
            test["EncodedPixels"] = [shrink(text, *shapes) for text in test.EncodedPixels]
        mask_sizes = Sizes(competition.mask_shape or competition.stand_in.shape)
        (folder / competition.hidden_truth).parent.mkdir()
        _write_table(folder / competition.hidden_truth, test, competition, mask_sizes)
        blank = test.assign(EncodedPixels="").drop_duplicates()
        rows = rows_of(blank, competition.sample_forms, competition)
        write_rows(folder / competition.sample, to_rows(blank, rows, competition, mask_sizes))
        settings = {"seed": seed, "train_tiles": train_tiles, "test_tiles": test_tiles}
        known = {"competition": competition.name, "empty_share": empty_share}
        write_json(folder / DEMO, settings | known)


def _render(
    root: Path, competition: Competition, images: tuple[str, int, int], seed: int
) -> pd.DataFrame:
    """Write a set of images; return its masks, a row for each object or for each class.

    Args:
        root: The data folder.
        competition: Whose it is.
        images: Name of the set, number of images, and of those without objects.
        seed: Of the folder.
    """
    part, count, empty = images
    look, classes = competition.stand_in, competition.classes
    folder = root / (competition.train_images if part == "train" else competition.test_images)
    folder.mkdir(parents=True)
    rows: list[tuple[str, str, str]] = []
    names = image_ids(seed, part, count, look.ending)
    bar = tqdm(names, f"stand-in: {part}", total=count, unit="image", disable=None)
    for number, name in enumerate(bar):
        grey_hw, blobs = draw_blobs(
            generator(seed, part, number),
            look,
            len(classes),
            empty=number < empty,
            overlaps=competition.overlaps,
        )
        masks = _masks(blobs, competition)
        if competition.write_image is None:
            _write_picture(folder / f"{name}{next(iter(competition.endings))}", grey_hw)
        else:
            drawn = sum((mask_hw for _, mask_hw in masks), np.zeros(look.shape, np.uint8))
            known = drawn if part == "train" else None
            image_hwc = np.repeat(grey_hw[..., None], 3, axis=2)
            competition.write_image(folder / name, image_hwc, known)
        rows += [(name, classes[index], encode_mask(mask_hw)) for index, mask_hw in masks]
    table = pd.DataFrame(rows, columns=["ImageId", "ClassId", "EncodedPixels"], dtype=str)
    return table[columns_of(classes)].sort_values("ImageId", kind="stable", ignore_index=True)


def _masks(blobs: list[Blob], competition: Competition) -> list[tuple[int, np.ndarray]]:
    """Return classes and masks, uint8 (h, w): each object's, or one a class; empty ones of none."""
    masks = []
    for index in range(len(competition.classes)):
        mine = [blob for blob in blobs if blob.class_index == index]
        groups = [[blob] for blob in mine] if competition.objects and mine else [mine]
        for group in groups:
            mask_hw = np.zeros(competition.stand_in.shape, np.uint8)
            for blob in group:
                mask_hw[blob.window] |= blob.pixels_hw
            masks.append((index, mask_hw))
    return masks


def _write_picture(path: Path, grey_hw: np.ndarray) -> None:
    done, encoded = cv2.imencode(path.suffix, grey_hw)
    if not done:
        raise RuntimeError(f"OpenCV could not encode {path.name}")
    write_atomic(path, encoded.tobytes(), sync=False)


def _write_table(path: Path, masks: pd.DataFrame, competition: Competition, sizes: Sizes) -> None:
    """Write masks in the form of the truth, which in a sparse one has no row of no object."""
    rows = rows_of(masks, competition.truth_forms, competition)
    frame = to_rows(masks, rows, competition, sizes)
    if rows.form.sparse:
        frame = frame[frame[rows.form.pixels] != competition.rle.empty]
    write_rows(path, frame)
