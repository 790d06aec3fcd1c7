"""Files of weights: getting ImageNet's, and reading any.

`imagenet` becomes a file in Hugging Face's cache, downloaded if it is not there; a path is read as
it is. Both go on to `pipeline.networks.weights` as the same kind of thing, a path.
"""

import pickle
import re
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from segmentation_models_pytorch.encoders import encoders
from torch import Tensor

from pipeline.errors import ConfigError, DataError

_FILE = "model.safetensors"
_WRAPPERS = ("ema", "state_dict_ema", "model_ema", "model", "state_dict", "module")
"""Under which keys training programs keep the weights, the best of them first."""
_ALONE = "Save the network's state_dict() alone in the program that made the file."


def imagenet_file(encoder: str) -> Path:
    """Return the file of an encoder's ImageNet weights, from the cache or the network.

    Raises:
        ConfigError: There are none for this encoder, or they cannot be downloaded here.
    """
    repository, revision = imagenet_source(encoder)
    try:
        try:
            found = hf_hub_download(repository, _FILE, revision=revision, local_files_only=True)
        except OSError:
            found = hf_hub_download(repository, _FILE, revision=revision)
    except (OSError, RuntimeError) as error:
        target = f"weights/{encoder}.safetensors"
        url = f"https://huggingface.co/{repository}/resolve/{revision or 'main'}/{_FILE}"
        raise ConfigError(
            f"network.weights: imagenet: cannot download {repository}/{_FILE} for encoder "
            f"{encoder} ({type(error).__name__}). On a machine with a network run\n"
            f"  curl -fL --create-dirs -o {target} {url}\n"
            f"bring the file here and set network.weights={target}. To start from random weights "
            "instead, set network.weights=none."
        ) from error
    return Path(found)


def imagenet_source(encoder: str) -> tuple[str, str | None]:
    """Return the Hugging Face repository and revision of an encoder's ImageNet weights.

    Raises:
        ConfigError: There are none for this encoder.
    """
    if encoder.startswith("tu-"):
        source = timm.get_pretrained_cfg(encoder.removeprefix("tu-"), allow_unregistered=False)
        if source is not None and source.hf_hub_id:
            return source.hf_hub_id, None
    else:
        settings = (
            encoders[encoder]["pretrained_settings"].get("imagenet")
            if encoder in encoders
            else None
        )
        if settings:
            return settings["repo_id"], settings["revision"]
    raise ConfigError(
        f"network.weights: imagenet: there are no such weights for encoder {encoder}. Give a file, "
        "or set network.weights=none."
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of named tensors, bare or inside a checkpoint, that torch or safetensors wrote.

    Which of the two is told by what is in it, not by its name.

    Raises:
        DataError: Not such a file, or it holds more than tensors.
    """
    content = _content(path)
    while isinstance(content, dict):
        inner = (content[key] for key in _WRAPPERS if isinstance(content.get(key), dict))
        if (found := next(inner, None)) is None:
            break
        content = found
    if not isinstance(content, dict) or not content:
        raise DataError(f"{path}: expected named tensors, got {type(content).__name__}. {_ALONE}")
    unexpected = [
        name
        for name, value in content.items()
        if not isinstance(value, Tensor) or not isinstance(name, str)
    ]
    if unexpected:
        raise DataError(
            f"{path}: expected only tensors, got also {', '.join(map(str, unexpected[:5]))}. Save "
            "the network's state_dict() alone, or under the key `model`."
        )
    return dict(content)


def is_safetensors(path: Path) -> bool:
    """Tell by its first bytes, the length of a table of tensors and the table, in JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _content(path: Path) -> Any:  # noqa: ANN401  whatever the file holds
    try:
        if is_safetensors(path):
            return load_file(path)
        with path.open("rb") as file:  # of which torch, too, would read the name
            return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        # torch's message advises to read the file all the same, which may run what is in it.
        reason = " ".join(str(error).split()).partition("Weights only load failed")[0][:200]
        advice = "Expected a whole file of tensors, of torch or safetensors. Get it again."
        if code := re.search(r"GLOBAL (\S+) was not|(TorchScript) archives", str(error)):
            reason = f"it holds {code[1] or 'a program of ' + code[2]}, not tensors alone"
            advice = _ALONE
        raise DataError(
            f"{path}: cannot read weights: {reason or 'not a file of torch'}. {advice}"
        ) from error
