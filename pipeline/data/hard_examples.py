"""Hard examples: the empty images that an earlier run's networks found objects in.

They teach more than an image of plain background. How hard each is says its out-of-fold map: the
earlier run must have had the same folds, so that no map is of a network that had seen the image.
"""

import numpy as np
import pandas as pd

from pipeline.data.number_tables import read_numbers
from pipeline.jobs.job import Job
from pipeline.jobs.run import Run

MIN_WEIGHT = 0.05
"""Added to each weight, so that plain background is still drawn, 1 / 20 as often as the hardest."""


def hard_maps(run: Run) -> list[Job]:
    """Return the out-of-fold maps of `crops.hard_run`, a job for each fold; none without it.

    Raises:
        ConfigError: There is no such run.
        ArtifactError: Its maps are not finished, or are of other folds.
    """
    name = run.config.crops.hard_run
    if name is None:
        return []
    folder = run.folder_of_other(name, key="crops.hard_run")
    return [
        Job("predict/oof", fold, folder / "predict" / "oof" / f"fold{fold}", {})
        for fold in range(run.config.folds.count)
    ]


def draw_weights(maps: list[Job], image_ids: pd.Series, *, further: int = 0) -> np.ndarray | None:
    """Return each image's weight in the draw: its map's maximum + MIN_WEIGHT; None without maps.

    Of `further` images behind those there are no maps: NaN.

    Raises:
        ArtifactError: An index is missing or damaged.
    """
    if not maps:
        return None
    index = pd.concat([read_numbers(job.checked("index.csv")) for job in maps])
    highest = index.set_index("ImageId").max_probability
    weights = highest.loc[image_ids].to_numpy() + MIN_WEIGHT
    return np.append(weights, np.full(further, np.nan))
