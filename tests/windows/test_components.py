"""Components of the whole are found from blocks, whatever the blocks."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.inference.regions import Box
from pipeline.windows.components import Joined
from pipeline.windows.grid import blocks

pytestmark = pytest.mark.unit


def spiral(side):
    """One object through all of a square, which most blocks see as several."""
    object_hw = np.ones((side, side), bool)
    for ring in range(1, side // 2, 2):
        object_hw[ring, ring - 1 : side - ring] = False
        object_hw[ring : side - ring, side - ring - 1] = False
        object_hw[side - ring - 1, ring + 1 : side - ring] = False
        object_hw[ring + 2 : side - ring, ring + 1] = False
    return object_hw


def found(object_hw, side_px):
    joined = Joined(object_hw.shape[1])
    for block in blocks(Box(0, 0, *object_hw.shape), side_px):
        joined.add(block, np.ascontiguousarray(object_hw[block.slices]))
    components = joined.components()
    order = np.lexsort(components.first_yx.T[::-1])
    return components.boxes[order].tolist(), components.first_yx[order].tolist()


def expected(object_hw):
    labels_hw, count = ndimage.label(object_hw, np.ones((3, 3)))
    boxes = [
        [rows.start, columns.start, rows.stop, columns.stop]
        for rows, columns in ndimage.find_objects(labels_hw)
    ]
    labels, first = np.unique(labels_hw, return_index=True)
    first = first[labels > 0]
    order = np.argsort(first)
    assert len(order) == count
    first_yx = np.stack(np.divmod(first[order], object_hw.shape[1]), axis=1)
    return [boxes[number] for number in order], first_yx.tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.1, 0.3, 0.45, 0.6, 1.0]),
    st.integers(1, 45),
)
@example((2, 2), 0, 1.0, 1)
def test_components_are_those_of_the_whole(shape, seed, share, side_px):
    object_hw = np.random.default_rng(seed).random(shape) < share
    assert found(object_hw, side_px) == expected(object_hw)


@pytest.mark.parametrize("side_px", [1, 2, 3, 7, 16, 40])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_an_object_through_many_blocks_is_one(side_px, turns):
    object_hw = np.rot90(spiral(31), turns)
    assert found(object_hw, side_px) == expected(object_hw)
    diagonal_hw = np.eye(30, dtype=bool)[:, :: 1 - 2 * (turns % 2)]  # meets at blocks' corners
    assert found(diagonal_hw, side_px)[0] == [[0, 0, 30, 30]]
