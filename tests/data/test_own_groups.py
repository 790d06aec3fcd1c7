from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline.data.folds import check_folds, find_folds, make_folds, write_folds
from pipeline.data.grouping import join_groups, unite_groups
from pipeline.data.own_groups import read_own_groups
from pipeline.errors import DataError

pytestmark = pytest.mark.unit

IDS = ["a.png", "b.png", "c.png", "d.png"]
TRUTH = pd.DataFrame({"ImageId": IDS, "EncodedPixels": ["1 5", "", "9 3", ""]})


def read(folder, text):
    path = folder / "groups.csv"
    path.write_text(text)
    (folder / "left-out.png").touch()
    catalog = SimpleNamespace(train_ids=IDS, root=folder, train_path=lambda name: folder / name)
    return read_own_groups(path, catalog)


def test_images_of_equal_text_are_of_one_group(tmp_path):
    text = "ImageId,group\nd.png,anna\nb.png,bob\na.png,anna\nc.png,2021-05-03\nleft-out.png,bob\n"
    groups = read(tmp_path, text)
    assert groups[0] == groups[3]
    assert len(set(groups)) == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "expected one group for each image, got no row of a.png"),
        ("a.png,1\nb.png,1\nc.png,2", "no row of d.png"),
        ("a.png,1\nb.png,1\nc.png,2\nd.png,2\na.png,2", "got an image in two groups"),
        ("a.png,1\nb.png,\nc.png,2\nd.png,2", "row 3: expected a group of b.png, got a blank"),
        ("a.png,1\nx.png,1", "row 3: expected a training image, got 'x.png'.*Correct the id"),
        ("a.png,1\nb.png,1\nc.png,1\nd.png,1", "expected two groups or more, got 1 for all 4"),
        ("a.png,1,2", "groups.csv"),
    ],
)
def test_each_defect_is_named(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, f"ImageId,group\n{rows}\n")


def test_united_groups_split_neither_kind():
    rng = np.random.default_rng(0)
    for _ in range(30):
        one, other = rng.integers(0, 12, (2, 20))
        united = unite_groups(one, other)
        linked = (one[:, None] == one) | (other[:, None] == other)
        for _ in range(5):
            linked = (linked.astype(int) @ linked) > 0
        np.testing.assert_array_equal(united[:, None] == united, linked)
        assert list(dict.fromkeys(united.tolist())) == list(range(united.max() + 1))


def test_pairs_unite_groups():
    groups = join_groups(np.array([0, 1, 1, 2, 3]), [(2, 4), (3, 3)])
    assert groups.tolist() == [0, 1, 1, 2, 1]


def test_folds_that_split_an_own_group_are_refused():
    frame = make_folds(IDS, range(4), TRUTH, folds=2, seed=0)
    one, two = (frame.ImageId[frame.fold == fold].iloc[0] for fold in (0, 1))
    own = [int(name not in {one, two}) for name in IDS]
    with pytest.raises(DataError, match=r"of one group by the data's groups.csv.*move it away"):
        check_folds(frame, IDS, 2, own_groups=own)


def test_folds_are_taken_again_for_the_same_groups_only(tmp_path):
    frame = make_folds(IDS, range(4), TRUTH, folds=2, seed=0)
    write_folds(tmp_path / "a.csv", frame, TRUTH, seed=0)
    write_folds(tmp_path / "b.csv", frame, TRUTH, seed=0, groups_sha256="b0")
    for digest, name in ((None, "a.csv"), ("b0", "b.csv")):
        assert find_folds(tmp_path, IDS, TRUTH, 2, groups_sha256=digest) == tmp_path / name
    assert find_folds(tmp_path, IDS, TRUTH, 2, groups_sha256="c0") is None
