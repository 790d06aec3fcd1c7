"""A competition's table of masks, in whichever of its forms -> the pipeline's table of objects.

`read_rows` takes a file as it stands: which form it has, and what image, class and mask each row
names. `check_rows` finds what is wrong with them, and `to_instances` makes of those that are
right the table that all stages share.
"""

import logging
import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config.competitions import Competition, Rle, TableForm, competitions
from pipeline.errors import DataError
from pipeline.jobs.tables import header_of, read_table, wrong_columns
from pipeline.masks.instances import ADVICE, Defect, check_instances
from pipeline.masks.rle import Runs, find_overlaps, parse_rows
from pipeline.masks.rle_forms import (
    Owners,
    from_numbering,
    part,
    reorder,
    to_texts,
    unite,
)
from pipeline.masks.sizes import Sizes

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """A table as a file has it.

    Attributes:
        path: The file.
        form: Its form.
        images: Id of each row's image; row i is line i + 2 of the file.
        classes: Id of each row's class, as the file has it; None where it tells none.
        masks: Each row's mask, in the competition's numbers.
    """

    path: Path
    form: TableForm
    images: list[str]
    classes: list[str] | None
    masks: list[str]

    @property
    def image_ids(self) -> list[str]:
        """Each image once, in the order of the rows."""
        return list(dict.fromkeys(self.images))


def read_rows(path: Path, forms: Sequence[TableForm], competition: Competition) -> Rows:
    """Read a table that has one of `forms`.

    Raises:
        DataError: It has none of them, a joined id has no class, or there is no row; or see
            `pipeline.jobs.tables.read_table`.
    """
    header = header_of(path)
    names = tuple(name.strip() for name in header)
    forms = telling(forms, competition)
    form = next((form for form in forms if form.columns == names), None)
    if header and form is None:
        expected = " or ".join(", ".join(form.columns) for form in forms)
        advice = f"{ADVICE}{_looks_like(names)}"
        raise DataError(wrong_columns(path, [expected], header, advice))
    form = form or forms[0]
    table = read_table(path, header or form.columns, advice=ADVICE)
    if not table:
        raise DataError(f"{path}: expected a row for every image, got only the header.")
    places = [form.columns.index(name) for name in (form.image, form.pixels, form.class_id) if name]
    images, masks, *more = ([row[place] for row in table] for place in places)
    if not form.joined:
        return Rows(path, form, images, more[0] if more else None, masks)
    pairs = [text.rpartition("_")[::2] for text in images]
    if "" in (ids := [image for image, _ in pairs]):
        row = ids.index("")
        raise DataError(
            f"{path}, row {row + 2}: expected <image>_<class> in {form.image}, got "
            f"{images[row]!r}. {ADVICE}"
        )
    return Rows(path, form, ids, [class_id for _, class_id in pairs], masks)


def telling(forms: Sequence[TableForm], competition: Competition) -> Sequence[TableForm]:
    """Return the forms that may be meant: where there are classes those that tell them, if any."""
    several = len(competition.classes) > 1
    return [form for form in forms if several and (form.class_id or form.joined)] or forms


def _looks_like(columns: tuple[str, ...]) -> str:
    """Say which competitions have a table with these columns."""
    found = [
        f"{each.title} (competition: {each.name})"
        for each in competitions().values()
        if any(form.columns == columns for form in (*each.truth_forms, *each.sample_forms))
    ]
    return f" This one looks like that of {' or '.join(found)}." if found else ""


def read_sample(path: Path, competition: Competition) -> Rows:
    """Read the sample submission: which images are asked for, in which form and order.

    Raises:
        DataError: A row for each class of an image is expected and not there, or see `read_rows`.
    """
    rows = read_rows(path, competition.sample_forms, competition)
    if rows.classes is None or rows.form.sparse or competition.objects:
        return rows
    got = Counter(zip(rows.images, rows.classes, strict=True))
    wanted = Counter(product(rows.image_ids, competition.classes))
    if got != wanted:
        (image, name), count = next(iter(((got - wanted) or (wanted - got)).items()))
        what = f"no row of class {name}"
        if (image, name) in got:
            what = f"{count} row(s) too many of class {name}"
        if name not in competition.classes:
            what = f"a row of class {name}, which is none of them"
        source = "" if competition.slug else " Correct it, or own_data.classes."
        raise DataError(
            f"{path}: expected one row for each of the classes {', '.join(competition.classes)} "
            f"of each image; {image} has {what}.{source or f' {ADVICE}'}"
        )
    return rows


