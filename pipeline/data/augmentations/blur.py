"""Slightly out of focus: a Gaussian of 0.4 to 1.2 px."""

from typing import TYPE_CHECKING

from pipeline.config.fields import Share

if TYPE_CHECKING:
    import albumentations

KIND = "sensor"


def transform(*, blur_probability: Share = 0.0) -> "albumentations.BasicTransform":
    """Return the change.

    Args:
        blur_probability: Share of crops that are changed.
    """
    import albumentations

    return albumentations.GaussianBlur(sigma_limit=(0.4, 1.2), p=blur_probability)
