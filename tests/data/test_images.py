"""Images: the right ones, decoded once if they fit, in memory that processes share."""

import multiprocessing
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.data.images import Images, read_image
from pipeline.errors import DataError

pytestmark = pytest.mark.unit

HEIGHT, WIDTH, COUNT = 100, 120, 30
MIB = 2  # 30 images of 100 x 120 x 3 bytes are 1.03 MiB


@pytest.fixture
def paths(tmp_path):
    paths = [tmp_path / f"{number:0{1 + number % 3}}é.png" for number in range(COUNT)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), number, np.uint8))
    return paths


def test_every_path_and_image_is_found_by_its_number(paths):
    images = Images(paths, (HEIGHT, WIDTH))
    assert len(images) == COUNT
    assert [images.path(number) for number in range(COUNT)] == paths
    assert [images[number].mean() for number in range(COUNT)] == list(range(COUNT))
    assert images[0].shape == (HEIGHT, WIDTH, 3)


def test_a_set_without_images_has_none():
    assert len(Images([], (HEIGHT, WIDTH), cache_mib=MIB)) == 0


@pytest.mark.parametrize(("cache_mib", "kept"), [(0, False), (1, False), (2, True)])
def test_images_are_kept_only_if_all_fit(paths, cache_mib, kept):
    images = Images(paths, (HEIGHT, WIDTH), cache_mib=cache_mib)
    first = images[7].copy()
    paths[7].unlink()
    if kept:
        assert np.array_equal(images[7], first)
    else:
        with pytest.raises(DataError, match="checked: missing"):
            images[7]


def test_what_is_kept_cannot_be_changed(paths):
    images = Images(paths, (HEIGHT, WIDTH), cache_mib=MIB)
    with pytest.raises(ValueError, match="read-only"):
        images[3][0, 0] = 9


def test_processes_share_what_is_kept(paths):
    images = Images(paths, (HEIGHT, WIDTH), cache_mib=MIB)
    reader = multiprocessing.get_context("fork").Process(target=images.__getitem__, args=(5,))
    reader.start()
    reader.join()
    assert (images._kept.reshape(COUNT, -1)[5] == 5).all()
    assert not images._kept.reshape(COUNT, -1)[6].any()


def test_an_image_that_changed_since_the_check_is_named(paths, tmp_path):
    with pytest.raises(DataError, match=r"00é.png: expected the image of 9x9 px .* 120x100 px"):
        read_image(paths[0].rename(tmp_path / "00é.png"), 9, 9)
    with pytest.raises(DataError, match=r"checked: missing\. Restore it"):
        read_image(tmp_path / "gone.jpg", 9, 9)
    (tmp_path / "bad.jpg").write_bytes(b"not an image")
    with pytest.raises(DataError, match="checked: not decodable: 12 bytes"):
        read_image(tmp_path / "bad.jpg", 9, 9)


def test_a_path_that_is_not_utf_8_is_found_again():
    path = Path(os.fsdecode(b"/data/\xff.jpg"))
    assert Images([path], (HEIGHT, WIDTH)).path(0) == path
