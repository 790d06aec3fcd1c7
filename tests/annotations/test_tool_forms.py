"""LabelMe, CVAT, PNG and GeoJSON: what is written comes back, what cannot be taken is listed."""

import base64
import json
import re
from functools import partial

import cv2
import numpy as np
import pytest
import shapely
from drawn import holed, image, masks, pixels, sample
from hypothesis import HealthCheck, assume, given, settings

from pipeline.annotations import cvat, geojson, labelme, png
from pipeline.annotations.annotation import Annotated, RefusalError, Source
from pipeline.annotations.images import find_image, image_size
from pipeline.errors import DataError
from pipeline.masks.rle import decode_mask, encode_labels, encode_mask

pytestmark = pytest.mark.unit
CLASSES = ["ship", "b <&> \"ä'"]
FORMS = {
    "labelme": (labelme.write, labelme.read, ""),
    "cvat": (partial(cvat.write, classes=CLASSES), cvat.read, "annotations.xml"),
}


def round_trip(form, folder, images, root):
    """Write, read and return the images that came back and what was not taken."""
    write, read, file = FORMS[form]
    folder.mkdir(exist_ok=True)
    write(folder, images, root=root)
    rejected = []
    beside = None if form == "labelme" else root
    return list(read(Source(folder / file, beside), rejected)), rejected


@pytest.mark.parametrize("form", FORMS)
def test_every_pixel_comes_back(tmp_path, form):
    images = sample(tmp_path / "own", CLASSES)
    found, rejected = round_trip(form, tmp_path / "out", images, tmp_path / "own")
    assert rejected == []
    found = [(path.resolve(), *more) for path, *more in pixels(found)]
    assert sorted(found) == sorted(pixels(images))


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(masks)
def test_any_mask_comes_back(tmp_path, form, mask_hw):
    text = encode_mask(mask_hw)
    assume(text)
    path = image(tmp_path, "a.png", *mask_hw.shape)
    images = [Annotated(path, *mask_hw.shape, [("ship", text)] * 2, "")]
    (found,), rejected = round_trip(form, tmp_path / "out", images, tmp_path)
    assert (found.objects, rejected) == (images[0].objects, [])


def test_png_maps_number_the_objects_of_a_class(tmp_path):
    images = sample(tmp_path / "own")
    alone = [Annotated(each.path, each.height, each.width, [], "") for each in images]
    for each, full in zip(alone, images, strict=True):
        taken_hw = np.zeros((each.height, each.width), np.uint8)
        for name, text in full.objects:  # without those that lie on others
            mask_hw = decode_mask(text, each.height, each.width)
            if not (taken_hw & mask_hw).any():
                taken_hw |= mask_hw
                each.objects.append((name, text))
    png.write(tmp_path / "one", alone, root=tmp_path / "own", classes=["ship"])
    for each in alone:
        path = tmp_path / "one/masks" / each.path.relative_to(tmp_path / "own")
        labels_hw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert labels_hw.dtype == np.uint16
        assert encode_labels(labels_hw.astype(np.int32)) == [text for _, text in each.objects]
    with pytest.raises(DataError, match=r"masks \d+ and \d+ of .* share pixels"):
        png.write(tmp_path / "no", images, root=tmp_path / "own", classes=["ship"])
    each = holed(tmp_path / "own")
    layered = [Annotated(*pixels([each])[0][:3], [("a", each.objects[0][1]), ("b", "1 1")], "")]
    png.write(tmp_path / "two", layered, root=tmp_path / "own", classes=["a", "b"])
    assert [cv2.imread(str(tmp_path / f"two/masks/{name}/in/holed.png"), -1).sum() for name in "ab"]


def test_geojson_encloses_the_pixels(tmp_path):
    each = holed(tmp_path)
    geojson.write(tmp_path / "out", [each], root=tmp_path)
    known = json.loads((tmp_path / "out/in/holed.png.geojson").read_text())
    for (_, text), feature in zip(each.objects, known["features"], strict=True):
        shape = shapely.geometry.shape(feature["geometry"])
        mask_hw = decode_mask(text, each.height, each.width)
        assert shape.is_valid
        assert shape.area == feature["properties"]["area_px"] == mask_hw.sum()
        y, x = np.indices(mask_hw.shape) + 0.5
        np.testing.assert_array_equal(shapely.contains_xy(shape, x, y), mask_hw)


