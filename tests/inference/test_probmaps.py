"""Maps on disk: whole, complete, of this job, or refused."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ArtifactError
from pipeline.inference import probmaps
from pipeline.inference.probmaps import MapReader as AnyMapReader
from pipeline.inference.probmaps import MapWriter
from pipeline.jobs.job import Job
from pipeline.jobs.parts import Part
from pipeline.maps import ImageMaps
from pipeline.masks.sizes import Sizes

pytestmark = pytest.mark.unit
MapReader = partial(AnyMapReader, contact=False)

WHOLE = Part("test")


def job_in(folder: Path, wanted: str = "a") -> Job:
    wanted_fields = {"stage": "predict/test", "fold": None, "seed": 0, "config": {"x": wanted}}
    return Job("predict/test", None, folder, wanted_fields | {"inputs": {}, "files": {}})


def write(folder, maps, *, part=WHOLE, finish=True):
    """Write the part's maps, as far as they are not yet written."""
    writer = MapWriter(job_in(folder), part, floor=0.2)
    added = [name for name in part.of(list(maps)) if name not in writer.written]
    for image_id in added:
        writer.add(image_id, [ImageMaps(maps[image_id])])
    if finish:
        writer.end(list(maps), "cpu")
    return added


@pytest.fixture
def maps():
    random = np.random.default_rng(0)
    high = random.integers(0, 256, (7, 9), dtype=np.uint8)
    return {"b.jpg": high, "a.jpg": np.full((7, 9), 40, np.uint8), "c.jpg": high // 2}


def test_maps_come_back_and_low_ones_cost_a_line(tmp_path, maps):
    write(tmp_path, maps)
    reader = MapReader(job_in(tmp_path), list(maps), Sizes((7, 9)))
    assert np.array_equal(reader.read("b.jpg").prob_hw, maps["b.jpg"])
    assert reader.read("a.jpg") is None
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["b.jpg.png", "c.jpg.png"]
    assert "a.jpg,0.1569,0.156863,,0,\n" in (tmp_path / "index.csv").read_text()


def test_the_image_heads_answer_stands_in_the_index(tmp_path, maps):
    writer = MapWriter(job_in(tmp_path), WHOLE, floor=0.2)
    for chance, (image_id, prob_hw) in zip((0.123456, 0.5, None), maps.items(), strict=True):
        writer.add(image_id, [ImageMaps(prob_hw, None, chance)])
    writer.end(list(maps), "cpu")
    reader = MapReader(job_in(tmp_path), list(maps), Sizes((7, 9)))
    assert reader.read("b.jpg").image_prob == 0.123456
    assert reader.read("c.jpg").image_prob is None


def test_a_killed_writer_goes_on_after_what_it_recorded(tmp_path, maps, monkeypatch):
    monkeypatch.setattr("pipeline.inference.probmaps.RECORD_EVERY", 2)
    write(tmp_path, maps, finish=False)
    assert write(tmp_path, maps) == ["c.jpg"]
    assert MapReader(job_in(tmp_path), list(maps), Sizes((7, 9))).read("c.jpg") is not None
    assert not (tmp_path / "records").exists()


def test_the_manifest_names_every_precision_that_maps_were_predicted_in(tmp_path, maps):
    for shard, precision in enumerate(["bfloat16", "float32"]):
        part = Part("test", shard, 2)
        writer = MapWriter(job_in(tmp_path), part, floor=0.2)
        writer.precisions = [precision]
        for image_id in part.of(list(maps)):
            writer.add(image_id, [ImageMaps(maps[image_id])])
        writer.end(list(maps), "cpu")
    write(tmp_path, maps)
    assert job_in(tmp_path).manifest["precision"] == "bfloat16, float32"


def test_a_record_is_written_after_its_maps_are_on_the_disk(tmp_path, maps, monkeypatch):
    order = []
    record = probmaps.write_json
    monkeypatch.setattr(probmaps.os, "sync", lambda: order.append("sync"))
    monkeypatch.setattr(
        probmaps, "write_json", lambda *what: (order.append("record"), record(*what))
    )
    monkeypatch.setattr(probmaps, "RECORD_EVERY", 2)
    write(tmp_path, maps)
    assert order == ["sync", "record"] * 2


def test_unfinished_maps_of_another_configuration_are_refused(tmp_path, maps, monkeypatch):
    monkeypatch.setattr("pipeline.inference.probmaps.RECORD_EVERY", 1)
    write(tmp_path, maps, finish=False)
    with pytest.raises(ArtifactError, match=r"0of1\.json: unfinished work for something else: \w+"):
        MapWriter(job_in(tmp_path, "b"), WHOLE, floor=0.2)


@pytest.mark.parametrize("later", [1, 2, 3, 7])
def test_shards_write_no_image_twice_or_never(tmp_path, monkeypatch, later):
    """Two shards, one of them cut off, then `later` ones in its stead, and the whole."""
    monkeypatch.setattr("pipeline.inference.probmaps.RECORD_EVERY", 4)
    random = np.random.default_rng(0)
    maps = {f"{i}.jpg": random.integers(0, 256, (7, 9), dtype=np.uint8) for i in range(21)}
    written = write(tmp_path, maps, part=Part("test", 0, 2))
    assert len(written) == 11
    assert len(write(tmp_path, maps, part=Part("test", 1, 2), finish=False)) == 10
    recorded_of_the_cut = list(maps)[1::2][:8]
    for part in WHOLE.cut(later) if later > 1 else []:
        written += write(tmp_path, maps, part=part)
    assert not (tmp_path / "manifest.json").exists(), "a shard does not finish the job"
    written += write(tmp_path, maps)
    assert sorted(written + recorded_of_the_cut) == sorted(maps)
    reader = MapReader(job_in(tmp_path), list(maps), Sizes((7, 9)))
    assert all(np.array_equal(reader.read(name).prob_hw, maps[name]) for name in maps)


def test_an_index_of_too_many_or_too_few_images_is_not_made(tmp_path, maps):
    write(tmp_path, maps, part=Part("test", 0, 2))
    writer = MapWriter(job_in(tmp_path), WHOLE, floor=0.2)
    with pytest.raises(ArtifactError, match=r"expected each of 3 images once, got 2; .* a.jpg"):
        writer.end(list(maps), "cpu")
    writer.add("a.jpg", [ImageMaps(maps["a.jpg"])])
    writer.add("b.jpg", [ImageMaps(maps["b.jpg"])])
    with pytest.raises(ArtifactError, match=r"expected each of 3 images once, got 4; .* b.jpg"):
        writer.end(list(maps), "cpu")


def test_other_images_other_sizes_and_damage_are_refused(tmp_path, maps):
    write(tmp_path, maps)
    job = job_in(tmp_path)
    with pytest.raises(ArtifactError, match=r"maps of 2 images, got 3; only in one of both: c.jpg"):
        MapReader(job, ["a.jpg", "b.jpg"], Sizes((7, 9)))
    with pytest.raises(ArtifactError, match=r"b.jpg.png: expected a map of shape \(9, 7\)"):
        MapReader(job, list(maps), Sizes((9, 7))).read("b.jpg")
    path = tmp_path / "maps" / "b.jpg.png"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"b.jpg.png: expected a map"):
        MapReader(job, list(maps), Sizes((7, 9))).read("b.jpg")
    path.unlink()
    with pytest.raises(ArtifactError, match=r"b.jpg.png: .* got 0 other bytes"):
        MapReader(job, list(maps), Sizes((7, 9))).read("b.jpg")


