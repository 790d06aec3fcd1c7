"""Targets: what each pixel should be answered, and the ship's probability in every answer."""

import cv2
import numpy as np
import pytest
import torch

from pipeline.config.augment import Augment
from pipeline.config.fields import CHANNELS, channels
from pipeline.config.schema import Crops, Targets
from pipeline.data.contact import contact
from pipeline.data.targets import (
    make_target,
    object_truth,
    probabilities,
    without_borders,
)
from pipeline.data.tiles import CropDataset, ImageDataset
from pipeline.data.true_objects import TrueObjects
from pipeline.masks.rle import encode_labels

pytestmark = pytest.mark.unit


def labels(*rows):
    return np.array([[int(letter) for letter in row] for row in rows], np.int32)


def made(labels_hw, kind, contact_px=1):
    return make_target(
        np.atleast_3d(labels_hw.T).T, Targets(kind=kind, contact_px=contact_px, contact_weight=1.0)
    ).numpy()


TOUCHING = labels("0000000", "0111220", "0111220", "0000000")
APART = labels("1110222", "1110222", "0000000", "0000000")


def test_a_mask_of_ships_is_one_channel():
    target = made(TOUCHING, "object")
    assert target.dtype == np.uint8
    assert np.array_equal(target, [TOUCHING > 0])


def test_ships_that_touch_have_contact_on_both_sides_and_around_the_ends():
    ship, between = made(TOUCHING, "object_contact")
    assert np.array_equal(ship, TOUCHING > 0)
    assert np.array_equal(between, labels("0001100", "0001100", "0001100", "0001100"))


def test_a_narrow_gap_is_contact_and_a_wider_reach_takes_in_the_ships():
    assert np.array_equal(contact(APART, 1), labels("0001000", "0001000", "0001000", "0000000"))
    assert np.array_equal(contact(APART, 2), labels("0011100", "0011100", "0011100", "0011100"))


def test_classes_put_contact_on_ships_and_leave_the_gap_to_the_background():
    target = made(TOUCHING, "softmax")
    assert target.dtype == np.int64
    assert np.array_equal(target, labels("0000000", "0112210", "0112210", "0000000"))
    apart = made(APART, "softmax", contact_px=2)
    assert np.array_equal(apart, labels("1120211", "1120211", "0000000", "0000000"))


def test_ships_of_one_pixel_corners_and_edges():
    corner = labels("100", "020", "000")
    # Of two pixels that meet one must give way; neither can spare any.
    assert contact(corner, 1).sum() == contact(corner, 3)[corner > 0].sum() == 1
    assert not contact(labels("10002"), 1).any()
    assert np.array_equal(contact(labels("1002"), 2), labels("0110"))
    assert np.array_equal(contact(labels("1112"), 5), labels("0010"))


@pytest.mark.parametrize("labels_hw", [labels("000", "000"), labels("111", "111"), labels("3")])
def test_without_two_ships_there_is_no_contact(labels_hw):
    assert not contact(labels_hw, 3).any()
    assert np.array_equal(made(labels_hw, "softmax"), labels_hw > 0)
    assert made(labels_hw, "object_contact").sum() == (labels_hw > 0).sum()


def test_two_parts_of_one_ship_do_not_meet():
    assert not contact(labels("101", "000"), 2).any()


@pytest.mark.parametrize("within_px", [1, 2, 4])
def test_contact_of_wide_ships_is_what_two_distances_say(within_px):
    labels_hw = np.zeros((60, 80), np.int32)
    labels_hw[5:30, 3:25], labels_hw[10:40, 25:60], labels_hw[33:55, 2:24] = 1, 2, 3
    near = sum(_distance_px(labels_hw == ship) <= within_px for ship in range(1, 4))
    assert np.array_equal(contact(labels_hw, within_px), near >= 2)


@pytest.mark.parametrize("within_px", [1, 2, 4])
def test_every_touching_ship_keeps_a_core_of_its_own(within_px):
    labels_hw = np.zeros((40, 60), np.int32)
    labels_hw[10:20, 5:50] = 1
    for ship, left in enumerate(range(5, 35, 3), start=2):  # ten boats along the large ship
        labels_hw[20:29, left : left + 3] = ship
    labels_hw[9, 20:22], labels_hw[12:15, 50] = 12, 13  # two of a few pixels, all within reach
    left_hw = np.where(contact(labels_hw, within_px), 0, labels_hw)
    assert set(np.unique(left_hw)) == set(range(14))
    count, cores_hw = cv2.connectedComponents((left_hw > 0).astype(np.uint8), connectivity=8)
    assert count - 1 == 13
    assert len(np.unique(np.stack([left_hw, cores_hw])[:, left_hw > 0], axis=1).T) == 13


