"""Perfect maps of hard sets of ships: contact gives back what annotators drew."""

import numpy as np
import pandas as pd
import pytest
from annotations import KINDS, annotate, separate

from pipeline.data.contact import contact
from pipeline.data.demo import render_demo
from pipeline.maps import ImageMaps
from pipeline.masks.instances import COLUMNS, read_instances
from pipeline.masks.rle import decode_labels, encode_labels
from pipeline.masks.sizes import Sizes
from pipeline.metrics.f2 import F2
from pipeline.metrics.matching import match_objects
from pipeline.metrics.metric import score
from pipeline.separation.separate import Separation

pytestmark = pytest.mark.unit

SPAN, IMAGES = 160, 8
METHODS = {
    "components": Separation("components", 128, 8),
    "distance": Separation("distance", 128, 8, seed=70),
    "contact": Separation("contact", 128, 8, seed=128, merge_below_px=2),
}


def f2_by_method(label_maps, size_px=SPAN):
    truth, found = [], {method: [] for method in METHODS}
    for index, labels_hw in enumerate(label_maps):
        ship_hw, contact_hw = labels_hw > 0, contact(labels_hw, 2)
        maps = ImageMaps(*(255 * each.astype(np.uint8) for each in (ship_hw, contact_hw)))
        truth += [(f"{index}", text) for text in encode_labels(labels_hw)]
        for method, how in METHODS.items():
            separated_hw = separate(maps, how, 0)
            assert np.array_equal(separated_hw > 0, ship_hw)
            found[method] += [(f"{index}", text) for text in encode_labels(separated_hw)]
    tables = [pd.DataFrame(rows, columns=COLUMNS, dtype=str) for rows in (truth, *found.values())]
    shape = size_px, size_px
    scored = [
        score(match_objects(tables[0], each, Sizes(shape), F2()).terms) for each in tables[1:]
    ]
    return dict(zip(METHODS, scored, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_contact_gives_touching_ships_back(kind):
    random = np.random.default_rng(7)
    f2 = f2_by_method(annotate(random, kind, SPAN) for _ in range(IMAGES))
    assert f2["contact"] >= f2["components"]
    # Ships that cross are cut into pieces by what they share: no separation joins those.
    assert f2["contact"] >= {"typical": 0.99, "crossing": 0.6}.get(kind, 0.95), f2
    if kind in {"raft", "marina", "string"}:
        assert f2["contact"] > f2["components"] + 0.3, f2
        assert f2["distance"] > f2["components"], f2


def test_contact_gives_the_demos_ships_back(tmp_path):
    sizes = {"tile_px": 144, "train_tiles": 60, "test_tiles": 1, "max_ship_px": 130}
    render_demo(tmp_path / "demo", seed=0, empty_share=0.0, **sizes)
    ships = read_instances(tmp_path / "demo" / "train_ship_segmentations_v2.csv")
    images = ships.groupby("ImageId").EncodedPixels.apply(list)
    f2 = f2_by_method((decode_labels(texts, 144, 144) for texts in images), 144)
    assert f2["contact"] >= 0.99 > f2["components"], f2
