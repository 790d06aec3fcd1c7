"""Calibration and submission from maps, as tests/bench/ships.py draws them.

The earlier commit's maps hold the symmetries' disagreement besides, and its rules look at it.
"""

import re
from collections.abc import Iterator
from statistics import median

from tests.bench.against.trees import Ratio, Tree, Trees, alternate
from tests.bench.sizes import sized

IMAGES = sized(2000, 24)
PRINTED = re.compile(r"^(calibrate|submit).* ([\d.]+) s on two processes, ([\d.]+) s of", re.M)
SETTINGS = "[cv2.IMWRITE_PNG_COMPRESSION, 1]"
GOALS = {"calibrate": 150 / 247, "submit": 45 / 85}
"""Seconds wanted over those of commit 7ca2b20 at full size: 20,000 images with ships."""


def measure(trees: Trees, *, rounds: int) -> Iterator[Ratio]:
    """Compare wall and processor times of both on two processes."""
    found: dict[str, list[dict[str, tuple[float, float]]]] = {tree.name: [] for tree in trees}

    def run(tree: Tree) -> float:
        printed = PRINTED.findall(tree.run("tests.bench.ships", str(IMAGES)).output)
        # Submission by the chosen rules is printed before that by plain ones.
        times = {what: (float(wall), float(cpu)) for what, wall, cpu in reversed(printed)}
        found[tree.name].append(times)
        return times["calibrate"][0]

    for tree in trees:  # maps as stage 4 writes them, which the earlier script's are not
        script = tree.folder / "tests" / "bench" / "ships.py"
        plain = script.read_text()
        script.write_text(plain.replace("np.uint8))[1]", f"np.uint8), {SETTINGS})[1]"))
    alternate(trees, run, rounds=rounds)
    for what, goal in GOALS.items():
        for place, kind in enumerate(("wall", "processor")):
            old, new = (median(times[what][place] for times in found[tree.name]) for tree in trees)
            yield Ratio(f"{what}, {IMAGES} images with ships, {kind} time (s)", old, new, goal)
