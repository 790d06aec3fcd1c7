"""The page in a real Chromium: a silent console, filters and keys that work, fit for a phone."""

import pytest
from browser import prefer, resize
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

pytestmark = pytest.mark.contract


@pytest.fixture
def opened(browser, page):
    resize(browser, 1280, 900)
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def tiles(browser):
    return browser.find_elements(By.CSS_SELECTOR, ".tile")


def press(browser, *keys):
    for key in keys:
        browser.switch_to.active_element.send_keys(key)


def tab(browser, key):
    browser.find_element(By.ID, f"tab-{key}").click()
    return tiles(browser)


def choose(browser, name, text):
    Select(browser.find_element(By.ID, f"by-{name}")).select_by_visible_text(text)
    return tiles(browser)


def test_it_loads_nothing_and_says_nothing_in_the_console(opened):
    loaded = opened.execute_script("return performance.getEntriesByType('resource').length")
    assert loaded == 0
    assert "Run simulated" in opened.title
    assert opened.find_elements(By.CSS_SELECTOR, ".problem") == []


def test_every_plot_and_picture_has_words_for_those_who_do_not_see_it(opened):
    plots = opened.find_elements(By.CSS_SELECTOR, "figure > svg")
    assert len(plots) > 12
    assert all(len(plot.get_attribute("aria-label")) > 20 for plot in plots)
    pictures = opened.find_elements(By.CSS_SELECTOR, ".tile img")
    assert pictures
    assert all(".jpg" in picture.get_attribute("alt") for picture in pictures)


def test_ids_are_there_once(opened):
    ids = opened.execute_script("return [...document.querySelectorAll('[id]')].map(n => n.id)")
    assert len(ids) == len(set(ids))


def test_each_gallery_shows_what_it_promises(opened):
    kinds = {"misses": 1, "merged": 2, "split": 3, "alarms": 4}
    for key, kind in kinds.items():
        shown = tab(opened, key)
        numbers = {int(one.get_attribute("data-id").removesuffix(".jpg"), 16) % 8 for one in shown}
        assert kind in numbers
        assert numbers <= ({1, 2, 3} if key == "misses" else {kind})
    assert len(tab(opened, "all")) > len(tab(opened, "best"))


def test_filters_and_order_choose_tiles(opened):
    everything = len(tab(opened, "all"))
    in_fold = choose(opened, "fold", "1")
    assert 0 < len(in_fold) < everything
    assert all("fold 1" in one.text for one in in_fold)
    choose(opened, "fold", "all")
    two = choose(opened, "true-ships", "2")
    assert two
    assert all(one.text.splitlines()[2].startswith("2 true") for one in two)
    choose(opened, "true-ships", "any")
    choose(opened, "order", "F2, highest first")
    scores = [float(one.text.split()[1]) for one in tiles(opened)]
    assert scores == sorted(scores, reverse=True)
    search = opened.find_element(By.ID, "by-id")
    wanted = tiles(opened)[0].get_attribute("data-id")
    search.send_keys(wanted)
    assert [one.get_attribute("data-id") for one in tiles(opened)] == [wanted]
    search.send_keys("nothing of that name")
    assert tiles(opened) == []
    assert "No image passes" in opened.find_element(By.ID, "tiles").text


def test_the_keyboard_moves_enlarges_steps_and_closes(opened):
    first, second = tab(opened, "all")[:2]
    names = [one.get_attribute("data-id") for one in (first, second)]
    opened.execute_script("arguments[0].focus()", first)
    press(opened, Keys.ARROW_RIGHT, Keys.ENTER)
    dialog = opened.find_element(By.TAG_NAME, "dialog")
    assert dialog.is_displayed()
    assert dialog.find_element(By.TAG_NAME, "h2").text == names[1]
    press(opened, Keys.ARROW_LEFT)
    assert dialog.find_element(By.TAG_NAME, "h2").text == names[0]
    press(opened, Keys.ESCAPE)
    assert not dialog.is_displayed()
    focused = opened.switch_to.active_element.get_attribute("data-id")
    assert focused == names[0]


def test_layers_are_switched_by_their_number_and_by_a_click(opened):
    (shown, *_) = tab(opened, "merged")
    outlines = len(shown.find_elements(By.CSS_SELECTOR, "path.outline"))
    assert outlines == 3
    opened.execute_script("document.activeElement.blur()")
    press(opened, "3")
    assert len(tiles(opened)[0].find_elements(By.CSS_SELECTOR, "path.outline")) < outlines
    opened.find_element(By.CSS_SELECTOR, "[data-layer=true]").click()
    assert len(tiles(opened)[0].find_elements(By.CSS_SELECTOR, "path.outline")) == outlines
    press(opened, "1")
    assert tiles(opened)[0].find_elements(By.CSS_SELECTOR, "img.image") == []


def test_light_and_dark_follow_the_reader_and_the_button(opened):
    def background():
        return opened.execute_script("return getComputedStyle(document.body).backgroundColor")

    prefer(opened, "dark")
    dark = background()
    opened.find_element(By.ID, "theme").click()
    light = background()
    assert light != dark
    prefer(opened, "light")
    assert background() == light
    opened.find_element(By.ID, "theme").click()
    assert background() == dark


def test_a_phone_shows_it_without_scrolling_sideways(opened):
    resize(opened, 390, 844)
    width = opened.execute_script("return document.documentElement.scrollWidth")
    assert width <= 390
    smallest = opened.execute_script(
        "return Math.min(...[...document.querySelectorAll('figure > svg text')]"
        ".map(t => parseFloat(getComputedStyle(t).fontSize)"
        " * t.ownerSVGElement.clientWidth / t.ownerSVGElement.viewBox.baseVal.width))"
    )
    assert smallest > 8


def test_a_table_that_goes_on_says_so_on_a_phone(opened):
    resize(opened, 390, 844)
    wider = opened.execute_script(
        "return [...document.querySelectorAll('.scroll')]"
        ".filter(n => n.scrollWidth > n.clientWidth)"
        ".map(n => getComputedStyle(n).backgroundAttachment)"
    )
    assert wider
    assert all("local" in each and "scroll" in each for each in wider)


def test_galleries_stand_where_the_menu_says(opened):
    menu = opened.execute_script(
        "return [...document.querySelectorAll('nav a')].map(a => a.getAttribute('href').slice(1))"
    )
    tops = [opened.find_element(By.ID, key).location["y"] for key in menu]
    assert "galleries" in menu
    assert tops == sorted(tops)
