"""The touching border, `contact` for short: pixels that tell objects apart where they meet.

Made of the label map of a crop after every augmentation. What the border leaves of an object is its
core. Cores do not touch, and grown until they meet they are the objects again.
"""

import cv2
import numpy as np

# An object must grow back to this IoU, or the border reaches less far into it; before it is spared
# wholly, at the cost of its neighbours, it must be damaged more.
IOU_GROWN, IOU_GROWN_FROM_LAST_PX = 0.97, 0.8


def contact(labels_hw: np.ndarray, within_px: int) -> np.ndarray:
    """Mark the pixels, of objects or between them, that have two different objects within reach.

    The reach is `within_px` rows and columns, or as much less as each of the two needs in order to
    grow back from its core until it meets the other: narrow and small objects must not be all
    border. Beside an object that can spare nothing, the border is one pixel of its neighbour.

    Args:
        labels_hw: int32 (H, W), 0 for background, n for the n-th object, n < 65,535.
        within_px: Greatest reach. An object's own pixel has that object within 0.

    Returns:
        bool (H, W). Objects beyond the map's edge are not known and not counted.
    """
    near_hw = _two_within(labels_hw, within_px)
    if not near_hw.any():
        return near_hw
    meets = np.zeros(int(labels_hw.max()) + 1, np.bool_)
    meets[labels_hw[cv2.dilate(near_hw.view(np.uint8), _square(within_px)) > 0]] = True
    meets[0] = False
    objects_hw = meets[labels_hw]
    # The border sticks out of the rectangle around the objects as far as it reaches.
    first, last = (
        [int(end(np.flatnonzero(objects_hw.any(axis)))) for axis in (1, 0)]
        for end in (np.min, np.max)
    )
    box = tuple(
        slice(max(low - within_px, 0), high + within_px + 1)
        for low, high in zip(first, last, strict=True)
    )
    near_hw[box] = _fair_contact(np.where(objects_hw[box], labels_hw[box], 0), within_px)
    return near_hw


def _fair_contact(labels_hw: np.ndarray, within_px: int) -> np.ndarray:
    """Lower the reach into each object until all grow back, or nothing is left to lower."""
    area_px = np.bincount(labels_hw.ravel())
    reach_px = np.full(len(area_px), within_px)  # index 0, the background, is never lowered
    pieces_hw = _connected_equals(labels_hw)
    while True:
        contact_hw = _beside_spared(labels_hw, reach_px, area_px)
        for px in np.unique(reach_px[reach_px > 0]).tolist():
            open_hw = reach_px[labels_hw] >= px
            contact_hw |= open_hw & _two_within(np.where(open_hw, labels_hw, 0), px)
        cores_hw = _largest_cores(np.where(contact_hw, 0, labels_hw), pieces_hw)
        contact_hw |= (labels_hw > 0) & (cores_hw == 0)
        iou = _iou(labels_hw, _grown(cores_hw, labels_hw > 0))
        needed = np.where(reach_px > 1, IOU_GROWN, IOU_GROWN_FROM_LAST_PX)
        damaged = (iou < needed) & (reach_px > 0) & (area_px > 0)
        damaged[0] = False
        if not damaged.any():
            return contact_hw
        reach_px[damaged] -= 1


def _two_within(labels_hw: np.ndarray, px: int) -> np.ndarray:
    """Mark the pixels that have two different objects within `px` rows and columns."""
    reach = _square(px)
    above = int(labels_hw.max()) + 1
    highest_hw = cv2.dilate(labels_hw.astype(np.uint16), reach)
    # Counted from above, the highest is the lowest.
    lowest_hw = cv2.dilate(np.where(labels_hw > 0, above - labels_hw, 0).astype(np.uint16), reach)
    two_hw: np.ndarray = cv2.add(highest_hw, lowest_hw) > above
    return two_hw


def _square(px: int) -> np.ndarray:
    return np.ones((2 * px + 1, 2 * px + 1), np.uint8)


def _beside_spared(labels_hw: np.ndarray, reach_px: np.ndarray, area_px: np.ndarray) -> np.ndarray:
    """Mark pixels beside an object of reach 0 that are of a larger one, or of one with reach."""
    rank = np.empty(len(reach_px), np.float32)
    rank[np.lexsort((area_px, reach_px))] = np.arange(len(reach_px))
    rank[0] = np.inf
    ranks_hw = rank[labels_hw]
    lowest_hw = cv2.erode(ranks_hw, _square(1))
    marked_hw: np.ndarray = (
        (labels_hw > 0)
        & (lowest_hw < ranks_hw)
        & (lowest_hw <= rank[reach_px == 0].max(initial=-1))
    )
    return marked_hw


def _largest_cores(cores_hw: np.ndarray, pieces_hw: np.ndarray) -> np.ndarray:
    """Keep of each piece of an object the largest connected core; the others become 0."""
    numbered_hw = _connected_equals(cores_hw)
    numbers = numbered_hw.ravel()
    area_px = np.bincount(numbers)
    piece = np.zeros(len(area_px), np.int64)
    piece[numbers] = pieces_hw.ravel()
    piece[0] = 0
    order = np.lexsort((area_px, piece))
    kept = np.zeros(len(area_px), np.bool_)
    kept[order[np.append(np.diff(piece[order]) > 0, True)]] = True
    kept[0] = False
    return np.where(kept[numbered_hw], cores_hw, 0)


def _connected_equals(labels_hw: np.ndarray) -> np.ndarray:
    """Number the connected pieces of equal value; 0 stays 0."""
    from skimage.measure import label  # prediction does without it

    pieces_hw: np.ndarray = label(labels_hw, connectivity=2)
    return pieces_hw


def _grown(cores_hw: np.ndarray, object_hw: np.ndarray) -> np.ndarray:
    """Grow cores over the objects' pixels until they meet; of equally near ones the larger wins."""
    order = np.argsort(np.bincount(cores_hw.ravel())[1:], kind="stable") + 1
    rank = np.zeros(len(order) + 1, np.uint16)
    rank[order] = np.arange(1, len(rank))
    ranks_hw = rank[cores_hw]
    while True:
        new_hw = np.where(object_hw & (ranks_hw == 0), cv2.dilate(ranks_hw, _square(1)), 0)
        if not new_hw.any():
            grown_hw: np.ndarray = np.append(0, order)[ranks_hw]
            return grown_hw
        ranks_hw += new_hw


def _iou(labels_hw: np.ndarray, others_hw: np.ndarray) -> np.ndarray:
    """Return the IoU of the objects 0..n with what has the same number in another map, (n + 1,)."""
    count = int(labels_hw.max()) + 1
    shared_px = np.bincount(labels_hw[labels_hw == others_hw], minlength=count)
    both = [np.bincount(hw.ravel(), minlength=count) for hw in (labels_hw, others_hw)]
    iou: np.ndarray = shared_px / np.maximum(sum(both) - shared_px, 1)
    return iou
