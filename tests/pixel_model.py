"""A model whose networks see each pixel alone, so that maps are the image, and images for it."""

from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np

from pipeline.config.fields import CHANNELS
from pipeline.config.load import load_config
from pipeline.inference.tta import Chances
from pipeline.package.contents import Package
from pipeline.package.model import Model
from pipeline.selection.thresholds import Rules
from pipeline.separation.separate import Separation

ROOT = Path(__file__).parents[1]
WINDOW = (32, 40)
CUT = Separation("distance", 100, 8, seed=60, merge_below_px=3)
ALL = Rules(CUT, min_area_px=0)
FILTERED = Rules(CUT, min_area_px=5, filter_level=180, filter_area_px=30)


class Channels:
    """Networks that see each pixel alone: each output is a channel of the image."""

    batch_size = 3

    def __init__(self, config, *_):
        self.layers = len(config.task.classes) * min(CHANNELS[config.targets.kind], 2)

    def __call__(self, images_nchw):
        return Chances(images_nchw[:, : self.layers].float() / 255, None)


def model_of(rules, name="demo", *overrides, made_of=None):
    """Return a model of a configuration, that learned from images as large as WINDOW."""
    config = load_config(ROOT / "configs" / f"{name}.yaml", [*overrides])
    each = dict.fromkeys(config.task.classes, rules)
    with patch("pipeline.package.model.MeanNetwork", Channels):
        return Model(Package(config, None, (), (), each, None, WINDOW, made_of or {}), device="cpu")


def blobs(height, width, seed, share):
    """Noise of a few pixels' grain, and a line through all of it: objects of all sizes."""
    rng = np.random.default_rng(seed)
    image_hwc = cv2.GaussianBlur(rng.random((height, width, 3)), (0, 0), 1.5)
    image_hwc = np.clip((image_hwc - 0.5) * 900 + 255 * share, 0, 255).astype(np.uint8)
    if seed % 2:
        cv2.line(image_hwc, (0, height // 3), (width - 1, height - 1), (200, 0, 0), 1)
    return image_hwc
