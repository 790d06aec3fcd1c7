"""Photograph a run's page for the README, in a real Chromium.

    python -m tests.bench.screenshot [--run demo] [--out tests/bench/report.png]

Renders nothing anew: `python -m pipeline.s7_report` does. The picture is the head of the page, in
light colours as a laptop shows it, and below it the head of its galleries.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from tests.report.browser import open_browser, prefer, resize

WIDTH, HEAD_PX, GALLERY_PX = 1280, 570, 640


def shot(browser):
    """Photograph what the window shows, BGR."""
    content = np.frombuffer(browser.get_screenshot_as_png(), np.uint8)
    return cv2.imdecode(content, cv2.IMREAD_COLOR)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="demo")
    parser.add_argument("--out", type=Path, default=Path("tests/bench/report.png"))
    arguments = parser.parse_args()
    page = Path("runs") / arguments.run / "report" / "index.html"
    with open_browser(WIDTH, HEAD_PX) as browser:
        prefer(browser, "light")
        browser.get(page.resolve().as_uri())
        head = shot(browser)
        resize(browser, WIDTH, GALLERY_PX)
        browser.find_element("id", "tab-merged").click()
        browser.execute_script(
            "document.querySelector('header').style.display = 'none';"
            "document.documentElement.style.scrollPadding = 0;"
            "document.getElementById('galleries').scrollIntoView()"
        )
        picture = np.vstack([head, shot(browser)])
    cv2.imwrite(str(arguments.out), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{arguments.out}: {picture.shape[1]}x{picture.shape[0]} px")


if __name__ == "__main__":
    main()
