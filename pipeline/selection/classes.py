"""Several classes: rules for each in one file, objects of each in one table."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import ArtifactError
from pipeline.masks.instances import CLASS_COLUMNS
from pipeline.selection.rules import AnyRules, read_rules
from pipeline.selection.thresholds import AGAIN


def join_classes(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the instances of each class into one table, image by image; undoes `of_class`.

    Args:
        tables: Of the same images in the same order, by class.
    """
    first, *others = tables.values()
    if not others:
        return first
    joined = pd.concat([table.assign(ClassId=class_id) for class_id, table in tables.items()])
    image = pd.Index(first["ImageId"].unique()).get_indexer(pd.Index(joined["ImageId"]))
    rows = joined.iloc[np.argsort(image, kind="stable")]
    return rows[CLASS_COLUMNS].reset_index(drop=True)


def classes_to_json(rules: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what rules.json holds, from the JSON object of each class."""
    first, *others = rules.values()
    return {"classes": rules} if others else first


def read_classes(value: Any, classes: tuple[str, ...], source: str) -> dict[str, AnyRules]:  # noqa: ANN401  any JSON value
    """Return the rules of each class for new images, from what rules.json holds.

    Raises:
        ArtifactError: They are of other classes, or damaged; `source` is named.
    """
    stored = value.get("classes", {}) if len(classes) > 1 else {classes[0]: value}
    if list(stored) != list(classes) or not all("rules" in each for each in stored.values()):
        raise ArtifactError(
            f"{source}: expected rules of {', '.join(classes)}, got {', '.join(stored) or 'none'}. "
            f"They are of another competition or version. {AGAIN}"
        )
    return {name: read_rules(each["rules"], source) for name, each in stored.items()}
