"""Configuration: every defect is named with file, line, key, what was expected and what is near."""

import re
from pathlib import Path

import pytest

from pipeline.config.load import load_config
from pipeline.errors import ConfigError

pytestmark = pytest.mark.unit

CONFIGS = Path("configs").resolve()
DEMO = CONFIGS / "demo.yaml"


def load(tmp_path, text="", overrides=(), base=DEMO):
    path = tmp_path / "mine.yaml"
    path.write_text(f"base: {base}\n{text}" if base else text)
    return load_config(path, list(overrides))


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid(path):
    load_config(path, [])


def test_a_base_is_merged_key_by_key_and_lists_are_replaced(tmp_path):
    config = load(tmp_path, "train:\n  epochs: 7\ncalibrate:\n  thresholds: [0.5]\n")
    demo = load_config(DEMO, [])
    assert config.train.epochs == 7
    assert config.train.learning_rate == demo.train.learning_rate
    assert config.calibrate.thresholds == [0.5]


def test_a_base_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(CONFIGS))
    assert load(tmp_path, "seed: 3\n", base="~/demo.yaml").seed == 3
    for base, told in (
        ("~no-such/demo.yaml", "expected ~ or ~user"),
        ("b" * 300, "expected names of at most 255 bytes"),
        ("none.yaml", "no file .*none.yaml"),
    ):
        with pytest.raises(ConfigError, match=f"mine.yaml:1: base: {told}"):
            load(tmp_path, base=base)


def test_overrides_win_over_files_and_are_yaml(tmp_path):
    config = load(tmp_path, "seed: 1\n", ["seed=2", "train.learning_rate=1e-4", "folds.file="])
    assert (config.seed, config.train.learning_rate, config.folds.file) == (2, 1e-4, None)


def test_other_data_gets_a_run_of_its_own_unless_the_run_is_named(tmp_path):
    root = tmp_path / "my tiles"
    first, second = (
        load(tmp_path, "", [f"data.root={root}"]),
        load(tmp_path, "", ["data.root=/x/t"]),
    )
    assert first.name.startswith("demo-my-tiles-")
    assert second.name != first.name
    assert load(tmp_path, "", [f"data.root={root}", "name=mine"]).name == "mine"
    assert load(tmp_path).name == "demo"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sed: 1\n", r"mine.yaml:2: sed: unknown key. Did you mean 'seed'\?"),
        ("train:\n  epoch: 1\n", r"mine.yaml:3: train.epoch: unknown key. Did you mean 'epochs'\?"),
        ("seed: one\n", r"mine.yaml:2: seed: expected a valid integer, got 'one'"),
        ("seed: '1'\n", r"mine.yaml:2: seed: expected a valid integer, got '1'"),
        ("seed: 1.5\n", r"mine.yaml:2: seed: expected a valid integer, got 1.5"),
        ("seed: true\n", r"mine.yaml:2: seed: expected a valid integer, got True"),
        ("seed: -1\n", r"mine.yaml:2: seed: expected greater than or equal to 0, got -1"),
        ("name: a/b\n", r"mine.yaml:2: name: .*'a/b'"),
        ("predict:\n  tta: D4\n", r"mine.yaml:3: predict.tta: expected 'd4', 'flips' or 'none'"),
        (
            "calibrate:\n  thresholds: [0.5, 0.501]\n",
            r"mine.yaml:3: calibrate.thresholds: expected .* 255 steps, got .* are \[128, 128\]",
        ),
        (
            "calibrate:\n  image_filter_probabilities: [0.0, 0.001]\n",
            r"mine.yaml:3: calibrate.image_filter_probabilities: expected .* are \[0, 0\]",
        ),
        ("calibrate:\n  thresholds: [0.5, 0.4]\n", r"calibrate.thresholds: expected .* ascend"),
        ("calibrate:\n  rectangles: []\n", r"calibrate.rectangles: is gone: .* Delete it"),
        (
            "calibrate:\n  candidate_selection:\n    levels: [0.001, 0.5]\n",
            r"yaml:4: calibrate.candidate_selection.levels.0: expected greater than .*, got 0.001",
        ),
        ("calibrate:\n  thresholds: []\n", r"calibrate.thresholds: .* at least 1 item"),
        (
            "predict:\n  floor: 0.35\n",
            r"mine.yaml:3: predict.floor: expected at most 0.2, .* got 0.35",
        ),
        (
            "image_head:\n  weight: 0.1\ncalibrate:\n  candidate_selection: null\n",
            r"yaml:3: image_head.weight: expected 0 where calibrate.candidate_selection is null",
        ),
        ("crops:\n  per_epoch: 17\n", r"mine.yaml:2: crops: expected per_epoch to be a multiple"),
        ("train: 3\n", r"mine.yaml:2: train: expected an object, got 3"),
        (
            "train:\n  loss:\n    - {name: bce, weight: 1.0, label_smoothin: 0.0}\n",
            r"mine.yaml:4: train.loss.0.label_smoothin: unknown key. Did you mean 'label_smooth",
        ),
        ("seed: 1\nseed: 2\n", r"mine.yaml:3: seed: given twice, first at .*mine.yaml:2"),
        ("seed: [1\n", r"mine.yaml:3: \(top level\): not YAML: expected ',' or '\]'"),
    ],
)
def test_a_defect_is_named_with_its_place(tmp_path, text, expected):
    with pytest.raises(ConfigError, match=expected):
        load(tmp_path, text)


