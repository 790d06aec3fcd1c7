"""The shape of the project: imports go one way, every knob is read, the README is true."""

import ast
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from pipeline import calibration_schema, loss_schema, network_schema
from pipeline.config import Config

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
PIPELINE = ROOT / "pipeline"
SOURCES = sorted(PIPELINE.rglob("*.py"))
SCHEMAS = {"config.py", "calibration_schema.py", "loss_schema.py", "network_schema.py"}
# What each library folder may import of the others; the way of the data, backwards.
ALLOWED = {
    "launch": set(),
    "ships": set(),
    "separation": {"ships"},
    "selection": {"separation", "ships"},
    "calibration": {"selection", "separation", "ships"},
    "networks": set(),
    "kaggle": set(),
    "data": {"ships", "kaggle"},
    "training": {"data", "networks", "ships"},
    "inference": {"data", "networks", "separation", "training"},
    "offline": {
        "data",
        "inference",
        "kaggle",
        "networks",
        "selection",
        "separation",
        "ships",
        "training",
    },
    "report": {"data", "kaggle", "ships"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PIPELINE)))
def test_imports_go_one_way(path):
    inside = [name.split(".") for name in imports(path) if name.startswith("pipeline.")]
    stages = [name for name in inside if re.match(r"s\d_", name[1])]
    assert not stages, f"{path} imports a stage"
    folder = path.relative_to(PIPELINE).parts[0]
    # `python -m pipeline.networks` is a command of its own, which measures training steps.
    if folder in ALLOWED and path.name not in {"__main__.py", "table.py"}:
        folders = {name[1] for name in inside if name[1] in ALLOWED} - {folder}
        assert folders <= ALLOWED[folder]
        assert ["pipeline", "command"] not in inside, "a library does not read the command line"


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
    sources = [path for path in SOURCES if path.name not in SCHEMAS]
    read = names(sources, ast.Attribute, "attr")
    # The demo's settings and a loss term's are handed over whole, as a function's arguments.
    takers = [PIPELINE / "data" / "demo.py", *(PIPELINE / "training").glob("lo[sv]*.py")]
    arguments = names(takers, ast.arg, "arg")
    whole = {"Demo", *loss_schema.__all__}
    unread = [
        f"{model}.{name}"
        for model, name in fields(Config, set())
        if name not in read and not (model in whole and name in arguments)
    ]
    assert unread == []


def test_the_schemas_of_parts_do_not_import_torch():
    for schema in (calibration_schema, loss_schema, network_schema):
        assert not any(name.startswith("torch") for name in imports(Path(schema.__file__)))


def test_what_the_readme_names_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
    named = set(re.findall(r"(?:configs|pipeline|tests)/[\w/]+\.\w+", text))
    assert [name for name in named if not (ROOT / name).exists()] == []
    modules = re.findall(r"python -m (pipeline\.[\w.]+)", text)
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_the_readme_names_every_stage_and_option_of_run_sh():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = (ROOT / "run.sh").read_text(encoding="utf-8")
    stages = re.findall(r"^stage (\w+) (s\d_\w+)", script, flags=re.MULTILINE)
    assert [module for _, module in stages] == sorted(p.stem for p in PIPELINE.glob("s[0-9]_*.py"))
    for name, module in stages:
        assert f"| `{name}` |" in readme
        assert f"{module}.py" in readme
    order = re.search(r"order=\(([^)]*)\)", script)[1].split()
    assert order == [name for name, _ in stages]
