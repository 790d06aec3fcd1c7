import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from pipeline.data import demo
from pipeline.data.demo import render_demo
from pipeline.errors import DataError
from pipeline.masks.instances import check_instances, read_instances
from pipeline.masks.rle import decode_labels
from pipeline.masks.sizes import Sizes

pytestmark = pytest.mark.unit

SMALL = {
    "seed": 3,
    "tile_px": 96,
    "train_tiles": 30,
    "test_tiles": 9,
    "empty_share": 0.4,
    "max_ship_px": 60,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "demo"
    render_demo(folder, **SMALL)
    return folder


def tables(root: Path) -> dict[str, pd.DataFrame]:
    return {
        "train": read_instances(root / "train_ship_segmentations_v2.csv"),
        "test": read_instances(root / "hidden" / "test_ship_segmentations_v2.csv"),
    }


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    return image


def test_same_seed_same_bytes_other_seed_other_bytes(root, tmp_path):
    few = SMALL | {"train_tiles": 6, "test_tiles": 3}
    render_demo(tmp_path / "one", **few)
    render_demo(tmp_path / "two", **few)
    render_demo(tmp_path / "other", **(few | {"seed": 4}))
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert not set(digests(tmp_path / "one").values()) & set(digests(tmp_path / "other").values())


def test_layout_is_the_competitions(root):
    assert sorted(path.name for path in root.iterdir()) == [
        "demo.json",
        "hidden",
        "sample_submission_v2.csv",
        "scenes.csv",
        "test_v2",
        "train_ship_segmentations_v2.csv",
        "train_v2",
    ]
    assert json.loads((root / "demo.json").read_text()) == SMALL
    for part, table in tables(root).items():
        files = sorted(path.name for path in (root / f"{part}_v2").iterdir())
        assert files == sorted(table["ImageId"].unique())
        assert len(files) == SMALL[f"{part}_tiles"]
    sample = read_instances(root / "sample_submission_v2.csv")
    assert list(sample["ImageId"]) == sorted(path.name for path in (root / "test_v2").iterdir())
    assert not sample["EncodedPixels"].any()


@pytest.mark.parametrize("part", ["train", "test"])
def test_masks_are_legal_and_share_no_pixel(root, part):
    table = tables(root)[part]
    side = SMALL["tile_px"]
    assert check_instances(table, Sizes((side, side)), part) == []
    for _, rows in table.groupby("ImageId"):
        labels = decode_labels([text for text in rows["EncodedPixels"] if text], side, side)
        areas = np.bincount(labels.ravel())[1:]
        assert (areas >= 2).all()


@pytest.mark.parametrize("part", ["train", "test"])
def test_share_of_empty_images_is_exact(root, part):
    table = tables(root)[part]
    empty = (table["EncodedPixels"] == "").sum()
    assert empty == round(SMALL["empty_share"] * SMALL[f"{part}_tiles"])


@pytest.mark.parametrize("empty_share", [0.0, 1.0])
def test_all_or_no_images_may_be_empty(tmp_path, empty_share):
    few = {"train_tiles": 5, "test_tiles": 2, "empty_share": empty_share}
    render_demo(tmp_path / "demo", **(SMALL | few))
    table = tables(tmp_path / "demo")["train"]
    assert table["ImageId"].nunique() == 5
    assert (table["EncodedPixels"] == "").all() == (empty_share == 1)
    assert (table["EncodedPixels"] == "").any() == (empty_share == 1)


def shared_pixels(root: Path, part: str, step: int, side: int):
    """Pixels two overlapping tiles share, for every pair of one scene."""
    scenes = pd.read_csv(root / "scenes.csv", dtype={"ImageId": str})
    scenes = scenes[scenes["scene"].str.startswith(part)]
    for _, tiles in scenes.groupby("scene"):
        rows = list(tiles.itertuples())
        for i, first in enumerate(rows):
            for second in rows[i + 1 :]:
                down, right = (second.row - first.row) * step, (second.col - first.col) * step
                if abs(down) < side and abs(right) < side:
                    a, b = (read(root / f"{part}_v2" / tile.ImageId) for tile in (first, second))
                    yield (
                        a[max(0, down) : side + min(0, down), max(0, right) : side + min(0, right)],
                        b[
                            max(0, -down) : side - max(0, down),
                            max(0, -right) : side - max(0, right),
                        ],
                    )


@pytest.mark.parametrize(("tile_px", "most"), [(96, 8), (255, 10)])
def test_overlapping_tiles_differ_by_jpeg_noise_only(tmp_path, tile_px, most):
    settings = SMALL | {"tile_px": tile_px, "train_tiles": 24, "test_tiles": 1}
    render_demo(tmp_path / "demo", **settings)
    pairs = list(shared_pixels(tmp_path / "demo", "train", tile_px // 3, tile_px))
    assert len(pairs) > 3
    for first, second in pairs:
        difference = first.astype(int) - second
        assert first.std() == 0 or abs(difference).max() <= most
        assert abs(difference.mean()) < 0.2


def test_scenes_hang_together_and_train_and_test_share_none(root):
    scenes = pd.read_csv(root / "scenes.csv", dtype={"ImageId": str})
    assert len(scenes) == SMALL["train_tiles"] + SMALL["test_tiles"]
    assert scenes["ImageId"].is_unique
    for _, tiles in scenes.groupby("scene"):
        places = set(zip(tiles["row"], tiles["col"], strict=True))
        assert len(places) == len(tiles)
        reached = {places.pop()}
        while near := {
            (r, c) for r, c in places for y, x in reached if abs(r - y) < 3 and abs(c - x) < 3
        }:
            reached |= near
            places -= near
        assert not places
    trains = {scene for scene in scenes["scene"] if scene.startswith("train")}
    assert 1 < len(trains) < SMALL["train_tiles"]


@pytest.mark.parametrize("tile_px", [96, 256])
def test_tile_sizes(tmp_path, tile_px):
    few = {"tile_px": tile_px, "train_tiles": 2, "test_tiles": 1}
    render_demo(tmp_path / "demo", **(SMALL | few))
    for path in (tmp_path / "demo").rglob("*.jpg"):
        assert read(path).shape == (tile_px, tile_px, 3)


def test_ships_stand_off_from_the_water(root):
    """Half of the ships are at least 5 grey levels from what is around them."""
    contrasts = []
    for name, rows in tables(root)["train"].groupby("ImageId"):
        grey = read(root / "train_v2" / name).mean(axis=2)
        labels = decode_labels([text for text in rows["EncodedPixels"] if text], *grey.shape)
        for number in range(1, labels.max() + 1):
            mask = labels == number
            around = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9))) * (labels == 0) > 0
            contrasts.append(grey[mask].mean() - grey[around].mean() if around.any() else 0)
    assert len(contrasts) >= 18
    assert np.median(np.abs(contrasts)) > 5


def test_nothing_is_left_where_rendering_fails(tmp_path, monkeypatch):
    def full(path, content, **_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(demo, "write_atomic", full)
    with pytest.raises(OSError, match="No space"):
        render_demo(tmp_path / "demo", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_what_an_interrupted_rendering_left_is_cleared_away(tmp_path):
    stale = tmp_path / ".demo.tmp" / "train_v2"
    stale.mkdir(parents=True)
    (stale / "stale.jpg").touch()
    render_demo(tmp_path / "demo", **(SMALL | {"train_tiles": 2, "test_tiles": 1}))
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert len(list((tmp_path / "demo" / "train_v2").iterdir())) == 2


def test_refuses_to_render_over_a_folder(tmp_path):
    with pytest.raises(DataError, match="exists"):
        render_demo(tmp_path, **SMALL)


@pytest.mark.parametrize("bad", [{"tile_px": 24}, {"max_ship_px": 15}])
def test_refuses_sizes_that_hold_no_ship(tmp_path, bad):
    with pytest.raises(DataError, match="at least"):
        render_demo(tmp_path / "demo", **(SMALL | bad))
