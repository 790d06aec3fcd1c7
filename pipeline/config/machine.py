"""How a run uses the machine."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.earlier import Neutral
from pipeline.config.fields import Count, Positive, Section


class Machine(Section):
    """How to use the machine; nothing here changes what is computed beyond rounding.

    But for `accumulate`: losses of the whole batch, and BatchNorm, see a part of it.
    """

    device: Annotated[Literal["auto", "cpu", "cuda"], Neutral("auto")]
    amp: Annotated[bool, Neutral(False)]
    half_missing: Annotated[Literal["float32", "refuse"], Neutral("float32")]
    processes_per_fold: Annotated[Count, Neutral(1)]
    compile: Annotated[bool, Neutral(False)]
    loader_workers: Annotated[Annotated[int, Field(ge=0)] | Literal["auto"], Neutral(0)]
    image_cache_mib: Annotated[int, Field(ge=0), Neutral(0)]
    accumulate: Annotated[Count | Literal["auto"], Neutral(1)]
    checkpoint_activations: Annotated[bool, Neutral(False)]
    checkpoint_minutes: Annotated[Positive, Neutral(1e9)]
    tensorboard: Annotated[bool, Neutral(False)]
    threads: Annotated[Annotated[int, Field(ge=1)] | None, Neutral(None)]
