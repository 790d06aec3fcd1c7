"""A sensor's noise: a Gaussian for each pixel, its deviation 1 to 4 % of 255."""

from typing import TYPE_CHECKING

from pipeline.config.fields import Share

if TYPE_CHECKING:
    import albumentations

KIND = "sensor"


def transform(*, noise_probability: Share = 0.0) -> "albumentations.BasicTransform":
    """Return the change.

    Args:
        noise_probability: Share of crops that are changed.
    """
    import albumentations

    return albumentations.GaussNoise(std_range=(0.01, 0.04), p=noise_probability)
