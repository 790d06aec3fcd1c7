"""One of the eight symmetries of the square, each as often."""

KIND = "geometry"


def transform(*, symmetries: bool = False) -> object:
    """Return the transform, which changes every crop."""
    import albumentations

    return albumentations.D4(p=int(symmetries))
