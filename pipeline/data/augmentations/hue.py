"""Other hues, and with them other saturations."""

from typing import Annotated

from pydantic import Field

KIND = "colour"


def transform(*, hue_deg: Annotated[int, Field(ge=0, le=90)] = 0) -> object:
    """Return the transform, which changes 3 in 10 crops.

    Args:
        hue_deg: Greatest change, in OpenCV's hues (180 to the circle), and of the saturation, of
            255.
    """
    import albumentations

    return albumentations.HueSaturationValue(
        hue_shift_limit=hue_deg, sat_shift_limit=hue_deg, val_shift_limit=0, p=0.3
    )
