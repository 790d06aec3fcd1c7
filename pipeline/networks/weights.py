"""What a network starts from: ImageNet's weights, a file, or, only where it is said, chance.

A random network and its section enter; the network leaves with the weights in place, and the log
says which file (its sha256), how many tensors, which part of the network, and what was left over.
Everything must fit: a tensor of the encoder that the file lacks, one of another shape and one that
belongs nowhere are errors. Only a classifier's tensors may be left over.
"""

import logging
from collections import Counter
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from pipeline.config.networks import Network
from pipeline.errors import ConfigError
from pipeline.jobs.artifacts import sha256_file
from pipeline.networks.two_headed import TwoHeaded
from pipeline.networks.weight_files import imagenet_file, read_tensors

LOG = logging.getLogger(__name__)
_CLASSIFIERS = ("fc", "_fc", "classifier", "head", "last_linear", "linear")


def load_start_weights(body: nn.Module, network: Network) -> None:
    """Give `body` the weights that `network.weights` names, in place, and log what went where.

    Args:
        body: What `pipeline.networks.build` wraps; its encoder, if any, is `body.encoder`.
        network: The configuration's section.

    Raises:
        ConfigError: The weights cannot be had, or do not fit.
        DataError: The file cannot be read.
    """
    if network.weights == "none":
        LOG.info("network.weights: none: %s starts from random weights", network.arch)
        return
    if network.weights == "imagenet":
        path = imagenet_file(str(network.encoder))
    else:
        path = Path(network.weights)
    state = read_tensors(path)
    inner = {name.removeprefix("body."): value for name, value in state.items()}
    if any(name.startswith(("encoder.", "decoder.", "head.conv")) for name in inner) or not hasattr(
        body, "encoder"
    ):
        _load_exactly(body, inner, f"{path}, as a whole {network.arch},")
        loaded = f"{_size(inner)} into the whole network; left over: nothing; nothing random"
    else:
        loaded = _load_encoder(body, state, str(network.encoder), path)
    LOG.info("network.weights: %s (sha256 %s): %s", path, sha256_file(path)[:12], loaded)


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


def _size(state: dict[str, Tensor]) -> str:
    return f"{len(state)} tensors, {sum(value.numel() for value in state.values()):,} numbers"


def _load_encoder(body: nn.Module, state: dict[str, Tensor], name: str, path: Path) -> str:
    """Copy the encoder's part of `state`; return how much it was and what was left over."""
    encoder = body.encoder
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
    taken = body.take_classifier(state) if isinstance(body, TwoHeaded) else []
    also = f", and {len(taken)} of the classifier as convolutions" if taken else ""
    groups = Counter(key.split(".")[0] for key in left if key not in taken)
    left_over = ", ".join(f"{group} ({count})" for group, count in groups.items()) or "nothing"
    return (
        f"{_size(fitting)} into the encoder{also}; left over: {left_over}; the rest starts from "
        "random weights"
    )


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
