"""A package and a folder of test images -> the submission, the same as the run's own.

The maps go straight from the networks to the rules; nothing else is written.
"""

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from pipeline.compute.device import Device
from pipeline.data.catalog import Catalog
from pipeline.data.check import check_test_folder
from pipeline.inference.predict import predict_maps
from pipeline.inference.probmaps import rises_above
from pipeline.maps import ImageMaps
from pipeline.package.contents import Package
from pipeline.package.model import mean_network
from pipeline.selection.submission import submit_maps, write_submission

LOG = logging.getLogger("pipeline.package.predict")


def predict_package(folder: Path, data: Path, output: Path) -> None:
    """Write the submission for the test images in `data`.

    An image that cannot be decoded gets no object, as in the run itself, and is named in the log.

    Args:
        folder: The package.
        data: Holds the competition's test images and its sample submission.
        output: The CSV file to write.

    Raises:
        ArtifactError: The package is damaged or of another version.
        DataError: Too many images cannot be used, or the submission would break a rule.
    """
    package = Package.open(folder)
    task = package.config.task
    with tempfile.TemporaryDirectory() as memory:
        catalog, quarantine = check_test_folder(
            data,
            task,
            package.size,
            Path(memory) / "verified.csv",
            max_bad_share=package.config.data.max_bad_share,
            jobs=os.cpu_count() or 1,
        )
    for row in quarantine.head(20).itertuples():
        LOG.warning("no object in %s, which cannot be used: %s", row[3], row[4])
    sizes = catalog.test_mask_sizes
    submission = submit_maps(_maps(package, catalog), package.rules, catalog.test_ids, task, sizes)
    write_submission(output, submission, data / task.sample, task, sizes)
    objects = submission.EncodedPixels != ""
    LOG.info(
        "%s: %d test images, %d objects in %d of them",
        *(output, len(catalog.test_ids), objects.sum(), submission.ImageId[objects].nunique()),
    )


def _maps(package: Package, catalog: Catalog) -> Iterator[tuple[str, list[ImageMaps] | None]]:
    """Yield `(ImageId, maps)`, those of one size together; None as a run's stored maps have it."""
    config, unusable = package.config, set(catalog.unusable_test_ids)
    ids = sorted(catalog.test_ids, key=catalog.test_sizes.__getitem__)
    usable = [name for name in ids if name not in unusable]
    device = Device.choose(config.machine)
    LOG.info("predicting %d images on %s", len(usable), device)
    maps = predict_maps(
        mean_network(package, device, config.task.mask_shape),
        [catalog.test_path(name) for name in usable],
        catalog.test_sizes.of(usable),
    )
    for name in tqdm(ids, "predict", unit="image", disable=None):
        of_image = None if name in unusable else next(maps)
        kept = of_image is not None and rises_above(of_image, config.predict.floor)
        yield name, of_image if kept else None
