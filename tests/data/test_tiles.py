"""Crops: right pixels, right share of ships, and the same ones for any number of workers."""

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pipeline.config.augment import Augment
from pipeline.config.schema import Crops, Targets
from pipeline.data.contact import contact
from pipeline.data.tiles import CropDataset, ImageDataset
from pipeline.data.true_objects import TrueObjects
from pipeline.masks.rle import decode_labels, encode_labels
from tests.annotations import annotation_set

pytestmark = pytest.mark.unit

HEIGHT, WIDTH, IMAGES = 60, 72, 6
SHIP = Targets(kind="object", contact_px=2, contact_weight=1.0)
STILL = Augment(
    symmetries=False,
    zoom=0.0,
    rotation_deg=0.0,
    brightness=0.0,
    contrast=0.0,
    hue_deg=0,
    blur_probability=0.0,
    noise_probability=0.0,
)
LIVELY = Augment(
    symmetries=True,
    zoom=0.2,
    rotation_deg=20.0,
    brightness=0.2,
    contrast=0.2,
    hue_deg=10,
    blur_probability=0.3,
    noise_probability=0.3,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Images whose red channel is 200 on ships and 20 elsewhere; every other one is empty."""
    folder = tmp_path_factory.mktemp("tiles")
    random = np.random.default_rng(0)
    paths, encoded, truths = [], [], []
    for number in range(IMAGES):
        labels_hw = np.zeros((HEIGHT, WIDTH), np.int32)
        if number % 2:
            labels_hw[5:9, random.integers(0, 60) :][:, :7] = 1
            labels_hw[40:60, 10:13] = 2
        image_hwc = np.full((HEIGHT, WIDTH, 3), number, np.uint8)
        image_hwc[..., 0] = np.where(labels_hw > 0, 200, 20)
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), image_hwc[..., ::-1])
        paths.append(path)
        encoded.append(encode_labels(labels_hw))
        truths.append(labels_hw)
    return paths, encoded, truths


def dataset(
    world,
    *,
    size_px=24,
    per_epoch=32,
    object_share=0.75,
    contact_share=0.0,
    empty_share=0.1,
    busiest_of=1,
    augment=STILL,
    only=None,
    draw_weights=None,
    targets=SHIP,
    classes=1,
):
    paths, encoded, _ = world
    chosen = range(IMAGES) if only is None else only
    layers = [texts for i in chosen for texts in encoded[i * classes : (i + 1) * classes]]
    return CropDataset(
        [paths[i] for i in chosen],
        TrueObjects(layers, (HEIGHT, WIDTH), classes),
        targets=targets,
        crops=Crops(
            size_px=size_px,
            batch_size=1,
            per_epoch=per_epoch,
            object_share=object_share,
            contact_share=contact_share,
            empty_share=empty_share,
            busiest_of=busiest_of,
            hard_run=None,
        ),
        augment=augment,
        seed=3,
        stream=("train", 0),
        draw_weights=draw_weights,
    )


def number(item):
    """The image a crop is from."""
    return int(item["image_chw"][1, 0, 0])


def test_windows_are_painted_as_the_truth(world):
    _, encoded, truths = world
    ships = TrueObjects(encoded, (HEIGHT, WIDTH))
    for image, labels_hw in enumerate(truths):
        window = slice(3, 47), slice(8, 70)
        assert np.array_equal(ships.labels(image, *window)[0], labels_hw[window])


def test_a_run_over_several_columns_is_painted(tmp_path):
    ships = TrueObjects([[f"{HEIGHT - 1} {HEIGHT + 3}"]], (HEIGHT, WIDTH))
    (labels_hw,) = ships.labels(0, slice(0, HEIGHT), slice(0, WIDTH))
    assert labels_hw.sum() == HEIGHT + 3
    assert labels_hw[:, 1].all()
    assert np.array_equal(ships.labels(0, slice(0, 5), slice(1, 4))[0], labels_hw[:5, 1:4])


def test_classes_are_painted_and_drawn_each_by_itself(world):
    """The second class of an image is what the next image shows; they may share pixels."""
    paths, encoded, truths = world
    layers = [texts for n in range(IMAGES) for texts in (encoded[n], encoded[(n + 1) % IMAGES])]
    both = TrueObjects(layers, (HEIGHT, WIDTH), 2)
    assert [both.count(n) for n in range(IMAGES)] == [2] * IMAGES
    assert both.images_with_objects().tolist() == [*range(IMAGES)]
    whole = slice(0, HEIGHT), slice(0, WIDTH)
    for n in range(IMAGES):
        expected = np.stack([truths[n], truths[(n + 1) % IMAGES]])
        assert np.array_equal(both.labels(n, *whole), expected)
        pixels = [both.random_pixel(n, np.random.default_rng(seed)) for seed in range(20)]
        assert all(expected[:, row, column].any() for row, column in pixels)
    touching = [[f"1 {HEIGHT}", f"{HEIGHT + 1} {HEIGHT}"], [], [], ["1 5", "6 5"]]
    found = TrueObjects(touching, (HEIGHT, WIDTH), 2).contacts(1)
    alone = [TrueObjects([touching[n]], (HEIGHT, WIDTH)).contacts(1)[0] for n in (0, 3)]
    assert all(np.array_equal(found[n], expected) for n, expected in enumerate(alone))
    crops = dataset((paths, layers, truths), classes=2, augment=LIVELY)
    assert crops[0, 0]["target"].shape == (2, 24, 24)


def test_target_and_pixels_belong_together(world):
    items = [dataset(world)[0, index] for index in range(32)]
    for item in items:
        assert item["image_chw"].shape == (3, 24, 24)
        assert item["image_chw"].dtype == item["target"].dtype == torch.uint8
        assert torch.equal(item["image_chw"][0] > 100, item["target"][0] > 0)


def test_under_all_augmentations_target_and_pixels_still_belong_together(world):
    crops = dataset(world, augment=LIVELY)
    agreement = [
        ((item["image_chw"][0] > 100) == (item["target"][0] > 0)).float().mean().item()
        for item in (crops[0, index] for index in range(32))
    ]
    assert min(agreement) > 0.93


@pytest.mark.parametrize(("ships", "empty"), [(0.0, 0.25), (0.5, 0.5), (0.5, 0.2), (1.0, 0.0)])
def test_the_set_shares_of_crops_hold_a_ship_and_come_from_empty_images(world, ships, empty):
    crops = dataset(world, object_share=ships, empty_share=empty, per_epoch=40)
    items = [crops[1, index] for index in range(40)]
    with_ships = sum(bool(item["target"].any()) for item in items)
    assert round(40 * ships) <= with_ships <= 40 - round(40 * empty)
    # The green channel is the image's number, and images with even ones are empty.
    assert sum(number(item) % 2 == 0 for item in items) == round(40 * empty)


def test_the_set_share_of_crops_holds_a_contact_where_ships_meet(tmp_path):
    world = [], [], None
    for image in range(4):
        labels_hw = np.zeros((HEIGHT, WIDTH), np.int32)
        labels_hw[5:9, 10:30], labels_hw[50:60, 10 + image : 40] = 1, 2
        if image % 2:
            labels_hw[9:14, 12:20] = 3
        path = tmp_path / f"{image}.png"
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), image, np.uint8))
        world[0].append(path)
        world[1].append(encode_labels(labels_hw))
    shares = {"object_share": 0.25, "empty_share": 0.0, "contact_share": 0.5}
    two = Targets(kind="object_contact", contact_px=2, contact_weight=1.0)
    crops = dataset(world, size_px=16, per_epoch=200, targets=two, only=range(4), **shares)
    items = [crops[0, index] for index in range(200)]
    of_contact = [number(item) for item in items if item["target"][1].any()]
    # The half that was asked for and some by chance, less those with one of the two at the edge.
    assert 95 <= len(of_contact) < 150
    assert set(of_contact) == {1, 3}
    only = dataset(world, size_px=16, per_epoch=20, targets=two, only=[0, 2], **shares)
    items = [only[0, index] for index in range(20)]
    assert not any(item["target"][1].any() for item in items)
    assert sum(bool(item["target"].any()) for item in items) >= 15  # of ships, instead


def test_contacts_are_found_without_painting_what_is_far_apart():
    span = 160
    texts = annotation_set(48, span=span).groupby("ImageId").EncodedPixels.apply(list).tolist()
    found = TrueObjects(texts, (span, span)).contacts(2)
    expected = [np.argwhere(contact(decode_labels(each, span, span), 2)) for each in texts]
    assert {image for image, pixels in enumerate(expected) if len(pixels)} == set(found)
    assert 24 < len(found) < 48
    for image, pixels in found.items():
        assert np.array_equal(pixels, expected[image])


def test_crops_without_a_wanted_ship_lie_where_the_image_is_busy(tmp_path):
    image_hwc = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image_hwc[:12, :12] = np.random.default_rng(0).integers(0, 255, (12, 12, 3))
    path = tmp_path / "corner.png"
    cv2.imwrite(str(path), image_hwc)
    world = [path], [[]], None
    seen = []
    for tries in (1, 8):
        crops = dataset(world, object_share=0.0, per_epoch=200, busiest_of=tries, only=[0])
        items = [crops[0, index]["image_chw"].float() for index in range(200)]
        seen.append(np.mean([item.std().item() > 10 for item in items]))
    assert seen[1] > 2 * seen[0] > 0


@pytest.mark.parametrize(
    ("empty", "shares"),
    [
        ((0.1, 0.3, 0.6), (0.1, 0.3, 0.6)),
        ((0.1, 0.5, np.nan), (1 / 9, 5 / 9, 3 / 9)),
        ((np.nan,) * 3, (1 / 3,) * 3),
    ],
)
def test_hard_empty_images_come_more_often(world, empty, shares):
    draw_weights = np.full(IMAGES, 0.9)
    draw_weights[::2] = empty
    crops = dataset(
        world, object_share=0.0, empty_share=1.0, per_epoch=1000, draw_weights=draw_weights
    )
    seen = np.bincount([number(crops[0, index]) for index in range(1000)], minlength=IMAGES)
    assert seen[::2] / 1000 == pytest.approx(shares, abs=0.05)
    assert not seen[1::2].any()


def test_ships_are_not_always_in_the_centre(world):
    labels_hw = np.zeros((HEIGHT, WIDTH), np.int32)
    labels_hw[28:32, 34:38] = 1
    crops = CropDataset(
        world[0][:1],
        TrueObjects([encode_labels(labels_hw)], (HEIGHT, WIDTH)),
        targets=SHIP,
        crops=Crops(
            size_px=30,
            batch_size=1,
            per_epoch=200,
            object_share=1.0,
            contact_share=0.0,
            empty_share=0.0,
            busiest_of=1,
            hard_run=None,
        ),
        augment=STILL,
        seed=0,
        stream=("train", 0),
    )
    total = sum(crops[0, index]["target"][0].float() for index in range(200))
    quarters = total.reshape(2, 15, 2, 15).sum((1, 3))
    assert quarters.min() > 0.15 * total.sum()


def test_an_epoch_uses_every_image_before_one_again_and_epochs_differ(world):
    crops = dataset(world, object_share=0.0, empty_share=0.5, per_epoch=IMAGES)
    first, second = ([number(crops[e, i]) for i in range(IMAGES)] for e in (0, 1))
    assert sorted(first) == sorted(second) == list(range(IMAGES))
    assert first != second


def test_without_any_ship_there_are_still_crops(world):
    crops = dataset(world, object_share=0.75, only=[0, 2, 4])
    assert not any(crops[0, index]["target"].any() for index in range(32))


def test_images_smaller_than_the_crop_are_reflected(world):
    item = dataset(world, size_px=96)[0, 0]
    assert item["image_chw"].shape == (3, 96, 96)
    assert torch.equal(item["image_chw"][0] > 100, item["target"][0] > 0)


def keys(count):
    return [(epoch, index) for epoch in range(2) for index in range(count)]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_crops_and_do_not_repeat_each_other(world, workers):
    crops = dataset(world, augment=LIVELY, per_epoch=16)
    alone = [crops[key]["image_chw"] for key in keys(16)]
    loader = DataLoader(crops, 4, sampler=keys(16), num_workers=workers)
    loaded = torch.cat([batch["image_chw"] for batch in loader])
    assert torch.equal(loaded, torch.stack(alone))
    assert len({tuple(image.flatten().tolist()) for image in alone}) == len(alone)


def test_whole_images_come_in_order(world):
    paths, encoded, truths = world
    images = ImageDataset(paths, (HEIGHT, WIDTH), (TrueObjects(encoded, (HEIGHT, WIDTH)), SHIP))
    for index, labels_hw in enumerate(truths):
        assert torch.equal(images[index]["target"][0], torch.from_numpy(labels_hw > 0).byte())
    assert set(ImageDataset(paths, (HEIGHT, WIDTH))[0]) == {"image_chw"}
