"""Make torchvision importable beside a torch it was not built for.

The published torchvision wheel holds CUDA operators, whose library does not load beside a CPU-only
torch, and then torchvision's own import fails with `operator torchvision::nms does not exist`. Its
networks need none of these operators: with the two schemas declared, smp and timm import and train.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list["torch.library.Library"] = []  # one that is collected takes its schemas along


class BeforeTorchvision(MetaPathFinder):
    """Finds nothing, but sees the first import of torchvision coming, and no other has to wait."""

    def find_spec(self, name: str, *_: object) -> None:
        """Declare what is missing, once."""
        if name == "torchvision" and self in sys.meta_path:
            sys.meta_path.remove(self)
            _declare_missing_operators()


def _declare_missing_operators() -> None:
    """Declare the schemas of `nms` and `qnms`, unless torch has CUDA or torchvision brings them."""
    import torch

    if _declared or torch.version.cuda is not None or _operators_load():
        return
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(name + _SCHEMA)  # type: ignore[no-untyped-call]
    _declared.append(library)


def _operators_load() -> bool:
    """Tell whether torchvision's operator library loads here; torchvision would load the same."""
    import torch

    found = importlib.util.find_spec("torchvision")
    for folder in (found.submodule_search_locations or []) if found else []:
        for suffix in EXTENSION_SUFFIXES:
            path = Path(folder) / f"_C{suffix}"
            if path.is_file():
                try:
                    torch.ops.load_library(path)  # type: ignore[no-untyped-call]
                except OSError:
                    return False
                return True
    return False
