"""A segmentation competition from images to submission.

The way of the data:

s0_data       data.root, or the rendered demo   -> checked images and their true objects
s1_split      which tiles overlap             -> folds/<data>.csv, no scene in two folds
s2_train      crops, BCE - ln Dice, EMA         -> a network per fold
s3_finetune   the same loop, Lovász hinge       -> the fold's final network
s4_predict    whole images, eight symmetries    -> probability maps, out-of-fold and test
s5_calibrate  out-of-fold maps and the metric   -> rules, and the out-of-fold score
s6_submit     test maps and rules               -> submissions/<run>-<hash>.csv
s7_report     all that was recorded             -> runs/<name>/report/index.html

Beside them, where asked for (`./run.sh NAME`):

commands.watch            a run that trains         -> its curves in a browser, as epochs end
commands.compare          two or more runs          -> a page of what differs, and where one wins
commands.predict_images   pictures, rasters         -> masks, overlays, GeoJSON, GeoPackage
commands.export_model     a finished run            -> a model in one file, or its networks as ONNX
commands.export_masks     masks of a run or a table -> COCO, YOLO, PNG, LabelMe, CVAT, GeoJSON
commands.pseudo_labels    images without masks      -> a folder for `data.extra`, fold by fold
commands.find_overlaps    a folder of images        -> which of them overlap
commands.import_masks     other tools' labels       -> data to train on, and what was not taken
commands.list_networks    the configuration         -> every network with its size and speed
commands.build_package    a finished run            -> wheels, weights and a notebook for Kaggle
commands.predict_package  that package, test images -> the same submission, without internet

Stages only wire; the rooms below hold the knowledge, from the lowest floor up: `config`, `compute`
and `jobs`; `masks` and `metrics`; `data`, `competitions`, a file each, and `annotations`;
`networks`, `training` and `inference`, from images to maps (`maps.py`); `separation`, `selection`
and `calibration`, from maps to instances; `windows`, both for images larger than memory; `report`,
`kaggle` and `package`; and `scenes`, from rasters to maps of the ground. No room imports one above
it, and none imports a stage.
"""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.package.model import Model

if sys.argv[:1] == ["-m"]:
    # `python -m` of a stage or command, which begins to import: nothing needs to be saved yet.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(75))

__version__ = "0.7.0"


def load_model(path: str | os.PathLike[str], device: str = "auto") -> "Model":
    """Read a model file, whose `predict(image_hwc)` returns the objects in an image.

    Args:
        path: What `./run.sh export_model` wrote.
        device: auto (a CUDA card where there is one), cpu or cuda.

    Raises:
        pipeline.errors.ArtifactError: It is not a model file, damaged, or of another format.
        pipeline.errors.ConfigError: There is no such device.
    """
    from pipeline.package import model_file  # which imports torch

    return model_file.load_model(Path(path), device)
