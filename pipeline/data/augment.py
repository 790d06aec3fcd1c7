"""Random changes to a training crop, through albumentations and nowhere else.

A crop and its masks enter, a changed pair leaves. albumentations 2.0.8 seeds its generators from
the parent process, so that DataLoader workers repeat each other's choices; `Augmenter` therefore
sets the seed anew for every crop, from a stream that names the crop.
"""

import os

import cv2
import numpy as np

from pipeline.config.schema import Augment

# albumentations asks the network for a newer release on import, unless told not to before.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations

__all__ = ["Augmenter"]


class Augmenter:
    """Changes crops as the configuration says; the same seed gives the same change.

    Args:
        settings: The `augment` section.
    """

    def __init__(self, settings: Augment) -> None:
        # Loader processes each use one core; OpenCV's own threads would fight over them.
        cv2.setNumThreads(0)
        steps: list[albumentations.BasicTransform] = []
        if settings.symmetries:
            steps.append(albumentations.D4(p=1))
        if settings.zoom or settings.rotation_deg:
            steps.append(
                albumentations.Affine(
                    scale=(1 - settings.zoom, 1 + settings.zoom),
                    rotate=(-settings.rotation_deg, settings.rotation_deg),
                    interpolation=cv2.INTER_LINEAR,
                    mask_interpolation=cv2.INTER_NEAREST,
                    border_mode=cv2.BORDER_REFLECT_101,
                    p=0.5,
                )
            )
        if settings.brightness or settings.contrast:
            steps.append(
                albumentations.RandomBrightnessContrast(
                    brightness_limit=settings.brightness, contrast_limit=settings.contrast, p=0.5
                )
            )
        if settings.hue_deg:
            steps.append(
                albumentations.HueSaturationValue(
                    hue_shift_limit=settings.hue_deg,
                    sat_shift_limit=settings.hue_deg,
                    val_shift_limit=0,
                    p=0.3,
                )
            )
        if settings.blur_probability:
            steps.append(
                albumentations.GaussianBlur(sigma_limit=(0.4, 1.2), p=settings.blur_probability)
            )
        if settings.noise_probability:
            steps.append(
                albumentations.GaussNoise(std_range=(0.01, 0.04), p=settings.noise_probability)
            )
        self._transform = albumentations.Compose(steps)

    def __call__(
        self, image_hwc: np.ndarray, labels_hw: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Change one crop.

        Args:
            image_hwc: uint8 (H, W, 3).
            labels_hw: int32 (H, W), 0 for sea; moves with the image, by nearest neighbour.
            seed: Of the stream that names this crop.

        Returns:
            The changed image and labels, of the same shapes and types.
        """
        self._transform.set_random_seed(seed % 2**32)
        changed = self._transform(image=image_hwc, mask=labels_hw)
        return changed["image"], changed["mask"]
