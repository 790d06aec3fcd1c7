"""A finished run -> its networks in a file that runs without the pipeline: ONNX, or torch's own.

Written aside, read back and compared with the networks themselves; only what agrees is published.
"""

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load
from torch import Tensor

from pipeline import __version__
from pipeline.config.fields import CHANNELS
from pipeline.data.catalog import Catalog
from pipeline.data.images import Images
from pipeline.errors import ArtifactError, ConfigError
from pipeline.inference.mean_network import build_networks
from pipeline.jobs.artifacts import write_atomic
from pipeline.jobs.run import Run
from pipeline.networks.frame import mirrored
from pipeline.package.build import contents
from pipeline.package.contents import refuse_average
from pipeline.package.graph import Graph, Size, exporting, trace
from pipeline.package.graph_forms import FORMS, largest_difference
from pipeline.package.model_file import expect_free
from pipeline.seeds import generator

LOG = logging.getLogger("pipeline.package.graph_file")

MAX_DIFFERENCE = 1e-4
IMAGES, BATCHES = 20, 13
"""To compare with: batches of one image and of two."""


def export_graph(run: Run, path: Path, form: str, size: Size | None) -> float:
    """Write a run's networks as one function of images, see `Graph`.

    Args:
        run: Fine-tuned on all folds.
        path: The file to write. Where it is ONNX and its weights are too large for that format,
            they lie beside it in another, with `.data` behind its name.
        form: Of `FORMS`.
        size: Height and width of the images that it takes, px; None: any.

    Returns:
        The largest difference of a probability from the networks' own.

    Raises:
        ArtifactError: The run is not finished, or damaged; or what was written does not agree.
        ConfigError: It has no networks of its own, or they cannot be exported; or a package is not
            installed, or the file named otherwise.
        DataError: `path` exists, or an image cannot be read.
    """
    refuse_average(run.config)
    expect_free(path)
    check, ending, save, read = FORMS[form]
    check()
    if path.suffix != ending:
        raise ConfigError(
            f"--out: expected a name that ends in {ending}, for --as {form}, got {path}. Rename it."
        )
    graph, weights_sha256 = _graph(run, size)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / path.name
        with exporting(graph, form), torch.inference_mode():
            save(graph, trace(graph), file, _metadata(run, graph, weights_sha256))
            difference = largest_difference(graph, read(file), _batches(run, graph))
        if not difference <= MAX_DIFFERENCE:  # nor is NaN
            raise ArtifactError(
                f"{path}: expected probabilities within {MAX_DIFFERENCE:g} of the networks' own, "
                f"got a difference of {difference:.1e}. Nothing was written. Give another --size, "
                "or use --as model."
            )
        parts = sorted(file.parent.iterdir(), key=file.__eq__)  # itself last
        for part in parts:
            expect_free(path.with_name(part.name))
        for part in parts:
            with part.open("rb") as source:
                write_atomic(path.with_name(part.name), partial(shutil.copyfileobj, source))
    return difference


def _graph(run: Run, size: Size | None) -> tuple[Graph, list[str]]:
    """Build a run's networks as one, and say what each one's weights are."""
    weights = [content for name, content in contents(run) if name.endswith(".safetensors")]
    networks = list(build_networks(run.config, map(load, weights)))
    hashes = [hashlib.sha256(content).hexdigest() for content in weights]
    return Graph(networks, run.config.targets.kind, size), hashes


def _metadata(run: Run, graph: Graph, weights_sha256: list[str]) -> dict[str, Any]:
    """Say what the file is, beside what is in it."""
    config = run.config
    classes = [*config.task.classes]
    borders = [f"{name}: touching border" for name in classes] * (CHANNELS[config.targets.kind] > 1)
    return {
        "run": config.name,
        "classes": classes,
        "channels": [*classes, *borders],
        "size": graph.size,
        "least_px": graph.least_px if graph.size is None else None,
        "trained_size": Catalog.of(run).sizes.largest,
        "stride": graph.stride,
        "weights_sha256": weights_sha256,
        "versions": {"pipeline": __version__, "torch": version("torch")},
    }


def _batches(run: Run, graph: Graph) -> Iterator[Tensor]:
    """Yield images of the run, cut or mirrored to sizes that the graph takes."""
    catalog, least_px = Catalog.of(run), graph.least_px
    height, width = (max(side, least_px) for side in catalog.sizes.largest)
    free = (height, width), (least_px, least_px), (height + 1, max(width // 2, least_px) + 2)
    sizes = [graph.size] if graph.size else free
    chosen = np.linspace(0, len(catalog.train_ids) - 1, IMAGES).astype(int)
    ids = [catalog.train_ids[number] for number in chosen]
    paths = [catalog.train_path(name) for name in ids]
    images: Images | npt.NDArray[np.uint8]
    if all(path.is_file() for path in paths):
        images = Images(paths, catalog.sizes.of(ids), reading=run.config.task.reading)
    else:
        LOG.warning("%s: not there; compared on random images instead", catalog.root)
        random = generator(run.config.seed, "export")
        images = random.integers(0, 256, (IMAGES, height, width, 3), np.uint8)
    for number in range(BATCHES):
        some = [images[index] for index in range(number, IMAGES, BATCHES)]
        yield torch.stack([_fitted(image_hwc, *sizes[number % len(sizes)]) for image_hwc in some])


def _fitted(image_hwc: np.ndarray, height: int, width: int) -> Tensor:
    image_chw = torch.from_numpy(image_hwc.transpose(2, 0, 1))
    for axis, length in ((1, height), (2, width)):
        place = mirrored(image_chw.shape[axis], length, image_chw.device)
        image_chw = image_chw.index_select(axis, place)
    return image_chw
