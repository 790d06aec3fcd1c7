"""What all tests share."""

from pathlib import Path

import pytest
from checkout import Checkout

ROOT = Path(__file__).parents[1]
EXPECTED_AT_LEAST = 1800


def pytest_collection_finish(session):
    """Fail where the whole suite was asked for and much of it was not found."""
    whole = session.config.args == [str(ROOT / "tests")] or session.config.args == ["tests"]
    chosen = session.config.option.keyword or session.config.option.markexpr
    if whole and not chosen and len(session.items) < EXPECTED_AT_LEAST:
        pytest.exit(f"expected at least {EXPECTED_AT_LEAST} tests, got {len(session.items)}", 3)


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / "checkout")


@pytest.fixture(scope="module")
def shared_checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("shared") / "checkout")