@pytest.mark.parametrize("change", [lambda c: c[:-30] + b"." + c[-29:], lambda c: c + b"\0"])
def test_a_map_that_was_edited_or_padded_is_refused(tmp_path, maps, change):
    write(tmp_path, maps)
    path = tmp_path / "maps" / "b.jpg.png"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ArtifactError, match=r"b\.jpg\.png: expected a map .* other bytes"):
        MapReader(job_in(tmp_path), list(maps), Sizes((7, 9))).read("b.jpg")


def test_every_id_has_a_map_of_its_own_and_comes_back_as_it_is(tmp_path):
    names = ["t.jpg", "t.png", "t", "a/t.png", "b/t.png", "a_/t.png", "t.png/x", "x" * 251]
    names += ["NA", "nan", "null", "None", "007", "é", "1e5"]
    random = np.random.default_rng(0)
    maps = {name: random.integers(0, 256, (7, 9), dtype=np.uint8) for name in names}
    maps |= {"N/A": np.zeros((7, 9), np.uint8)}
    write(tmp_path, maps)
    reader = MapReader(job_in(tmp_path), list(maps), Sizes((7, 9)))
    for name in names:
        assert np.array_equal(reader.read(name).prob_hw, maps[name])
    assert reader.read("N/A") is None


def test_maps_of_earlier_versions_are_found_by_their_stems_and_go_by_size(tmp_path, maps):
    write(tmp_path, maps)
    for name in ("b", "c"):
        (tmp_path / "maps" / f"{name}.jpg.png").rename(tmp_path / "maps" / f"{name}.png")
    index = pd.read_csv(tmp_path / "index.csv").drop(columns="sha256")
    index.to_csv(tmp_path / "index.csv", index=False)
    job_in(tmp_path).finish(["index.csv"], {})
    reader = MapReader(job_in(tmp_path), list(maps), Sizes((7, 9)))
    assert np.array_equal(reader.read("b.jpg").prob_hw, maps["b.jpg"])
    (tmp_path / "maps" / "c.png").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"c\.png: .* got 0 other bytes"):
        reader.read("c.jpg")