def read_masks(
    path: Path, competition: Competition, sizes: Sizes, images: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a table of masks that has the form of the truth or of the submission.

    Args:
        path: The file.
        competition: Whose it is.
        sizes: Of the masks.
        images: Those of a table which, where it is sparse, has no row of some of them.

    Returns:
        A table of objects.

    Raises:
        DataError: A row is wrong, or see `read_rows`.
    """
    forms = (*competition.truth_forms, *competition.sample_forms)
    rows = read_rows(path, forms, competition)
    defects = check_rows(rows, competition, sizes)
    if defects:
        first = "; ".join(f"row {one.row} ({one.image_id}): {one.reason}" for one in defects[:5])
        raise DataError(f"{path}: {len(defects)} rows are wrong: {first}. Correct them.")
    further = images if rows.form.sparse else ()
    return to_instances(rows, competition, sizes, images=further)


def check_rows(rows: Rows, competition: Competition, sizes: Sizes) -> list[Defect]:
    """Find every defect of a table of masks; see `check_instances`.

    Also a class that the competition does not have. Where a file numbers pixels otherwise than the
    pipeline, a defect of its pairs names both.
    """
    frame = _as_numbered(rows, competition)
    objects = competition.objects and not competition.overlaps
    defects = check_instances(frame, sizes, str(rows.path), objects=objects)
    here = frame.EncodedPixels.tolist()
    for index, one in enumerate(defects):
        row = (one.row or 2) - 2
        if one.reason.startswith("RLE") and here[row] != rows.masks[row]:
            note = (
                f"pixels counted from 1 and from the first; the file has {rows.masks[row][:40]!r}"
            )
            defects[index] = replace(one, reason=f"{one.reason} ({note})")
    return sorted([*defects, *_odd_rows(rows, competition)])


def _odd_rows(rows: Rows, competition: Competition) -> Iterator[Defect]:
    """Find rows of classes that there are not, too many or too few of a mask, and blank ones."""
    classes, empty = competition.classes, competition.rle.empty
    of_row = [""] * len(rows.images) if rows.classes is None else rows.classes
    layers = [*zip(rows.images, of_row, strict=True)]
    first = dict(zip(reversed(layers), range(len(layers) - 1, -1, -1), strict=True))
    for row, (layer, mask) in enumerate(zip(layers, rows.masks, strict=True)):
        image, name = layer
        if rows.classes is not None and name not in classes:
            known = ", ".join(classes)
            yield Defect(
                row + 2, image, f"class {name!r}, of which there is none; there are {known}"
            )
        if empty and not mask.strip():
            yield Defect(row + 2, image, f"a blank mask; one without pixels is written {empty}")
        if not (competition.objects or competition.unites) and first[layer] != row:
            yield Defect(row + 2, image, f"a second mask, beside that of row {first[layer] + 2}")
    if rows.classes is not None and not rows.form.sparse:
        at = dict(zip(reversed(rows.images), range(len(layers) - 1, -1, -1), strict=True))
        for image, name in product(at, classes):
            if (image, name) not in first:
                yield Defect(at[image] + 2, image, f"no row of class {name} of its image")


def _as_numbered(rows: Rows, competition: Competition) -> pd.DataFrame:
    """Return the rows as a table of objects, but for the order of the masks' pixels."""
    columns: dict[str, list[str]] = {"ImageId": rows.images}
    if len(competition.classes) > 1:
        columns["ClassId"] = rows.classes or []
    columns["EncodedPixels"] = from_numbering(rows.masks, competition.rle)
    return pd.DataFrame(columns, dtype=str)


def to_instances(
    rows: Rows,
    competition: Competition,
    sizes: Sizes,
    *,
    images: Sequence[str] = (),
    without: Collection[str] = (),
) -> pd.DataFrame:
    """Make the table of objects of rows that are legal.

    Args:
        rows: The table.
        competition: Whose it is.
        sizes: Of the masks.
        images: Further images, of which there is no row: they have no object.
        without: Images to leave out, such as those with defects.

    Returns:
        Rows in the order of the images and then of the classes. Masks that share pixels, where that
        is legal, are parted; rows of one mask are united.

    Raises:
        DataError: A mask is illegal.
    """
    frame = _as_numbered(rows, competition)
    frame = frame[~frame.ImageId.isin({*without})].reset_index(drop=True)
    rle, classes = competition.rle, competition.classes
    if competition.objects and rle.order == "columns" and len(classes) < 2 and not images:
        return frame
    ids = [*dict.fromkeys([*frame.ImageId, *images])]
    of_row = sizes.of(frame.ImageId.tolist())
    size = math.prod(sizes.largest)
    runs, owners = parse_rows(frame.EncodedPixels.tolist(), *of_row.T)
    if rle.order == "rows":
        runs, owners = reorder(runs, owners, of_row)
    image = pd.Index(ids).get_indexer(pd.Index(frame.ImageId))
    layer = image * len(classes)
    if "ClassId" in frame:
        layer = layer + pd.Index(classes).get_indexer(pd.Index(frame.ClassId))
    count = len(ids) * len(classes)
    if not competition.objects:
        texts = to_texts(*unite(runs, layer[owners], size), count, Rle())
        return _layers(ids, classes, np.arange(count), texts)
    if competition.overlaps:
        runs, owners = _parted(runs, owners, image, size, rows.path)
    texts = to_texts(runs, owners, len(frame), Rle())
    taken = np.array([text != "" for text in texts], bool)
    blank = np.setdiff1d(np.arange(count), layer[taken])
    order = np.argsort(every := np.concatenate([layer[taken], blank]), kind="stable")
    shown = [text for text in texts if text] + [""] * len(blank)
    return _layers(ids, classes, every[order], [shown[index] for index in order.tolist()])


def _layers(
    ids: Sequence[str], classes: Sequence[str], layers: Owners, texts: list[str]
) -> pd.DataFrame:
    """Return a table of objects, each of the class `layer % classes` of an image."""
    columns = {"ImageId": [ids[index] for index in (layers // len(classes)).tolist()]}
    if len(classes) > 1:
        columns["ClassId"] = [classes[index] for index in (layers % len(classes)).tolist()]
    return pd.DataFrame(columns | {"EncodedPixels": texts}, dtype=str)


def _parted(
    runs: Runs, owners: Owners, image: Owners, size: int, source: Path
) -> tuple[Runs, Owners]:
    """Part the masks that share pixels, image by image, and say how many lost all of theirs."""
    order = np.argsort(image[owners], kind="stable")
    runs, owners = runs[order], owners[order]
    of_run = image[owners]
    sharing = np.unique(
        image[find_overlaps(runs[:, 0] + of_run * size, runs[:, 1], owners).ravel()]
    )
    alone = ~np.isin(of_run, sharing)
    parts = [(runs[alone], owners[alone])]
    for first, last in np.searchsorted(of_run, [sharing, sharing + 1]).T.tolist():
        parts.append(part(runs[first:last], owners[first:last], size))
    parted, of = (np.concatenate(each) for each in zip(*parts, strict=True))
    lost = len(np.unique(owners)) - len(np.unique(of))
    if len(sharing):
        LOG.info(
            "%s: in %d images masks share %d px, which were given to the smallest; %d lost all "
            "of theirs",
            *(source, len(sharing), int(runs[:, 1].sum() - parted[:, 1].sum()), lost),
        )
    order = np.argsort(of, kind="stable")
    return parted[order], of[order]
