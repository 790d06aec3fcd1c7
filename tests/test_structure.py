"""The shape of the project: imports go one way, every knob is read, the README is true."""

import ast
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

import pipeline
from pipeline.config import calibration, losses, networks
from pipeline.config.schema import Config

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
PIPELINE = ROOT / "pipeline"
SOURCES = sorted(PIPELINE.rglob("*.py"))
ROOT_FILES = {"__init__.py", "errors.py", "maps.py", "seeds.py"}
# What each room may import of the others, from the lowest floor up: only rooms that stand before
# it, so there is no circle. The files of the root that are no stage are below all of them.
ALLOWED = {
    "config": set(),
    "compute": {"config"},
    "jobs": {"compute", "config"},
    "masks": {"config", "jobs"},
    "metrics": {"masks"},
    "kaggle": {"jobs"},
    "data": {"config", "jobs", "masks"},
    "competitions": {"config", "data", "masks"},
    "annotations": {"config", "data", "masks"},
    "networks": {"compute", "config", "jobs"},
    "training": {"compute", "config", "data", "jobs", "metrics", "networks"},
    "inference": {"compute", "config", "data", "jobs", "masks", "metrics", "networks"},
    "separation": {"masks"},
    "selection": {"compute", "config", "masks", "metrics", "separation"},
    "calibration": {"config", "masks", "metrics", "selection", "separation"},
    "windows": {"config", "data", "inference", "jobs", "masks", "selection"},
    "package": {
        *("compute", "config", "data", "inference", "jobs", "kaggle", "masks", "metrics"),
        *("networks", "selection", "windows"),
    },
    "report": {"annotations", "config", "data", "jobs", "kaggle", "masks", "metrics"},
    "scenes": {
        *("config", "data", "inference", "jobs", "masks", "package", "report", "windows"),
    },
    "commands": {
        *("annotations", "compute", "config", "data", "jobs", "kaggle", "masks", "metrics"),
        *("networks", "package", "report", "scenes", "selection", "windows"),
    },
}
TRAINING_IS_USED_BY = {"s2_train.py", "s3_finetune.py"}
MAX_LINES, MAX_FUNCTION_LINES = 320, 60


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def room_of(path):
    """The room a module lies in, None for a file of the root."""
    parts = path.relative_to(PIPELINE).parts
    return parts[0] if len(parts) > 1 else None


def test_the_root_holds_the_stages_and_three_files_more():
    files = {path.name for path in PIPELINE.glob("*.py")}
    stages = {name for name in files if re.match(r"s[0-7]_\w+\.py", name)}
    assert len(stages) == 8
    assert files - stages == ROOT_FILES
    assert {room_of(path) for path in SOURCES} == {*ALLOWED, None}


def test_the_rooms_stand_on_floors():
    below = set()
    for room, allowed in ALLOWED.items():
        assert allowed <= below, f"{room} imports a room above it"
        below.add(room)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PIPELINE)))
def test_imports_go_one_way(path):
    inside = [name.split(".") for name in imports(path) if name.startswith("pipeline.")]
    assert not [name for name in inside if re.match(r"s\d_", name[1])], f"{path} imports a stage"
    room, used = room_of(path), {name[1] for name in inside if name[1] in ALLOWED}
    if room is not None:
        assert used - {room} <= ALLOWED[room]
        if room != "commands" and path.name != "__main__.py":
            assert ["pipeline", "jobs", "command"] not in inside, "a library reads no command line"
    elif path.name in ROOT_FILES:
        lazily = {"package"} if path.name == "__init__.py" else set()  # for `load_model`
        assert not used - lazily, "the root's files are below the rooms"
    if "training" in used - {room}:
        assert path.name in TRAINING_IS_USED_BY


def test_no_rule_allows_more_than_is_used():
    used = {room: set() for room in ALLOWED}
    for path in SOURCES:
        if (room := room_of(path)) is not None:
            used[room] |= {name.split(".")[1] for name in imports(path) if "pipeline." in name}
    assert {room: used[room] & ALLOWED.keys() - {room} for room in ALLOWED} == ALLOWED


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PIPELINE)))
def test_files_and_functions_stay_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    long = {n.name: n.end_lineno - n.lineno + 1 for n in functions}
    assert {name: lines for name, lines in long.items() if lines > MAX_FUNCTION_LINES} == {}


def fields(model, seen):
    """Yield (model, field) of a schema and of the schemas in it."""
    if model in seen:
        return
    seen.add(model)
    for name, info in model.model_fields.items():
        yield model.__name__, name
        stack = [info.annotation]
        while stack:
            annotation = stack.pop()
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                yield from fields(annotation, seen)
            stack += getattr(annotation, "__args__", ())


def names(paths, kind, attribute):
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    return {getattr(n, attribute) for tree in trees for n in ast.walk(tree) if isinstance(n, kind)}


def test_every_field_of_the_schema_is_read_by_some_code():
    sources = [path for path in SOURCES if room_of(path) != "config"]
    read = names(sources, ast.Attribute, "attr")
    # The settings of demo, augmentations and loss terms are a function's arguments, all of them.
    takers = [PIPELINE / "data" / "demo.py", *(PIPELINE / "training" / "losses").glob("*.py")]
    takers += (PIPELINE / "data" / "augmentations").glob("*.py")
    arguments = names(takers, ast.arg, "arg")
    read.add("own_data")  # by Config.task, as a part of the competition
    whole = {"Demo", "Augment", *(term.__name__ for term in losses.TERMS.values())}
    unread = [
        f"{model}.{name}"
        for model, name in fields(Config, set())
        if name not in read and not (model in whole and name in arguments)
    ]
    assert unread == []


def test_the_schemas_of_parts_do_not_import_torch():
    for schema in (calibration, losses, networks):
        assert not any(name.startswith("torch") for name in imports(Path(schema.__file__)))


def test_the_package_names_every_stage_and_command():
    for path in (*PIPELINE.glob("s[0-9]_*.py"), *(PIPELINE / "commands").glob("[a-z]*.py")):
        room = "commands." * (path.parent.name == "commands")
        assert f"\n{room}{path.stem} " in pipeline.__doc__
