from itertools import combinations, product

import cv2
import numpy as np
import pytest

from pipeline.data.any_offset import find_pairs
from pipeline.data.landmark_votes import _equal_codes
from pipeline.data.landmarks import NONE, as_mirror_and_turns, between, describe, turned
from pipeline.data.overlaps import find_groups
from pipeline.data.same_ground import Tile, shared_ground
from pipeline.data.signature_store import read_signatures

pytestmark = pytest.mark.contract

SIDE = 144
NO_TABLE = np.zeros((8, 8), np.uint16)


def noise(rng, shape, blur, deviation):
    field = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), blur)
    return field / field.std() * deviation


def sea(seed, shape):
    rng = np.random.default_rng(seed)
    return 90 + noise(rng, shape, 1, 3) + noise(rng, shape, 6, 4)


def write(folder, name, gray, quality=85):
    path = folder / f"{name}.jpg"
    pixels = np.rint(np.clip(gray, 0, 255)).astype(np.uint8)
    assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return path


def find(paths, **how):
    signatures = read_signatures(paths, jobs=1, store=None)
    return find_pairs(signatures, paths, np.arange(len(paths)), jobs=1, **how)


@pytest.mark.parametrize("one", range(8))
def test_a_turn_takes_the_other_tile_to_the_first(one):
    image = np.arange(12).reshape(3, 4)
    mirrored, quarters = as_mirror_and_turns(one)
    plain = np.rot90(image[:, ::-1] if mirrored else image, quarters)
    np.testing.assert_array_equal(turned(image, one), plain)
    square = np.arange(9).reshape(3, 3)
    sources = [
        next(tile for tile in (turned(square, undo) for undo in range(8)) if is_turned(tile, turn))
        for turn in range(8)
    ]
    for other in range(8):
        turn = int(between(np.uint8(one), np.uint8(other)))
        np.testing.assert_array_equal(turned(sources[other], turn), sources[one])


def is_turned(tile, turn):
    """Tell whether this turn makes of a tile the numbers from 0 to 8."""
    return np.array_equal(turned(tile, turn), np.arange(9).reshape(3, 3))


def test_landmarks_of_a_turned_brighter_tile_have_the_same_codes():
    tile = np.rint(sea(0, (SIDE, SIDE))).astype(np.uint8)
    codes, _, turns = describe(tile)
    changed, _, others = describe(np.ascontiguousarray(turned(tile, 5)) + 20)
    assert (codes == changed).all(axis=2).mean() > 0.95
    assert (between(turns, others) != 0).all()


@pytest.mark.parametrize("shape", [(8, 8), (18, 40), (20, 21), (31, 300)])
def test_small_and_long_tiles_are_described(shape):
    codes, places, _ = describe(np.rint(sea(0, shape)).astype(np.uint8))
    known = codes[:, 0, 0] != NONE
    assert known.any() == (min(shape) > 12)
    assert (places[known] >= 6).all()
    assert (places[known] < np.array(shape) - 6).all()


def test_equal_codes_are_counted():
    codes = np.random.default_rng(0).integers(0, 4, (200, 12)).astype(np.uint8)
    one, other = np.random.default_rng(1).integers(0, 200, (2, 500))
    expected = (codes[one] == codes[other]).sum(axis=1)
    np.testing.assert_array_equal(_equal_codes(codes, one, other), expected)


def test_pairs_are_found_at_any_offset_turned_changed_and_moved(tmp_path):
    offsets = [(0, 0), (72, 0), (-60, 30), (41, -67), (-13, -77), (5, 99), (-88, 3), (71, 71)]
    paths = []
    for turn, (y, x) in enumerate(offsets):
        scene = sea(turn, (3 * SIDE, 3 * SIDE))
        move = np.array([[1, 0, 0.3], [0, 1, -0.4]])
        moved = cv2.warpAffine(scene, move, scene.shape, flags=cv2.INTER_CUBIC)
        moved = moved * (0.8 + turn * 0.06) + (15 - 4 * turn)
        other = moved[SIDE + y : 2 * SIDE + y, SIDE + x : 2 * SIDE + x]
        paths.append(write(tmp_path, f"{turn}a", scene[SIDE : 2 * SIDE, SIDE : 2 * SIDE]))
        paths.append(write(tmp_path, f"{turn}b", turned(other, turn), 80))
    found = {pair[:2]: pair for pair in find(paths, every=True)}
    assert sorted(found) == [(2 * n, 2 * n + 1) for n in range(8)]
    for number, offset in enumerate(offsets):
        pair = found[2 * number, 2 * number + 1]
        laid = turned(turned(np.arange(12).reshape(3, 4), number), pair.turn)
        assert laid.tolist() == np.arange(12).reshape(3, 4).tolist()
        assert np.abs(np.subtract(pair.offset_yx, offset)).max() <= 1


def test_half_steps_make_whole_groups(tmp_path):
    paths, scenes = [], []
    for scene, (row, col) in product(range(3), product(range(3), repeat=2)):
        ground, y, x = sea(scene, (2 * SIDE, 2 * SIDE)), row * SIDE // 2, col * SIDE // 2
        paths.append(write(tmp_path, f"{scene}{row}{col}", ground[y : y + SIDE, x : x + SIDE], 75))
        scenes.append(scene)
    groups = find_groups(paths, [path.name for path in paths], jobs=2, signatures_path=None)
    assert groups.tolist() == scenes


def strangers():
    """Tiles that have much in common, but no ground: by kind."""
    coast = noise(np.random.default_rng(9), (SIDE, SIDE), 30, 1) > 0
    texture = np.tile(noise(np.random.default_rng(7), (48, 48), 1.5, 12), (3, 3))
    y, x = np.mgrid[:SIDE, :SIDE]
    corner = (x < 60) | (y < 70)
    tiles = {"one coast, other water": [], "one texture": [], "one corner": [], "calm": []}
    for seed in range(6):
        rng = np.random.default_rng(seed)
        water = 70 + noise(rng, (SIDE, SIDE), 0.6, 1.5)
        tiles["one coast, other water"].append(water + 70 * coast)
        tiles["one texture"].append(90 + texture + noise(rng, (SIDE, SIDE), 0.7, 2.5))
        tiles["one corner"].append(np.where(corner, 0, 70 + rng.normal(0, 0.3, (SIDE, SIDE))))
        tiles["calm"].append(water)
    return tiles


@pytest.mark.parametrize("kind", strangers())
def test_tiles_without_common_ground_are_not_linked(tmp_path, kind):
    tiles = strangers()[kind]
    paths = [write(tmp_path, str(number), tile, 90) for number, tile in enumerate(tiles)]
    assert find(paths, every=True) == []
    # Whatever is proposed: no two agree as they lie.
    pixels = [Tile(np.rint(np.clip(t, 0, 255)).astype(np.uint8), NO_TABLE) for t in tiles]
    assert not any(shared_ground(one, other, 0, (0, 0)) for one, other in combinations(pixels, 2))
