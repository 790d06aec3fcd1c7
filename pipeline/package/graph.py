"""A run's networks as one function of images, traced by torch.export.

Pixels enter as they are stored, probabilities leave: normalisation, padding and the mean over the
networks are inside. Symmetries, thresholds and rules are not.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from pipeline.data.targets import probabilities
from pipeline.errors import ConfigError, PipelineError
from pipeline.networks.build import SegmentationNetwork
from pipeline.networks.frame import mirrored, next_multiple

Size = tuple[int, int]
INPUT, OUTPUTS = "images", ("probabilities", "image_probability")


class Graph(nn.Module):
    """The mean of networks' probabilities.

    Args:
        networks: In float32, on the CPU.
        kind: Of the targets that they were trained on.
        size: Height and width of images, px; None: any from `least_px` on.

    Attributes:
        size: As given.
        stride: Of the networks, px.
    """

    def __init__(
        self, networks: Sequence[SegmentationNetwork], kind: str, size: Size | None
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.kind, self.size, self.stride = kind, size, networks[0].stride
        self.eval().requires_grad_(False)

    @property
    def free_axes(self) -> dict[int, str]:
        """Axes of the images whose length is free, by name."""
        return {0: "batch"} | ({} if self.size else {2: "height", 3: "width"})

    @property
    def least_px(self) -> int:
        """Of each side, where sizes are free.

        Fewer are one or two pixels of the deepest features. torch.export takes a side of one for a
        case of its own, and networks may halve them once more.
        """
        return 2 * self.stride + 1

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Predict.

        Args:
            images: uint8 (N, 3, H, W), RGB.

        Returns:
            float32, 0..1: of each class and, behind them, of its touching borders where the run
            has them (N, C, H, W); with an image head also of any object (N,).
        """
        shape = images.shape
        if self.size is None:
            # A network pads what is no multiple; whether it is must not be decided by tracing.
            for axis in (2, 3):
                length = images.shape[axis]
                padded = next_multiple(length, self.stride)
                images = images.index_select(axis, mirrored(length, padded, images.device))
        each = [network(images) for network in self.networks]
        maps = torch.stack([probabilities(one.logits_nchw, self.kind) for one in each]).mean(0)
        if self.size is None:
            for axis in (2, 3):
                rest = torch.arange(shape[axis], device=images.device)
                maps = maps.index_select(axis, rest)
        heads = [one.image_logits.sigmoid() for one in each if one.image_logits is not None]
        return (maps, torch.stack(heads).mean(0)) if heads else (maps,)


def trace(graph: Graph) -> ExportedProgram:
    """Trace a graph, for any number of images of its size."""
    # Lengths that are equal or multiples of the stride would be traced as such.
    height, width = graph.size or (4 * graph.stride - 1, 5 * graph.stride - 1)
    images = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    free = {axis: Dim.DYNAMIC(min=graph.least_px if axis else None) for axis in graph.free_axes}
    program = torch.export.export(graph, (images,), dynamic_shapes=(free,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine, and half of an ONNX file
    return program


@contextmanager
def exporting(graph: Graph, form: str) -> Iterator[None]:
    """Tell what torch, ONNX or ONNX Runtime cannot do with a graph as ConfigError."""
    try:
        yield
    except (PipelineError, OSError):
        raise
    except Exception as error:  # each library has its own, and so has a network's code
        size = " x ".join(map(str, graph.size)) + " px" if graph.size else "any size"
        raise ConfigError(
            f"--as {form}: these networks cannot be exported for images of {size}: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:400]}. "
            f"{'Change' if graph.size else 'Give'} --size H,W, or use --as model."
        ) from error
