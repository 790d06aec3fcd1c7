"""Brighter or darker, with more contrast or less."""

from pipeline.config.fields import Share

KIND = "colour"


def transform(*, brightness: Share = 0.0, contrast: Share = 0.0) -> object:
    """Return the transform, which changes every other crop.

    Args:
        brightness: Greatest change, a share of 255.
        contrast: Greatest change, a share of it.
    """
    import albumentations

    return albumentations.RandomBrightnessContrast(
        brightness_limit=brightness, contrast_limit=contrast, p=0.5
    )
