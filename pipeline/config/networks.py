"""Which network a run trains: its architecture, encoder, start weights and options.

Every name and value that can be judged without torch is judged here, so that a typo is found when
the configuration is read and not when the first fold starts. Options that are not listed keep the
architecture's own values; a test holds the table of smp's options against smp's constructors.
What the names build is in `pipeline.networks.build`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import InitErrorDetails

from pipeline.config.describe import nearest
from pipeline.config.earlier import Neutral
from pipeline.config.fields import Section
from pipeline.config.yaml_source import KeysOf, defect

__all__ = ["ENCODERS", "OPTIONS", "SMP_ARCHITECTURES", "Network"]

Width = Annotated[int, Field(ge=1)]
Widths = Annotated[list[Width], Field(min_length=1, max_length=5)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Depth = Annotated[int, Field(ge=3, le=5)]
Upsampling = Literal["nearest", "bilinear", "bed_of_nails", "max_unpool", "transposed"]

_interpolation: dict[str, Any] = {
    "decoder_interpolation": Literal["nearest", "nearest-exact", "bilinear", "bicubic", "area"]
}
_norm: dict[str, Any] = {
    "decoder_use_norm": Literal["batchnorm", "instancenorm", "layernorm", "identity"] | bool
}
_depth: dict[str, Any] = {"encoder_depth": Depth}
_final: dict[str, Any] = {"upsampling": Width}
_unet = _depth | _norm | _interpolation | {"decoder_channels": Widths}
_attention: dict[str, Any] = {"decoder_attention_type": Literal["scse"] | None}
_atrous: dict[str, Any] = {
    "encoder_output_stride": Literal[8, 16],
    "decoder_channels": Width,
    "decoder_atrous_rates": Annotated[list[Width], Field(min_length=3, max_length=3)],
    "decoder_aspp_separable": bool,
    "decoder_aspp_dropout": Dropout,
}
# FCN's and U-Net + FPN's decoders have no max_unpool: no pooling of theirs has as many channels.
_fcn: dict[str, Any] = {
    "upsample": Literal["nearest", "bilinear", "bed_of_nails", "transposed"],
    "fc_channels": Width,
    "dropout": Dropout,
}
_upsample: dict[str, Any] = {"upsample": Upsampling}

OPTIONS: dict[str, dict[str, Any]] = {
    "fcn32s": _fcn,
    "fcn16s": _fcn,
    "fcn8s": _fcn,
    "segnet": _upsample,
    "unet_original": _upsample
    | {"width": Width, "depth": Annotated[int, Field(ge=1, le=6)], "batch_norm": bool},
    "ternausnet11": _upsample | {"width": Width},
    "ternausnet16": _upsample | {"width": Width},
    "unet_fpn": _depth
    | {
        "upsample": Literal["nearest", "bilinear", "bed_of_nails", "transposed"],
        "decoder_channels": Widths,
        "merge_channels": Width,
    },
    "unet": _unet | _attention,
    "unetplusplus": _unet | _attention,
    "manet": _unet | {"decoder_pab_channels": Width},
    "linknet": _depth | _norm,
    "fpn": _depth
    | _interpolation
    | _final
    | {
        "decoder_pyramid_channels": Width,
        "decoder_segmentation_channels": Width,
        "decoder_merge_policy": Literal["add", "cat"],
        "decoder_dropout": Dropout,
    },
    "pspnet": _depth | _norm | _final | {"psp_out_channels": Width, "psp_dropout": Dropout},
    "deeplabv3": _depth | _atrous | _final,
    "deeplabv3plus": _depth | _atrous | _final,
    "pan": _depth
    | _interpolation
    | _final
    | {"encoder_output_stride": Literal[16, 32], "decoder_channels": Width},
    "upernet": _depth | _norm | _final | {"decoder_channels": Width},
    "segformer": _depth | _final | {"decoder_segmentation_channels": Width},
    "dpt": {
        "encoder_depth": Annotated[int, Field(ge=1, le=4)],
        "encoder_output_indices": list[Annotated[int, Field(ge=0)]] | None,
        "decoder_readout": Literal["ignore", "add", "cat"],
        "decoder_intermediate_channels": Annotated[list[Width], Field(max_length=4)],
        "decoder_fusion_channels": Width,
    },
}
"""The options of every architecture, each with its type."""

_VGG = ["vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]
ENCODERS: dict[str, list[str]] = {
    "fcn32s": _VGG,
    "fcn16s": _VGG,
    "fcn8s": _VGG,
    "segnet": _VGG,
    "unet_original": [],
    "ternausnet11": ["vgg11", "vgg11_bn"],
    "ternausnet16": ["vgg16", "vgg16_bn"],
}
"""The encoders of the architectures that are bound to some; every other one takes any of smp's."""

SMP_ARCHITECTURES = [
    *("unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet"),
    *("deeplabv3", "deeplabv3plus", "pan", "upernet", "segformer", "dpt"),
]
"""The architectures that are built by segmentation_models_pytorch."""


class Network(Section):
    """A network by name.

    `encoder` is a name of smp's, `tu-<name>` for timm's, or null for an architecture without one.
    `weights` is `imagenet`, `none` or a file (.pt, .pth, .safetensors) of an encoder in its
    official layout or of a whole network. `options` are the architecture's own: a file or a command
    line that names another one starts without those of its base.
    """

    arch: Annotated[str, Neutral("unet")]
    encoder: Annotated[str | None, Neutral("resnet34")]
    weights: Annotated[str, Neutral("none")]
    options: Annotated[dict[str, Any], KeysOf("arch"), Neutral({})]

    @field_validator("arch")
    @classmethod
    def _known_arch(cls, arch: str) -> str:
        if arch not in OPTIONS:
            raise ValueError(f"unknown architecture {arch!r}.{nearest(arch, OPTIONS)}")
        return arch

    @field_validator("encoder")
    @classmethod
    def _fitting_encoder(cls, encoder: str | None, info: ValidationInfo) -> str | None:
        arch = info.data.get("arch")
        known = ENCODERS.get(arch) if arch is not None else None
        if arch is None or encoder in (known or []):
            return encoder
        if known == []:
            if encoder is not None:
                raise ValueError(f"expected null, since {arch} has no encoder, got {encoder!r}.")
        elif encoder is None:
            raise ValueError(f"expected the name of an encoder for {arch}, got null.")
        elif known is not None:
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
        if weights not in {"imagenet", "none"} and not Path(weights).is_file():
            raise ValueError(
                f"no such file: {weights!r}.{nearest(weights, ['imagenet', 'none'])} "
                "Or the path of a .pt, .pth or .safetensors file."
            )
        return weights

    @field_validator("options")
    @classmethod
    def _fitting_options(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        arch = info.data.get("arch")
        if arch is None:
            return options
        errors: list[InitErrorDetails] = []
        for name, value in options.items():
            if name not in OPTIONS[arch]:
                errors.append(_unknown_option(arch, name, value))
                continue
            try:
                TypeAdapter(OPTIONS[arch][name]).validate_python(value, strict=True)
            except ValidationError as error:
                message = _expected(error, value)
                errors.append(defect((name,), message, value))
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return options


def _unknown_option(arch: str, name: str, value: Any) -> InitErrorDetails:  # noqa: ANN401
    return defect((name,), f"{arch} has no such option.{nearest(name, OPTIONS[arch])}", value)


def _expected(error: ValidationError, value: Any) -> str:  # noqa: ANN401
    found = [line["msg"].removeprefix("Input should be ") for line in error.errors()]
    return f"expected {' or '.join(dict.fromkeys(found))}, got {value!r}."
