"""Stage 0: the images and their truth, complete and checked.

Reads the folder `data.root` in the competition's layout. Where it is null, renders the demo first;
where it lacks the files and `kaggle.download` says so, downloads them.
Writes `runs/<name>/data/`: catalog.json, instances.csv, quarantine.csv with what was left out;
sizes.csv where images differ in size, and extra.csv with `data.extra`.
"""

import logging
import os
from pathlib import Path

import pandas as pd

from pipeline.config.competitions import Competition
from pipeline.config.data import Demo
from pipeline.config.schema import Config
from pipeline.data.catalog import read_test_truth
from pipeline.data.check import check_folder
from pipeline.data.check_extra import check_extra
from pipeline.data.extra import EXTRA, extra_fingerprints
from pipeline.data.files import check_kind, fingerprint, has_layout, others_like
from pipeline.data.signature_store import STORES
from pipeline.jobs.command import run_stages
from pipeline.jobs.lock import Lock
from pipeline.jobs.run import Run
from pipeline.masks.instances import write_rows
from pipeline.networks.before_work import check_before_work

LOG = logging.getLogger("pipeline.s0_data")


def stage(run: Run) -> None:
    """Provide the data, and check it."""
    check_before_work(run)
    data, task = run.config.data, run.config.task
    folder = run.config.data_folder
    fetch = run.config.kaggle.download and not others_like(folder, task)
    if not has_layout(folder, task) and (data.root is None or fetch):
        # Who comes second waits for the first one's, and takes it.
        lock = Lock(folder.with_name(f".{folder.name}.lock"), str(folder))
        with lock.take(wait=True):
            if not has_layout(folder, task):
                _provide(run.config)
    job = run.job(
        "data",
        sections=("competition", "own_data", "data"),
        inputs=[],
        files=fingerprint(folder, task) | extra_fingerprints(run.config),
    )
    if not run.begin(job):
        return
    if data.root is not None and (warning := check_kind(folder, task)):
        LOG.warning("%s", warning)
    catalog, quarantine = check_folder(
        folder,
        task,
        Path("data") / ".verified" / f"{run.config.images_name}.csv",
        max_bad_share=data.max_bad_share,
        jobs=os.cpu_count() or 1,
        signatures=STORES / run.config.images_name,
    )
    if data.test_truth is not None:
        read_test_truth(run.config, catalog)  # what is wrong with it is told before the work
    outputs, extra = list[str](), {}
    if data.extra:
        table, left_out = check_extra(run.config, catalog, jobs=os.cpu_count() or 1)
        write_rows(job.folder / EXTRA, table)
        quarantine = pd.concat([quarantine, left_out])
        outputs, extra = [EXTRA], {"extra_images": table.ImageId.nunique()}
    for row in quarantine.head(20).itertuples():
        LOG.warning("left out: %s: %s", row[3], row[4])
    outputs += catalog.save(job.folder, quarantine)
    objects = int((catalog.instances.EncodedPixels != "").sum())
    counts = {
        "train_images": len(catalog.train_ids),
        "test_images": len(catalog.test_ids),
        "ships": objects,
        "left_out": len(quarantine),
    }
    LOG.info(
        "data: %d training images of %s%dx%d px with %d objects, %d test images, %d left out (%s)",
        *(counts["train_images"], "" if catalog.sizes.common else "up to "),
        *(*catalog.sizes.largest[::-1], objects),
        *(counts["test_images"], counts["left_out"], job.folder / "quarantine.csv"),
    )
    job.finish(outputs, counts | extra)


def _provide(config: Config) -> None:
    """Fill the data folder, with the demo or from Kaggle."""
    folder = config.data_folder
    if config.data.root is None:
        LOG.info("data: rendering the demo into %s", folder)
        _render(folder, config.data.demo, config.task)
    else:
        from pipeline.kaggle.download import download_competition

        LOG.info("data: %s lacks the competition's files; asking Kaggle for them", folder)
        download_competition(
            folder,
            slug=config.slug,
            layout=config.task.layout,
            keep_archive=config.kaggle.keep_archive,
        )


def _render(folder: Path, demo: Demo, task: Competition) -> None:
    if task.render_demo is not None:
        task.render_demo(folder, **demo.model_dump())
        return
    from pipeline.data.stand_in import render_stand_in

    render_stand_in(
        folder,
        task,
        seed=demo.seed,
        train_tiles=demo.train_tiles,
        test_tiles=demo.test_tiles,
        empty_share=demo.empty_share,
    )


if __name__ == "__main__":
    run_stages("s0_data")
