"""The schema of a run: every knob there is, its type and its range.

A YAML file (its `base:` files below it) and key=value overrides enter; one frozen `Config` leaves.
`configs/demo.yaml` gives every value, so the schema has no defaults: a file that lists a key is
the only place a value can come from. How files are read and how an error finds its line is in
`pipeline.config.yaml_source`.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from pipeline.config.augment import Augment
from pipeline.config.calibration import Calibrate
from pipeline.config.competitions import (
    ANY_CLASS,
    FIRST,
    Competition,
    CompetitionName,
    MaskMetric,
    ObjectMetric,
    OwnData,
    competitions,
)
from pipeline.config.data import Data, Folds, Kaggle, name_of
from pipeline.config.earlier import Neutral
from pipeline.config.fields import Count, Positive, Section, Share
from pipeline.config.losses import TERMS, LossTerm
from pipeline.config.machine import Machine
from pipeline.config.networks import Network
from pipeline.config.yaml_source import defect
from pipeline.errors import ConfigError

MAX_RUN_NAME = 200
RunName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=MAX_RUN_NAME)]
"""A file's name may have 255 letters, and some are the run's with more behind it."""


class Targets(Section):
    """What the network learns of each pixel: see `pipeline.data.targets`.

    `contact_px` is how near, in rows and columns, two objects must be to a pixel of their touching
    border; in narrow objects less. `contact_weight` is that of the loss of that channel, the second
    of `object_contact`, beside the first's.
    """

    kind: Annotated[Literal["object", "object_contact", "softmax"], Neutral("object")]
    contact_px: Annotated[Count, Neutral(1)]
    contact_weight: Annotated[Positive, Neutral(1.0)]


class ImageHead(Section):
    """A second output of the network: is there any object in the image?

    `weight` is that of its loss beside the pixels'; 0: no such head. Only
    `calibrate.candidate_selection` uses its answer.
    """

    weight: Annotated[float, Field(ge=0), Neutral(0.0)]


class Crops(Section):
    """What one training step sees: `batch_size` crops of `size_px`, `per_epoch` of them an epoch.

    `object_share` of the crops hold an object, `contact_share` a pixel of a touching border as
    `targets` has it (where no objects meet: an object), `empty_share` lie in images without
    objects, the rest anywhere in images with some. Crops that need not hold an object lie at the
    busiest of `busiest_of` random places: clouds, coasts and roofs teach more than water.
    `hard_run` names an earlier run whose out-of-fold maps say how often an empty image is taken;
    without it all are taken alike. `auto` is decided by the network and the device: see
    `pipeline.training.sizes`.
    """

    size_px: Annotated[Count | Literal["auto"], Neutral("auto")]
    batch_size: Annotated[Count | Literal["auto"], Neutral("auto")]
    per_epoch: Annotated[Count, Neutral(1)]
    object_share: Annotated[Share, Neutral(0.0)]
    contact_share: Annotated[Share, Neutral(0.0)]
    empty_share: Annotated[Share, Neutral(0.0)]
    busiest_of: Annotated[Count, Neutral(1)]
    hard_run: Annotated[RunName | None, Neutral(None)]

    def fixed_sizes(self) -> tuple[int, int]:
        """Return `size_px` and `batch_size` where both are numbers.

        Raises:
            ConfigError: One is `auto` where nothing decides it.
        """
        if self.size_px == "auto" or self.batch_size == "auto":
            raise ConfigError(
                "crops: auto is decided when training begins; expected numbers here. Give "
                "crops.size_px=256 and crops.batch_size=8, for example."
            )
        return self.size_px, self.batch_size

    @model_validator(mode="after")
    def _shares(self) -> Self:
        shares = self.object_share, self.contact_share, self.empty_share
        if sum(shares) > 1 + 1e-9:
            raise ValueError(
                "expected object_share + contact_share + empty_share to be at most 1, got "
                f"{' + '.join(map(str, shares))}."
            )
        return self

    @model_validator(mode="after")
    def _whole_batches(self) -> Self:
        if self.batch_size != "auto" and self.per_epoch % self.batch_size:
            raise ValueError(
                f"expected per_epoch to be a multiple of batch_size={self.batch_size}, so that "
                f"every step is a whole batch, got {self.per_epoch}."
            )
        return self


def check_shares(batch_size: int, processes: int) -> None:
    """Raise ConfigError where so many processes cannot share a batch."""
    if batch_size % processes:
        raise ConfigError(
            f"crops.batch_size: {batch_size}: expected a multiple of {processes}, the number "
            "of processes that share a batch."
        )


class Optimisation(Section):
    """One pass of training: AdamW, linear warm-up, cosine decay, clipped gradients, EMA."""

    epochs: Annotated[Count, Neutral(1)]
    loss: Annotated[
        list[LossTerm],
        Field(min_length=1),
        Neutral([{"name": "bce", "weight": 1.0, "label_smoothing": 0.0}]),
    ]
    learning_rate: Annotated[Positive, Neutral(1e-3)]
    weight_decay: Annotated[float, Field(ge=0), Neutral(0.0)]
    warmup_share: Annotated[Share, Neutral(0.0)]
    clip_norm: Annotated[Positive, Neutral(1e9)]
    ema_decay: Annotated[float, Field(ge=0, lt=1), Neutral(0.0)]
    validation_images: Annotated[Count, Neutral(1)]


class Ensemble(Section):
    """Other runs of the same folds whose maps are averaged, instead of training networks."""

    runs: Annotated[list[RunName], Field(min_length=1), Neutral(["unnamed"])]
    mean: Annotated[Literal["probability", "logit"], Neutral("probability")]


class Predict(Section):
    """Inference on whole images; a map whose maximum is below `floor` is not stored.

    No rule that calibration tries may look lower. With `look_again` one pass decides where no
    object is possible; see `pipeline.inference.second_look`.
    """

    tta: Annotated[Literal["d4", "flips", "none"], Neutral("none")]
    look_again: Annotated[bool, Neutral(False)]
    batch_size: Annotated[Count, Neutral(1)]
    floor: Annotated[Share, Neutral(0.0)]
    ensemble: Annotated[Ensemble | None, Neutral(None)]


class Config(Section):
    """A whole run."""

    name: Annotated[RunName, Neutral("unnamed")]
    seed: Annotated[int, Field(ge=0), Neutral(0)]
    competition: Annotated[CompetitionName, Neutral(FIRST)]
    own_data: OwnData
    data: Data
    kaggle: Kaggle
    folds: Folds
    targets: Targets
    network: Network
    image_head: ImageHead
    crops: Crops
    augment: Augment
    train: Optimisation
    finetune: Optimisation
    predict: Predict
    calibrate: Calibrate
    machine: Machine

    @property
    def task(self) -> Competition:
        """The competition in force, with what it leaves to the configuration."""
        found = competitions()[self.competition]
        if not found.classes:
            own = self.own_data
            metric = "ap" if own.objects else "dice"
            found = replace(found, classes=tuple(own.classes), objects=own.objects, metric=metric)
        metric = self.calibrate.metric or found.metric
        return replace(found, metric=metric, reading=self.data.reading)

    @property
    def data_folder(self) -> Path:
        """The folder the data is in, given or rendered."""
        return self.data.folder_of(self.competition)

    @property
    def data_name(self) -> str:
        """The data's name in `folds/`."""
        return name_of(self.data_folder)

    @property
    def images_name(self) -> str:
        """The name of what is remembered of its images: another for each `data.reading`."""
        return self.data_name + self.data.reading.mark

    @property
    def slug(self) -> str:
        """The competition's name at Kaggle.

        Raises:
            ConfigError: It has none.
        """
        slug = self.kaggle.slug or self.task.slug
        if slug is None:
            raise ConfigError(
                f"kaggle.slug: competition {self.competition} has none at Kaggle. Give the name in "
                "its address there, or leave Kaggle out."
            )
        return slug

    @field_validator("targets")
    @classmethod
    def _one_class_for_a_softmax(cls, targets: Targets, info: ValidationInfo) -> Targets:
        if targets.kind != "softmax" or not {"competition", "own_data"} <= info.data.keys():
            return targets
        name = info.data["competition"]
        if len(competitions()[name].classes or info.data["own_data"].classes) > 1:
            message = f"expected sigmoids, as {name} has several classes, got softmax. Give object "
            message += "or object_contact."
            wrong = [defect(("kind",), message, targets.kind)]
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return targets

    @field_validator("train", "finetune")
    @classmethod
    def _losses_for_the_targets(cls, stage: Optimisation, info: ValidationInfo) -> Optimisation:
        if "targets" not in info.data:
            return stage
        kind = info.data["targets"].kind
        learned, answer = ("a softmax", "softmax") if kind == "softmax" else ("sigmoids", "sigmoid")
        unfit = sorted(name for name, term in TERMS.items() if answer not in term.answers)
        wrong = [
            defect(
                ("loss", i, "name"),
                f"expected a loss of {learned}, which targets.kind={kind} learns, so none of "
                f"{', '.join(unfit)}, got {term.name}. Change the loss or the kind.",
                term.name,
            )
            for i, term in enumerate(stage.loss)
            if term.name in unfit
        ]
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return stage

    @model_validator(mode="after")
    def _prediction_for_the_calibration(self) -> Self:
        floor, weight, lowest = self.predict.floor, self.image_head.weight, self.calibrate.lowest
        wrong = []
        if floor > lowest:
            message = (
                f"expected at most {lowest}, the least probability that calibrate tries, got "
                f"{floor}: maps that are not stored would be an image filter that nothing "
                "calibrates. Lower it, or try no value below it."
            )
            wrong.append(defect(("predict", "floor"), message, floor))
        if weight > 0 and self.calibrate.candidate_selection is None:
            message = (
                f"expected 0 where calibrate.candidate_selection is null, got {weight}: nothing "
                "else uses the head's answer. Give both or neither."
            )
            wrong.append(defect(("image_head", "weight"), message, weight))
        wrong += [defect(*each) for each in _unfit_for(self.task, self)]
        if wrong:
            raise ValidationError.from_exception_data(type(self).__name__, wrong)
        return self


