"""Settings may grow: what a stored configuration lacks is neutral, what was renamed is found."""

from pathlib import Path
from typing import Annotated

import pytest
import yaml

from pipeline import __version__
from pipeline.config.competitions import FIRST
from pipeline.config.data import Demo
from pipeline.config.earlier import (
    RENAMED,
    RENAMED_VALUES,
    Neutral,
    carried_over,
    in_0_1_0,
    models_in,
    new_name,
    without_neutral,
)
from pipeline.config.load import as_stored, load_config, load_stored_config
from pipeline.config.schema import Config
from pipeline.errors import ConfigError

pytestmark = pytest.mark.unit

DEMO = Path("configs/demo.yaml")


def schemas(model=Config, seen=()):
    """Every schema in the configuration, once."""
    found = [model]
    for info in model.model_fields.values():
        for inner in models_in(info.annotation):
            if inner not in (*seen, *found):
                found += schemas(inner, (*seen, *found))
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("model", schemas(), ids=lambda model: model.__name__)
def test_every_field_has_a_neutral_value_that_is_legal(model):
    tag = model.model_fields.get("name")
    given = (
        {"name": tag.annotation.__args__[0]}
        if hasattr(tag, "annotation") and getattr(tag.annotation, "__args__", ())
        else {}
    )
    filled = carried_over(model, given)  # a TypeError names the field that lacks one
    assert set(filled) == set(model.model_fields)
    model.model_validate(filled)


def test_a_field_without_a_neutral_value_is_named():
    class Grown(Config):
        new: int

    with pytest.raises(TypeError, match=r"Grown\.new has no neutral value"):
        carried_over(Grown, {})


def stored(tmp_path, tree):
    path = tmp_path / "mine" / "config.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(tree))
    return path


def test_what_is_stored_comes_back(tmp_path):
    config = load_config(DEMO, ["name=mine", "calibrate.watershed=null"])
    path = stored(tmp_path, yaml.safe_load(as_stored(config)))
    assert load_stored_config(path) == config
    assert load_config(path, []) == config, "a stored configuration can be given as CONFIG"


def test_keys_of_later_are_neutral_in_what_is_stored_and_demanded_of_a_person(tmp_path):
    tree = yaml.safe_load(as_stored(load_config(DEMO, ["name=mine"])))
    del tree["augment"]["zoom"], tree["machine"], tree["train"]["loss"][0]["label_smoothing"]
    path = stored(tmp_path, tree)
    config = load_stored_config(path)
    assert config.augment.zoom == 0
    assert config.train.loss[0].label_smoothing == 0
    assert config.machine.tensorboard is False
    with pytest.raises(ConfigError, match=r"augment\.zoom: missing"):
        load_config(path, [])


def test_what_is_neutral_does_not_count():
    tree = load_config(DEMO, []).model_dump(mode="json")
    kept = without_neutral(Config, tree)
    assert "zoom" not in kept["augment"]
    assert kept["train"]["loss"] == [{"name": "bce_minus_ln_dice"}]
    assert carried_over(Config, kept) == tree
    assert without_neutral(Config, tree | {"of_later": 1})["of_later"] == 1


@pytest.mark.parametrize("key", RENAMED)
def test_renamed_keys_are_found_in_what_is_stored_and_refused_of_a_person(tmp_path, key):
    tree = yaml.safe_load(as_stored(load_config(DEMO, ["name=mine"])))
    config = Config.model_validate({k: v for k, v in tree.items() if k != "version"})
    old, new = (name.split(".") for name in (key, RENAMED[key]))
    value = tree
    for part in new:
        value = value[part]
    section = tree[new[0]]
    if len(new) > 2:
        del section[new[1]][new[-1]]
        section = section.setdefault(old[1], section.pop(new[1]))
    else:
        del section[new[-1]]
    section[old[-1]] = value
    assert load_stored_config(stored(tmp_path, tree)) == config
    with pytest.raises(ConfigError, match=rf"{key}=1: is called {RENAMED[key]} now"):
        load_config(DEMO, [f"{key}=1"])
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"base: {DEMO.resolve()}\n{old[0]}:\n  {old[1]}: 1\n")
    with pytest.raises(ConfigError, match=rf"mine.yaml:3: {'.'.join(old[:2])}: is called .* now"):
        load_config(mine, [])


@pytest.mark.parametrize(
    ("key", "old"), [(key, old) for key, values in RENAMED_VALUES.items() for old in values]
)
def test_renamed_values_are_found_in_what_is_stored_and_refused_of_a_person(tmp_path, key, old):
    tree = yaml.safe_load(as_stored(load_config(DEMO, ["name=mine"])))
    section, name = key.split(".")
    tree[section][name] = old
    carried = carried_over(Config, tree)
    assert carried[section][name] == RENAMED_VALUES[key][old]
    assert in_0_1_0(carried)[section][name] == old, "what stands for its jobs stays the same"
    with pytest.raises(ConfigError, match=rf"{key}: {old} is called {carried[section][name]} now"):
        load_config(DEMO, [f"{key}={old}"])


def test_new_names():
    assert new_name("crops.ship_share") == "crops.object_share"
    assert new_name("calibrate.acceptance.trees") == "calibrate.candidate_selection.trees"
    assert new_name("crops.object_share") is None


@pytest.mark.parametrize("load", [load_stored_config, lambda path: load_config(path, [])])
def test_a_configuration_of_a_newer_version_is_refused_by_name(tmp_path, load):
    tree = yaml.safe_load(as_stored(load_config(DEMO, ["name=mine"])))
    assert tree["version"] == __version__
    path = stored(tmp_path, tree | {"version": "9.10.0", "telepathy": True})
    with pytest.raises(ConfigError, match=r"config.yaml:\d+: telepathy: unknown key") as error:
        load(path)
    assert "Version 9.10.0 of the pipeline wrote it, and this is" in str(error.value)
    path.write_text(yaml.safe_dump(tree | {"telepathy": True}))
    with pytest.raises(ConfigError, match=r"telepathy: unknown key") as error:
        load(path)
    assert "wrote it" not in str(error.value)


def test_a_new_setting_of_the_demo_leaves_its_folder(monkeypatch):
    """The name is a hash of the settings, and the data and the folds lie under it."""
    assert load_config(DEMO, []).data_folder == Path("data/demo-5d1d6ebd")

    class Grown(Demo):
        clouds: Annotated[float, Neutral(0.0)]

    monkeypatch.setattr("pipeline.config.data.Demo", Grown)
    data = load_config(DEMO, []).data
    for clouds in (0.0, 0.5):
        grown = data.model_copy(update={"demo": Grown(**data.demo.model_dump(), clouds=clouds)})
        assert (grown.folder_of(FIRST) == data.folder_of(FIRST)) == (clouds == 0.0)


def test_what_was_trained_needs_its_start_weights_no_more(tmp_path):
    weights = tmp_path / "start.pt"
    weights.touch()
    config = load_config(DEMO, [f"network.weights={weights}", "name=run"])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(as_stored(config))
    weights.unlink()
    assert load_stored_config(tmp_path / "run" / "config.yaml") == config
