"""What a network starts from: ImageNet's weights, a file, or, only where it is said, chance.

A random network and its section enter; the network leaves with the weights in place, and the log
says which file (its sha256), how many tensors, which part of the network, and what was left over.
Everything must fit: a tensor of the encoder that the file lacks, one of another shape and one that
belongs nowhere are errors. Only a classifier's tensors may be left over, and what a file keeps
beside the network that it wraps.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from pipeline.config.networks import Network
from pipeline.errors import ConfigError
from pipeline.jobs.artifacts import sha256_file
from pipeline.networks.two_headed import TwoHeaded
from pipeline.networks.weight_files import (
    imagenet_file,
    imagenet_source,
    is_safetensors,
    read_tensors,
)
from pipeline.networks.weight_layouts import CLASSIFIERS, behind_prefix, in_order
from pipeline.networks.weight_origin import check_origin

LOG = logging.getLogger(__name__)


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
    if network.encoder is not None and network.encoder.startswith("tu-"):
        check_origin(network.encoder, path)
    read, encoder = read_tensors(path), str(network.encoder)
    whole, of_encoder = body.state_dict().keys(), _own_names(body, encoder)
    prefix, state = behind_prefix(
        read, lambda key: key in whole or _canonical(key, encoder) in of_encoder
    )
    beside = [key for key in read if not key.startswith(prefix)]
    where = f"{path}, behind {prefix!r}" if prefix else str(path)
    if not of_encoder or any(
        key.startswith(("encoder.", "decoder.", "head.conv")) for key in state
    ):
        _load_exactly(body, state, f"{where}, as a whole {network.arch},")
        loaded = f"{_size(state)} into the whole network; {_left_over(beside)}; nothing random"
    else:
        ordered = not is_safetensors(path)
        loaded = _load_encoder(body, state, network, where, beside, ordered=ordered)
    LOG.info("network.weights: %s (sha256 %s): %s", where, sha256_file(path)[:12], loaded)


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
        *(
            f"{name} is {state[name].dtype}, or not finite"
            for name in own
            if name in state and _is_broken(state[name], own[name])
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


def _is_broken(values: Tensor, own: Tensor) -> bool:
    same_kind = values.is_floating_point() == own.is_floating_point()
    return not same_kind or not bool(values.isfinite().all())


def _size(state: dict[str, Tensor]) -> str:
    return f"{len(state)} tensors, {sum(value.numel() for value in state.values()):,} numbers"


def _left_over(keys: Iterable[str]) -> str:
    groups = Counter(key.split(".")[0] for key in keys)
    return "left over: " + (", ".join(f"{name} ({n})" for name, n in groups.items()) or "nothing")


def _load_encoder(
    body: nn.Module,
    state: dict[str, Tensor],
    network: Network,
    where: str,
    beside: list[str],
    *,
    ordered: bool,
) -> str:
    """Copy the encoder's part of `state`; return how much it was and what was left over."""
    encoder, name = body.encoder, str(network.encoder)
    assert isinstance(encoder, nn.Module)
    own = encoder.state_dict()
    ours = _own_names(body, name)
    of_timm = _timm_network(name) if name.startswith("tu-") else {}
    img_size, also = network.options.get("img_size"), ""
    if ordered and not any(_canonical(key, name) in ours for key in state):
        renamed = in_order(state, of_timm or own)
        if renamed is not None:
            state = renamed
            also = ", by order and shape, since the file has names of its own"
    if of_timm and img_size is not None:
        state = _interpolated(state, name, img_size)
    theirs = {_canonical(key, name): key for key in state}
    fitting = {ours[key]: state[theirs[key]] for key in theirs if key in ours}
    left = [theirs[key] for key in theirs if key not in ours]
    # Files older than BatchNorm's counter lack it; it starts from zero then.
    counters = {
        key: own[key] for key in own if key.endswith("num_batches_tracked") and key not in fitting
    }
    unused = {_canonical(key, name) for key in of_timm}
    unexpected = [
        key
        for key in left
        if key.split(".")[0] not in CLASSIFIERS and _canonical(key, name) not in unused
    ]
    candidates = fitting | counters | {key: state[key] for key in unexpected}
    _load_exactly(encoder, candidates, f"{where}, as the encoder {name},")
    taken = body.take_classifier(state) if isinstance(body, TwoHeaded) else []
    if taken:
        also += f", and {len(taken)} of the classifier as convolutions"
    rest = [key for key in left if key not in taken] + beside
    return (
        f"{_size(fitting)} into the encoder{also}; {_left_over(rest)}; the rest starts from "
        "random weights"
    )


def _own_names(body: nn.Module, encoder: str) -> dict[str, str]:
    """Return the encoder's own names by those that do for all of its layouts; none without one."""
    if not hasattr(body, "encoder"):
        return {}
    return {_canonical(key, encoder): key for key in body.encoder.state_dict()}  # type: ignore[union-attr]


def _canonical(key: str, encoder: str) -> str:
    """Name a tensor of timm's as both its whole network and its feature extractor would.

    The extractor has the name of a nested stage with `_` for `.`, behind one `model.` or more.
    """
    if not encoder.startswith("tu-"):
        return key
    while key.startswith("model."):
        key = key.removeprefix("model.")
    return key.replace(".", "_")


def check_imagenet(network: Network) -> None:
    """Check that there are ImageNet weights, and that they can be had for `img_size`.

    Raises:
        ConfigError: There are none, or they are of another size and timm does not interpolate them.
    """
    name, img_size = str(network.encoder), network.options.get("img_size")
    imagenet_source(name)
    if img_size is None:
        return
    found = _interpolated(_timm_network(name), name, img_size)
    unfit = [
        key
        for key, value in _timm_network(name, img_size=img_size).items()
        if key not in found or found[key].shape != value.shape
    ]
    if unfit:
        raise ConfigError(
            f"network.weights: imagenet: those of encoder {name} are for images of its own size, "
            f"and {unfit[0]} cannot be interpolated to network.options.img_size={img_size}. Leave "
            "img_size out, set network.weights=none, or take another encoder."
        )


def _interpolated(state: dict[str, Tensor], encoder: str, img_size: int) -> dict[str, Tensor]:
    """Return weights of timm's for images of another size, where timm knows how."""
    module = import_module(timm.model_entrypoint(encoder.removeprefix("tu-")).__module__)
    adapt = getattr(module, "checkpoint_filter_fn", None)
    if adapt is None:
        return state
    adapted: dict[str, Tensor] = adapt(dict(state), _build_timm(encoder, img_size=img_size))
    return adapted


def _timm_network(encoder: str, **options: int) -> dict[str, Tensor]:
    """Return the state of timm's whole network, of which the encoder may be the first stages."""
    return _build_timm(encoder, **options).state_dict()


def _build_timm(encoder: str, **options: int) -> nn.Module:
    with torch.device("meta"):
        whole: nn.Module = timm.create_model(encoder.removeprefix("tu-"), **options)
    return whole
