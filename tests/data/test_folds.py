import json

import numpy as np
import pandas as pd
import pytest

from pipeline.data.folds import (
    COLUMNS,
    balance_table,
    check_folds,
    describe_folds,
    make_folds,
    read_folds,
    write_folds,
)
from pipeline.errors import DataError

pytestmark = pytest.mark.unit

TRUTH_COLUMNS = ["ImageId", "EncodedPixels"]


def some_images(count=600, seed=0, largest=90):
    rng = np.random.default_rng(seed)
    sizes = [largest]
    while sum(sizes) < count:
        sizes.append(1 if rng.random() < 0.6 else int(rng.integers(2, 12)))
    groups = np.repeat(np.arange(len(sizes)), sizes)[:count]
    ids = [f"{number:09x}.jpg" for number in rng.choice(10**6, count, replace=False)]
    rows = []
    for image_id in ids:
        ships = int(rng.geometric(0.5)) if rng.random() < 0.4 else 0
        areas = np.exp(rng.normal(6, 1.6, ships)).astype(int).clip(2, 20_000)
        starts = 1 + 30_000 * np.arange(ships)
        rows += [(image_id, f"{s} {a}") for s, a in zip(starts, areas, strict=True)]
        rows += [(image_id, "")] * (ships == 0)
    return ids, groups, pd.DataFrame(rows, columns=TRUTH_COLUMNS)


@pytest.fixture(scope="module")
def made():
    ids, groups, truth = some_images()
    return ids, groups, truth, make_folds(ids, groups, truth, folds=5, seed=1)


def test_no_group_is_in_two_folds_and_every_image_is_in_one(made):
    ids, groups, _, frame = made
    check_folds(frame, ids, 5, overlap_groups=groups)
    assert list(frame.columns) == COLUMNS
    assert frame.ImageId.tolist() == sorted(ids)
    assert frame.groupby("group").fold.nunique().max() == 1


def test_folds_hold_alike_in_every_respect(made):
    _, _, truth, frame = made
    table = balance_table(frame, truth).set_index("fold")
    for column in table.columns.drop(["groups", "largest_group"]):
        each = table.loc["0":"4", column]
        assert each.sum() == table.loc["all", column]
        assert each.max() - each.min() <= 4 + 0.12 * each.mean(), column


def test_a_group_larger_than_a_fair_share_has_a_fold_with_little_else():
    ids, groups, truth = some_images(200, largest=120)
    frame = make_folds(ids, groups, truth, folds=4, seed=1)
    images = np.sort(frame.fold.value_counts().to_numpy())
    assert images[-1] <= 125
    assert images[-2] - images[0] <= 3


def test_order_of_rows_and_numbers_of_groups_do_not_matter(made):
    ids, groups, truth, frame = made
    order = np.random.default_rng(3).permutation(len(ids))
    again = make_folds(
        [ids[index] for index in order],
        1000 - 7 * groups[order],
        truth.sample(frac=1, random_state=1),
        folds=5,
        seed=1,
    )
    pd.testing.assert_frame_equal(frame, again)


def test_the_seed_decides(made):
    ids, groups, truth, frame = made
    other = make_folds(ids, groups, truth, folds=5, seed=2)
    assert (other.fold != frame.fold).mean() > 0.3


def test_stratum_names_number_and_largest_size():
    rows = [("a", ""), ("b", "1 50"), ("c", "1 100"), ("c", "2000 400"), ("d", "1 1500")]
    rows += [("e", f"{1 + 10 * number} 3") for number in range(7)]
    rows += [("f", f"{1 + 10 * number} 3") for number in range(5)]
    truth = pd.DataFrame(rows, columns=TRUTH_COLUMNS)
    frame = make_folds(list("abcdef"), range(6), truth, folds=2, seed=0)
    assert frame.stratum.tolist() == [
        "empty", "n1-tiny", "n2-medium", "n1-large", "n6-tiny", "n3-tiny"
    ]  # fmt: skip