def test_images_that_differ_by_their_ending_alone_are_refused(tmp_path):
    images = [Annotated(image(tmp_path, name, 2, 3), 2, 3, [], "") for name in ("a.png", "a.jpg")]
    for write in (labelme.write, partial(png.write, classes=["ship"])):
        with pytest.raises(DataError, match=r"a.jpg: .* got a.png as well"):
            write(tmp_path / "out", images, root=tmp_path)


def test_a_turned_picture_has_the_size_that_it_is_read_with(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGB", (20, 10)).save(tmp_path / "b.jpg")
    assert image_size(tmp_path / "a.jpg") == (20, 10)
    assert image_size(tmp_path / "b.jpg") == (10, 20)


def in_base64(mask_hw):
    return base64.b64encode(cv2.imencode(".png", np.array(mask_hw, np.uint8))[1]).decode()


def test_labelme_shapes_are_taken_or_listed(tmp_path):
    image(tmp_path / "images", "a.png", 10, 20)
    square, two = [[2, 3], [6, 3], [6, 8], [2, 8]], [[2, 3], [6, 8]]
    corner = {"points": [[19, 8], [20, 9]], "shape_type": "mask"}
    first = "24 5 34 5 44 5 54 5"
    good = [
        ({"points": square}, first),
        ({"points": two, "shape_type": "rectangle"}, first),
        ({"points": [[5, 5], [5, 7]], "shape_type": "circle"}, "35 2 44 4 54 4 65 2"),
        (corner | {"mask": in_base64([[1, 1], [0, 1]])}, "199 1"),
    ]
    bad = [
        ({"points": square[:2]}, "3 points or more, got 2"),
        ({"points": square[:1], "shape_type": "point"}, "'point', which has no area"),
        ({"points": square, "shape_type": "rectangle"}, "a rectangle by two points, got"),
        ({"points": [[10**400, 3], *square[1:]]}, "pairs of numbers"),
        ({"points": two, "shape_type": "mask", "mask": "\u00e9"}, "a PNG in base64"),
        ({"points": two, "shape_type": "mask", "mask": "?"}, "a PNG in base64"),
        ({"points": two, "shape_type": "mask"}, "a PNG in base64"),
        ({"points": two, "shape_type": "mask", "mask": in_base64([[1]])}, "mask of 5x6 px"),
        ({"points": square, "label": ""}, "name of a class"),
        ({"points": square, "label": ["a"], "group_id": [1]}, "name of a class"),
    ]
    shapes = [{"label": "ship", **shape} for shape, _ in [*good, *bad]]
    pair = [{"label": "ship", "group_id": 1, "points": square}, {"label": "ship", "group_id": 1}]
    known = {"shapes": [*shapes, *pair], "imagePath": "..\\images\\a.png", "imageHeight": 10}
    (tmp_path / "json").mkdir()
    for name, more in {
        "a": {},
        "b": {"imagePath": "b.png", "imageData": "abc"},
        "c": {"imageWidth": 30},
        "d": {"shapes": 3},
    }.items():
        (tmp_path / f"json/{name}.json").write_text(json.dumps(known | more))
    (tmp_path / "json/e.json").write_text("[" * 10**5)
    rejected = []
    (found,) = labelme.read(Source(tmp_path / "json"), rejected)
    assert [text for _, text in found.objects] == [text for _, text in good]
    for entry, (_, reason) in zip(rejected, bad, strict=False):
        assert re.search(reason, entry.reason)
    assert rejected[len(bad)].item == "shape 15, shape 16"
    expected = ["embedded, and there is no image b.png", "of Nonex|30", "list of shapes", "no JSON"]
    for entry, reason in zip(rejected[len(bad) + 1 :], expected, strict=True):
        assert re.search(reason, entry.reason)
    with pytest.raises(DataError, match=r"expected files \*.json"):
        list(labelme.read(Source(tmp_path / "images"), []))


def test_cvat_shapes_are_taken_or_listed(tmp_path, caplog):
    caplog.set_level("INFO")
    image(tmp_path / "images", "sub/a.png", 10, 20)
    box = 'top="8" width="2" height="2"'
    first = "24 5 34 5 44 5 54 5"
    good = [
        ('<polygon label="a" points="2.00,3.00;6.00,3.00;6.00,8.00;2.00,8.00"/>', first),
        (
            '<box label="a" xtl="2" ytl="3" xbr="6" ybr="8"><attribute>1</attribute></box>',
            first,
        ),
        ('<box label="a" xtl="1.5" ytl="3.5" xbr="6.5" ybr="7.5" rotation="90"/>', first),
        ('<ellipse label="a" cx="5" cy="5" rx="2" ry="2"/>', "35 2 44 4 54 4 65 2"),
        (f'<mask label="a" rle="0, 2, 1, 1" left="18" {box}/>', "189 1 199 2"),
        (
            '<box label="a" group_id="2" xtl="2" ytl="3" xbr="4" ybr="8"/>'
            '<box label="a" group_id="2" xtl="4" ytl="3" xbr="6" ybr="8"/>',
            first,
        ),
    ]
    bad = [
        ('<polyline label="a" points="2,3;6,3;6,8"/>', "'polyline', which has no area"),
        ('<polygon label="a" points="2,3;6,3"/>', "3 points or more, got 2"),
        ('<polygon label="a"/>', "something else"),
        ('<box label="a" xtl="2" ytl="x" xbr="6" ybr="8"/>', "ytl 'x'"),
        (
            f'<mask label="a" rle="0, 2" left="1" {box}/>',
            "of 2x2 px in all, got 2",
        ),
        (f'<mask label="a" rle="" left="1" {box}/>', "of 2x2 px"),
        (f'<mask label="a" rle="0, 4" left="19" {box}/>', "within its image of 20x10 px, got"),
        ('<mask label="a" rle="0, 4" left="4" top="4" width="-2" height="-2"/>', "within its"),
        ('<box xtl="2" ytl="3" xbr="6" ybr="8"/>', "name of a class"),
    ]
    inner = "".join(text for text, _ in [*good, *bad])
    size = 'width="20" height="10"'
    images = [
        f'<image id="0" name="sub/a.png" {size}>{inner}</image>',
        f'<image id="1" name="gone.png" {size}/>',
        '<image id="2" name="sub/a.png" width="10" height="20"/>',
        '<image id="2" name="sub/a.png" width="x"/>',
        '<image id="3" name="sub/a.png"/>',
    ]
    path = tmp_path / "annotations.xml"
    path.write_text(f"<annotations><version>1.1</version>{''.join(images)}</annotations>")
    rejected = []
    found, bare = cvat.read(Source(path), rejected)
    assert [text for _, text in found.objects] == [text for _, text in good]
    assert bare.objects == []
    reasons = [*(reason for _, reason in bad), "no image gone.png", "of 10x20 px that", "got 'x'"]
    for entry, reason in zip(rejected, reasons, strict=True):
        assert re.search(reason, entry.reason)
    assert rejected[0].item == "image sub/a.png, polyline 8"
    assert "1 attributes of shapes are not read" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations><track/></annotations>", "got tracks of CVAT for video"),
        ("<annotation/>", "element annotations, got annotation"),
        ("<annotations><image", "no XML"),
        ("{}", "no XML"),
    ],
)
def test_a_file_that_is_not_of_cvat_for_images_is_refused(tmp_path, text, message):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DataError, match=message):
        list(cvat.read(Source(tmp_path / "a.xml"), []))


@pytest.mark.parametrize("name", ["C:\\photos\\a.png", "/photos/a.png", "../photos/a.png", "a.png"])
def test_an_image_is_found_where_its_folder_is_another_machines(tmp_path, name):
    path = image(tmp_path / "images", "a.png", 2, 3)
    assert find_image(name, [tmp_path, tmp_path / "images"]) == path


@pytest.mark.parametrize("name", [".", "..", "", None, 3, "a\0.png", "a" * 300, "sub/a.png"])
def test_a_name_of_no_file_is_refused(tmp_path, name):
    image(tmp_path, "a.png", 2, 3)
    with pytest.raises(RefusalError, match=r"no image|expected the name of an image"):
        find_image(name, [tmp_path])
