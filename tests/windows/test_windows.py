"""Windows cover an image of any size, blending them leaves no seam, and nothing is done twice."""

import multiprocessing
import os
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ArtifactError
from pipeline.inference.regions import Box
from pipeline.windows.grid import Grid, blocks
from pipeline.windows.pixels import Picture
from pipeline.windows.store import Windows

pytestmark = pytest.mark.unit


def brightness(images_nhwc):
    """A "network" that sees each pixel alone: the red channel is the level."""
    return images_nhwc[None, ..., 0].swapaxes(0, 1), (images_nhwc.max((1, 2, 3)) / 255).tolist()


class Partly(Picture):
    """A picture whose pixels are valid where its green channel is not 0."""

    def read(self, box):
        image_hwc, _ = super().read(box)
        return image_hwc, image_hwc[..., 1] > 0


def predicted(folder, pixels, window, answer=brightness, *, group=3, block_px=16):
    height, width = (min(pair) for pair in zip(window, (pixels.height, pixels.width), strict=True))
    grid = Grid(pixels.height, pixels.width, (height, width), group)
    windows = Windows(folder, grid, 1, {"pixels": pixels.identity}, block_px=block_px)
    windows.predict(pixels, answer)
    return windows


def noise(rows, columns, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.integers(1, 50)] * 2), st.tuples(*[st.integers(7, 30)] * 2), st.data())
def test_what_depends_on_a_pixel_alone_comes_out_as_it_is(tmp_path_factory, shape, window, data):
    rows, columns = shape
    image_hwc = noise(rows, columns)
    image_hwc[..., 1] = noise(rows, columns, 1)[..., 1] > data.draw(st.sampled_from([0, 200, 254]))
    windows = predicted(tmp_path_factory.mktemp("work"), Partly("a", image_hwc), window)
    whole = windows.grid.whole
    expected_hw = image_hwc[..., 0] * image_hwc[..., 1]
    assert (windows.levels(whole) == expected_hw).all()
    assert windows.computed.any() == image_hwc[..., 1].any()
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    box = Box(top, left, rows, columns)
    assert (windows.levels(box) == expected_hw[box.slices]).all()


def test_an_image_of_a_window_or_less_is_seen_once_and_whole(tmp_path):
    seen = []

    def answer(images_nhwc):
        seen.append(images_nhwc.shape)
        return brightness(images_nhwc)

    for shape in ((32, 48, 3), (5, 7, 3)):
        windows = predicted(
            tmp_path / str(shape), Picture("a", noise(*shape[:2])), (32, 48), answer
        )
        assert windows.image_prob(windows.grid.whole) == noise(*shape[:2]).max() / 255
    assert seen == [(1, 32, 48, 3), (1, 5, 7, 3)]


def test_neighbours_that_disagree_pass_into_each_other_without_a_step(tmp_path):
    calls = iter(range(100))

    def answer(images_nhwc):
        maps = [np.full((1, 40, 40), 255 * (next(calls) % 2), np.uint8) for _ in images_nhwc]
        return np.stack(maps), [None] * len(images_nhwc)

    windows = predicted(tmp_path, Picture("a", np.zeros((40, 130, 3), np.uint8)), (40, 40), answer)
    levels_hw = windows.levels(windows.grid.whole)[0].astype(int)
    assert (levels_hw.min(), levels_hw.max()) == (0, 255)
    assert abs(np.diff(levels_hw)).max() < 64
    assert windows.image_prob(windows.grid.whole) is None


@pytest.mark.parametrize("length", [9, 40, 41, 70, 71, 130, 1000])
def test_windows_stay_where_they_are_when_the_image_goes_on(length):
    grid, longer = (Grid(40, each, (9, 9), 4) for each in (length, length + 37))
    assert longer.lefts[: len(grid.lefts) - 1] == grid.lefts[:-1]
    assert grid.lefts[-1] == length - 9
    steps = np.diff(grid.lefts)
    assert ((steps > 0) & (steps <= 7)).all()


def test_the_window_nearest_to_a_box_answers_for_it(tmp_path):
    windows = predicted(tmp_path, Picture("a", noise(20, 60)), (20, 20))
    windows._heads[0] = range(len(windows.grid.lefts))  # at 0, 15, 30, 40
    answers = [windows.image_prob(Box(3, left, 5, left + 2)) for left in (0, 16, 17, 30, 36, 58)]
    assert answers == [0, 0, 1, 1, 2, 3]


def test_blocks_cover_a_box_once():
    seen_hw = np.zeros((30, 40), int)
    for block in blocks(Box(3, 5, 30, 40), 8):
        seen_hw[block.slices] += 1
    assert (seen_hw[3:, 5:] == 1).all()
    assert seen_hw.sum() == 27 * 35


def predict_until_killed(folder, picture):
    calls = iter(range(100))

    def answer(images_nhwc):
        if next(calls) == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return brightness(images_nhwc)

    predicted(folder, picture, (20, 20), answer)


def test_killed_it_resumes_and_ends_with_the_same_bytes(tmp_path):
    picture = Picture("a", noise(90, 130))
    process = multiprocessing.get_context("fork").Process(
        target=predict_until_killed, args=(tmp_path / "work", picture)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len([*(tmp_path / "work").glob("*.npz")]) == 7
    calls = []

    def answer(images_nhwc):
        calls.append(len(images_nhwc))
        return brightness(images_nhwc)

    resumed = predicted(tmp_path / "work", picture, (20, 20), answer)
    undisturbed = predicted(tmp_path / "undisturbed", picture, (20, 20))
    assert len(calls) == len(undisturbed.grid.groups()) - 7
    names = sorted(path.name for path in (tmp_path / "work").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "undisturbed").iterdir())
    for name in names:
        assert (tmp_path / "work" / name).read_bytes() == (
            tmp_path / "undisturbed" / name
        ).read_bytes()
    assert (resumed.computed == undisturbed.computed).all()


def test_what_is_of_something_else_or_damaged_is_refused(tmp_path):
    predicted(tmp_path, Picture("a", noise(30, 30)), (20, 20))
    with pytest.raises(ArtifactError, match="expected the windows of the same pixels, got"):
        predicted(tmp_path, Picture("a", noise(30, 30, 1)), (20, 20))
    with pytest.raises(ArtifactError, match="expected the windows of the same grid, got"):
        predicted(tmp_path, Picture("a", noise(30, 30)), (20, 21))
    path = tmp_path / "0-0.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ArtifactError, match=r"0-0\.npz: damaged .* Delete it and run"):
        predicted(tmp_path, Picture("a", noise(30, 30)), (20, 20))
