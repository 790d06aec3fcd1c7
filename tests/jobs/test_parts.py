"""The text of --folds, and which items a shard has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.jobs.parts import Part, read_parts

pytestmark = pytest.mark.unit

KNOWN = ["0", "1", "test"]


@given(st.integers(0, 50), st.integers(1, 9))
def test_every_item_is_in_one_shard(items, shards):
    found = [item for part in Part("test").cut(shards) for item in part.of(range(items))]
    assert sorted(found) == list(range(items))


@given(st.integers(0, 5), st.integers(1, 9))
def test_what_is_written_is_read(shard, more):
    part = Part("test", shard, shard + more)
    assert read_parts(str(part), KNOWN, shards=True) == [part]


def test_all_are_all():
    assert read_parts("all", KNOWN, shards=False) == [Part("0"), Part("1"), Part("test")]
    assert read_parts("1,test", KNOWN, shards=False) == [Part("1"), Part("test")]


@pytest.mark.parametrize("text", ["", "2", "0,0", "0,", "test:2/2", "test:0/0", "0:1", "0:0/2,1x"])
def test_anything_else_is_refused(text):
    with pytest.raises(ConfigError, match=r"expected different ones of 0, 1, test .* 0:1/4"):
        read_parts(text, KNOWN, shards=True)


def test_a_stage_without_shards_refuses_them():
    with pytest.raises(ConfigError, match=r"--folds 0:0/2: expected different ones of 0, 1, test"):
        read_parts("0:0/2", KNOWN, shards=False)
