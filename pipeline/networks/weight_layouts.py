"""The same tensors as other programs name them: behind a prefix, or by names of their own.

Named tensors and what is known of a network's own enter, the same tensors under names that are
nearer to the network's leave. Nothing is loaded here: whether all of it fits is for
`pipeline.networks.weights` to say.
"""

import re
from collections.abc import Callable, Mapping
from itertools import accumulate

from torch import Tensor

_WRAPPER = r"(?:module|_orig_mod|body|ema_model|model_ema|model|net|network|backbone)\."
CLASSIFIERS = ("fc", "_fc", "classifier", "head", "last_linear", "linear")
"""What the layers after the features are called."""


def behind_prefix(
    state: Mapping[str, Tensor], is_known: Callable[[str], bool]
) -> tuple[str, dict[str, Tensor]]:
    """Return the prefix behind which most names are known, and what is behind it, without it.

    Data-parallel, compiled and averaged networks, Lightning's modules and detectors put such words
    before the names of the network they hold.

    Args:
        state: Tensors by name.
        is_known: Whether the network has a tensor of that name.
    """
    prefixes = {""}
    for name in state:
        words = re.findall(_WRAPPER, re.match(f"(?:{_WRAPPER})*", name)[0])  # type: ignore[index]
        prefixes.update(accumulate(words))
    behind = {
        prefix: {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
        for prefix in prefixes
    }
    best = max(
        prefixes,
        key=lambda prefix: (sum(map(is_known, behind[prefix])), "ema" in prefix, len(prefix)),
    )
    return best, behind[best]


def in_order(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Name the tensors of `state` as `own` does, the first as its first, and so on.

    Args:
        state: In the order of the layers, which a .safetensors file does not keep.
        own: The network's, likewise.

    Returns:
        None where it is not unambiguous: both must have, without classifier and counters, as many
        tensors, and in each place the same shape and the same kind, such as `running_mean`.
    """
    ours, theirs = _layers(own), _layers(state)
    if [(_kind(name), own[name].shape) for name in ours] != [
        (_kind(name), state[name].shape) for name in theirs
    ]:
        return None
    return {mine: state[name] for mine, name in zip(ours, theirs, strict=True)}


def _layers(state: Mapping[str, Tensor]) -> list[str]:
    return [
        name
        for name in state
        if name.partition(".")[0] not in CLASSIFIERS and _kind(name) != "num_batches_tracked"
    ]


def _kind(name: str) -> str:
    return name.rpartition(".")[2]
