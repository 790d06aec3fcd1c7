"""The page of a simulated run, and a browser to look at it."""

import os

import pytest
from browser import CHROMIUM, DRIVER, open_browser
from simulated import write_run

from pipeline.report.page import run_page


@pytest.fixture(scope="session")
def browser():
    """A Chromium; where there is none, a failure in CI and a loud skip elsewhere."""
    missing = [str(path) for path in (CHROMIUM, DRIVER) if not path.exists()]
    if missing:
        told = (
            f"NO BROWSER, SO THE PAGE IS NOT LOOKED AT: {', '.join(missing)} missing. "
            "As root: apt-get install chromium chromium-driver"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    with open_browser() as driver:
        yield driver


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def page(simulated):
    """Path of the rendered page."""
    content, problems = run_page(simulated, simulated.parents[1] / "ledger.csv")
    assert problems == []
    path = simulated / "report" / "index.html"
    path.parent.mkdir()
    path.write_bytes(content)
    return path