@pytest.mark.parametrize(
    "where", ["thresholds", "watershed.thresholds", "candidate_selection.levels"]
)
def test_no_rule_looks_below_the_floor(tmp_path, where):
    load(tmp_path, "", [f"calibrate.{where}=[0.2]"])
    load(tmp_path, "", ["calibrate.watershed=", "predict.floor=0.1"])
    with pytest.raises(ConfigError, match=r"predict\.floor: expected at most 0\.19,.* got 0\.2:"):
        load(tmp_path, "", [f"calibrate.{where}=[0.19]"])


def test_a_missing_key_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"mine.yaml:1: seed: missing"):
        load(tmp_path, "name: x\n", base=None)


def test_all_defects_are_reported_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "seed: -1\npredict:\n  batch_size: 0\n")
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed", r"'seed': expected key=value"),
        ("tran.epochs=1", r"there is no section 'tran'. Did you mean 'train'\?"),
        ("train.loss[0].weight=2", r"train.loss is a list, .* as a whole: 'train.loss=\[...\]'"),
        ("train.loss.0=2", r"train.loss is a list"),
        ("calibrate.thresholds[1]=0.5", r"calibrate.thresholds is a list"),
        ("base=configs/airbus.yaml", r"only a file has a `base:`"),
        ("train.epoch=1", r"command line: train.epoch: unknown key. Did you mean 'epochs'"),
        ("train.epochs=x", r"command line: train.epochs: expected a valid integer, got 'x'"),
        ("name=a #b", r"expected no comment, .* Quote the value: 'name=\"a #b\"'"),
        ("data.root=/a#b #c", r"expected no comment"),
        ("data.root=#b", r"command line: data.root=#b: expected no comment"),
        ("kaggle.slug=" + "s" * 101, r"command line: kaggle.slug: .* at most 100 characters"),
        ("seed=[", r"command line: seed: not YAML: expected the node content"),
    ],
)
def test_a_bad_override_is_named(tmp_path, override, expected):
    with pytest.raises(ConfigError, match=expected):
        load(tmp_path, "", [override])


def test_an_override_may_hold_the_mark_of_a_comment(tmp_path):
    for text in ("/a#b", "'/a #b'", '"#b"'):
        assert str(load(tmp_path, "", [f"data.root={text}"]).data.root) == text.strip("'\"")


def options(tmp_path, text="", *overrides):
    return load(tmp_path, text, overrides).network.options


DEMO_OPTIONS = load_config(DEMO, []).network.options


def test_another_architecture_starts_without_the_options_of_the_base(tmp_path):
    assert options(tmp_path, "network: {arch: linknet}\n") == {}
    assert options(tmp_path, "", "network.arch=linknet") == {}
    kept = {"decoder_dropout": 0.1}
    for text in (
        "arch: fpn, options: {decoder_dropout: 0.1}",
        "options: {decoder_dropout: 0.1}, arch: fpn",
    ):
        assert options(tmp_path, f"network: {{{text}}}\n") == kept
    overrides = ["network.arch=fpn", "network.options.decoder_dropout=0.1"]
    assert options(tmp_path, "", *overrides) == options(tmp_path, "", *overrides[::-1]) == kept


def test_the_same_architecture_keeps_the_options_unless_a_file_gives_its_own(tmp_path):
    assert options(tmp_path, "network: {arch: unet, encoder: resnet18}\n") == DEMO_OPTIONS
    assert options(tmp_path, "", "network.arch=unet") == DEMO_OPTIONS
    assert options(tmp_path, "network: {options: {encoder_depth: 5}}\n") == {"encoder_depth": 5}
    assert options(tmp_path, "network: {options: {}}\n") == {}


