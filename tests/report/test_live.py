"""A run's page while it trains: in a real browser, which sees the next epoch by itself."""

import shutil
import threading
import urllib.error
import urllib.request

import pandas as pd
import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from simulated import write_run

from pipeline.errors import ConfigError
from pipeline.report.live import LivePage, serve

pytestmark = pytest.mark.contract


@pytest.fixture
def training(tmp_path):
    """A run whose first fold is in its second epoch, and whose second has not begun."""
    folder = write_run(tmp_path)
    for later in ("finetune", "predict", "calibrate", "submit", "train/fold1"):
        shutil.rmtree(folder / later, ignore_errors=True)
    (folder / "train/fold0/manifest.json").unlink()
    history = pd.read_csv(folder / "train/fold0/history.csv")
    history[:1].to_csv(folder / "train/fold0/history.csv", index=False)
    return folder, history


@pytest.fixture
def server(training):
    with serve(training[0], "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def row(browser, name):
    rows = browser.find_elements(By.CSS_SELECTOR, "#progress tbody tr")
    return next(each.text for each in rows if each.text.startswith(name))


def test_the_next_epoch_is_seen_without_a_hand(browser, training, server):
    folder, history = training
    browser.get(server)
    assert row(browser, "data").endswith("done")
    assert f"begun 1 of 9 {history.loss[0]:.4f}" in row(browser, "train fold 0")
    assert row(browser, "train fold 1").endswith("–")
    plots = len(browser.find_elements(By.CSS_SELECTOR, "#learning figure > svg"))
    history[:2].to_csv(folder / "train/fold0/history.csv", index=False)
    seen = f"2 of 9 {history.loss[1]:.4f}"
    reloaded = WebDriverWait(browser, 20, ignored_exceptions=[StaleElementReferenceException])
    reloaded.until(lambda one: seen in row(one, "train fold 0"))
    assert len(browser.find_elements(By.CSS_SELECTOR, "#learning figure > svg")) == plots > 3
    assert browser.get_log("browser") == []


def test_before_the_first_epoch_the_page_says_so(training):
    folder, _ = training
    shutil.rmtree(folder / "train")
    assert b"no fold of the stages train, finetune has a history.csv" in LivePage(folder).render()


def test_nothing_but_the_page_is_served(server):
    for path in ("config.yaml", "../config.yaml", "report"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(server + path)


def test_an_address_that_cannot_be_had_is_an_error(training, server):
    with pytest.raises(ConfigError, match="another --port, 0 for any free one"):
        serve(training[0], "127.0.0.1", int(server.split(":")[2][:-1]))
    with pytest.raises(ConfigError, match="another --port, 0 for any free one"):
        serve(training[0], "127.0.0.1", 70_000)
