"""Where a competition's files lie, and which competition a folder is of."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.config.competitions import Competition, competitions
from pipeline.data.images import list_images, shown
from pipeline.errors import DataError
from pipeline.jobs.artifacts import read_json, sha256_file
from pipeline.jobs.tables import header_of

DEMO = "demo.json"  # what a rendered folder says of itself


@dataclass(frozen=True)
class ImageFiles:
    """The images in a folder.

    Attributes:
        folder: Where they lie.
        competition: Whose they are.
    """

    folder: Path
    competition: Competition

    @cached_property
    def found(self) -> dict[str, Path]:
        """The file of each image that is there, by its id; hidden files are none.

        Raises:
            DataError: The folder cannot be read.
        """
        found: dict[str, Path] = {}
        nested = self.competition.nested
        for ending in self.competition.endings:
            if ending:
                pattern = f"**/*{ending}" if nested else f"*{ending}"
                paths = sorted(p for p in self.folder.glob(pattern) if p.name[0] != ".")
            else:
                paths = [path for path in list_images(self.folder, "**/*") if path.is_file()]
            for path in paths:
                name = path.name if nested else str(path.relative_to(self.folder))
                found.setdefault(name.removesuffix(ending), path)
        return found

    def path(self, image_id: str) -> Path:
        """Return where an image is, or should be if it is not there."""
        endings = self.competition.endings
        if "" in endings:
            return self.folder / image_id
        return self.found.get(image_id, self.folder / f"{image_id}{next(iter(endings))}")

    def place(self, image_id: str) -> str:
        """Return an image's place as tables show it: folder and id."""
        return f"{self.folder.name}/{shown(image_id)}"


def has_layout(root: Path, competition: Competition) -> bool:
    """Tell whether everything of the competition's layout is in `root`."""
    return not _missing(root, competition)


def has_test(root: Path, competition: Competition) -> bool:
    """Tell whether the data in `root` has test images, or a part of what they need."""
    parts = competition.test_layout
    return not competition.test_optional or any((root / part).exists() for part in parts)


def _expected(root: Path, competition: Competition) -> list[str]:
    left_out = () if has_test(root, competition) else competition.test_layout
    return [part for part in competition.layout if part not in left_out]


def _missing(root: Path, competition: Competition) -> list[str]:
    return [
        part
        for part in _expected(root, competition)
        if not ((root / part).is_dir() or (root / part).is_file())
    ]


def others_like(root: Path, competition: Competition) -> list[Competition]:
    """Return the other competitions whose layout and table are in `root`."""

    def fits(other: Competition) -> bool:
        if other.name == competition.name or not has_layout(root, other):
            return False
        names = tuple(name.strip() for name in header_of(root / other.truth))
        return other.read_truth is not None or any(f.columns == names for f in other.truth_forms)

    return [other for other in competitions().values() if fits(other)]


def is_rendered(root: Path | None) -> bool:
    """Tell whether `data.root` is a demo or stand-in, whose images Kaggle does not know."""
    return root is None or (root / DEMO).is_file()


def check_kind(root: Path, competition: Competition) -> str:
    """Return what of a folder that was given for real data is to be warned of, "" if nothing.

    Raises:
        DataError: It is the rendered stand-in of another competition.
    """
    if not (root / DEMO).is_file():
        return ""
    drawn = read_json(root / DEMO).get("competition", competition.name)
    if drawn != competition.name:
        raise DataError(
            f"{root}: expected the data of {competition.title}, got the rendered stand-in of "
            f"competition {drawn}. Point data.root to the real data, or set it to null."
        )
    return (
        f"{root} is a rendered stand-in ({DEMO} says so), not the data of {competition.title}: its "
        "scores do not compare with a leaderboard's"
    )


def fingerprint(root: Path, competition: Competition) -> dict[str, str]:
    """Return what tells this folder's content from another's without opening an image.

    Raises:
        DataError: A part of the layout is missing.
    """
    missing = _missing(root, competition)
    if missing:
        hints = [
            f" It looks like the data of {other.title} (competition: {other.name})."
            for other in others_like(root, competition)
        ]
        if competition.test_optional and {*missing} <= {*competition.test_layout}:
            hints.append(f" {' and '.join(competition.test_layout)} may be left out, both.")
        raise DataError(
            f"{root}: expected the competition's files {', '.join(competition.layout)}; not there: "
            f"{', '.join(missing)}.{''.join(hints)} Point data.root to the folder that holds them."
        )
    return fingerprint_of(root, _expected(root, competition))


def fingerprint_of(root: Path, parts: Iterable[str]) -> dict[str, str]:
    """Return the same of files, and of folders, which end in a slash, with all that is below."""
    parts = [*parts]
    prints = {part: sha256_file(root / part) for part in parts if not part.endswith("/")}
    for folder in [part.removesuffix("/") for part in parts if part.endswith("/")]:
        listing = sorted(
            f"{path.relative_to(root / folder)} {_size(path)}"
            for path in (root / folder).rglob("*")
            # Not what file managers leave behind; how large a folder itself is the disk decides.
            if not path.name.startswith(".") and not path.is_dir()
        )
        digest = hashlib.sha256(os.fsencode("\n".join(listing))).hexdigest()
        prints[folder] = f"{len(listing)} files {digest}"
    return prints


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1  # a link that leads nowhere
