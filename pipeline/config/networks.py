"""Which network a run trains: its architecture, encoder, start weights and options.

Every name and value that can be judged without torch is judged here, so that a typo is found when
the configuration is read and not when the first fold starts. What the names build is in
`pipeline.networks.build`.
"""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails

from pipeline.config.architectures import architectures, find_architecture
from pipeline.config.code_file import CodeFile, IsArchitecture
from pipeline.config.describe import nearest
from pipeline.config.earlier import Neutral
from pipeline.config.fields import STORED, Section
from pipeline.config.paths import IsPath, expanded
from pipeline.config.yaml_source import KeysOf, defect

_WEIGHTS = frozenset({"imagenet", "none"})
_NOW_TIMMS = ("regnet", "res2", "resnest", "mobilenetv3", "gernet")
"""Beginnings of the names, behind `timm-`, that smp has given up for timm's own."""


class Network(Section):
    """A network by name.

    `arch` is a name, or `file:PATH:CLASS` for a class of one's own, whose file is run. `encoder` is
    a name of smp's, `tu-<name>` or `tu-<name>.<tag>` of timm's, or null for an architecture that
    has none. `weights` is `imagenet`, `none` or a file (.pt, .pth, .safetensors) of an encoder in
    its official layout or of a whole network. `options` are the architecture's own: a file or a
    command line that names another one starts without those of its base.
    """

    arch: Annotated[str, Neutral("unet"), IsArchitecture()]
    encoder: Annotated[str | None, Neutral("resnet34")]
    weights: Annotated[str, Neutral("none"), IsPath(_WEIGHTS)]
    options: Annotated[dict[str, Any], KeysOf("arch"), Neutral({})]

    @field_validator("arch")
    @classmethod
    def _known_arch(cls, arch: str) -> str:
        if find_architecture(arch) is None:
            raise ValueError(
                f"unknown architecture {arch!r}.{nearest(arch, architectures())} Or "
                "file:PATH:CLASS, for a class of your own."
            )
        file = CodeFile.named(arch)
        return arch if file is None else str(file.expanded())

    @field_validator("encoder")
    @classmethod
    def _fitting_encoder(cls, encoder: str | None, info: ValidationInfo) -> str | None:
        arch = info.data.get("arch", "")
        architecture = find_architecture(arch)
        if architecture is None:
            return encoder
        if encoder is not None and encoder.startswith(tuple(f"timm-{each}" for each in _NOW_TIMMS)):
            encoder = encoder.removeprefix("timm-")
            encoder = f"tu-tf_{encoder}" if "mobilenetv3" in encoder else f"tu-{encoder}"
        known = architecture.encoders
        if known is not None and not known:
            if encoder is not None:
                raise ValueError(f"expected null, since {arch} has no encoder, got {encoder!r}.")
        elif encoder is None:
            raise ValueError(f"expected the name of an encoder for {arch}, got null.")
        elif known is not None and encoder not in known:
            raise ValueError(f"{arch} cannot use {encoder!r}.{nearest(encoder, known)}")
        return encoder

    @field_validator("weights")
    @classmethod
    def _findable_weights(cls, weights: str, info: ValidationInfo) -> str:
        if weights == "imagenet" and info.data.get("encoder", "") is None:
            raise ValueError(
                f"there are no ImageNet weights for {info.data.get('arch')}, which has no encoder. "
                "Use none or a file."
            )
        if weights in _WEIGHTS:
            return weights
        path = expanded(Path(weights))
        if info.context == STORED:  # what was trained needs them no more
            return str(path)
        if not os.path.isfile(path):  # noqa: PTH113  false where the system refuses to look
            raise ValueError(
                f"no such file: {weights!r}.{nearest(weights, _WEIGHTS)} "
                "Or the path of a .pt, .pth or .safetensors file."
            )
        return str(path)

    @field_validator("options")
    @classmethod
    def _fitting_options(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        arch = info.data.get("arch", "")
        architecture = find_architecture(arch)
        if architecture is None or architecture.options is None:
            return options
        known = architecture.options
        errors: list[InitErrorDetails] = []
        for name, value in options.items():
            if name not in known:
                message = f"{arch} has no such option.{nearest(name, known)}"
                errors.append(defect((name,), message, value))
                continue
            try:
                TypeAdapter(known[name]).validate_python(value, strict=True)
            except ValidationError as error:
                errors.append(defect((name,), _expected(error, value), value))
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return options


def _expected(error: ValidationError, value: Any) -> str:  # noqa: ANN401
    found = [line["msg"].removeprefix("Input should be ") for line in error.errors()]
    return f"expected {' or '.join(dict.fromkeys(found))}, got {value!r}."
