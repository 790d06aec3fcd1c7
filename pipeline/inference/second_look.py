"""How far down and how far around to look again, chosen on images that the network never saw.

Some images of a fold, drawn by the run's seed, are predicted completely, and keep those maps. The
margin is the smallest that lets windows answer as the whole image does; the threshold is the
highest that changes nothing of account in what is found in them. Both hold for the fold's other
images; the test images get the most careful of all folds' choices.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.compute.device import Device
from pipeline.config.schema import Config
from pipeline.data.catalog import Catalog
from pipeline.data.tiles import ImageDataset
from pipeline.inference.mean_network import MeanNetwork
from pipeline.inference.predict import predict_maps, trained_state
from pipeline.inference.probmaps import MapWriter
from pipeline.inference.regions import Look, Region, find_regions
from pipeline.jobs.artifacts import read_json, write_json
from pipeline.jobs.job import Job
from pipeline.jobs.lock import Lock
from pipeline.jobs.parts import Part
from pipeline.jobs.run import Run
from pipeline.maps import MAX_LEVEL, ImageMaps, ProbabilityMap, as_level, as_levels
from pipeline.masks.rle import Labels, decode_labels
from pipeline.metrics.matching import score_labels
from pipeline.metrics.metric import Metric, ratios
from pipeline.metrics.registry import find_metric
from pipeline.seeds import generator

LOG = logging.getLogger(__name__)
FILE = "second_look.json"
SHARE, MIN_IMAGES, MAX_IMAGES = 0.05, 64, 400
"""Of a fold's images, that are predicted completely to choose by."""
MAX_SHARE = 0.25
"""Where that takes more of them nothing is chosen, and all are."""
THRESHOLDS = (0.5, 0.4, 0.3, 0.2, 0.1)
MARGINS_PX = (32, 48, 64, 80, 96, 128, 192)
MARGIN_IMAGES = 32
SAME_SHARE, SAME_LEVELS = 0.999, 13
"""Windows see enough if so many of the pixels that matter answer so nearly the same."""
MAX_CHANGED = 1 / 200
"""The share of images in which what is found may score otherwise."""
RULES = [(threshold, least) for threshold in (0.3, 0.5, 0.7) for least in (0.0, 0.5, 0.7, 0.9)]
"""A component's threshold, and the probability that an image with any object reaches."""


def look_of_fold(
    run: Run, job: Job, images: Callable[[], Mapping[str, Path]], trained: Job
) -> Look | None:
    """Return how to look again at a fold's images; choose it if nobody has.

    Args:
        run: For the configuration and the truth.
        job: The prediction of the fold's images; it keeps the choice, and the maps it took.
        images: Returns the path of each image of the fold; called where nobody has chosen.
        trained: The fold's network.

    Returns:
        None: everything is to be computed.

    Raises:
        ArtifactError: The folder holds the work of another configuration.
    """
    done, path = job.is_done(), job.folder / FILE
    with Lock(run.folder / "locks" / f"second-look-fold{job.fold}", job.label).take(wait=True):
        if not path.is_file():
            write_json(path, {"owner": job.owner} | _choose(run, job, images(), trained))
    choice = read_json(job.checked(FILE) if done else path)
    job.refuse_others(choice["owner"], path)
    return Look(**choice["look"]) if choice["look"] else None


def look_of_run(run: Run) -> Look | None:
    """Return how a finished run looked again at test images."""
    if not looks_again(run):
        return None
    jobs = [run.result("predict/oof", fold=fold) for fold in range(run.config.folds.count)]
    choices = [read_json(job.checked(FILE))["look"] for job in jobs]
    return most_careful(Look(**one) if one else None for one in choices)


def looks_again(run: Run) -> bool:
    """Tell whether a run may leave out passes: where an image needs only one, there are none."""
    return run.config.predict.look_again and run.config.predict.tta != "none"


def most_careful(looks: Iterable[Look | None]) -> Look | None:
    """Return what looks again wherever one of `looks` does."""
    every = list(looks)
    chosen = [one for one in every if one is not None]
    if len(chosen) < len(every):
        return None
    return Look(min(one.threshold for one in chosen), max(one.margin_px for one in chosen))


