"""What a run is about, in the words of its competition, and the metric that it is judged by."""

import re
from dataclasses import dataclass
from typing import Any

from pipeline.config.competitions import Competition
from pipeline.metrics.metric import Metric
from pipeline.metrics.registry import find_metric


@dataclass(frozen=True)
class Task:
    """A competition and its metric."""

    competition: Competition
    metric: Metric

    @classmethod
    def of(cls, competition: Competition) -> "Task":
        """Return the task of a competition."""
        return cls(competition, find_metric(competition.metric))

    @property
    def score(self) -> str:
        """The metric's name in sentences."""
        return self.metric.label

    @property
    def one(self) -> str:
        """An object's name."""
        return self.competition.object_name[0]

    @property
    def many(self) -> str:
        """Several objects' name."""
        return self.competition.object_name[1]

    @property
    def drawn(self) -> str:
        """What is outlined: objects by their name, or the mask."""
        return self.many if self.competition.objects else "mask"

    @property
    def classes(self) -> tuple[str, ...]:
        """Ids of the classes; one where the tables tell none."""
        return self.competition.classes

    @property
    def by_class(self) -> bool:
        """Whether there are several classes, and an image is scored class by class."""
        return len(self.classes) > 1 and not self.metric.pools_classes

    def neutral(self, record: Any) -> Any:  # noqa: ANN401  any JSON value
        """Name a record's figures alike whatever the task: `score` by the metric, of `object`s.

        `f2_ship_images` becomes `score_object_images`. Ids of classes stay as they are.
        """
        if isinstance(record, list):
            return [self.neutral(each) for each in record]
        if not isinstance(record, dict):
            return record
        own = re.compile(rf"^(test_|val_)?{re.escape(self.metric.key)}(?=_|$)")
        named = {own.sub(r"\1score", key).replace("ship", "object"): record[key] for key in record}
        classes = {key: self.neutral(each) for key, each in named.pop("classes", {}).items()}
        named = {key: self.neutral(each) for key, each in named.items()}
        return named | ({"classes": classes} if classes else {})
