"""What a network starts from: ImageNet's weights, a file, or, only where it is said, chance.

A random network and its section enter; the network leaves with the weights in place, and the log
says which file (its sha256), how many tensors, which part of the network, and what was left over.
Everything must fit: a tensor of the encoder that the file lacks, one of another shape and one that
belongs nowhere are errors. Only a classifier's tensors may be left over.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from pipeline.config.networks import Network
from pipeline.errors import ConfigError
from pipeline.jobs.artifacts import sha256_file
from pipeline.networks.two_headed import TwoHeaded
from pipeline.networks.weight_files import imagenet_file, read_tensors

__all__ = ["Loaded", "load_start_weights"]

LOG = logging.getLogger(__name__)
_CLASSIFIERS = ("fc", "_fc", "classifier", "head", "last_linear", "linear")


@dataclass(frozen=True)
class Loaded:
    """What went from a file into a network.

    Attributes:
        part: `encoder` or `whole network`.
        tensors: How many were copied.
        parameters: How many numbers they hold, statistics of BatchNorm included.
        left_over: First part of the names of unused tensors -> how many.
        also: What else was taken, in words.
    """

    path: Path
    sha256: str
    part: str
    tensors: int
    parameters: int
    left_over: dict[str, int]
    also: str

    def __str__(self) -> str:
        left = ", ".join(f"{name} ({count})" for name, count in self.left_over.items()) or "nothing"
        return (
            f"network.weights: {self.path} (sha256 {self.sha256[:12]}): {self.tensors} tensors, "
            f"{self.parameters:,} numbers into the {self.part}{self.also}; left over: {left}; "
            + (
                "the rest starts from random weights"
                if self.part == "encoder"
                else "nothing random"
            )
        )


def load_start_weights(body: nn.Module, network: Network) -> Loaded | None:
    """Give `body` the weights that `network.weights` names, in place.

    Args:
        body: What `pipeline.networks.build` wraps; its encoder, if any, is `body.encoder`.
        network: The configuration's section.

    Returns:
        The report, which is also logged; None for `none`.

    Raises:
        ConfigError: The weights cannot be had, or do not fit.
        DataError: The file cannot be read.
    """
    if network.weights == "none":
        LOG.info("network.weights: none: %s starts from random weights", network.arch)
        return None
    if network.weights == "imagenet":
        path = imagenet_file(str(network.encoder))
    else:
        path = Path(network.weights)
    state = read_tensors(path)
    sha256 = sha256_file(path)
    inner = {name.removeprefix("body."): value for name, value in state.items()}
    if any(name.startswith(("encoder.", "decoder.", "head.conv")) for name in inner) or not hasattr(
        body, "encoder"
    ):
        _load_exactly(body, inner, f"{path}, as a whole {network.arch},")
        count = sum(value.numel() for value in inner.values())
        report = Loaded(path, sha256, "whole network", len(inner), count, {}, "")
    else:
        report = _load_encoder(body, state, network, path, sha256)
    LOG.info("%s", report)
    return report


def _load_exactly(module: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Copy `state`, which must have exactly the module's names and shapes."""
    own = module.state_dict()
    problems = [
        *(f"{name} is missing" for name in own if name not in state),
        *(f"{name} belongs nowhere" for name in state if name not in own),
        *(
            f"{name} is {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ),
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ConfigError(
            f"network.weights: {what} does not fit: {'; '.join(problems[:5])}{more}. Give the file "
            "of this network or encoder, or change network.encoder and network.options to the "
            "file's."
        )
    nn.Module.load_state_dict(module, state)


def _load_encoder(
    body: nn.Module, state: dict[str, Tensor], network: Network, path: Path, sha256: str
) -> Loaded:
    encoder, name = body.encoder, str(network.encoder)
    assert isinstance(encoder, nn.Module)
    own = encoder.state_dict()
    of_timm = name.startswith("tu-")
    ours = {_timm_name(key) if of_timm else key: key for key in own}
    theirs = {_timm_name(key) if of_timm else key: key for key in state}
    fitting = {ours[key]: state[theirs[key]] for key in theirs if key in ours}
    left = [theirs[key] for key in theirs if key not in ours]
    # Files older than BatchNorm's counter lack it; it starts from zero then.
    counters = {
        key: own[key] for key in own if key.endswith("num_batches_tracked") and key not in fitting
    }
    unused = _full_timm_names(name) if of_timm else set()
    unexpected = [
        key
        for key in left
        if key.split(".")[0] not in _CLASSIFIERS and _timm_name(key) not in unused
    ]
    candidates = fitting | counters | {key: state[key] for key in unexpected}
    _load_exactly(encoder, candidates, f"{path}, as the encoder {name},")
    taken, also = (body.take_classifier(state), "") if isinstance(body, TwoHeaded) else ([], "")
    if taken:
        also = f", and {len(taken)} of the classifier as convolutions"
    groups: dict[str, int] = {}
    for key in left:
        if key not in taken:
            groups[key.split(".")[0]] = groups.get(key.split(".")[0], 0) + 1
    count = sum(value.numel() for value in fitting.values())
    return Loaded(path, sha256, "encoder", len(fitting), count, groups, also)


def _timm_name(key: str) -> str:
    """Name a tensor as both timm's whole network and its feature extractor would.

    The extractor has the name of a nested stage with `_` for `.`, behind one `model.` or more.
    """
    while key.startswith("model."):
        key = key.removeprefix("model.")
    return key.replace(".", "_")


def _full_timm_names(encoder: str) -> set[str]:
    """Return the names in timm's whole network, of which the encoder may be the first stages."""
    with torch.device("meta"):
        whole = timm.create_model(encoder.removeprefix("tu-"), pretrained=False)
    return {_timm_name(key) for key in whole.state_dict()}
