"""Where the images come from and how they are split: a folder, a demo, Kaggle, the folds."""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from pipeline.config.competitions import FIRST
from pipeline.config.earlier import Neutral, Place, without_neutral
from pipeline.config.fields import Count, Positive, Section, Share
from pipeline.config.paths import UserPath, UserPaths
from pipeline.config.reading import Reading

MAX_NAME = 80
DEMO_0_1_0 = {"seed", "tile_px", "train_tiles", "test_tiles", "empty_share", "max_ship_px"}


class Demo(Section):
    """What `pipeline.data.demo` renders where `data.root` is null.

    `tile_px` and `max_ship_px` are of the ships' demo alone; another competition's stand-in has its
    images' size.
    """

    seed: Annotated[int, Field(ge=0), Neutral(0)]
    tile_px: Annotated[int, Field(ge=96, le=2048, multiple_of=3), Neutral(144)]
    train_tiles: Annotated[Count, Neutral(1500)]
    test_tiles: Annotated[Count, Neutral(90)]
    empty_share: Annotated[Share, Neutral(0.5)]
    max_ship_px: Annotated[int, Field(ge=16), Neutral(130)]


class Data(Section):
    """Where the images are; `root: null` means the rendered demo.

    `extra` are folders of further images to train on in every fold, see `pipeline.data.extra`.
    `gsd` is how many metres of ground a pixel of the training images is, if that is known: a scene
    of another pixel size is warned of. No work depends on it.
    """

    root: Annotated[UserPath, Neutral(None), Place()]
    test_truth: Annotated[UserPath, Neutral(None), Place()]
    extra: Annotated[UserPaths, Neutral([]), Place()]
    max_bad_share: Annotated[Share, Neutral(1.0)]
    gsd: Annotated[Positive | None, Neutral(None), Place()]
    reading: Reading
    demo: Demo

    @field_validator("extra")
    @classmethod
    def _names_differ(cls, extra: list[Path]) -> list[Path]:
        names = [folder.absolute().name for folder in extra]
        if same := [name for name in names if names.count(name) > 1]:
            raise ValueError(
                f"expected folders whose names differ, since their images are called by them, got "
                f"several called {same[0]}. Rename one."
            )
        return extra

    @property
    def extra_folders(self) -> dict[str, Path]:
        """The folders of `extra` by the names that their images' ids begin with."""
        return {folder.absolute().name: folder for folder in self.extra}

    def folder_of(self, competition: str) -> Path:
        """Return the folder the competition's data is in, given or rendered."""
        if self.root is not None:
            return self.root
        # Settings that are newer and neutral are left out: a demo keeps the name it was given.
        named = {*DEMO_0_1_0, *without_neutral(Demo, self.demo.model_dump())}
        settings = json.dumps(self.demo.model_dump(include=named), sort_keys=True)
        mark = hashlib.sha256(settings.encode()).hexdigest()[:8]
        return Path("data") / (
            f"demo-{competition}-{mark}" if competition != FIRST else f"demo-{mark}"
        )


def name_of(folder: Path) -> str:
    """Return the name of a data folder in `folds/`.

    One outside `data/`, or with a long name, gets a mark of its path.
    """
    folder = folder.resolve()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name).strip("-.") or "data"
    if folder.parent == Path("data").resolve() and len(name) <= MAX_NAME:
        return name
    return f"{name[:MAX_NAME]}-{hashlib.sha256(str(folder).encode()).hexdigest()[:6]}"


class Kaggle(Section):
    """The competition at Kaggle: where `--upload` sends to, and whether missing data is fetched.

    `slug` is its name in addresses; null: the competition's own.
    """

    slug: Annotated[
        Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100)] | None,
        Neutral(None),
    ]
    download: Annotated[bool, Neutral(False)]
    keep_archive: Annotated[bool, Neutral(False)]


class Folds(Section):
    """How training images are split; `file` is a split of the user's own."""

    count: Annotated[int, Field(ge=2), Neutral(2)]
    file: Annotated[UserPath, Neutral(None), Place()]
