"""Whatever people type, a configuration or an error that says what to do comes out."""

import random
from pathlib import Path

import pytest
import yaml

from pipeline.config import yaml_text
from pipeline.config.load import as_stored, load_config, load_stored_config, stored_values
from pipeline.config.schema import Config
from pipeline.config.yaml_text import read_yaml
from pipeline.errors import ConfigError

pytestmark = pytest.mark.unit

DEMO = Path("configs/demo.yaml").resolve()


def read(text):
    return read_yaml(text, (), "line {}".format, {})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, None) for text in ("", "  ", "# nothing", "~", "null", "NULL")),
        *((text, True) for text in ("true", "True", "TRUE")),
        *((text, int(text)) for text in ("0", "-12", "+7", "9223372036854775807")),
        *((text, float(text)) for text in ("1e-4", "1.", ".5", "-1.5E3")),
        *(
            (text, text)
            for text in (
                "2026-11-27",
                "2026-11-27 10:00:00",
                "1:30",
                "0o17",
                "017",
                "0x1f",
                "1_000",
            )
        ),
        *((text, text) for text in ("<<", "=", "yes", "off", "trueness", "nullify", "inf", "1e")),
        ("'1'", "1"),
        ('"~"', "~"),
        ("[1, a, [true], {b: 2}]", [1, "a", [True], {"b": 2}]),
        ("{1: a, true: b, ~: c}", {"1": "a", "true": "b", "~": "c"}),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_plain_values(text, value):
    found = read(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: !x 1", r"line 2: b: expected no tag, got '!x'. Remove it"),
        ("a: !!binary aGk=", r"line 1: a: expected no tag, got 'tag:yaml.org,2002:binary'"),
        ("a: !!python/name:os.system", r"expected no tag"),
        ("a: !!set {b}", r"expected no tag"),
        ("a: [! b]", r"line 1: a.0: expected no tag"),
        ("a: &x [1]\nb: [*x, *x]", r"line 1: a: expected no anchor"),
        ("a: *x", r"line 1: a: expected no anchor \(&\) or alias \(\*\). Write the value out"),
        ("&x a: 1", r"\(top level\): expected plain names as keys"),
        ("a: {<<: {b: 1}}", r"line 1: a.<<: expected no merge key. Use `base:`"),
        ("a: {? [b] : 1}", r"line 1: a: expected plain names as keys"),
        ("a:\n  ? {b: 1}\n  : 2", r"line 2: a: expected plain names as keys"),
        ("a.b: 1", r"line 1: a.b: expected a name without dots"),
        ("a: 1\n---\nb: 2", r"line 2: \(top level\): expected one document"),
        ('a: "b\\0c"', r"line 1: a: expected no control character, got '\\x00' in 'b\\x00c'"),
        ('a: "b\\ud800"', r"no control character"),
        ('"a\\n": 1', r"no control character"),
        ('a: "\\UFFFFFFFF"', r"not YAML"),
        ("%YAML 1.1\n%YAML 1.1\n--- a", r"not YAML: found duplicate YAML directive"),
        ("a: .inf", r"line 1: a: expected a finite number, got .inf"),
        ("a: -.Inf", r"finite number"),
        ("a: .NaN", r"finite number"),
        ("a: 1e999", r"line 1: a: expected a finite number, got 1e999"),
        ("a: 9223372036854775808", r"a: expected at most 9223372036854775807, got 92233"),
        ("a: 1\na: 2", r"line 2: a: given twice, first at line 1. Keep one"),
        ("a: {b: 1", r"line 1: \(top level\): not YAML: expected ',' or '}'"),
        ("a:\n\t- 1", r"line 2: \(top level\): not YAML: found character '\\t'"),
    ],
)
def test_what_a_configuration_may_not_use_is_named(text, message):
    with pytest.raises(ConfigError, match=message):
        read(text)


def test_depth_and_length_are_limited(monkeypatch):
    monkeypatch.setattr(yaml_text, "MAX_DEPTH", 2)
    monkeypatch.setattr(yaml_text, "MAX_TEXT", 4)
    assert read("[[1234]]") == [[1234]]
    with pytest.raises(ConfigError, match=r"at most 2 levels. Nest less deeply"):
        read("[[[1]]]")
    with pytest.raises(ConfigError, match=r"line 1: a: expected at most 4 letters, got 5"):
        read("a: 12345")
    with pytest.raises(ConfigError, match="at most 4 letters"):
        read("abcde: 1")


@pytest.mark.parametrize("name", ["1e5", "2026-11-27", "017", "1_000", "true", "12"])
def test_a_name_that_looks_like_something_else_survives_storing(tmp_path, name):
    config = load_config(DEMO, [f"name='{name}'"])
    path = tmp_path / name / "config.yaml"
    path.parent.mkdir()
    path.write_text(as_stored(config))
    assert load_stored_config(path) == config
    assert yaml.safe_load(path.read_text())["name"] == name


def test_a_name_longer_than_files_may_have_is_refused():
    assert load_config(DEMO, ["name=" + "n" * 200]).name == "n" * 200
    with pytest.raises(ConfigError, match=r"command line: name: .* at most 200 characters"):
        load_config(DEMO, ["name=" + "n" * 201])
    assert load_config(DEMO, ["name=2026-11-27"]).name == "2026-11-27"


PARTS = [
    *("!x ", "!!binary ", "&a ", "*a", "<<: ", "? ", "- ", ": ", "~", "'", '"', "[", "{", "}", "]"),
    *("|\n", ">", "%", "@", "\0", "\t", "\n", "---\n", "...\n", "#", "=", ".", "..", "\\U99999999"),
    *("1" * 300, "9" * 5000, "x" * 300, "1e999", ".nan", "é", "\ud800", "\ufeff", "2026-11-27"),
    *("[" * 30, "{a: " * 30, "null", "seed: 1\n", "train.loss: 3\n", "crops: 5\n", "name: "),
    *("calibrate.candidate_selection: 1\n", "  acceptance: {least_px: 1}\n", "version: 9.9\n"),
]


def mutated(draw, text):
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(text) + 1)
        if draw.random() < 0.5:
            text = text[:at] + draw.choice(PARTS) + text[at:]
        elif draw.random() < 0.5:
            text = text[:at] + text[at + draw.randint(1, 60) :]
        else:
            text = text[:at] + chr(draw.randrange(256)) + text[at + 1 :]
    return text


def outcome(call, *arguments):
    try:
        return type(call(*arguments))
    except ConfigError:
        return ConfigError


@pytest.mark.parametrize("seed", range(60))
def test_mutated_texts_give_a_configuration_or_an_error(tmp_path, seed):
    draw = random.Random(seed)
    demo = DEMO.read_text()
    path = tmp_path / "config.yaml"
    path.write_bytes(mutated(draw, demo).encode("utf-8", "surrogatepass"))
    assert outcome(load_config, path, []) in {Config, ConfigError}
    path.write_bytes(mutated(draw, as_stored(load_config(DEMO, []))).encode("utf-8", "replace"))
    assert outcome(load_stored_config, path) in {Config, ConfigError}
    assert outcome(stored_values, path) in {dict, ConfigError}
    key = draw.choice(["name", "seed", "train", "train.loss", "network.options", "data.root"])
    override = mutated(draw, f"{key}={draw.choice(['1', '[a, b]', '{a: 1}', 'text'])}")
    assert outcome(load_config, DEMO, [override]) in {Config, ConfigError}
