"""The run-length text against pycocotools, on every kind of mask, and the message of each rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from pipeline.errors import DataError
from pipeline.masks.rle import (
    decode_labels,
    decode_mask,
    encode_labels,
    encode_mask,
    encode_runs,
    find_overlaps,
    label_runs,
    parse_rows,
    parse_runs,
)

pytestmark = pytest.mark.unit

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
MASKS = SHAPES.flatmap(lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, 1)))


def kaggle_text(mask_hw):
    """The same mask's text by way of pycocotools' own, independent run-length form."""
    counts = []
    compressed = coco.encode(np.asfortranarray(mask_hw))["counts"]
    place = 0
    while place < len(compressed):  # 5 bits a byte, the sixth says that more follow
        value, shift, more = 0, 0, True
        while more:
            byte = compressed[place] - 48
            value |= (byte & 31) << shift
            more, shift, place = bool(byte & 32), shift + 5, place + 1
            if not more and byte & 16:
                value |= -1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    starts = np.cumsum([0, *counts])
    pairs = zip(starts[1:-1:2] + 1, counts[1::2], strict=True)
    return " ".join(f"{start} {length}" for start, length in pairs)


def example_masks():
    shape = (12, 7)
    masks = {"empty": np.zeros(shape), "full": np.ones(shape), "row": np.zeros(shape)}
    masks["row"][5] = 1
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1), (6, 3)):
        masks[f"pixel{corner}"] = np.zeros(shape)
        masks[f"pixel{corner}"][corner] = 1
    masks["foot to head"] = np.zeros(shape)
    masks["foot to head"][-2:, 2] = masks["foot to head"][:3, 3] = 1
    masks["gap of a column"] = np.zeros(shape)
    masks["gap of a column"][-2:, 2] = masks["gap of a column"][:3, 4] = 1
    return {name: mask_hw.astype(np.uint8) for name, mask_hw in masks.items()}


@pytest.mark.parametrize("mask_hw", example_masks().values(), ids=example_masks())
def test_same_text_as_pycocotools(mask_hw):
    text = encode_mask(mask_hw)
    assert text == kaggle_text(mask_hw)
    np.testing.assert_array_equal(decode_mask(text, *mask_hw.shape), mask_hw)


@given(MASKS)
def test_same_text_as_pycocotools_for_any_mask(mask_hw):
    text = encode_mask(mask_hw)
    assert text == kaggle_text(mask_hw)
    decoded_hw = decode_mask(text, *mask_hw.shape)
    np.testing.assert_array_equal(decoded_hw, mask_hw)
    assert encode_mask(decoded_hw) == text  # whatever the memory order
    assert encode_runs(parse_runs(text, *mask_hw.shape)) == text


@given(SHAPES.flatmap(lambda shape: hnp.arrays(np.int32, shape, elements=st.integers(0, 4))))
def test_labels_are_their_masks(values_hw):
    present = np.unique(values_hw[values_hw > 0])
    labels_hw = np.searchsorted(np.append(0, present), values_hw).astype(np.int32)
    texts = encode_labels(labels_hw)
    assert texts == [kaggle_text((values_hw == value).astype(np.uint8)) for value in present]
    np.testing.assert_array_equal(decode_labels(texts, *labels_hw.shape), labels_hw)


def test_full_size_mask_of_many_ships():
    rng = np.random.default_rng(7)
    labels_hw = np.zeros((768, 512), np.int32)
    for label in range(1, 40):
        top, left = rng.integers(0, 700), rng.integers(0, 480)
        labels_hw[top : top + 30, left : left + 25] = label
    _, labels = np.unique(labels_hw, return_inverse=True)
    labels_hw = labels.reshape(labels_hw.shape).astype(np.int32)
    mask_hw = (labels_hw > 0).astype(np.uint8)
    assert encode_mask(mask_hw) == kaggle_text(mask_hw)
    np.testing.assert_array_equal(decode_labels(encode_labels(labels_hw), 768, 512), labels_hw)


def test_order_is_down_the_columns_from_one():
    mask_hw = np.zeros((3, 4), np.uint8)
    mask_hw[1:, 2] = 1
    assert encode_mask(mask_hw) == "8 2"


def test_empty_cases():
    assert encode_mask(np.zeros((4, 4), np.uint8)) == ""
    assert encode_labels(np.zeros((4, 4), np.int32)) == []
    assert parse_runs("", 4, 4).shape == (0, 2)
    assert not decode_mask("", 4, 4).any()
    assert not decode_labels([], 4, 4).any()
    runs, owners = parse_rows(["", ""], 4, 4)
    assert runs.shape == (0, 2)
    assert owners.shape == (0,)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("0 3", "zero start"),
        ("3 0", "zero length"),
        ("-1 3", "negative start"),
        ("1 -3", "negative length"),
        ("1 2 3", "odd count of 3"),
        ("1 x", "'x' is not a number"),
        ("1.0 2", "'1.0' is not a number"),
        ("1 ٣", "is not a number"),
        ("1 --2", "'--2' is not a number"),
        ("1 " + 5000 * "9", "is not a number"),
        (" ", "only blanks"),
        ("1\t2", "other than spaces"),
        ("19 3", "beyond the image of 4x5 = 20"),
        ("21 1", "beyond the image"),
        ("1 99999999999999999999999", "beyond the image"),
        ("9223372036854775807 1", "beyond the image"),
        ("5 2 1 2", "unsorted"),
        ("1 3 3 2", "overlaps the pair '1 3'"),
    ],
)
def test_each_broken_rule_is_named(text, rule):
    with pytest.raises(DataError, match=rule):
        parse_runs(text, 4, 5)
    with pytest.raises(DataError, match=f"mask 1: .*{rule}"):
        parse_rows(["1 1", text], 4, 5)
    with pytest.raises(DataError, match=f"mask 0: .*{rule}"):
        parse_rows([text, "2 1"], 4, 5)


def test_runs_that_touch_are_legal_and_the_last_pixel_is_inside():
    assert parse_runs("1 2 3 2", 4, 5).tolist() == [[0, 2], [2, 2]]
    assert parse_runs("20 1", 4, 5).tolist() == [[19, 1]]


@given(st.lists(st.text(alphabet="0123456789 -x", max_size=12), max_size=5))
def test_rows_at_once_are_the_rows_one_by_one(texts):
    single, fails = [], False
    for text in texts:
        try:
            single.append(parse_runs(text, 30, 40))
        except DataError:
            fails = True
    if fails:
        with pytest.raises(DataError):
            parse_rows(texts, 30, 40)
        return
    runs, owners = parse_rows(texts, 30, 40)
    for index, expected in enumerate(single):
        np.testing.assert_array_equal(runs[owners == index], expected)


def test_overlap_of_labels_names_both():
    with pytest.raises(DataError, match="masks 2 and 3 of 3 share pixels"):
        decode_labels(["1 2", "5 4", "8 1"], 4, 5)


@settings(max_examples=50)
@given(st.lists(MASKS.filter(lambda m: m.any()), min_size=2, max_size=4))
def test_overlaps_are_found_exactly(masks):
    runs = [label_runs(np.pad(m, ((0, 9 - m.shape[0]), (0, 9 - m.shape[1]))))[1] for m in masks]
    owners = np.repeat(np.arange(len(runs)), [len(part) for part in runs])
    flat = np.concatenate(runs)
    pixels = np.concatenate([np.arange(start, start + length) for start, length in flat])
    found = find_overlaps(flat[:, 0], flat[:, 1], owners)
    assert bool(len(found)) == (len(np.unique(pixels)) < len(pixels))


def test_values_that_are_no_mask_are_refused():
    with pytest.raises(ValueError, match="0 and 1 alone"):
        encode_mask(np.full((2, 2), 255, np.uint8))
    with pytest.raises(ValueError, match=r"1\.\.n"):
        encode_labels(np.array([[0, 2]], np.int32))
    with pytest.raises(ValueError, match=r"1\.\.n"):
        encode_labels(np.array([[-1, 1]], np.int32))
