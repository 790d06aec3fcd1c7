"""Objects of a scene do not depend on blocks or extent, and those of one window are stage 6's."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pixel_model import ALL, FILTERED, WINDOW, blobs, model_of

from pipeline.errors import ArtifactError
from pipeline.inference.predict import as_layers
from pipeline.masks.rle import decode_labels
from pipeline.package.found import describe
from pipeline.selection.rules import find_objects
from pipeline.selection.thresholds import Rules
from pipeline.separation.separate import Separation
from pipeline.windows.pixels import Picture

pytestmark = pytest.mark.unit


def whole_objects(model, image_hwc):
    """The objects of each class, cut from the maps of the whole image at once."""
    levels_chw = image_hwc.transpose(2, 0, 1)[: model._network.layers]
    found = []
    for class_id, maps in zip(
        model.classes, as_layers(levels_chw, None, model.config), strict=True
    ):
        labels_hw = find_objects(maps, model._rules[class_id])
        if labels_hw is not None:
            labels_hw = labels_hw if model.config.task.objects else np.minimum(labels_hw, 1)
            found += describe(class_id, labels_hw, maps)
    return found


def rings_of(one):
    return [[ring.tolist() for ring in rings] for rings in one.polygons]


def comparable(one):
    return replace(one, polygons=rings_of(one))


@settings(max_examples=10, deadline=None)
@given(
    st.integers(1, WINDOW[0]),
    st.integers(1, WINDOW[1]),
    st.integers(0, 999),
    st.sampled_from([ALL, FILTERED]),
    st.sampled_from(["demo", "masks", "whole_masks"]),
)
@example(18, 26, 203, ALL, "whole_masks")  # whose mean over one mask is rounded
def test_an_image_of_a_window_has_the_objects_of_its_maps(height, width, seed, rules, name):
    model = model_of(rules, name)
    image_hwc = blobs(height, width, seed, 0.4)
    found = [*map(comparable, model.predict(image_hwc))]
    assert found == [*map(comparable, whole_objects(model, image_hwc))]


@settings(max_examples=10, deadline=None)
@given(st.tuples(*[st.integers(1, 130)] * 2), st.integers(0, 999), st.sampled_from([0.2, 0.4]))
def test_without_image_filters_objects_are_those_of_the_whole(shape, seed, share):
    # Equals that a watershed has to part it parts by where in the map they lie.
    model = model_of(Rules(Separation("components", 100, 4), min_area_px=3))
    image_hwc = blobs(*shape, seed, share)
    found, expected = (
        sorted(map(comparable, objects), key=lambda one: one.rle)
        for objects in (model.predict(image_hwc), whole_objects(model, image_hwc))
    )
    assert found == expected


def test_one_mask_a_class_is_that_of_the_whole():
    model = model_of(ALL, "whole_masks", "own_data.classes=[a, b]", "predict.look_again=false")
    image_hwc = blobs(100, 130, 1, 0.4)
    found, expected = model.predict(image_hwc), whole_objects(model, image_hwc)
    assert [(one.class_id, one.rle, one.area_px) for one in found] == [
        (one.class_id, one.rle, one.area_px) for one in expected
    ]
    for one, whole in zip(found, expected, strict=True):
        assert one.box_xyxy == whole.box_xyxy
        assert one.mean_probability == pytest.approx(whole.mean_probability)
        assert one.rectangle == whole.rectangle
        assert sorted(rings_of(one)) == sorted(rings_of(whole))


@pytest.mark.parametrize("rules", [ALL, FILTERED], ids=["all", "filtered"])
@pytest.mark.parametrize("name", ["demo", "classes"])
def test_objects_do_not_depend_on_blocks(tmp_path, rules, name):
    model = model_of(rules, name)
    picture = Picture("a", blobs(150, 170, 3, 0.4))
    each = [
        [*map(comparable, model.find(picture, tmp_path / str(block_px), block_px=block_px))]
        for block_px in (19, 64, 2048)
    ]
    assert len(each[0]) > 20
    assert max(one.rectangle.length_px for one in each[0]) > max(WINDOW)
    assert each[1:] == each[:1] * 2
    again = [*map(comparable, model.find(picture, tmp_path / "19", block_px=2048))]
    assert again == each[0], "from the windows that are there"


@pytest.mark.parametrize("rows", [2, 3])
def test_what_is_found_stays_where_the_image_goes_on(rows):
    model = model_of(FILTERED)
    height, width = rows * WINDOW[0], 2 * WINDOW[1]
    image_hwc = blobs(height + 50, width + 70, 2, 0.4)
    image_hwc[height - 2 : height + 2] = image_hwc[:, width - 2 : width + 2] = 0
    cut = model.predict(np.ascontiguousarray(image_hwc[:height, :width]))
    whole = [
        one
        for one in model.predict(image_hwc)
        if one.box_xyxy[2] <= width and one.box_xyxy[3] <= height
    ]
    assert len(cut) > 5
    assert [*map(rings_of, cut)] == [*map(rings_of, whole)]


def test_a_cell_keeps_or_loses_its_objects_alone():
    image_hwc = np.zeros((WINDOW[0], 3 * WINDOW[1], 3), np.uint8)
    for number, level in enumerate((250, 150, 250)):  # the middle one is below the filter's level
        image_hwc[5:15, number * WINDOW[1] + 10 : number * WINDOW[1] + 20] = level
    found = model_of(FILTERED).predict(image_hwc)
    assert [one.box_xyxy for one in found] == [(10, 5, 20, 15), (90, 5, 100, 15)]
    labels_hw = decode_labels([one.rle for one in found], *image_hwc.shape[:2])
    assert (labels_hw > 0).sum() == 200


@pytest.mark.parametrize("name", ["demo", "whole_masks"])
def test_where_nothing_is_valid_nothing_is_found(tmp_path, name):
    class Invalid(Picture):
        def read(self, box):
            return super().read(box)[0], np.zeros(box.shape, bool)

    picture = Invalid("a", np.full((70, 90, 3), 255, np.uint8))
    assert [*model_of(ALL, name).find(picture, tmp_path)] == []


def test_a_model_resumes_no_other_models_windows(tmp_path):
    picture = Picture("a", blobs(40, 40, 0, 0.4))
    [*model_of(ALL).find(picture, tmp_path)]
    other = model_of(ALL, made_of={"train/fold0": "another"})
    with pytest.raises(ArtifactError, match="windows of the same model, got those of another"):
        [*other.find(picture, tmp_path)]
