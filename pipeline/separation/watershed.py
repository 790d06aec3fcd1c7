"""Connected objects are split: seeds, one for each object, grow until they meet.

The pixels of blobs (connected components) and their labels enter; labels leave, in which a blob
with several seeds has become several. A blob with one seed or none stays whole.

- With a touching-border channel: a seed is what is connected where object minus contact is high;
  the water floods from the seeds down that difference.
- Without one: every peak of the distance to the background is a seed, the water floods down the
  distance, and parts that meet over a wide waist are one object after all.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Parts = npt.NDArray[np.int32]

SQUARE = np.ones((3, 3), np.uint8)


def split_blobs(
    prob_hw: Bytes,
    contact_hw: Bytes | None,
    pixels: Integers,
    labels: Integers,
    *,
    seed: int,
    merge_below_px: Sequence[int],
) -> list[Integers]:
    """Split blobs at the touching-border channel, or without one at their waists.

    Args:
        prob_hw: Probability of object x 255, uint8 (h, w).
        contact_hw: Probability of a touching border x 255, uint8 (h, w), or None.
        pixels: Places of the blobs' pixels in the row-major map, int64 (p,), ascending.
        labels: The blob of each, 1..n, int64 (p,).
        seed: As in `pipeline.separation.separate.Separation`.
        merge_below_px: The same, of several ways to cut, ascending.

    Returns:
        For each way the component of each pixel, 1..m, m >= n, int64 (p,); a blob's number stays
        with one part.
    """
    shape = (prob_hw.shape[0], prob_hw.shape[1])
    if contact_hw is not None:
        height_hw = cv2.subtract(prob_hw, contact_hw).astype(np.float32)
        is_seed = height_hw.ravel()[pixels] >= seed
    else:
        height_hw = _distance_to_sea(shape, pixels)
        is_seed = (height_hw >= cv2.dilate(height_hw, SQUARE)).ravel()[pixels]
    if is_seed.all():
        return [labels] * len(merge_below_px)
    seed_hw = np.zeros(shape, np.uint8)
    seed_hw.ravel()[pixels[is_seed]] = 1
    seeds_hw = cv2.connectedComponents(seed_hw, connectivity=8, ltype=cv2.CV_32S)[1]
    seeds = seeds_hw.ravel()[pixels[is_seed]]
    blob_of_seed = np.zeros(int(seeds.max(initial=0)) + 1, np.int64)
    blob_of_seed[seeds] = labels[is_seed]
    several = np.flatnonzero(np.bincount(blob_of_seed[1:]) > 1)
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], [several, several + 1]).T.tolist()
    ways = [labels.copy() for _ in merge_below_px]
    counts = [int(labels.max())] * len(ways)
    for first, last in ends:
        at = order[first:last]
        row, column = np.divmod(pixels[at], shape[1])
        box = tuple(slice(int(x.min()), int(x.max()) + 1) for x in (row, column))
        inside = row - box[0].start, column - box[1].start
        blob_hw = np.zeros(seeds_hw[box].shape, np.bool_)
        blob_hw[inside] = True
        parts_hw = _flood(height_hw[box], np.where(blob_hw, seeds_hw[box], 0), blob_hw)
        if contact_hw is None:
            parts_hw = _joined_over_waists(parts_hw, height_hw[box], seed)
        for way, below_px in enumerate(merge_below_px):
            _join_small(parts_hw, below_px)  # goes on where the way before has stopped
            parts = np.unique(parts_hw[inside], return_inverse=True)[1]
            ways[way][at] = np.where(parts > 0, parts + counts[way], ways[way][at])
            counts[way] += int(parts.max())
    return ways


def _distance_to_sea(shape: tuple[int, int], pixels: Integers) -> Floats:
    """Return the distance of each pixel to the background, of which all beyond the edge is."""
    ship_hw = np.zeros((shape[0] + 2, shape[1] + 2), np.uint8)
    row, column = np.divmod(pixels, shape[1])
    ship_hw[row + 1, column + 1] = 1
    distance_hw: Floats = cv2.distanceTransform(ship_hw, cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.ascontiguousarray(distance_hw)


def _flood(height_hw: Floats, seeds_hw: Parts, blob_hw: npt.NDArray[np.bool_]) -> Parts:
    """Let the seeds of one blob grow downhill over the blob; return the part of each pixel, 1..m.

    Where two are equally near on a plain, the larger seed takes the pixel: beside an object that
    can spare nothing the contact is its larger neighbour's (see `pipeline.data.contact`).
    """
    from skimage.segmentation import watershed

    markers_hw = np.unique(seeds_hw, return_inverse=True)[1].reshape(seeds_hw.shape)
    area_px = np.bincount(markers_hw.ravel())
    rank = np.empty(len(area_px), np.float32)
    rank[np.argsort(area_px, kind="stable")] = np.arange(len(area_px))
    # The lowest markers flood first, and all markers before any other pixel.
    depth_hw = np.where(markers_hw > 0, -256 - rank[markers_hw], -height_hw)
    parts_hw: Parts = watershed(depth_hw, markers_hw, connectivity=2, mask=blob_hw)
    return parts_hw


def _joined_over_waists(parts_hw: Parts, distance_hw: Floats, percent: int) -> Parts:
    """Join parts where the waist between them is wide, widest first.

    A waist's half width is the greatest distance to the background on the border of two parts; it
    is wide at `percent` of the half width of the narrower part.
    """
    count = int(parts_hw.max()) + 1
    half_px = np.zeros(count, np.float32)
    np.maximum.at(half_px, parts_hw.ravel(), distance_hw.ravel())
    pairs, waists_px = _borders(parts_hw, distance_hw)
    joined = np.arange(count)
    for index in np.argsort(-waists_px, kind="stable"):
        one, other = joined[pairs[index]]
        narrower_px = min(half_px[one], half_px[other])
        if one != other and 100 * waists_px[index] >= percent * narrower_px:
            half_px[one] = max(half_px[one], half_px[other])
            joined[joined == other] = one
    return joined.astype(np.int32)[parts_hw]


def _borders(parts_hw: Parts, distance_hw: Floats) -> tuple[Integers, Floats]:
    """Return the pairs of parts with pixels side by side, (n, 2), and the widest place between."""
    codes, passes = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    count = int(parts_hw.max()) + 1
    for one, other in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
        (np.s_[:-1, 1:], np.s_[1:, :-1]),
    ):
        low = np.minimum(parts_hw[one], parts_hw[other])
        high = np.maximum(parts_hw[one], parts_hw[other])
        border = (low > 0) & (low < high)
        codes.append(low[border].astype(np.int64) * count + high[border])
        passes.append(np.minimum(distance_hw[one], distance_hw[other])[border])
    pairs, of_pair = np.unique(np.concatenate(codes), return_inverse=True)
    widest_px = np.zeros(len(pairs), np.float32)
    np.maximum.at(widest_px, of_pair, np.concatenate(passes))
    return np.stack(np.divmod(pairs, count), axis=1), widest_px


def _join_small(parts_hw: Parts, below_px: int) -> None:
    """Give each part smaller than `below_px`, smallest first, to the one it borders on most."""
    while True:
        area_px = np.bincount(parts_hw.ravel())
        area_px[0] = 0
        present = np.flatnonzero(area_px)
        smallest = present[np.argmin(area_px[present])]
        if len(present) == 1 or area_px[smallest] >= below_px:
            return
        part_hw = (parts_hw == smallest).astype(np.uint8)
        around_hw = cv2.dilate(part_hw, SQUARE) > part_hw
        shared_px = np.bincount(parts_hw[around_hw], minlength=len(area_px))
        shared_px[0] = 0
        parts_hw[part_hw > 0] = np.argmax(shared_px)
