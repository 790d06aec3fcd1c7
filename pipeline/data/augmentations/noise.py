"""A sensor's noise: a Gaussian for each pixel, its deviation 1 to 4 % of 255."""

from pipeline.config.fields import Share

KIND = "sensor"


def transform(*, noise_probability: Share = 0.0) -> object:
    """Return the transform, which changes so large a share of crops."""
    import albumentations

    return albumentations.GaussNoise(std_range=(0.01, 0.04), p=noise_probability)
