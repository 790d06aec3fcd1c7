"""The forms that are read, and which of them lies at a path, as far as that is plain to see."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from pipeline.annotations import coco, cvat, labelme, yolo
from pipeline.annotations.annotation import Annotated, Rejected, Source
from pipeline.annotations.png_reading import LAYOUTS, MASK
from pipeline.data.images import list_images, shown
from pipeline.errors import DataError

Reader = Callable[[Source, list[Rejected]], Iterator[Annotated]]

READERS: dict[str, Reader] = {
    "coco": coco.read,
    "yolo": yolo.read,
    "labelme": labelme.read,
    "cvat": cvat.read,
}
"""What reads each form but `png`, whose reader must be told what values mean."""

TRAITS = {
    "coco": 'a .json file with "images" or "annotations"',
    "yolo": "a .yaml file with names:",
    "labelme": 'a folder of .json files with "shapes"',
    "cvat": "an .xml file with <annotations>",
    "png": LAYOUTS,
}
"""What each form is recognised by."""

HEAD_CHARACTERS = 2**16  # of a file are looked at


def recognise(path: Path, form: str | None = None) -> tuple[str, Path]:
    """Return the form of a file or folder, and the file or folder that its reader takes.

    Args:
        path: The file or folder.
        form: The form, where it is known.

    Raises:
        DataError: There is nothing, or not exactly one form.
    """
    if not path.exists():
        raise DataError(f"{shown(path)}: there is no such file or folder. Correct the path.")
    found = [pair for pair in dict.fromkeys(_forms(path)) if form in (None, pair[0])]
    if form is not None and not found:
        return form, path
    if len(found) == 1:
        return found[0]
    looked_for = "".join(f"\n  --as {form}: {trait}" for form, trait in TRAITS.items())
    got = "nothing of these"
    if found:
        got = ", ".join(f"{form} ({shown(place)})" for form, place in found)
    raise DataError(
        f"{shown(path)}: expected one form of annotation, got {got}. Looked for was:{looked_for}\n"
        "Say which it is by --as, and give the file itself where there are several."
    )


def _forms(path: Path) -> Iterator[tuple[str, Path]]:
    files = [path] if path.is_file() else sorted(_in_folder(path))
    for file in files:
        text = _head(file)
        match file.suffix.lower():
            case ".json" if '"shapes"' in text:
                yield "labelme", path
            case ".json" if '"images"' in text or '"annotations"' in text:
                yield "coco", file
            case ".xml" if "<annotations>" in text:
                yield "cvat", file
            case ".yaml" | ".yml" if "names:" in text:
                yield "yolo", file
    if path.is_dir():
        has_masks = (path / "masks").is_dir() or any(path.glob("*/masks"))
        if has_masks or any(p.stem.endswith(MASK) for p in list_images(path, "**/*")):
            yield "png", path


def _in_folder(folder: Path) -> Iterator[Path]:
    """Yield files that may hold annotations; of LabelMe's, one for each image, one is enough."""
    for place in (folder, folder / "annotations"):
        yield from (file for ending in ("xml", "yaml", "yml") for file in place.glob(f"*.{ending}"))
        for file in place.glob("*.json"):
            yield file
            if '"shapes"' in _head(file):
                break
    # LabelMe's may all lie deeper, of which the first is enough.
    yield from (file for file in islice(folder.glob("*/**/*.json"), 1) if '"shapes"' in _head(file))


def _head(file: Path) -> str:
    with file.open(encoding="utf-8", errors="replace") as text:
        return text.read(HEAD_CHARACTERS)
