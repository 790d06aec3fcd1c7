"""Connected ships are split: seeds, one for each ship, grow until they meet.

The pixels of blobs (connected components) and their labels enter; labels leave, in which a blob
with several seeds has become several. A blob with one seed or none stays whole.

- With a contact channel: a seed is connected where ship minus contact is high, and ship minus
  contact is the height from which the water floods.
- Without one: a seed is a core of the blob, as far from the sea as the distance transform gets
  there, and the distance is the height.
"""

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["split_blobs"]

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


def split_blobs(
    prob_hw: Bytes,
    contact_hw: Bytes | None,
    pixels: Integers,
    labels: Integers,
    *,
    seed: int,
    merge_below_px: int,
) -> Integers:
    """Split blobs at the contact channel, or without one at their waists.

    Args:
        prob_hw: Probability of ship x 255, uint8 (h, w).
        contact_hw: Probability of contact x 255, uint8 (h, w), or None.
        pixels: Places of the blobs' pixels in the row-major map, int64 (p,), ascending.
        labels: The blob of each, 1..n, int64 (p,).
        seed: As in `pipeline.ships.separate.Separation`.
        merge_below_px: The same.

    Returns:
        The component of each pixel, 1..m, m >= n, int64 (p,). 1..n are of the blobs of the same
        number.
    """
    shape = (prob_hw.shape[0], prob_hw.shape[1])
    if contact_hw is not None:
        height_hw = cv2.subtract(prob_hw, contact_hw)
        is_seed = height_hw.ravel()[pixels] >= seed
    else:
        height_hw, is_seed = _cores(shape, pixels, labels, seed)
    if is_seed.all():
        return labels
    seed_hw = np.zeros(shape, np.uint8)
    seed_hw.ravel()[pixels[is_seed]] = 1
    seeds_hw = cv2.connectedComponents(seed_hw, connectivity=8, ltype=cv2.CV_32S)[1]
    seeds = seeds_hw.ravel()[pixels[is_seed]]
    blob_of_seed = np.zeros(int(seeds.max(initial=0)) + 1, np.int64)
    blob_of_seed[seeds] = labels[is_seed]
    many = np.flatnonzero(np.bincount(blob_of_seed[1:]) > 1)
    if not len(many):
        return labels
    labels = labels.copy()
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], [many, many + 1]).T.tolist()
    count = int(labels.max())
    for first, last in ends:
        at = order[first:last]
        parts = _split(shape, pixels[at], height_hw, seeds_hw, merge_below_px)
        # The first part keeps the blob's number.
        labels[at] = np.where(parts > 0, parts + count, labels[at])
        count += int(parts.max())
    return labels


def _cores(
    shape: tuple[int, int], pixels: Integers, labels: Integers, percent: int
) -> tuple[Bytes, npt.NDArray[np.bool_]]:
    """Return the distance to the sea, and which pixels are farther than a share of their blob's."""
    ship_hw = np.zeros((shape[0] + 2, shape[1] + 2), np.uint8)
    ship_hw[1:-1, 1:-1].ravel()[:] = 0
    row, column = np.divmod(pixels, shape[1])
    ship_hw[row + 1, column + 1] = 1
    distance_hw = cv2.distanceTransform(ship_hw, cv2.DIST_L2, 5)[1:-1, 1:-1]
    distance = distance_hw.ravel()[pixels]
    largest = np.zeros(int(labels.max()) + 1, np.float32)
    np.maximum.at(largest, labels, distance)
    height_hw = np.minimum(np.rint(distance_hw * 4), 255).astype(np.uint8)
    return height_hw, distance * 100 >= largest[labels] * percent


def _split(
    shape: tuple[int, int],
    pixels: Integers,
    height_hw: Bytes,
    seeds_hw: npt.NDArray[np.int32],
    merge_below_px: int,
) -> Integers:
    """Flood one blob from its seeds; return the part of each pixel, 0..m-1."""
    from skimage.segmentation import watershed

    row, column = np.divmod(pixels, shape[1])
    rows, columns = (slice(int(x.min()), int(x.max()) + 1) for x in (row, column))
    inside = row - rows.start, column - columns.start
    blob_hw = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.bool_)
    blob_hw[inside] = True
    _, numbers = np.unique(seeds_hw[row, column], return_inverse=True)
    markers_hw = np.zeros(blob_hw.shape, np.int32)
    markers_hw[inside] = numbers + (seeds_hw[row, column].min() > 0)
    # Where two seeds are equally near a pixel, the larger takes it: of a narrow ship nothing is
    # contact, so the contact is its larger neighbour's.
    area_px = np.bincount(markers_hw.ravel())
    rank = np.empty(len(area_px), np.int32)
    rank[np.argsort(area_px, kind="stable")] = np.arange(len(area_px))
    depth_hw = 255 - height_hw[rows, columns].astype(np.int32)
    depth_hw[markers_hw > 0] = -rank[markers_hw[markers_hw > 0]]
    parts_hw = watershed(depth_hw, markers_hw, connectivity=2, mask=blob_hw)
    if merge_below_px:
        _merge(parts_hw, merge_below_px)
    parts: Integers = np.unique(parts_hw[inside], return_inverse=True)[1]
    return parts


def _merge(parts_hw: npt.NDArray[np.int32], below_px: int) -> None:
    """Give each part smaller than `below_px`, smallest first, to the one it borders on most."""
    while True:
        area_px = np.bincount(parts_hw.ravel())
        area_px[0] = 0
        present = np.flatnonzero(area_px)
        smallest = present[np.argmin(area_px[present])]
        if len(present) == 1 or area_px[smallest] >= below_px:
            return
        part_hw = (parts_hw == smallest).astype(np.uint8)
        around_hw = cv2.dilate(part_hw, np.ones((3, 3), np.uint8)) > part_hw
        shared_px = np.bincount(parts_hw[around_hw], minlength=len(area_px))
        shared_px[0] = 0
        parts_hw[part_hw > 0] = np.argmax(shared_px)
