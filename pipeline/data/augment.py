"""Random changes to a training crop, through albumentations and nowhere else.

A crop and its masks enter, a changed pair leaves. albumentations 2.0.8 seeds its generators from
the parent process, so that DataLoader workers repeat each other's choices; `Augmenter` therefore
sets the seed anew for every crop, from a stream that names the crop.
"""

import cv2
import numpy as np

from pipeline.config.augment import Augment, augmentations


class Augmenter:
    """Changes crops as the configuration says; the same seed gives the same change.

    Args:
        settings: The `augment` section.
    """

    def __init__(self, settings: Augment) -> None:
        import albumentations  # not above: prediction reads images where it is not installed

        # Loader processes each use one core; OpenCV's own threads would fight over them.
        cv2.setNumThreads(0)
        steps = []
        for augmentation in augmentations():
            off = augmentation.transform.__kwdefaults__
            given = {key: getattr(settings, key) for key in off}
            if given != off:
                steps.append(augmentation.transform(**given))
        self._transform = albumentations.Compose(steps)

    def __call__(
        self, image_hwc: np.ndarray, labels_chw: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Change one crop.

        Args:
            image_hwc: uint8 (H, W, 3).
            labels_chw: int32 (C, H, W), 0 for background; moves with the image, by nearest
                neighbour.
            seed: Of the stream that names this crop.

        Returns:
            The changed image and labels, of the same shapes and types.
        """
        self._transform.set_random_seed(seed % 2**32)
        changed = self._transform(image=image_hwc, masks=list(labels_chw))
        return changed["image"], np.stack(changed["masks"])
