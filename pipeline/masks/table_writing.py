"""The pipeline's table of objects -> a table in a competition's form."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pandas as pd

from pipeline.config.competitions import Competition, TableForm
from pipeline.masks.rle_forms import to_form
from pipeline.masks.sizes import Sizes
from pipeline.masks.tables import Rows, telling


def rows_of(instances: pd.DataFrame, forms: Sequence[TableForm], competition: Competition) -> Rows:
    """Return rows for each image, and each class if the form tells it, of a table of objects."""
    form = telling(forms, competition)[0]
    ids = [*dict.fromkeys(instances.ImageId)]
    if not (form.class_id or form.joined):
        return Rows(Path(), form, ids, None, [])
    images, classes = zip(*product(ids, competition.classes), strict=True)
    return Rows(Path(), form, [*images], [*classes], [])


def to_rows(
    instances: pd.DataFrame, rows: Rows, competition: Competition, sizes: Sizes
) -> pd.DataFrame:
    """Write a table of objects in the form of another table, such as the sample submission's.

    Args:
        instances: Objects of exactly the images of `rows`.
        rows: The table that gives form and order.
        competition: Whose both are.
        sizes: Of the masks.

    Returns:
        The columns of the form. Where rows are objects: those of each image, or one blank row.
        Where they are masks of a class: the rows of `rows`, or in a sparse form those that have
        pixels, and that of `rows`, blank, of an image without any.

    Raises:
        DataError: A mask is illegal.
    """
    blank = competition.rle.empty
    of_row = sizes.of(instances.ImageId.tolist())
    texts = to_form(instances.EncodedPixels.tolist(), competition.rle, of_row)
    classes = instances.get("ClassId", pd.Series([competition.classes[0]] * len(instances)))
    of_image: dict[str, list[tuple[str, str, str]]] = {image: [] for image in rows.images}
    for row in zip(instances.ImageId, classes, texts, strict=True):
        of_image[row[0]].append(row)
    every_class = rows.classes is not None and not rows.form.sparse
    if every_class and not competition.objects:
        masks = {(image, name): text for each in of_image.values() for image, name, text in each}
        pairs = zip(rows.images, rows.classes or (), strict=True)
        return _as_form([(*pair, masks[pair]) for pair in pairs], rows.form)
    given = dict(zip(rows.images, rows.classes or [""] * len(rows.images), strict=True))
    written: list[tuple[str, str, str]] = []
    for image, name in given.items():
        some = [row for row in of_image[image] if every_class or row[2] != blank]
        written += some or [(image, name, blank)]
    return _as_form(written, rows.form)


def _as_form(rows: Sequence[tuple[str, str, str]], form: TableForm) -> pd.DataFrame:
    """Return the columns of a form, of rows of image, class and mask; others are blank."""
    columns = {name: [""] * len(rows) for name in form.columns}
    joined = [f"{image}_{name}" if form.joined else image for image, name, _ in rows]
    columns[form.image], columns[form.pixels] = joined, [text for *_, text in rows]
    if form.class_id is not None:
        columns[form.class_id] = [name for _, name, _ in rows]
    return pd.DataFrame(columns, dtype=str)
