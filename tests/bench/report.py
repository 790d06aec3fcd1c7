"""What a page of a competition's size weighs and takes: records simulated, pictures drawn.

    python -m tests.bench.report [--images 200000] [--side 768]

Prints the processor time of rendering beside that of scoring the same tables once, the page's size,
and, where Chromium is there, how long it takes to show the page and to open a gallery.
"""

import argparse
import tempfile
import time
from pathlib import Path

from pipeline.report.outcomes import outcomes_of
from pipeline.report.page import run_page
from pipeline.report.records import Records
from tests.bench.sizes import sized
from tests.report.browser import CHROMIUM, open_browser
from tests.report.simulated import write_run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=sized(200_000, 60))
    parser.add_argument("--side", type=int, default=sized(768, 48))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as memory:
        root = Path(memory)
        run = write_run(root, count=arguments.images, side=arguments.side, folds=5, pictures=1)
        sizes = [
            path.stat().st_size
            for path in (root / "data" / run.name / "train_v2").glob("000000000*")
        ]
        print(f"each picture a JPEG of {sizes[0] / 1e3:.0f} kB")
        started = time.process_time()
        outcomes_of(Records(run))
        scored_s = time.process_time() - started
        started = time.process_time()
        page, problems = run_page(run, root / "ledger.csv")
        page_s = time.process_time() - started
        print(f"{arguments.images:,} images of {arguments.side} px, {len(problems)} problems")
        print(f"page {len(page) / 1e6:.2f} MB, {page_s:.1f} s; of that scoring {scored_s:.1f} s")
        path = root / "index.html"
        path.write_bytes(page)
        if not CHROMIUM.exists():
            return
        with open_browser() as browser:
            browser.get(path.as_uri())
            timing = browser.execute_script(
                "const t = performance.getEntriesByType('navigation')[0];"
                "return [t.domInteractive, t.loadEventEnd]"
            )
            switch = browser.execute_script(
                "const t = performance.now(); document.getElementById('tab-random').click();"
                "document.body.offsetHeight; return performance.now() - t"
            )
        print(
            f"Chromium: read {timing[0]:.0f} ms, loaded {timing[1]:.0f} ms, gallery {switch:.0f} ms"
        )


if __name__ == "__main__":
    main()
