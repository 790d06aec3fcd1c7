"""The architectures of segmentation_models_pytorch.

A checked `Network` enters, an smp model leaves, with random weights: what it starts from is in
`pipeline.networks.weights`.
"""

from functools import partial
from typing import Any

from segmentation_models_pytorch import MODEL_ARCHITECTURES_MAPPING
from segmentation_models_pytorch.base import ClassificationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.decoders.dpt.decoder import ReassembleBlock
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pipeline.config.networks import Network
from pipeline.networks.encoders import check_encoder, encoder_options

HEAD = {"classes": 1, "pooling": "max", "dropout": 0.0}
"""Maximum, since an object may fill a thousandth of an image and a mean would drown it."""
_DPT_PATCH_PX = 16
"""The paper's, for encoders with patches that doubling does not enlarge to it."""


def build_smp(network: Network, channels: int, image_head: bool) -> nn.Module:
    """Build smp's architecture `network.arch`, which returns logits, or (logits, image logits).

    Raises:
        ConfigError: Unknown encoder, or one that is made for no `img_size`.
        Exception: Whatever smp and timm raise for an encoder that they cannot use as asked.
    """
    check_encoder(str(network.encoder))
    given = dict(network.options)
    given |= encoder_options(str(network.encoder), given.pop("img_size", None))

    def build(**more: bool) -> nn.Module:
        body: nn.Module = MODEL_ARCHITECTURES_MAPPING[network.arch](
            encoder_name=network.encoder,
            encoder_weights=None,
            in_channels=3,
            classes=channels,
            activation=None,
            aux_params=HEAD if image_head else None,
            **given,
            **more,
        )
        return body

    if network.arch != "dpt":
        return build()
    try:
        body = build(dynamic_img_size=True)
    except TypeError:  # a transformer of one size
        body = build()
        encoder: Any = body.encoder
        strides_px = encoder.output_strides
        if len({*strides_px}) > 1:
            reason = f"its features have strides {strides_px}, expected one for all"
            raise ValueError(reason) from None
    _fit_patches(body)
    return body


def _fit_patches(body: nn.Module) -> None:
    """Let DPT take patches of 14 px, and all that are no power of two.

    Its encoder sees the image smaller, so that a patch is 16 px of the image as it came.
    """
    encoder: Any = body.encoder
    patch_px = int(encoder.output_stride)
    if patch_px.bit_count() == 1:
        return
    encoder.register_forward_pre_hook(partial(_shrink, scale=patch_px / _DPT_PATCH_PX))
    encoder.output_stride = _DPT_PATCH_PX
    decoder: Any = body.decoder
    for level, old in enumerate(decoder.reassemble_blocks):
        decoder.reassemble_blocks[level] = ReassembleBlock(
            old.project_to_out_channel.in_channels,
            old.project_to_out_channel.out_channels,
            old.project_to_feature_dim.out_channels,
            _DPT_PATCH_PX / 2 ** (level + 2),
        )
    initialize_decoder(decoder)


def _shrink(_: nn.Module, inputs: tuple[Tensor], *, scale: float) -> Tensor:
    size = [round(side_px * scale) for side_px in inputs[0].shape[2:]]
    return F.interpolate(inputs[0], size, mode="bilinear", antialias=True)


def image_head_of(channels: int) -> nn.Module:
    """Build the head that says whether an image holds an object, from features of `channels`."""
    head: nn.Module = ClassificationHead(channels, **HEAD)
    return head


def smp_stride_px(arch: str, body: nn.Module) -> int:
    """Return the multiple that height and width of the input must be of.

    PAN's pyramid halves the deepest features three times more. DPT's reassembly makes features of
    half a patch, and of 4, 8, ... px, one for each level.
    """
    encoder: Any = body.encoder
    stride = int(encoder.output_stride)
    if arch == "dpt":
        coarsest_px: int = 2 ** (len(encoder.output_strides) + 1)
        return max(2 * stride, coarsest_px)
    return stride * 8 if arch == "pan" else stride
