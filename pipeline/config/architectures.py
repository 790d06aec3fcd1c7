"""The architectures that `network.arch` may name, each with its options and encoders.

Those of segmentation_models_pytorch (smp) are listed here, so that naming one imports no torch; a
test holds their options against smp's constructors. Our own are the files of
`pipeline.networks.architectures`. Options that a configuration does not give keep the
architecture's own values.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field

from pipeline.config.code_file import CodeFile
from pipeline.config.extensions import modules_in
from pipeline.errors import ConfigError

Width = Annotated[int, Field(ge=1)]
Widths = Annotated[list[Width], Field(min_length=1, max_length=5)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Depth = Annotated[int, Field(ge=3, le=5)]


@dataclass(frozen=True)
class Architecture:
    """What there is to know of an architecture before it is built.

    Attributes:
        paper: Author and year of its paper.
        options: Name and type of each of its options; None: known once it is built.
        encoders: The encoders it is bound to, none if it has no encoder; None for any of smp's.
        shown_with: The encoder that the table of networks shows it with; None for the first of
            `encoders`, or the configuration's.
        build: Returns the network (`pipeline.networks.two_headed.TwoHeaded`) for the keyword
            arguments `channels`, `encoder` if it has one, and options; None where smp builds it.
    """

    paper: str
    options: dict[str, Any] | None
    encoders: Sequence[str] | None = None
    shown_with: str | None = None
    build: Callable[..., Any] | None = None


_interpolation: dict[str, Any] = {
    "decoder_interpolation": Literal["nearest", "nearest-exact", "bilinear", "bicubic", "area"]
}
_norm: dict[str, Any] = {
    "decoder_use_norm": Literal["batchnorm", "instancenorm", "layernorm", "identity"] | bool
}
_size: dict[str, Any] = {"img_size": Width | None}
"""Side of the images, px, to make an encoder of one size for: timm's name for it."""
_depth: dict[str, Any] = {"encoder_depth": Depth} | _size
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
_fpn: dict[str, Any] = {
    "decoder_pyramid_channels": Width,
    "decoder_segmentation_channels": Width,
    "decoder_merge_policy": Literal["add", "cat"],
    "decoder_dropout": Dropout,
}
_pan: dict[str, Any] = {"encoder_output_stride": Literal[16, 32], "decoder_channels": Width}
_dpt: dict[str, Any] = _size | {
    "encoder_depth": Annotated[int, Field(ge=1, le=4)],
    "encoder_output_indices": list[Annotated[int, Field(ge=0)]] | None,
    "decoder_readout": Literal["ignore", "add", "cat"],
    "decoder_intermediate_channels": Annotated[list[Width], Field(max_length=4)],
    "decoder_fusion_channels": Width,
}

SMP = {
    "unet": Architecture("Ronneberger 2015", _unet | _attention),
    "unetplusplus": Architecture("Zhou 2018", _unet | _attention),
    "manet": Architecture("Fan 2020", _unet | {"decoder_pab_channels": Width}),
    "linknet": Architecture("Chaurasia 2017", _depth | _norm),
    "fpn": Architecture("Kirillov 2019, Lin 2017", _depth | _interpolation | _final | _fpn),
    "pspnet": Architecture(
        "Zhao 2017", _depth | _norm | _final | {"psp_out_channels": Width, "psp_dropout": Dropout}
    ),
    "deeplabv3": Architecture("Chen 2017", _depth | _atrous | _final),
    "deeplabv3plus": Architecture("Chen 2018", _depth | _atrous | _final),
    "pan": Architecture("Li 2018", _depth | _interpolation | _final | _pan),
    "upernet": Architecture("Xiao 2018", _depth | _norm | _final | {"decoder_channels": Width}),
    "segformer": Architecture(
        "Xie 2021", _depth | _final | {"decoder_segmentation_channels": Width}
    ),
    "dpt": Architecture("Ranftl 2021", _dpt, shown_with="tu-vit_tiny_patch16_224"),
}
"""The architectures that smp builds."""

OWN = Architecture("in a file of one's own", options=None, encoders=())
"""What there is to know of a `CodeFile`."""


@cache
def architectures() -> dict[str, Architecture]:
    """Return every architecture by name; imports torch, which our own are made of.

    Raises:
        ConfigError: Two files, or a file and smp, have an architecture of the same name.
    """
    found: dict[str, Architecture] = {}
    for module in modules_in("networks.architectures"):
        twice = sorted(module.ARCHITECTURES.keys() & (found | SMP).keys())
        if twice:
            raise ConfigError(
                f"{module.__file__}: ARCHITECTURES: {twice[0]!r} is the name of another "
                "architecture. Expected a new one; rename it."
            )
        found |= module.ARCHITECTURES
    return found | SMP


def find_architecture(name: str) -> Architecture | None:
    """Return the architecture called `name`, None for an unknown one; smp's without torch."""
    if CodeFile.named(name) is not None:
        return OWN
    return SMP.get(name) or architectures().get(name)
