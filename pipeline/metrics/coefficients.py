"""Dice, Jaccard and cosine coefficients of predicted and true masks, from pixel counts.

Batches of masks enter; the coefficients over all pixels seen, and their means over images, leave.
Counts stay on the device until they are asked for, so that counting never waits for it.
"""

import torch

from pipeline.metrics.matching import Matches


def dice(both_px: torch.Tensor, true_px: torch.Tensor, predicted_px: torch.Tensor) -> torch.Tensor:
    """2|X ∩ Y| / (|X| + |Y|); two empty masks agree: 1.

    Args:
        both_px: Pixels in both masks, integer, any shape.
        true_px: Pixels of the true mask.
        predicted_px: Pixels of the predicted mask.

    Returns:
        float64, 0..1, same shape.
    """
    return _ratio(2 * both_px.double(), (true_px + predicted_px).double())


def jaccard(
    both_px: torch.Tensor, true_px: torch.Tensor, predicted_px: torch.Tensor
) -> torch.Tensor:
    """|X ∩ Y| / |X ∪ Y|; two empty masks agree: 1. Arguments and result as for `dice`."""
    return _ratio(both_px.double(), (true_px + predicted_px - both_px).double())


def cosine(
    both_px: torch.Tensor, true_px: torch.Tensor, predicted_px: torch.Tensor
) -> torch.Tensor:
    """|X ∩ Y| / (|X|^½ |Y|^½); two empty masks: 1, one empty mask: 0. Otherwise as `dice`."""
    value = _ratio(both_px.double(), true_px.double().sqrt() * predicted_px.double().sqrt())
    return torch.where((true_px == 0) ^ (predicted_px == 0), 0.0, value)


class PixelCounts:
    """Counts over a set of images that arrive batch by batch."""

    def __init__(self, device: torch.device) -> None:
        self._pixels = torch.zeros(3, dtype=torch.int64, device=device)
        self._sums = torch.zeros(2, 3, dtype=torch.float64, device=device)
        self._images = torch.zeros(2, dtype=torch.int64, device=device)

    def update(self, predicted: torch.Tensor, truth: torch.Tensor) -> None:
        """Count one batch.

        Args:
            predicted: bool (N, ...), one mask per image.
            truth: bool, same shape.

        Raises:
            ValueError: Not two batches of masks of one shape.
        """
        if predicted.shape != truth.shape or {predicted.dtype, truth.dtype} != {torch.bool}:
            raise ValueError(
                f"expected two bool tensors of one shape, got {predicted.dtype} "
                f"{tuple(predicted.shape)} and {truth.dtype} {tuple(truth.shape)}."
            )
        masks = (predicted & truth, truth, predicted)
        self.add(torch.stack([mask.flatten(1).sum(1) for mask in masks]))

    def add(self, counts: torch.Tensor) -> None:
        """Take in images whose pixels were counted elsewhere: both, true, predicted; int (3, N)."""
        values = torch.stack([coefficient(*counts) for coefficient in _COEFFICIENTS.values()])
        has_objects = counts[1] > 0
        self._pixels += counts.sum(1)
        self._sums += torch.stack([values.sum(1), (values * has_objects).sum(1)])
        self._images += torch.stack([torch.ones_like(has_objects).sum(), has_objects.sum()])

    @property
    def sums(self) -> tuple[torch.Tensor, ...]:
        """All that was counted: added to that of other images, in place, it counts those too."""
        return self._pixels, self._sums, self._images

    def coefficients(self) -> dict[str, float]:
        """Return the coefficients of everything counted; the one place that waits for the device.

        `dice`, `jaccard`, `cosine`: over the pixels of all images together. `image_*`: means over
        images; an image without an object scores 1 if none is predicted in it and 0 if one is.
        `ship_image_*`: means over the images with an object, left out where there is no such image.

        Raises:
            ValueError: Nothing was counted.
        """
        images, ship_images = self._images.tolist()
        if images == 0:
            raise ValueError("no image was counted, expected at least one. Call update first.")
        result = {name: f(*self._pixels).item() for name, f in _COEFFICIENTS.items()}
        for prefix, count, sums in zip(
            ("image", "ship_image"), (images, ship_images), self._sums.tolist(), strict=True
        ):
            if count > 0:
                result |= {
                    f"{prefix}_{name}": value / count
                    for name, value in zip(_COEFFICIENTS, sums, strict=True)
                }
        return result


def score_pixels(matches: Matches) -> dict[str, float]:
    """Return what `PixelCounts.coefficients` says of all objects of two tables."""
    pixels = matches.images[["shared_px", "true_px", "predicted_px"]]
    counts = PixelCounts(torch.device("cpu"))
    counts.add(torch.from_numpy(pixels.to_numpy().T))
    return counts.coefficients()


_COEFFICIENTS = {"dice": dice, "jaccard": jaccard, "cosine": cosine}


def _ratio(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    return torch.where(denominator == 0, 1.0, numerator / denominator)
