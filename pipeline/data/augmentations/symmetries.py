"""One of the eight symmetries of the square, each as often."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import albumentations

KIND = "geometry"


def transform(*, symmetries: bool = False) -> "albumentations.BasicTransform":
    """Return the change of every crop.

    Args:
        symmetries: Whether to change crops so.
    """
    import albumentations

    return albumentations.D4(p=int(symmetries))
