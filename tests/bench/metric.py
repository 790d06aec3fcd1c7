"""The metric over a full-size problem, against a scorer that draws full frames, in one run.

    python -m tests.bench.metric

192,556 images of 768x768 px with 81,723 ships; the predictions are the true ships moved by a few
pixels, some left out, some made up. The full-frame scorer takes a sample of the same images.
"""

import resource
import time

import numpy as np
import pandas as pd

from pipeline.masks.rle import decode_mask
from pipeline.masks.sizes import Sizes
from pipeline.metrics.f2 import F2
from pipeline.metrics.matching import match_objects
from tests.bench.sizes import sized

SIDE = 768
SLOTS = 4  # ships have one of 4x4 places in the image, so that they never overlap
IMAGES, SHIP_IMAGES, SHIPS = sized((192_556, 42_556, 81_723), (60, 12, 20))
GOAL_S, GOAL_RATIO, GOAL_GIB = 30, 50, 1.5
SAMPLE = sized(1_500, 20)


def ship_text(top, left, columns, height, slope):
    starts = (left + np.arange(columns)) * SIDE + top + (slope * np.arange(columns)).astype(int) + 1
    return " ".join(f"{start} {height}" for start in starts.tolist())


def tables(rng):
    """True and predicted ships of the sizes in the competition's masks, capped at a place."""
    more = rng.zipf(2.0, 4 * SHIP_IMAGES).clip(1, SLOTS**2)
    image = np.repeat(np.arange(len(more)), more)[:SHIPS]
    image = image * SHIP_IMAGES // (image[-1] + 1)
    truth, predicted, previous, used = [], [], -1, 0
    for owner in image.tolist():
        if owner != previous:
            previous, used, places = owner, 0, rng.permutation(SLOTS**2)
        if used == SLOTS**2:
            continue
        top, left = 192 * (places[used] // SLOTS) + 10, 192 * (places[used] % SLOTS) + 10
        used += 1
        columns = int(np.clip(rng.lognormal(3.66, 1.0), 5, 160))
        height = int(np.clip(columns / rng.lognormal(1.1, 0.4), 3, 54))
        slope = rng.uniform(0, 0.6)
        truth.append((owner, ship_text(top, left, columns, height, slope)))
        if rng.random() < 0.9:
            down, right, wider = rng.integers(-1, 2, 3)
            moved = ship_text(top + down, left + right, columns, height + wider, slope)
            predicted.append((owner, moved))
    wrong = rng.integers(SHIP_IMAGES, IMAGES, 6_000).tolist()
    predicted += [(owner, ship_text(300, 300, 20, 8, 0)) for owner in wrong]
    return frame(truth), frame(predicted)


def frame(rows):
    rows = list(dict.fromkeys(rows))
    with_ships = {owner for owner, _ in rows}
    rows += [(owner, "") for owner in range(IMAGES) if owner not in with_ships]
    rows = [(f"{owner:09x}.jpg", text) for owner, text in rows]
    return pd.DataFrame(rows, columns=["ImageId", "EncodedPixels"], dtype=str)


def full_frame_f2(true_texts, found_texts):
    """As a notebook does it: draw every mask, compare every pair, loop over the thresholds."""
    if not true_texts or not found_texts:
        return float(len(true_texts) == len(found_texts))
    true = [decode_mask(text, SIDE, SIDE).astype(bool) for text in true_texts]
    found = [decode_mask(text, SIDE, SIDE).astype(bool) for text in found_texts]
    iou = np.array([[(a & b).sum() / (a | b).sum() for b in found] for a in true])
    scores = []
    for threshold in np.arange(0.5, 1, 0.05):
        hits = (iou > threshold + 1e-9).sum()
        missed, wrong = len(true) - hits, len(found) - hits
        scores.append(5 * hits / (5 * hits + 4 * missed + wrong))
    return float(np.mean(scores))


def texts_of(table, ids):
    kept = table[table["ImageId"].isin(ids) & (table["EncodedPixels"] != "")]
    return kept.groupby("ImageId")["EncodedPixels"].apply(list).to_dict()


def main():
    rng = np.random.default_rng(0)
    truth, predicted = tables(rng)
    ships = [(table["EncodedPixels"] != "").sum() for table in (truth, predicted)]
    before_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.perf_counter()
    scores = match_objects(truth, predicted, Sizes((SIDE, SIDE)), F2()).images
    wall_s = time.perf_counter() - start
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(scores)} images, {ships[0]} true and {ships[1]} predicted ships")
    on_ships = scores.loc[scores["n_true"] > 0, "f2"].mean()
    print(f"mean F2 {scores['f2'].mean():.5f}; on ship images {on_ships:.5f}")
    print(
        f"from runs: {wall_s:.2f} s (goal {GOAL_S} s), peak {peak_gib:.2f} GiB with the tables "
        f"(goal {GOAL_GIB}), {before_gib:.2f} GiB before"
    )

    ids = rng.choice(scores["ImageId"], SAMPLE, replace=False).tolist()
    true_texts, found_texts = texts_of(truth, ids), texts_of(predicted, ids)
    start = time.perf_counter()
    frames = [full_frame_f2(true_texts.get(i, []), found_texts.get(i, [])) for i in ids]
    sample_s = time.perf_counter() - start
    np.testing.assert_allclose(scores.set_index("ImageId").f2[ids], frames, atol=1e-9)
    full_s = sample_s * IMAGES / SAMPLE
    print(
        f"full frames: {sample_s:.2f} s for {SAMPLE} of the images, so {full_s:.0f} s for all: "
        f"{full_s / wall_s:.0f}x (goal {GOAL_RATIO}x); the same scores"
    )


if __name__ == "__main__":
    main()