def _choose(run: Run, job: Job, images: Mapping[str, Path], trained: Job) -> dict[str, Any]:
    """Choose on a sample of the images, whose maps are written; return what FILE holds."""
    count = min(max(round(SHARE * len(images)), MIN_IMAGES), MAX_IMAGES, len(images))
    draw = generator(run.config.seed, "second look", str(job.fold))
    catalog = Catalog.of(run)
    names = sorted(draw.choice(list(images), count, replace=False).tolist())
    # Those of one size share batches; the largest, of which the margin is measured, come first.
    names.sort(key=catalog.sizes.__getitem__, reverse=True)
    objects = catalog.objects()
    truth = [objects[name] for name in names]
    if count > MAX_SHARE * len(images) or not any(truth):
        LOG.info("%s: too few images or objects to choose where to look again", job.label)
        return {"look": None, "images": 0, "tried": []}
    writer = MapWriter(job, Part(str(job.fold)), floor=run.config.predict.floor)
    machine, written = run.config.machine, writer.written
    device = Device.choose(machine).resuming(job.label, writer.precisions, machine)
    paths, sizes = [images[name] for name in names], catalog.sizes.of(names)
    state = trained_state(trained)
    sample = _Sample(run.config, device, paths, truth, sizes=sizes, state=state)
    for name, complete in zip(names, sample.complete, strict=True):
        if name not in written:
            writer.add(name, [complete])
    writer.record()
    longest_px = max(*catalog.sizes.largest, *catalog.test_sizes.largest)
    margin_px, tried = sample.margin_px(longest_px), []
    for threshold in THRESHOLDS:
        look = Look(threshold, margin_px)
        tried.append(sample.trial(look))
        if tried[-1]["taken"]:
            LOG.info(
                "%s: all passes where the first reaches %g, and %d px around: on %d images the "
                "score is %.4f lower, with a standard error of %.4f",
                *(job.label, threshold, margin_px, count),
                *(tried[-1][figure] for figure in ("score_lost", "standard_error")),
            )
            return {"look": asdict(look), "images": count, "tried": tried}
    LOG.info("%s: all passes everywhere, as every threshold changes what is found", job.label)
    return {"look": None, "images": count, "tried": tried}


