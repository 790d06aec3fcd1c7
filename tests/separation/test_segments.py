"""Segments against a plain reading of their definition, one at a time, on whole maps."""

import numpy as np
import pytest

from pipeline.errors import ArtifactError
from pipeline.maps import ImageMaps
from pipeline.masks.rle import encode_labels
from pipeline.separation.foreground import Foreground, foreground_of
from pipeline.separation.segments import FEATURES, cut_segments, draw_segments, find_segments
from pipeline.separation.separate import Separation, find_components

pytestmark = pytest.mark.unit

CUTS = tuple(Separation("components", threshold, 4) for threshold in (60, 120, 200))


def a_map(seed, shape=(40, 50)):
    rng = np.random.default_rng(seed)
    prob_hw = np.zeros(shape)
    for _ in range(5):
        row, column = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        apart = np.hypot((rows - row) / rng.uniform(2, 6), (columns - column) / rng.uniform(2, 6))
        prob_hw = np.maximum(prob_hw, rng.uniform(80, 255) * np.exp(-(apart**2)))
    return ImageMaps(np.round(prob_hw).astype(np.uint8))


def whole(maps):
    height, width = maps.prob_hw.shape
    return Foreground(maps, np.arange(height), np.arange(width), (height, width))


def slow_features(prob_hw, mask_hw, others, threshold):
    """Some features of one component, pixel by pixel."""
    inside, outside = [], []
    for row, column in np.argwhere(mask_hw):
        for step in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            near = row + step[0], column + step[1]
            if (
                0 <= near[0] < mask_hw.shape[0]
                and 0 <= near[1] < mask_hw.shape[1]
                and not mask_hw[near]
            ):
                inside.append(prob_hw[row, column] / 255)
                outside.append(prob_hw[near] / 255)
    prob = prob_hw[mask_hw] / 255
    frame = np.zeros(mask_hw.shape, bool)
    frame[[0, -1]] = frame[:, [0, -1]] = True
    return {
        "threshold": threshold / 255,
        "log_area": np.log(mask_hw.sum()),
        "maximum": prob.max(),
        "mean": prob.mean(),
        "deviation": prob.std(),
        "inner_border": np.mean(inside),
        "outer_border": np.mean(outside),
        "roughness": len(inside) / np.sqrt(mask_hw.sum()),
        "at_edge": float((mask_hw & frame).any()),
        "others": len(others),
        "log_area_of_others": np.log1p(sum(other.sum() for other in others)),
        "maximum_of_others": max((prob_hw[other].max() / 255 for other in others), default=0),
    }


@pytest.mark.parametrize("seed", range(4))
def test_features_parents_and_drawing(seed):
    maps = a_map(seed)
    foreground = foreground_of(maps, 60)
    segments = find_segments(foreground, CUTS)
    assert len(segments.parent) >= 5
    masks, number = [], 0
    for cut in CUTS:
        components = find_components(maps, cut)
        of_cut = []
        for label in range(1, len(components.area_px) + 1):
            mask_hw = np.zeros(maps.prob_hw.shape, bool)
            mask_hw.ravel()[components.pixels[components.labels == label]] = True
            of_cut.append(mask_hw)
        for i, mask_hw in enumerate(of_cut):
            others = of_cut[:i] + of_cut[i + 1 :]
            expected = slow_features(maps.prob_hw, mask_hw, others, cut.threshold)
            measured = dict(zip(FEATURES, segments.features[number].tolist(), strict=True))
            for name, value in expected.items():
                assert measured[name] == pytest.approx(value, abs=1e-5), name
            parent = segments.parent[number]
            if cut is CUTS[0]:
                assert parent == -1
            else:
                assert (masks[parent] | ~mask_hw).all()
                growth = np.log(masks[parent].sum() / mask_hw.sum())
                assert measured["growth"] == pytest.approx(min(growth, 4), abs=1e-5)
            cuts = cut_segments(foreground, CUTS, last=number)
            drawn_hw = foreground.whole(draw_segments(foreground, cuts, [number]))
            assert ((drawn_hw > 0) == mask_hw).all()
            number += 1
        masks += of_cut
    assert number == len(segments.parent)


def test_cutting_out_the_part_changes_nothing():
    maps = a_map(9, (60, 300))
    foreground = foreground_of(maps, 60)
    assert foreground.maps.prob_hw.size < maps.prob_hw.size / 2
    frame = whole(maps)
    small, large = find_segments(foreground, CUTS), find_segments(frame, CUTS)
    np.testing.assert_array_equal(small.features, large.features)
    np.testing.assert_array_equal(small.parent, large.parent)
    chosen = [0, len(small.parent) - 1]
    np.testing.assert_array_equal(
        foreground.whole(draw_segments(foreground, small.cuts, chosen)),
        draw_segments(frame, large.cuts, chosen),
    )


def test_a_rectangle_measures_its_sides():
    prob_hw = np.zeros((20, 30), np.uint8)
    prob_hw[5:9, 3:15] = 255
    features = find_segments(foreground_of(ImageMaps(prob_hw), 60), CUTS[:1]).features
    measured = dict(zip(FEATURES, features[0].tolist(), strict=True))
    assert np.exp(measured["log_length"]) == pytest.approx(12)
    assert np.exp(measured["log_width"]) == pytest.approx(4)
    assert measured["rectangularity"] == pytest.approx(1)
    assert measured["growth"] == measured["shrinkage"] == 4
    assert measured["children"] == 0


def test_segments_that_share_pixels_are_drawn_once():
    prob_hw = np.zeros((9, 9), np.uint8)
    prob_hw[2:7, 2:7] = 100
    prob_hw[4, 4] = 250
    foreground = foreground_of(ImageMaps(prob_hw), 60)
    cuts = cut_segments(foreground, CUTS)
    first, second = (
        foreground.whole(draw_segments(foreground, cuts, chosen)) for chosen in ([0, 1], [1, 0])
    )
    assert (first == (prob_hw > 0)).all()
    assert (second[4, 4], second[2, 2]) == (1, 2)


def test_runs_within_the_foreground_are_those_of_the_image():
    rng = np.random.default_rng(0)
    for _ in range(50):
        prob_hw = rng.integers(0, 256, (6, 8)).astype(np.uint8)
        prob_hw[:, rng.random(8) < 0.4] = 0
        prob_hw[rng.random(6) < 0.4] = 0
        prob_hw[:, rng.random(8) < 0.3] = 255  # runs that go on in the next column
        foreground = foreground_of(ImageMaps(prob_hw), 100)
        if foreground is None:
            continue
        labels_hw = (foreground.maps.prob_hw >= 100).astype(np.int32)
        texts = encode_labels(labels_hw, foreground.within)
        assert texts == encode_labels(foreground.whole(labels_hw))


def test_no_pixel_high_enough():
    assert foreground_of(a_map(0), 255) is None
    foreground = whole(ImageMaps(np.zeros((5, 6), np.uint8)))
    segments = find_segments(foreground, CUTS)
    assert segments.features.shape == (0, len(FEATURES))
    assert (draw_segments(foreground, segments.cuts, []) == np.zeros((5, 6))).all()


def test_cuts_by_contact_need_the_channel():
    with pytest.raises(ArtifactError, match="the maps have none"):
        find_segments(foreground_of(a_map(0), 60), (Separation("contact", 60, 8, 100),))
