"""Memory of a loader process against the number of images.

    python -m tests.bench.loader_memory

A CropDataset over 1,000 and over 192,556 names (the competition's number), all of one JPEG, a fifth
with a ship; one loader process fetches 400 crops and then reports what it alone holds (the private
pages of its smaps). The named baseline keeps the same names as a list of Path, as a
data set is ordinarily written.
"""

import gc
import tempfile
from pathlib import Path

import cv2
import numpy as np
from torch.utils.data import DataLoader, get_worker_info

from pipeline.config.load import load_config
from pipeline.data.tiles import CropDataset
from pipeline.data.true_objects import TrueObjects
from tests.bench.sizes import sized

SIDE_PX, CROPS = 96, 400
FEW, MANY = sized((1_000, 192_556), (50, 100))


def private_mib():
    """MiB of the pages that only this process has."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1024


class Reporting(CropDataset):
    """Writes what its process holds after the last crop."""

    report: Path

    def __getitem__(self, key):
        item = super().__getitem__(key)
        if key[1] == CROPS - 1:
            assert get_worker_info() is not None
            gc.collect()  # which touches every object there is, and so copies its page
            self.report.write_text(str(private_mib()))
        return item


class Listing(Reporting):
    """Beside that, looks at a list of all paths, as `random.choice(paths)` and others do."""

    paths: list

    def __getitem__(self, key):
        sum(len(path.name) for path in self.paths[:: 1 + key[1]])
        return super().__getitem__(key)


def measure(kind, folder, count):
    config = load_config(Path("configs/demo.yaml"), [f"crops.per_epoch={CROPS}"])
    path = folder / "image.jpg"
    cv2.imwrite(str(path), np.full((SIDE_PX, SIDE_PX, 3), 90, np.uint8))
    links = folder / str(count)
    links.symlink_to(folder)
    # Names of the competition's length; all lead to one file.
    paths = [Path(f"{links}/{'./' * (number % 7)}image.jpg") for number in range(count)]
    ships = [["500 20 596 20"] if number % 5 == 0 else [] for number in range(count)]
    crops = kind(
        paths,
        TrueObjects(ships, (SIDE_PX, SIDE_PX)),
        targets=config.targets,
        crops=config.crops,
        augment=config.augment,
        seed=0,
        stream=("bench",),
    )
    crops.report, crops.paths = folder / "report", paths if kind is Listing else []
    del paths, ships
    gc.collect()
    loader = DataLoader(
        crops,
        8,
        sampler=[(0, n) for n in range(CROPS)],
        num_workers=1,
        multiprocessing_context="fork",
    )
    for _ in loader:
        pass
    links.unlink()
    return float(crops.report.read_text())


def main():
    with tempfile.TemporaryDirectory() as folder:
        for kind, name in ((Reporting, "flat arrays"), (Listing, "list of Path")):
            few, many = (measure(kind, Path(folder), count) for count in (FEW, MANY))
            print(f"{name}: {few:.1f} MiB with {FEW:,} images, {many:.1f} MiB with {MANY:,}")


if __name__ == "__main__":
    main()