def test_an_override_changes_one_option(tmp_path):
    changed = options(tmp_path, "", "network.options.decoder_channels=[8, 8, 8, 8]")
    assert changed == DEMO_OPTIONS | {"decoder_channels": [8, 8, 8, 8]}
    assert options(tmp_path, "", "network.options={encoder_depth: 3}") == {"encoder_depth": 3}


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        (
            "network:\n  arch: fpn\n  options: {encoder_depth: 4, decoder_dropuot: 0.1}\n",
            [],
            r"mine.yaml:4: network.options.decoder_dropuot: fpn has no such option. Did you mean",
        ),
        ("", ["network.arch=fcn8s"], r"demo.yaml:\d+: network.encoder: fcn8s cannot use 'tu-test_"),
        (
            "network:\n  arch: linknet\n",
            ["network.options.decoder_channels=[8]"],
            "command line: network.options.decoder_channels: linknet has no such option",
        ),
        ("network:\n  arch: linknet\n  options: 3\n", [], "mine.yaml:4: network.options: expected"),
    ],
)
def test_a_wrong_option_is_named_with_its_place(tmp_path, text, overrides, expected):
    with pytest.raises(ConfigError, match=expected):
        load(tmp_path, text, overrides)


def test_missing_files_and_cycles_are_errors(tmp_path):
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "none.yaml"))):
        load_config(tmp_path / "none.yaml", [])
    with pytest.raises(ConfigError, match=r"mine.yaml:1: base: no file"):
        load(tmp_path, base="gone.yaml")
    (tmp_path / "other.yaml").write_text("base: mine.yaml\n")
    with pytest.raises(ConfigError, match=r"leads back to itself: .*mine.*other.*mine"):
        load(tmp_path, base="other.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(ConfigError, match="got nothing"):
        load_config(tmp_path / "empty.yaml", [])


@pytest.mark.parametrize(
    ("text", "overrides", "places"),
    [
        (
            "targets:\n  kind: softmax\ntrain:\n  loss:\n"
            "    - {name: cross_entropy, weight: 1.0, label_smoothing: 0.0}\n"
            "    - {name: bce, weight: 1.0, label_smoothing: 0.0}\n",
            [],
            [
                r"mine.yaml:7: train.loss.1.name: expected a loss of a softmax, .* got bce\.",
                r"demo.yaml:\d+: finetune.loss.0.name: .* got lovasz_hinge\.",
                r"demo.yaml:\d+: finetune.loss.1.name: .* got bce\.",
            ],
        ),
        (
            "",
            ["train.loss=[{name: lovasz_softmax, weight: 1.0, classes: all, per_image: true}]"],
            [r"command line: train.loss.0.name: expected a loss of sigmoids, .* got lovasz_soft"],
        ),
    ],
)
def test_a_loss_that_does_not_suit_the_targets_is_named(tmp_path, text, overrides, places):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, overrides)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(places)
    assert all(re.search(place, line) for place, line in zip(places, lines, strict=True))


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("demo", "competition=airbu", "unknown competition 'airbu'. Did you mean 'airbus'"),
        ("demo", "competition=tgs_salt", "candidate_selection: expected null.*configs/tgs_salt"),
        ("severstal", "targets.kind=softmax", "targets.kind: expected sigmoids, as severstal has"),
        ("tgs_salt", "targets.kind=object_contact", "tgs_salt has no objects that could touch"),
        ("severstal", "predict.look_again=true", "expected false where there are several classes"),
        ("clouds", "own_data.classes=[a]", "own_data.classes: .*clouds has classes of its own"),
        ("siim_acr", "calibrate.metric=f2", "calibrate.metric: expected null or one of dice"),
        ("sartorius", "calibrate.metric=dice", "calibrate.metric: expected null or one of ap"),
        ("masks", "own_data.classes=[a, a]", "own_data.classes: expected classes that differ"),
    ],
)
def test_settings_that_a_competition_cannot_have(name, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(Path("configs") / f"{name}.yaml", [override])


def test_own_data_says_what_its_competition_leaves_open():
    masks = ["own_data={classes: [a, b_c], objects: false}", "calibrate.watershed=null"]
    task = load_config(Path("configs/masks.yaml"), [*masks, "predict.look_again=false"]).task
    assert (task.classes, task.objects, task.metric) == (("a", "b_c"), False, "dice")
    assert load_config(Path("configs/masks.yaml"), []).task.metric == "ap"
    assert load_config(Path("configs/masks.yaml"), ["calibrate.metric=f2"]).task.metric == "f2"
