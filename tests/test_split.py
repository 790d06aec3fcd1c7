"""The stage that splits: once, and a split of the user's own only after the same checks."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline import s0_data, s1_split
from pipeline.config.load import load_config
from pipeline.data.catalog import Catalog
from pipeline.data.folds import read_folds
from pipeline.errors import ArtifactError, ConfigError, DataError
from pipeline.jobs.run import Run

pytestmark = pytest.mark.contract

TINY = Path("tests/tiny.yaml").resolve()


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Split the demo in miniature, and split it again with a file of the user's own."""
    folder = tmp_path_factory.mktemp("split")

    def again(file=None, name="tiny", *others):
        own = [*others] if file is None else [f"folds.file={file}", *others]
        config = load_config(TINY, ["data.demo.train_tiles=16", f"name={name}", *own])
        run = Run(config, restart=False)
        s0_data.stage(run)
        s1_split.stage(run)
        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        again()
        yield again


def made():
    (path,) = Path("folds").glob("demo-*.csv")
    return path, read_folds(path)


def test_the_folds_are_written_once_with_their_rule_and_balance(split):
    path, table = made()
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["seed"] == 0
    assert [row["fold"] for row in record["balance"]] == ["0", "1", "all"]
    assert record["balance"][-1]["images"] == len(table) == 16
    before = path.stat().st_mtime_ns
    run = split(name="other")
    assert (run.result("split").folder / "folds.csv").read_bytes() == path.read_bytes()
    assert path.stat().st_mtime_ns == before


def test_the_balance_fits_a_terminal(split, caplog):
    caplog.set_level("INFO", logger="pipeline")
    split(name="shown")
    _, head, *rows = caplog.messages[-2].splitlines()
    assert head.split() == [
        *("fold", "groups", "largest_group", "images", "empty", "filled", "objects"),
        *("tiny", "small", "medium", "large"),
    ]
    assert len(rows) == 3
    # Numbers of six digits are at most two wider than the heads of eight columns.
    assert max(map(len, (head, *rows))) <= 100 - 8 * 2


def test_a_users_own_folds_are_taken_as_they_are(split):
    _, table = made()
    own = Path("own.csv")
    table.assign(fold=1 - table.fold, stratum="mine").to_csv(own, index=False)
    run = split(own, "own")
    assert (run.result("split").folder / "folds.csv").read_bytes() == own.read_bytes()


def test_a_users_folds_that_split_a_scene_are_refused_whatever_groups_they_claim(split):
    _, table = made()
    own = Path("divided.csv")
    table.assign(group=range(16), fold=[0, 1] * 8).to_csv(own, index=False)
    with pytest.raises(DataError, match=r"divided\.csv: .*of one group by its pixels"):
        split(own, "divided")


def test_a_missing_file_is_named(split):
    with pytest.raises(ConfigError, match=r"folds\.file: none\.csv: there is no such file"):
        split("none.csv", "missing")


def test_another_number_of_folds_has_a_file_of_its_own(split):
    path, _ = made()
    before = path.read_bytes()
    run = split(None, "three", "folds.count=3")
    (other,) = Path("folds").glob("demo-*-3-folds.csv")
    assert set(read_folds(other).fold) == {0, 1, 2}
    assert (run.result("split").folder / "folds.csv").read_bytes() == other.read_bytes()
    assert path.read_bytes() == before
    stamp = other.stat().st_mtime_ns
    split(None, "again", "folds.count=3")
    assert other.stat().st_mtime_ns == stamp
    with pytest.raises(ArtifactError, match=r"count was 2, now 4.*`--from split --restart`"):
        split(None, "tiny", "folds.count=4")
    other.unlink()


def test_the_run_goes_on_where_the_data_was_moved_to(split, tmp_path):
    path, _ = made()
    (root,) = Path("data").glob("demo-*")
    first = split(None, "moving", f"data.root={root}")
    shutil.copytree(root, tmp_path / "elsewhere")
    moved = split(None, "moving", f"data.root={tmp_path / 'elsewhere'}")
    assert moved.result("split").identity == first.result("split").identity
    assert [path] == list(Path("folds").glob("*.csv")), "the folds of these images, not new ones"
    image = Catalog.of(moved).train_path(Catalog.of(moved).train_ids[0])
    assert image.is_file()
    assert image.parts[: len(tmp_path.parts)] == tmp_path.parts


def test_folds_of_other_images_say_how_to_make_new_ones(split):
    path, table = made()
    before = path.read_bytes()
    table.iloc[1:].to_csv(path, index=False)
    with pytest.raises(DataError, match=rf"mv {path} {path}.old\), and split makes new folds"):
        split(None, "less")
    path.write_bytes(before)


def test_groups_of_the_data_itself_are_in_one_fold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(TINY, ["data.demo.train_tiles=16"])
    run = Run(config, restart=False)
    s0_data.stage(run)
    catalog = Catalog.of(run)
    ids, scenes = catalog.train_ids, s1_split._groups(run, catalog)
    own = scenes // 2  # of two scenes each
    assert own.max() > 0
    groups = config.data_folder / "groups.csv"
    rows = [f"{image_id},{group}\n" for image_id, group in zip(ids, own, strict=True)]
    groups.write_text("ImageId,group\n" + "".join(rows))
    s1_split.stage(run)
    path, table = made()
    folds = table.set_index("ImageId").fold.loc[ids].to_numpy()
    assert all(len({*folds[own == group]}) == 1 for group in own)
    assert "groups_sha256" in json.loads(path.with_suffix(".json").read_text())
    groups.write_text("ImageId,group\n" + "".join(rows[:-1]) + f"{ids[-1]},new\n")
    with pytest.raises(ArtifactError, match="groups"):
        s1_split.stage(Run(config, restart=False))
