"""Paths mean what whoever types them means, wherever the project lies."""

import sys
from pathlib import Path

import pytest

from pipeline.commands import compare, find_overlaps, list_networks, predict_images, predict_package
from pipeline.config.load import load_config
from pipeline.config.paths import CALLER, expanded, of_caller
from pipeline.errors import ConfigError

pytestmark = pytest.mark.unit

DEMO = Path("configs/demo.yaml").resolve()
PATHS = {
    "data.root": "tiles",
    "data.test_truth": "t.csv",
    "folds.file": "f.csv",
    "network.weights": "w.pt",
}


def value(config, key):
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


@pytest.fixture
def apart(tmp_path, monkeypatch):
    """The project's folder and, elsewhere, the folder that run.sh was called from, and home."""
    project, caller, home = (tmp_path / name for name in ("project", "caller", "home"))
    for folder in (project, caller, home):
        folder.mkdir()
        (folder / "w.pt").touch()
    monkeypatch.chdir(project)
    monkeypatch.setenv(CALLER, str(caller))
    monkeypatch.setenv("HOME", str(home))
    return project, caller, home


@pytest.mark.parametrize("key", PATHS)
def test_home_is_expanded_in_every_path_of_the_configuration(apart, key):
    project, _, home = apart
    (project / "own.yaml").write_text(f"base: {DEMO}\n")
    overridden = load_config(project / "own.yaml", [f"{key}=~/{PATHS[key]}"])
    assert str(value(overridden, key)) == str(home / PATHS[key])
    section, name = key.split(".")
    (project / "own.yaml").write_text(f"base: {DEMO}\n{section}: {{{name}: ~/{PATHS[key]}}}\n")
    assert str(value(load_config(project / "own.yaml", []), key)) == str(home / PATHS[key])


@pytest.mark.parametrize("key", PATHS)
def test_an_unknown_user_is_an_error_with_its_place(apart, key):
    project, _, _ = apart
    section, name = key.split(".")
    with pytest.raises(ConfigError, match=rf"line: {key}: .*expected ~ or ~user .* '~no-such'"):
        load_config(DEMO, [f"{key}=~no-such/x"])
    (project / "own.yaml").write_text(f"base: {DEMO}\n{section}:\n  {name}: ~no-such/x\n")
    with pytest.raises(ConfigError, match=rf"own.yaml:3: {key}: expected ~ or ~user"):
        load_config(project / "own.yaml", [])


@pytest.mark.parametrize("key", PATHS)
def test_relative_paths_of_the_command_line_are_the_callers(apart, key):
    _, caller, _ = apart
    config = load_config(DEMO, [f"{key}={PATHS[key]}"])
    assert str(value(config, key)) == str(caller / PATHS[key])


def test_a_section_given_as_a_whole_has_its_paths_from_the_caller(apart):
    _, caller, _ = apart
    config = load_config(DEMO, ["folds={count: 3, file: f.csv}"])
    assert config.folds.file == caller / "f.csv"


def test_words_are_no_paths_and_files_speak_of_the_project(apart):
    _, caller, _ = apart
    assert load_config(DEMO, ["network.weights=imagenet"]).network.weights == "imagenet"
    (caller / "own.yaml").write_text(f"base: {DEMO}\ndata: {{root: tiles}}\n")
    config = load_config(Path("own.yaml"), [])
    assert config.data.root == Path("tiles")


def test_the_demo_is_the_projects_own(apart):
    project, caller, _ = apart
    (project / "configs").mkdir()
    (project / "configs" / "demo.yaml").write_bytes(DEMO.read_bytes())
    assert load_config(Path("configs/demo.yaml"), []).name == "demo"
    with pytest.raises(ConfigError, match=f"{caller}: expected a configuration file, got"):
        load_config(caller, [])
    with pytest.raises(ConfigError, match=f"{caller}/configs/demo2.yaml: no such configuration"):
        load_config(Path("configs/demo2.yaml"), [])


def test_paths_are_shown_as_from_the_project(apart, monkeypatch):
    project, caller, _ = apart
    assert of_caller(Path("a/b")) == caller / "a/b"
    assert of_caller(Path("../project/data/x")) == Path("data/x")
    assert of_caller(Path("../x")) == caller.parent / "x"
    assert of_caller(caller / "x") == caller / "x"
    monkeypatch.setenv(CALLER, str(project))
    assert of_caller(Path("../x")) == Path("../x")
    monkeypatch.delenv(CALLER)
    assert of_caller(Path("../x")) == Path("../x")


def test_a_link_that_leads_to_itself_is_refused(apart):
    _, caller, _ = apart
    (caller / "loop").symlink_to("loop")
    for override in ("data.root=loop", "folds.file=loop/x", "network.weights=loop"):
        with pytest.raises(ConfigError, match="no link that leads back to itself"):
            load_config(DEMO, [override])
    with pytest.raises(ConfigError, match="no link that leads back to itself"):
        load_config(Path("loop"), [])


def test_names_too_long_for_a_file_are_refused(tmp_path):
    assert expanded(Path("é" * 127)) == Path("é" * 127)
    with pytest.raises(ValueError, match="at most 255 bytes in a path, got one of 256"):
        expanded(Path("data") / ("é" * 128) / "x")
    with pytest.raises(ConfigError, match=r"network\.weights: .*at most 255 bytes"):
        load_config(DEMO, ["network.weights=" + "w" * 300])
    long = load_config(DEMO, ["data.root=/" + "d" * 255])
    assert len(long.data_name) == 80 + 7
    assert long.name == f"demo-{long.data_name}"
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"base: {DEMO}\nname: {'n' * 113}\n")
    with pytest.raises(ConfigError, match=r"data\.root: expected a run's name of at most 200"):
        load_config(mine, ["data.root=/" + "d" * 255])


@pytest.mark.parametrize(
    ("command", "arguments", "told"),
    [
        (compare, ["runs/a", "~/runs/b"], "no {caller}/runs/a/config.yaml"),
        (find_overlaps, ["tiles", "out"], "{caller}/tiles: expected a folder with images"),
        (find_overlaps, ["~/tiles", "out"], "{home}/tiles: expected a folder with images"),
        (find_overlaps, ["~no-such/x", "out"], "~no-such/x: expected ~ or ~user"),
        (
            predict_images,
            ["p.jpg", "--run", "a", "--out", "o"],
            "{caller}/p.jpg: expected",
        ),
        (
            predict_package,
            ["--package", "p", "--data", "d", "--output", "o.csv"],
            "{caller}/p",
        ),
        (list_networks, ["--config", "own.yaml"], "{caller}/own.yaml: no such configuration"),
    ],
)
def test_paths_of_commands_are_the_callers(apart, caplog, command, arguments, told):
    _, caller, home = apart
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["command", *arguments])
        with pytest.raises(SystemExit) as ended:
            command.main()
    assert ended.value.code == 2
    assert told.format(caller=caller, home=home) in caplog.text
