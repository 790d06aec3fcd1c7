"""The schema of a run: every knob there is, its type and its range.

A YAML file (its `base:` files below it) and key=value overrides enter; one frozen `Config` leaves.
`configs/demo.yaml` gives every value, so the schema has no defaults: a file that lists a key is
the only place a value can come from. How files are read and how an error finds its line is in
`pipeline.config.yaml_source`.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from pipeline.config.augment import Augment
from pipeline.config.calibration import Calibrate
from pipeline.config.competitions import Competition, competitions
from pipeline.config.earlier import Neutral, Place, without_neutral
from pipeline.config.fields import Count, Positive, Section, Share
from pipeline.config.losses import TERMS, LossTerm
from pipeline.config.networks import Network
from pipeline.config.paths import UserPath
from pipeline.config.yaml_source import defect
from pipeline.errors import ConfigError

MAX_DATA_NAME = 80
DEMO_0_1_0 = {"seed", "tile_px", "train_tiles", "test_tiles", "empty_share", "max_ship_px"}
MAX_RUN_NAME = 200
RunName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=MAX_RUN_NAME)]
"""A file's name may have 255 letters, and some are the run's with more behind it."""


class Demo(Section):
    """What `pipeline.data.demo` renders where `data.root` is null."""

    seed: Annotated[int, Field(ge=0), Neutral(0)]
    tile_px: Annotated[int, Field(ge=96, le=2048, multiple_of=3), Neutral(144)]
    train_tiles: Annotated[Count, Neutral(1500)]
    test_tiles: Annotated[Count, Neutral(90)]
    empty_share: Annotated[Share, Neutral(0.5)]
    max_ship_px: Annotated[int, Field(ge=16), Neutral(130)]


class Data(Section):
    """Where the images are; `root: null` means the rendered demo."""

    root: Annotated[UserPath, Neutral(None), Place()]
    test_truth: Annotated[UserPath, Neutral(None), Place()]
    max_bad_share: Annotated[Share, Neutral(1.0)]
    demo: Demo

    @property
    def folder(self) -> Path:
        """The folder the data is in, given or rendered."""
        if self.root is not None:
            return self.root
        # Settings that are newer and neutral are left out: a demo keeps the name it was given.
        named = {*DEMO_0_1_0, *without_neutral(Demo, self.demo.model_dump())}
        settings = json.dumps(self.demo.model_dump(include=named), sort_keys=True)
        return Path("data") / f"demo-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"

    @property
    def name(self) -> str:
        """The data's name in `folds/`.

        A folder outside `data/`, or with a long name, gets a mark of its path.
        """
        folder = self.folder.resolve()
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name).strip("-.") or "data"
        if folder.parent == Path("data").resolve() and len(name) <= MAX_DATA_NAME:
            return name
        return f"{name[:MAX_DATA_NAME]}-{hashlib.sha256(str(folder).encode()).hexdigest()[:6]}"


class Kaggle(Section):
    """The competition at Kaggle: where `--upload` sends to, and whether missing data is fetched."""

    slug: Annotated[
        str,
        Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100),
        Neutral("airbus-ship-detection"),
    ]
    download: Annotated[bool, Neutral(False)]
    keep_archive: Annotated[bool, Neutral(False)]


class Folds(Section):
    """How training images are split; `file` is a split of the user's own."""

    count: Annotated[int, Field(ge=2), Neutral(2)]
    file: Annotated[UserPath, Neutral(None), Place()]


class Targets(Section):
    """What the network learns of each pixel: see `pipeline.data.targets`.

    `contact_px` is how near, in rows and columns, two objects must be to a pixel of their touching
    border; in narrow objects less. `contact_weight` is that of the loss of that channel, the second
    of `ship_contact`, beside the first's.
    """

    kind: Annotated[Literal["ship", "ship_contact", "classes"], Neutral("ship")]
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


class Config(Section):
    """A whole run."""

    name: Annotated[RunName, Neutral("unnamed")]
    seed: Annotated[int, Field(ge=0), Neutral(0)]
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
        """The competition in force."""
        return competitions()["airbus"]

    @field_validator("train", "finetune")
    @classmethod
    def _losses_for_the_targets(cls, stage: Optimisation, info: ValidationInfo) -> Optimisation:
        if "targets" not in info.data:
            return stage
        kind = info.data["targets"].kind
        learned, answer = ("a softmax", "softmax") if kind == "classes" else ("sigmoids", "sigmoid")
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
        if wrong:
            raise ValidationError.from_exception_data(type(self).__name__, wrong)
        return self