class _Sample:
    """Images with their truth, and what a network says of them in one pass and in all.

    Attributes:
        complete: Their maps after all passes.
    """

    def __init__(
        self,
        config: Config,
        device: Device,
        paths: Sequence[Path],
        truth: Sequence[list[str]],
        *,
        sizes: npt.NDArray[np.int64],
        state: dict[str, Tensor],
    ) -> None:
        once = config.predict.model_copy(update={"tta": "none"})
        self._once = MeanNetwork(config.model_copy(update={"predict": once}), device, [state])
        self._paths, self._sizes, self._truth = paths, sizes, truth
        self._first = [one.prob_hw for one in self._maps(self._once)]
        self.complete = list(self._maps(MeanNetwork(config, device, [state])))
        self._metric = find_metric(config.task.metric)
        self._of_complete = self._scores([one.prob_hw for one in self.complete])

    def _maps(self, network: MeanNetwork) -> Iterator[ImageMaps]:
        layers = predict_maps(network, self._paths, self._sizes)
        maps = (one for (one,) in layers)
        return iter(tqdm(maps, "sample", len(self._paths), unit="image", disable=None))

    def margin_px(self, longest_px: int) -> int:
        """Return what windows must hold around a core, as some images with objects tell."""
        least = as_level(THRESHOLDS[0])
        images = ImageDataset(self._paths, self._sizes, reading=self._once.config.task.reading)
        places = [n for n, one in enumerate(self._first) if one.max() >= least][:MARGIN_IMAGES]
        pixels = [images[n]["image_chw"] for n in places]
        first = [self._first[n] for n in places]
        return measure_margin(self._once, pixels, first, longest_px)

    def trial(self, look: Look) -> dict[str, Any]:
        """Compare what is found after a look with what is found after all passes."""
        looked = [first_hw.copy() for first_hw in self._first]
        again_px = np.zeros(len(looked))
        for place, seen_hw in enumerate(looked):
            for core, window in _regions(seen_hw, look, self._once.stride):
                seen_hw[core.slices] = self.complete[place].prob_hw[core.slices]
                again_px[place] += window.area_px
        again = again_px / self._sizes.prod(axis=1)
        empty = np.array([not one for one in self._truth])
        best = self._of_complete.mean(0).argmax()
        lost = self._of_complete[:, best] - self._scores(looked)[:, best]
        error, changed = lost.std(ddof=1) / len(lost) ** 0.5, (lost != 0).mean()
        figures = {
            "looked_at_again": again.mean(),
            "of_empty_images": again[empty].mean() if empty.any() else 0.0,
            "of_others": again[~empty].mean(),
            "score_lost": lost.mean(),
            "standard_error": error,
            "changed": changed,
        }
        taken = bool(lost.mean() <= error and changed <= MAX_CHANGED)
        rounded = {name: round(float(value), 6) for name, value in figures.items()}
        return {**asdict(look), **rounded, "taken": taken}

    def _scores(self, maps: Sequence[ProbabilityMap]) -> npt.NDArray[np.float64]:
        """Return the score of each image under each of RULES, (images, rules)."""
        sized = zip(self._truth, self._sizes.tolist(), strict=True)
        truth = (decode_labels(texts, *size) for texts, size in sized)
        images = zip(maps, truth, strict=True)
        return np.array([_image_scores(self._metric, *one) for one in images])


def measure_margin(
    network: MeanNetwork,
    images_chw: Sequence[Tensor],
    first: Sequence[ProbabilityMap],
    longest_px: int,
) -> int:
    """Return the least of MARGINS_PX that lets windows answer as the whole image, or all of it.

    Networks differ: one that averages over its whole input answers otherwise in any window.

    Args:
        network: A single pass.
        images_chw: uint8 (3, h, w) each.
        first: What it says of them.
        longest_px: The longest side of all images there are.
    """

    def same_share(margin_px: int) -> float:
        """Return the share of pixels of objects that answer in windows as in the whole image."""
        same = [np.empty(0, np.bool_)]
        look = Look(THRESHOLDS[0], margin_px)
        for image_chw, first_hw in zip(images_chw, first, strict=True):
            for core, window in _regions(first_hw, look, network.stride):
                seen_nchw = network(image_chw[None, :, *window.slices]).maps_nchw
                seen_hw = as_levels(seen_nchw[0, 0, *core.within(window).slices]).cpu().numpy()
                pair = np.stack([seen_hw, first_hw[core.slices]]).astype(int)
                counts = pair.max(0) >= as_level(RULES[0][0])
                same.append((abs(pair[0] - pair[1]) <= SAME_LEVELS)[counts])
        found = np.concatenate(same)
        return float(found.sum() / max(len(found), 1))

    enough = (margin for margin in MARGINS_PX if same_share(margin) >= SAME_SHARE)
    return next(enough, longest_px)


def _regions(first_hw: ProbabilityMap, look: Look, stride: int) -> list[Region]:
    prob_nhw = torch.from_numpy(first_hw[None] / np.float32(MAX_LEVEL))
    return find_regions(prob_nhw, look, stride)[0]


def _image_scores(metric: Metric, prob_hw: ProbabilityMap, true_hw: Labels) -> list[float]:
    scores = {}
    for threshold in {threshold for threshold, _ in RULES}:
        found_hw = cv2.connectedComponents((prob_hw >= as_level(threshold)).astype(np.uint8))[1]
        scores[threshold] = float(ratios(score_labels(metric, true_hw, found_hw)))
    nothing = float(true_hw.max() == 0)
    return [
        scores[threshold] if prob_hw.max() >= as_level(least) else nothing
        for threshold, least in RULES
    ]