def test_without_any_ship():
    truth = pd.DataFrame({"ImageId": list("abcd"), "EncodedPixels": ""})
    frame = make_folds(list("abcd"), [0, 1, 2, 3], truth, folds=2, seed=0)
    assert frame.stratum.tolist() == ["empty"] * 4
    assert frame.fold.value_counts().tolist() == [2, 2]
    assert balance_table(frame, truth).ships.tolist() == [0, 0, 0]


def test_fewer_groups_than_folds_is_an_error():
    truth = pd.DataFrame({"ImageId": list("abcd"), "EncodedPixels": ""})
    with pytest.raises(DataError, match=r"form 2 groups.*each of 3 folds.*Lower folds.count"):
        make_folds(list("abcd"), [0, 0, 1, 1], truth, folds=3, seed=0)


def test_an_image_without_truth_is_an_error():
    truth = pd.DataFrame({"ImageId": list("abc"), "EncodedPixels": ""})
    with pytest.raises(DataError, match="d is not in the truth"):
        make_folds(list("abcd"), range(4), truth, folds=2, seed=0)


def change(frame, row, column, value):
    changed = frame.copy()
    changed.loc[row, column] = value
    return changed


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.drop(columns="stratum"), "expected the columns ImageId, group, stratum, fold"),
        (lambda f: f.iloc[1:], "is missing, though it is in the data"),
        (lambda f: change(f, 0, "ImageId", "x.jpg"), "x.jpg is not in the data"),
        (lambda f: change(f, 0, "ImageId", f.ImageId[1]), "is there more than once"),
        (lambda f: change(f, 0, "fold", 5), "is in fold 5; expected a whole number from 0 to 4"),
        (lambda f: change(f, 0, "fold", -1), "is in fold -1"),
        (lambda f: f.assign(fold=f.fold.replace(4, 3)), "no image is in fold 4; expected 5 folds"),
    ],
)
def test_each_defect_of_a_table_is_named(made, spoil, message):
    ids, _, _, frame = made
    with pytest.raises(DataError, match=f"mine.csv: .*{message}"):
        check_folds(spoil(frame), ids, 5, source="mine.csv")


def test_a_split_group_is_named(made):
    ids, _, _, frame = made
    group = frame.group.value_counts().index[0]
    row = frame.index[frame.group == group][3]
    split = change(frame, row, "fold", (frame.fold[row] + 1) % 5)
    with pytest.raises(
        DataError, match=f"{frame.ImageId[row]} in fold .* 1 groups are split across folds"
    ):
        check_folds(split, ids, 5)


def test_a_users_groups_are_held_to_the_pixels(made):
    ids, groups, truth, _ = made
    random_split = make_folds(ids, range(len(ids)), truth, folds=5, seed=1)
    check_folds(random_split, ids, 5)
    with pytest.raises(DataError, match="of one group by its pixels"):
        check_folds(random_split, ids, 5, overlap_groups=groups)


def test_written_and_read_back(made, tmp_path):
    ids, _, truth, frame = made
    path = tmp_path / "folds" / "demo.csv"
    write_folds(path, frame, truth, seed=1)
    pd.testing.assert_frame_equal(read_folds(path), frame)
    record = json.loads(path.with_suffix(".json").read_text())
    assert record == describe_folds(frame, truth.sample(frac=1, random_state=0), seed=1)
    assert record["balance"][-1]["images"] == len(ids)
    assert record["balance"][-1]["largest_group"] == 90
    assert {"rule", "seed", "folds_sha256", "image_ids_sha256", "truth_sha256"} <= set(record)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "missing. Let s1_split make one"),
        ("", "expected the columns ImageId, group"),
        ("ImageId,fold\na.jpg,0\n", "got ImageId, fold"),
        ("ImageId,group,stratum,fold\na.jpg,0,empty,0\nb.jpg,1,empty,one\n", "row 3: .*'one'"),
        ("ImageId,group,stratum,fold\na.jpg,,empty,0\n", "row 2: .*as group, got ''"),
    ],
)
def test_unreadable_tables_are_named(tmp_path, text, message):
    path = tmp_path / "mine.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=f"mine.csv.*{message}"):
        read_folds(path)
