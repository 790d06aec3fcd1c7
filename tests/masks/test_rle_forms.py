"""Masks as competitions number them: exact both ways, against masks that are drawn."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.config.competitions import Rle
from pipeline.errors import DataError
from pipeline.masks.rle import decode_mask, encode_mask, parse_rows, parse_runs
from pipeline.masks.rle_forms import from_numbering, reorder, shrink, to_form, to_texts, unite

pytestmark = pytest.mark.unit

FORMS = [
    Rle(order, first, relative, ends, empty)
    for order, first, relative, ends, empty in product(
        ("columns", "rows"), (0, 1), (False, True), (False, True), ("", "-", "-1")
    )
]
masks = arrays(
    np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 1)
)


def written(mask_hw, rle):
    """Write a mask as the form says, pixel by pixel."""
    flat = mask_hw.ravel("F" if rle.order == "columns" else "C").tolist()
    pairs, at, behind = [], 0, 0
    while at < len(flat):
        if flat[at]:
            end = at
            while end < len(flat) and flat[end]:
                end += 1
            start = at - behind if rle.relative else at
            pairs += [start + rle.first, end - 1 + rle.first if rle.ends else end - at]
            at = behind = end
        else:
            at += 1
    return " ".join(map(str, pairs)) or rle.empty


def read(texts, rle, height, width):
    """Read texts of a form as masks of the pipeline's."""
    runs, owners = parse_rows(from_numbering(texts, rle), height, width)
    if rle.order == "rows":
        runs, owners = reorder(runs, owners, np.full((len(texts), 2), (height, width)))
    return to_texts(runs, owners, len(texts), Rle())


@given(masks, masks, st.sampled_from(FORMS))
def test_every_form_is_read_and_written_exactly(one_hw, other_hw, rle):
    other_hw = np.resize(other_hw, one_hw.shape)
    every = [one_hw, np.zeros_like(one_hw), other_hw, np.ones_like(one_hw)]
    texts = [written(mask_hw, rle) for mask_hw in every]
    own = [encode_mask(mask_hw) for mask_hw in every]
    assert read(texts, rle, *one_hw.shape) == own
    assert to_form(own, rle, np.full((4, 2), one_hw.shape)) == texts


def test_pixels_change_their_order_in_blocks_of_whole_masks(monkeypatch):
    monkeypatch.setattr("pipeline.masks.rle_forms.BLOCK_PX", 8)
    random = np.random.default_rng(0)
    every = (random.random((40, 7, 5)) < 0.4).astype(np.uint8)
    rle = Rle(order="rows")
    assert read([written(m, rle) for m in every], rle, 7, 5) == [encode_mask(m) for m in every]


@pytest.mark.parametrize(
    ("text", "rle", "rule"),
    [
        ("19 2", Rle(first=0), "ends beyond the image"),
        ("0 3 -1 2", Rle(first=0, relative=True), "overlaps"),
        ("3 2", Rle(ends=True), "zero length"),
        ("0 2", Rle(order="rows"), "zero start"),
        ("1 x", Rle(first=0, relative=True), "'x' is not a number"),
        ("1 2 3", Rle(first=0, relative=True), "an odd count of 3"),
        ("-", Rle(first=0, empty="-1"), "'-' is not a number"),
    ],
)
def test_what_breaks_a_rule_is_said(text, rle, rule):
    with pytest.raises(DataError, match=rule):
        parse_runs(from_numbering([text], rle)[0], 4, 5)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 19), st.integers(1, 20))))
def test_runs_are_united_as_the_pixels_are(rows):
    rows = [(owner, start, min(length, 20 - start)) for owner, start, length in rows]
    runs = np.array([row[1:] for row in rows], np.int64).reshape(-1, 2)
    owners = np.array([row[0] for row in rows], np.int64)
    drawn = np.zeros((4, 20), np.uint8)
    for owner, start, length in rows:
        drawn[owner, start : start + length] = 1
    united, of = unite(runs, owners, 20)
    assert to_texts(united, of, 4, Rle()) == [encode_mask(mask[:, None]) for mask in drawn]


@given(arrays(np.uint8, (8, 12), elements=st.integers(0, 1)))
def test_half_of_the_pixels_make_a_smaller_one(mask_hw):
    smaller = shrink(encode_mask(mask_hw), (8, 12), (2, 3))
    share = mask_hw.reshape(2, 4, 3, 4).mean(axis=(1, 3))
    np.testing.assert_array_equal(decode_mask(smaller, 2, 3), share >= 0.5)
    with pytest.raises(DataError, match="a whole number of times 3x3 px, got 12x8"):
        shrink("", (8, 12), (3, 3))
