"""A crop larger or smaller, and turned, both by one interpolation; beyond its edge: its mirror."""

from typing import Annotated

from pydantic import Field

KIND = "geometry"


def transform(
    *,
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    rotation_deg: Annotated[float, Field(ge=0, le=45)] = 0.0,
) -> object:
    """Return the transform, which changes every other crop.

    Args:
        zoom: Greatest change of size, a share of it.
        rotation_deg: Greatest angle, either way.
    """
    import albumentations
    import cv2

    return albumentations.Affine(
        scale=(1 - zoom, 1 + zoom),
        rotate=(-rotation_deg, rotation_deg),
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST,
        border_mode=cv2.BORDER_REFLECT_101,
        p=0.5,
    )