def _distance_px(mask_hw):
    """Distance to the mask in rows or columns, whichever is more; infinite without a mask."""
    rows, columns = np.nonzero(mask_hw)
    if not rows.size:
        return np.full(mask_hw.shape, np.inf)
    row, column = np.indices(mask_hw.shape)
    apart = np.maximum(abs(row[..., None] - rows), abs(column[..., None] - columns))
    return apart.min(-1)


@pytest.mark.parametrize("kind", CHANNELS)
def test_a_perfect_answer_has_the_ships_as_its_probability(kind):
    target = torch.from_numpy(made(TOUCHING, kind))[None]
    if kind == "softmax":
        one_hot = torch.nn.functional.one_hot(target, CHANNELS[kind])
        truth = one_hot.permute(0, 3, 1, 2)
    else:
        truth = target
    assert truth.shape[1] == CHANNELS[kind]
    probability = probabilities(200.0 * truth - 100, kind)
    truth = object_truth(target, kind)
    assert torch.equal(truth[0, 0], torch.from_numpy(TOUCHING > 0))
    assert torch.equal(without_borders(probability, kind), truth.float())
    if kind != "object":
        contact_hw = torch.from_numpy(contact(TOUCHING, 1))
        on_ships = contact_hw & (torch.from_numpy(TOUCHING) > 0)
        assert torch.equal(probability[:, 1:], on_ships.float()[None, None])


@pytest.mark.parametrize("kind", ["object", "object_contact"])
def test_several_classes_are_channels_of_their_own_with_their_borders_behind(kind):
    both = np.stack([TOUCHING, np.roll(TOUCHING, 2, axis=1)])
    target = made(both, kind)
    assert len(target) == channels(kind, 2)
    each = [made(labels_hw, kind) for labels_hw in both]
    assert np.array_equal(target, np.concatenate(list(map(np.stack, zip(*each, strict=True)))))
    batch = torch.from_numpy(target)[None]
    probability = probabilities(200.0 * batch - 100, kind)
    assert torch.equal(without_borders(probability, kind), torch.from_numpy(both > 0)[None].float())
    assert torch.equal(object_truth(batch, kind)[0], torch.from_numpy(both > 0))
    if kind == "object_contact":
        for number, labels_hw in enumerate(both):
            expected = contact(labels_hw, 1) & (labels_hw > 0)
            assert np.array_equal(probability[0, 2 + number], expected)


def test_the_ship_of_three_classes_is_all_that_is_not_background():
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = 1 - logits.softmax(1)[:, :1]
    assert torch.allclose(probabilities(logits, "softmax")[:, :1], expected, atol=1e-6)
    halves = probabilities(logits.bfloat16(), "softmax")
    assert halves.dtype == torch.float32


STILL = {name: 0 if name == "hue_deg" else 0.0 for name in Augment.model_fields}


def crops_of(tmp_path, labels_hw, **augment):
    """Crops of one image whose colour is the ship's number, and how it is augmented."""
    image_hwc = np.repeat(labels_hw[..., None] * 100, 3, axis=2).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image_hwc)
    shape = labels_hw.shape
    return CropDataset(
        [tmp_path / "a.png"],
        TrueObjects([encode_labels(labels_hw)], shape),
        targets=TWO,
        crops=Crops(
            size_px=40,
            batch_size=1,
            per_epoch=16,
            object_share=1.0,
            contact_share=0.0,
            empty_share=0.0,
            busiest_of=1,
            hard_run=None,
        ),
        augment=Augment(**STILL | {"symmetries": True} | augment),
        seed=0,
        stream=("train", 0),
    )


TWO = Targets(kind="object_contact", contact_px=2, contact_weight=1.0)


def test_targets_turn_with_the_crop(tmp_path):
    labels_hw = np.zeros((40, 40), np.int32)
    labels_hw[6:20, 4:16], labels_hw[6:34, 17:30] = 1, 2
    crops = crops_of(tmp_path, labels_hw)
    for index in range(16):
        item = crops[0, index]
        seen = (item["image_chw"][0].numpy() // 100).astype(np.int32)
        assert torch.equal(item["target"], make_target(seen[None], TWO))
    whole = ImageDataset(
        [tmp_path / "a.png"], (40, 40), (TrueObjects([encode_labels(labels_hw)], (40, 40)), TWO)
    )
    assert torch.equal(whole[0]["target"], make_target(labels_hw[None], TWO))


def test_contact_does_not_grow_with_a_zoomed_crop(tmp_path):
    labels_hw = np.repeat([[1, 2]], [20, 20], axis=1).repeat(40, axis=0).astype(np.int32)
    crops = crops_of(tmp_path, labels_hw, zoom=0.3)
    areas = {int(crops[0, index]["target"][1].sum()) for index in range(16)}
    assert areas == {2 * TWO.contact_px * 40}