def _unfit_for(task: Competition, config: Config) -> Iterator[tuple[tuple[str, str], str, object]]:
    """Yield the settings that a competition cannot have: key, what is wrong, and the value."""
    kind, several = config.targets.kind, len(task.classes) > 1
    hint = f" configs/{config.competition}.yaml has settings that fit."
    if [*task.classes] != config.own_data.classes != [ANY_CLASS]:
        message = f"expected [{ANY_CLASS}], as {config.competition} has classes of its own, got "
        message += f"{', '.join(config.own_data.classes)}. Leave it out, or change the competition."
        yield ("own_data", "classes"), message, config.own_data.classes
    if not task.objects and kind != "object":
        message = f"expected object, as {config.competition} has no objects that could touch,"
        yield ("targets", "kind"), f"{message} got {kind}.", kind
    if several or task.mask_shape is not None:
        reason = "several classes" if several else "masks of another size than the images"
        if config.predict.look_again:
            message = f"expected false where there are {reason}, got true.{hint}"
            yield ("predict", "look_again"), message, True
    if task.metric != "f2" and config.calibrate.candidate_selection is not None:
        message = (
            f"expected null, since what a segment adds to the expected score is derived for F2 "
            f"alone, and {config.competition} is scored by {task.metric}.{hint}"
        )
        yield ("calibrate", "candidate_selection"), message, "a section"
    fitting = get_args(ObjectMetric if task.objects else MaskMetric)
    if task.metric not in fitting:
        message = f"expected null or one of {', '.join(fitting)}, got {task.metric}."
        yield ("calibrate", "metric"), message, task.metric
    if not task.objects and config.calibrate.watershed is not None:
        message = f"expected null: {task.metric} is of whole masks, which nothing splits.{hint}"
        yield ("calibrate", "watershed"), message, "a section"
