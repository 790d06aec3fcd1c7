"""What the work of a stage divides into: folds, the test images, and shards of either.

The text of `--folds` enters, such as `0,2` or `test:1/4`; parts leave. Which items belong to a
shard depends on the shard alone, so that every item is worked on once, wherever and in whatever
order the shards run.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from pipeline.errors import ConfigError
from pipeline.jobs.job import Job
from pipeline.jobs.run import Run

Item = TypeVar("Item")


@dataclass(frozen=True)
class Part:
    """A fold, or the part called `name`; if `shards` > 1 only every `shards`-th item of it.

    Attributes:
        name: A fold's number, or the name of a part that is no fold.
        shard: Which shard, from 0.
        shards: How many there are.
    """

    name: str
    shard: int = 0
    shards: int = 1

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what `str` makes of a part; None for anything else."""
        found = re.fullmatch(r"(\w+)(?::(\d+)/(\d+))?", text)
        if found is None:
            return None
        part = cls(found[1], int(found[2] or 0), int(found[3] or 1))
        return part if part.shard < part.shards else None

    def __str__(self) -> str:
        return self.name if self.shards == 1 else f"{self.name}:{self.shard}/{self.shards}"

    @property
    def fold(self) -> int:
        """The number of the fold that the part is."""
        return int(self.name)

    def cut(self, shards: int) -> list["Part"]:
        """Divide a part into so many shards, a shard into smaller ones."""
        first, step = self.shard, self.shards
        return [Part(self.name, first + step * n, step * shards) for n in range(shards)]

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Choose the part's items among those of the whole part."""
        return items[self.shard :: self.shards]


@dataclass(frozen=True)
class PartStage:
    """A stage whose work divides into parts.

    Attributes:
        job: Returns the job of a part, None where the run has none.
        work: Does a part's job.
        also: Names of parts beside the folds.
        shards: In how many shards to cut a part for so many places, where `work` takes shards.
        check: Raises a PipelineError for what `work` would refuse, before anything is begun.
        preload: Modules that `work` imports and that take seconds: once for all processes.
    """

    job: Callable[[Run, Part], Job | None]
    work: Callable[[Run, Job, Part], None]
    also: tuple[str, ...] = ()
    shards: Callable[[Run, Part, int], int] | None = None
    check: Callable[[Run], None] = lambda _: None
    preload: tuple[str, ...] = ()


def read_parts(text: str, known: Sequence[str], *, shards: bool) -> list[Part]:
    """Read `--folds`.

    Args:
        text: Names of `known`, separated by commas, each perhaps with a shard; "all" for all.
        known: The names of the stage's parts.
        shards: Whether the stage's parts have shards.

    Raises:
        ConfigError: Not different parts of this stage.
    """
    if text == "all":
        return [Part(name) for name in known]
    parts = [part for each in text.split(",") if (part := Part.parse(each)) and part.name in known]
    legal = all(part.shards == 1 for part in parts) or shards
    if len(set(parts)) < len(text.split(",")) or not legal:
        example = f", or a shard of one such as {known[0]}:1/4" if shards else ""
        raise ConfigError(
            f"--folds {text}: expected different ones of {', '.join(known)} (as folds.count says), "
            f"separated by commas{example}."
        )
    return parts
