"""Slightly out of focus: a Gaussian of 0.4 to 1.2 px."""

from pipeline.config.fields import Share

KIND = "sensor"


def transform(*, blur_probability: Share = 0.0) -> object:
    """Return the transform, which changes so large a share of crops."""
    import albumentations

    return albumentations.GaussianBlur(sigma_limit=(0.4, 1.2), p=blur_probability)
