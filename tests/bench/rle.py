"""Encoding and decoding of the Kaggle text against pycocotools, in one run.

    python -m tests.bench.rle

pycocotools has no Kaggle text, so the conversion between its counts and the text, as short as it
can be written, belongs to its time. Its bare functions, which make another form, are given too.
"""

import timeit

import numpy as np
from pycocotools import mask as coco

from pipeline.masks.rle import decode_labels, decode_mask, encode_labels, encode_mask
from tests.bench.sizes import sized

HEIGHT = WIDTH = 768
ROUNDS, CALLS = sized((15, 20), (1, 1))
GOAL = 3


def ships(count):
    """A map of tilted ships of 39x13 px, the median of the competition's."""
    rng = np.random.default_rng(count)
    labels_hw = np.zeros((HEIGHT, WIDTH), np.int32)
    for label, slot in enumerate(rng.permutation(100)[:count], start=1):
        top, left = 76 * (slot // 10) + 5, 76 * (slot % 10) + 5
        for column in range(39):
            labels_hw[top + column // 2 : top + column // 2 + 13, left + column] = label
    return labels_hw


def coco_encode(mask_hw):
    packed = coco.encode(np.asfortranarray(mask_hw))["counts"]
    counts, value, shift = [], 0, 0
    for byte in packed:
        value |= (byte - 48 & 31) << shift
        shift += 5
        if not byte - 48 & 32:
            if byte - 48 & 16:
                value |= -1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    text, place = [], 1
    for sea, ship in zip(counts[::2], counts[1::2], strict=False):
        text += [place + sea, ship]
        place += sea + ship
    return " ".join(map(str, text))


def coco_decode(text):
    numbers = np.array(text.split(), np.int64)
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    edges = np.stack([starts, starts + lengths], axis=1).ravel()
    counts = np.diff(edges, prepend=0, append=HEIGHT * WIDTH).tolist()
    runs = coco.frPyObjects({"size": [HEIGHT, WIDTH], "counts": counts}, HEIGHT, WIDTH)
    return coco.decode(runs)


def best_ms(*functions):
    """Best of interleaved rounds, so that a busy machine is busy for all alike."""
    rounds = [[timeit.timeit(f, number=CALLS) / CALLS for f in functions] for _ in range(ROUNDS)]
    return [1e3 * min(times) for times in zip(*rounds, strict=True)]


def report(name, count, *, ours, theirs, bare, labelled):
    ours, theirs, bare, labelled = best_ms(ours, theirs, bare, labelled)
    print(
        f"{name} {count:3} ships: {ours:.3f}  pycocotools {theirs:.3f} ({theirs / ours:.1f}x, "
        f"goal {GOAL}x), its bare {name} {bare:.3f} ({bare / ours:.1f}x); "
        f"each ship by itself {labelled:.3f}"
    )


def compare(count):
    labels_hw = ships(count)
    mask_hw = (labels_hw > 0).astype(np.uint8)
    text, texts = encode_mask(mask_hw), encode_labels(labels_hw)
    packed = coco.encode(np.asfortranarray(mask_hw))
    assert text == coco_encode(mask_hw)
    assert (decode_mask(text, HEIGHT, WIDTH) == mask_hw).all()
    assert (coco_decode(text) == mask_hw).all()
    report(
        "encode",
        count,
        theirs=lambda: coco_encode(mask_hw),
        bare=lambda: coco.encode(np.asfortranarray(mask_hw)),
        ours=lambda: encode_mask(mask_hw),
        labelled=lambda: encode_labels(labels_hw),
    )
    report(
        "decode",
        count,
        theirs=lambda: coco_decode(text),
        bare=lambda: coco.decode(packed),
        ours=lambda: decode_mask(text, HEIGHT, WIDTH),
        labelled=lambda: decode_labels(texts, HEIGHT, WIDTH),
    )


def main():
    print(
        f"{HEIGHT}x{WIDTH} px, ships of 39x13 px; ms per image, best of {ROUNDS} rounds of {CALLS}"
    )
    for count in (1, 10, 50):
        compare(count)


if __name__ == "__main__":
    main()
