"""Images that are trained on in every fold and never scored: the folders of `data.extra`.

Each holds `images/` and `masks.csv`, as `competition: masks` has them, in any sizes. Pseudo-labels
have a table for each fold instead, by the network that has not seen what the fold holds out, and so
fit these folds only. Stage 0 checks the folders (`pipeline.data.check_extra`) and keeps EXTRA;
training reads it. An id in it begins with the name of its folder.
"""

from pathlib import Path
from typing import Any

from pipeline.config.competitions import own_masks
from pipeline.config.schema import Config
from pipeline.data.catalog import LabelledImages
from pipeline.data.files import fingerprint_of
from pipeline.errors import ArtifactError, DataError
from pipeline.jobs.artifacts import read_json
from pipeline.jobs.run import Run
from pipeline.jobs.tables import read_table
from pipeline.masks.instances import columns_of
from pipeline.masks.sizes import Size

EXTRA = "extra.csv"
PSEUDO = "pseudo_labels.json"
"""What a folder of pseudo-labels says of itself."""

ANY_FOLD = ""
SIZE_COLUMNS = ["fold", "height", "width"]
"""What each row of EXTRA has beside an instance: the fold to train with it, and the image's px."""


def fold_table(fold: int) -> str:
    """Return the name of a fold's table of pseudo-labels."""
    return f"masks_fold{fold}.csv"


def tables_of(folder: Path, config: Config) -> dict[str, str]:
    """Return the name of the table of each fold, or of ANY_FOLD.

    Raises:
        DataError: The folder holds pseudo-labels of other classes or of another number of folds.
    """
    task = config.task
    if not (folder / PSEUDO).is_file():
        return {ANY_FOLD: own_masks(task).truth}
    count, known = config.folds.count, _made_by(folder)
    wanted = {"classes": [*task.classes], "objects": task.objects, "folds": count}
    found = {key: known.get(key) for key in wanted}
    if found != wanted:
        raise DataError(
            f"{folder / PSEUDO} (data.extra): expected labels of {wanted}, got {found}. Label the "
            "images by a run with the same classes and folds."
        )
    return {str(fold): fold_table(fold) for fold in range(count)}


def _made_by(folder: Path) -> dict[str, Any]:
    known = read_json(folder / PSEUDO)
    if not isinstance(known, dict):
        raise DataError(
            f"{folder / PSEUDO} (data.extra): expected what ./run.sh pseudo_labels writes. Make "
            "the folder anew."
        )
    return known


def extra_fingerprints(config: Config) -> dict[str, str]:
    """Return what tells the content of the folders from another.

    Raises:
        DataError: A part of one is missing, or see `tables_of`.
    """
    prints: dict[str, str] = {}
    images = own_masks(config.task).train_images
    for name, folder in config.data.extra_folders.items():
        tables = [*tables_of(folder, config).values()]
        missing = [each for each in tables if not (folder / each).is_file()]
        if not (folder / images).is_dir():
            missing.append(f"{images}/")
        if missing:
            raise DataError(
                f"{folder} (data.extra): expected {images}/ and {', '.join(tables)}; not there: "
                f"{', '.join(missing)}. Correct the path, or complete the folder."
            )
        found = fingerprint_of(folder, [*tables, f"{images}/"])
        prints |= {f"data.extra/{name}/{part}": mark for part, mark in found.items()}
    return prints


def check_folds_of_extra(config: Config, folds_sha256: str) -> None:
    """Refuse pseudo-labels by networks that may have seen what is held out.

    Args:
        config: For the folders.
        folds_sha256: Of the file of folds.

    Raises:
        DataError: They were made with another one.
    """
    for folder in config.data.extra:
        known = _made_by(folder) if (folder / PSEUDO).is_file() else {"folds_sha256": folds_sha256}
        if (found := str(known.get("folds_sha256"))) != folds_sha256:
            raise DataError(
                f"{folder} (data.extra): expected labels by networks of this run's folds "
                f"({folds_sha256[:12]}), got some of others ({found[:12]}): they may have seen "
                f"what is held out here. Give this run the data and folds of run "
                f"{known.get('run')}, or label the images by a run of these folds."
            )


def read_extra(run: Run, fold: int) -> LabelledImages:
    """Read what a fold is trained on beside the data's own images, as stage 0 kept it.

    Raises:
        ArtifactError: It is of other folders, or was changed.
    """
    config, data = run.config, run.result("data")
    folders, classes = config.data.extra_folders, config.task.classes
    columns = [*SIZE_COLUMNS, *columns_of(classes)]
    rows = read_table(data.checked(EXTRA), columns, advice="") if data.writes(EXTRA) else []
    known = {image_id.partition("/")[0] for _, _, _, image_id, *_ in rows}
    if known != {*folders}:
        raise ArtifactError(
            f"{data.folder}: checked with data.extra=[{', '.join(sorted(known))}], now "
            f"[{', '.join(sorted(folders))}]. {data.restart_hint}"
        )
    layers: dict[str, dict[str, list[str]]] = {}
    sizes: dict[str, Size] = {}
    for of_fold, height, width, image_id, *of_class, text in rows:
        if of_fold in (ANY_FOLD, str(fold)):
            sizes[image_id] = int(height), int(width)
            of_image = layers.setdefault(image_id, {class_id: [] for class_id in classes})
            of_image[of_class[0] if of_class else classes[0]] += [text] * (text != "")
    images = own_masks(config.task).train_images
    ids = (image_id.partition("/")[::2] for image_id in layers)
    return LabelledImages(
        [folders[name] / images / own_id for name, own_id in ids],
        [*sizes.values()],
        [texts for of_image in layers.values() for texts in of_image.values()],
    )