@pytest.mark.parametrize("contact", [False, True])
def test_the_contact_map_is_kept_below_the_ship_map(tmp_path, maps, contact):
    contact_hw = maps["b.jpg"][::-1] if contact else None
    both, low = (ImageMaps(maps[name], contact_hw) for name in ("b.jpg", "a.jpg"))
    writer = MapWriter(job_in(tmp_path), WHOLE, floor=0.2)
    writer.add("b.jpg", [both])
    writer.add("a.jpg", [low])
    writer.end(["a.jpg", "b.jpg"], "cpu")
    reader = AnyMapReader(job_in(tmp_path), ["a.jpg", "b.jpg"], Sizes((7, 9)), contact=contact)
    assert reader.read("a.jpg") is None
    for name, value in vars(reader.read("b.jpg")).items():
        np.testing.assert_array_equal(value, getattr(both, name))
    height, other = (7 * (1 + each) for each in (contact, not contact))
    wrong = rf"expected a map of shape \({other}, 9\).*got shape \({height}, 9"
    with pytest.raises(ArtifactError, match=wrong):
        AnyMapReader(job_in(tmp_path), ["a.jpg", "b.jpg"], Sizes((7, 9)), contact=not contact).read(
            "b.jpg"
        )


@pytest.mark.parametrize("contact", [False, True])
def test_the_maps_of_each_class_come_back(tmp_path, maps, contact):
    layers = [
        ImageMaps(maps[name], maps[name][::-1] if contact else None)
        for name in ("a.jpg", "b.jpg", "c.jpg")
    ]
    writer = MapWriter(job_in(tmp_path), WHOLE, floor=0.2)
    writer.add("a.jpg", layers)
    writer.add("b.jpg", [layers[0]] * 3)
    writer.end(["a.jpg", "b.jpg"], "cpu")
    reader = AnyMapReader(
        job_in(tmp_path), ["a.jpg", "b.jpg"], Sizes((7, 9)), contact=contact, classes=3
    )
    for layer, expected in enumerate(layers):
        for name, value in vars(reader.read("a.jpg", layer)).items():
            np.testing.assert_array_equal(value, getattr(expected, name))
        assert reader.read("b.jpg", layer) is None, "no class of it rises above the floor"


def test_maps_of_another_version_are_refused(tmp_path, maps, monkeypatch):
    monkeypatch.setattr(probmaps, "RECORD_EVERY", len(maps))
    with monkeypatch.context() as patch:
        patch.setattr(probmaps, "COLUMNS", [f"{name}_then" for name in probmaps.COLUMNS])
        write(tmp_path, maps, finish=False)
    with pytest.raises(ArtifactError, match=r"records.*0of1\.json: unfinished .*another version"):
        write(tmp_path, maps)
    shutil.rmtree(tmp_path / "records")
    write(tmp_path, maps)
    index = pd.read_csv(tmp_path / "index.csv").drop(columns="mean_probability")
    index.to_csv(tmp_path / "index.csv", index=False)
    job_in(tmp_path).finish(["index.csv"], {})
    with pytest.raises(ArtifactError, match=r"index\.csv: .*mean_probability.*another version"):
        MapReader(job_in(tmp_path), list(maps), Sizes((7, 9)))


@pytest.mark.parametrize("contact", [False, True])
def test_the_strip_that_version_0_1_0_stored_below_is_left_out(tmp_path, maps, contact):
    prob_hw, contact_hw = maps["b.jpg"], maps["b.jpg"][::-1] if contact else None
    writer = MapWriter(job_in(tmp_path), WHOLE, floor=0.2)
    strips = [contact_hw, prob_hw // 2] if contact else [prob_hw // 2]
    writer.add("b.jpg", [ImageMaps(np.concatenate([prob_hw, *strips]))])
    writer.end(["b.jpg"], "cpu")
    index = pd.read_csv(tmp_path / "index.csv")
    index.insert(3, "mean_disagreement", 0.25)
    index.to_csv(tmp_path / "index.csv", index=False)
    job_in(tmp_path).finish(["index.csv"], {})
    found = AnyMapReader(job_in(tmp_path), ["b.jpg"], Sizes((7, 9)), contact=contact).read("b.jpg")
    np.testing.assert_array_equal(found.prob_hw, prob_hw)
    np.testing.assert_array_equal(found.contact_hw, contact_hw)
