import os
from itertools import product

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline.commands.find_overlaps import find_overlaps
from pipeline.data import signature_store
from pipeline.data.collisions import colliding_cells
from pipeline.data.overlaps import find_groups, link_tiles
from pipeline.data.rendering.scenes import lay_out
from pipeline.data.rendering.scenes import paint as render
from pipeline.data.signatures import (
    Layout,
    Signatures,
    jpeg_noise,
    luminance_table,
    sign,
    to_levels,
)
from pipeline.data.verify import verify_images
from pipeline.errors import DataError

pytestmark = pytest.mark.contract

KINDS = ("calm", "sea", "coast", "texture")


def noise(rng, shape, std, blur):
    field = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), blur)
    return field / field.std() * std


def texture(seed=7):
    return noise(np.random.default_rng(seed), (64, 64), 12, 1.5)


def paint(kind, rng, height, width):
    """A scene in grey, float32 (height, width)."""
    shape, tone = (height, width), rng.uniform(30, 120)
    if kind == "calm":
        return tone + noise(rng, shape, rng.uniform(1.2, 2), 0.6)
    if kind == "sea":
        return tone + noise(rng, shape, rng.uniform(2, 4), 1) + noise(rng, shape, 3, 6)
    if kind == "coast":
        land = noise(rng, shape, 1, 40) > 0
        sea = tone + noise(rng, shape, 3, 1)
        return np.where(land, sea + 60 + noise(rng, shape, 15, 2), sea)
    if kind == "texture":  # the same ground again and again, in every such scene
        repeated = np.tile(texture(), (height // 64 + 1, width // 64 + 1))[:height, :width]
        return 70 + repeated + noise(rng, shape, 2.5, 0.7)
    raise ValueError(kind)


def write_tile(folder, name, gray, quality):
    image = np.clip(gray[..., None] + np.array([10, 0, -10]), 0, 255).astype(np.uint8)
    path = folder / name
    assert cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return path


def cut_scenes(folder, tile_px, place, qualities, *, scenes, share):
    """Write some tiles of each scene; return paths, scene of each, and place in thirds."""
    rng = np.random.default_rng(0)
    paths, scene_of, places = [], [], []
    for scene in range(scenes):
        rows, cols = rng.integers(1, 5, 2)
        size = (place(rows) + tile_px, place(cols) + tile_px)
        ground = paint(KINDS[scene % len(KINDS)], rng, *size)
        for row, col in product(range(rows + 1), range(cols + 1)):
            if rng.random() < share:
                y, x = place(row), place(col)
                tile = ground[y : y + tile_px, x : x + tile_px]
                quality = int(rng.choice(qualities))
                paths.append(write_tile(folder, f"{len(paths):05d}.jpg", tile, quality))
                scene_of.append(scene)
                places.append((row, col))
    return paths, np.array(scene_of), np.array(places)


def same(groups):
    return groups[:, None] == groups[None]


def truly_connected(scenes, places):
    reach = np.abs(places[:, None] - places[None]).max(axis=2) <= 2
    linked = same(scenes) & reach
    while True:
        further = (linked.astype(np.float32) @ linked.astype(np.float32)) > 0
        if (further == linked).all():
            return linked
        linked = further


@pytest.mark.parametrize(
    ("tile_px", "place", "qualities", "scenes"),
    [
        (256, lambda i: 85 * i, range(70, 96), 8),
        (256, lambda i: 86 * i, range(70, 96), 4),
        (256, lambda i: round(i * 256 / 3), range(70, 96), 4),
        (384, lambda i: 128 * i, [70], 4),
        (384, lambda i: 128 * i, range(70, 96), 8),
    ],
)
def test_every_group_is_found_whole_and_apart(tmp_path, tile_px, place, qualities, scenes):
    paths, scene_of, places = cut_scenes(
        tmp_path, tile_px, place, qualities, scenes=scenes, share=0.6
    )
    groups = find_groups(paths, [path.name for path in paths], jobs=1, signatures_path=None)
    assert (same(groups) == truly_connected(scene_of, places)).all()


@pytest.mark.parametrize("offset", list(product(range(-2, 3), repeat=2)))
def test_each_of_the_25_offsets_links(tmp_path, offset):
    ground = paint("sea", np.random.default_rng(1), 960, 960)
    y, x = 384 + 96 * offset[0], 384 + 96 * offset[1]
    paths = [
        write_tile(tmp_path, "a.jpg", ground[384:672, 384:672], 90),
        write_tile(tmp_path, "b.jpg", ground[y : y + 288, x : x + 288], 85),
        write_tile(tmp_path, "c.jpg", paint("sea", np.random.default_rng(2), 288, 288), 90),
    ]
    groups = find_groups(paths, list("abc"), jobs=1, signatures_path=None)
    assert groups.tolist() == [0, 0, 1]


def solid_tiles(shape):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[0], : shape[1]]
    border = np.where(x < 100, 0.0, 255.0)
    return {
        "black": np.zeros(shape),
        "cloud": np.full(shape, 255.0),
        "colour": np.full(shape, 90.0),
        "flat water": 60 + 0.4 * rng.standard_normal(shape),
        "haze": 60 + 0.05 * x + 0.02 * y,
        "black border on cloud": border,
    }


@pytest.mark.parametrize("side", [288, 768])
@pytest.mark.parametrize("kind", solid_tiles((8, 8)))
def test_solid_tiles_are_single(tmp_path, kind, side):
    tile = solid_tiles((side, side))[kind]
    qualities = (70, 75, 75, 90, 91, 95)
    paths = [write_tile(tmp_path, f"{n}.jpg", tile, q) for n, q in enumerate(qualities)]
    groups = find_groups(paths, list("abcdef"), jobs=1, signatures_path=None)
    assert groups.tolist() == list(range(6))


def test_a_shared_solid_third_does_not_link_but_a_shared_telling_one_does(tmp_path):
    rng = np.random.default_rng(0)
    first, second, third = (paint("coast", rng, 288, 288) for _ in range(3))
    first[192:], second[:96] = 0, 0  # black borders that would coincide
    third[:96] = first[96:192]
    third[96:192] = first[192:]
    tiles = {"a": first, "b": second, "c": third}
    paths = [write_tile(tmp_path, f"{name}.jpg", tile, 90) for name, tile in tiles.items()]
    groups = find_groups(paths, list(tiles), jobs=1, signatures_path=None)
    assert groups.tolist() == [0, 1, 0]


def test_a_ship_on_flat_water_links(tmp_path):
    rng = np.random.default_rng(0)
    ground = 60 + 0.4 * rng.standard_normal((384, 384))
    tiles = [ground[:288, :288], ground[96:, 96:], ground[:288, :288].copy()]
    ship = np.zeros((384, 384), np.uint8)
    cv2.ellipse(ship, (190, 200), (30, 6), 25, 0, 360, 120, -1)
    ground += cv2.GaussianBlur(ship, (0, 0), 1)
    paths = [write_tile(tmp_path, f"{n}.jpg", tile, 90) for n, tile in enumerate(tiles)]
    assert find_groups(paths, list("abc"), jobs=1, signatures_path=None).tolist() == [0, 0, 1]


def test_equal_borders_around_different_calm_water_do_not_link(tmp_path):
    y, x = np.mgrid[:288, :288]
    for name, border in {"side": x < 115, "corner": (x < 115) | (y < 144)}.items():
        paths = []
        for seed in range(6):
            water = 70 + noise(np.random.default_rng(seed), (288, 288), 1.2, 0.6)
            tile = np.where(border, 0, water)
            paths.append(write_tile(tmp_path, f"{name}{seed}.jpg", tile, 85))
        groups = find_groups(paths, list("abcdef"), jobs=1, signatures_path=None)
        assert groups.tolist() == list(range(6))


def test_what_jpeg_leaves_of_the_demos_calmest_scene_is_enough(tmp_path):
    scene = lay_out(0, "scene-6", (320, 320), tile_px=192, max_ship_px=96, with_ships=True)
    picture = render(scene)[:, :, ::-1]
    paths = []
    for index in range(9):
        y, x = (64 * at for at in divmod(index, 3))
        paths.append(tmp_path / f"{index}.jpg")
        tile = picture[y : y + 192, x : x + 192]
        assert cv2.imwrite(str(paths[-1]), tile, [cv2.IMWRITE_JPEG_QUALITY, 70])
    assert not find_groups(paths, list("abcdefghi"), jobs=1, signatures_path=None).any()


@pytest.mark.parametrize("kind", ["calm", "sea", "coast"])
def test_files_of_another_encoder_link_too(tmp_path, kind):
    ground = paint(kind, np.random.default_rng(0), 384, 384)
    paths = [write_tile(tmp_path, "a.jpg", ground[:288, :288], 90)]
    for name, quality, how in (
        ("b.jpg", 80, {"progressive": True, "subsampling": 0}),
        ("c.jpg", 92, {"optimize": True, "subsampling": 1, "qtables": "web_high"}),
    ):
        tile = write_tile(tmp_path, "tile.png", ground[96:, 96:], 90)
        paths.append(tmp_path / name)
        Image.open(tile).save(paths[-1], **({"quality": quality} | how))
    assert find_groups(paths, list("abc"), jobs=1, signatures_path=None).tolist() == [0, 0, 0]


def test_all_that_is_shared_must_agree(tmp_path):
    rng = np.random.default_rng(0)
    tile, other = paint("sea", rng, 288, 288), paint("sea", rng, 288, 288)
    other[:192, :192] = tile[:192, :192]  # the same place, but for its right and lower third
    paths = [write_tile(tmp_path, "a.jpg", tile, 90), write_tile(tmp_path, "b.jpg", other, 90)]
    assert find_groups(paths, ["a", "b"], jobs=1, signatures_path=None).tolist() == [0, 1]


def test_groups_follow_the_ids_and_not_the_order(tmp_path):
    paths, _, _ = cut_scenes(tmp_path, 192, lambda i: 64 * i, [90], scenes=4, share=0.7)
    ids = [path.name for path in paths]
    groups = find_groups(paths, ids, jobs=1, signatures_path=None)
    assert groups[0] == 0
    turned = find_groups(paths[::-1], ids[::-1], jobs=2, signatures_path=None)
    assert turned[::-1].tolist() == groups.tolist()


def test_a_folder_of_images_becomes_two_tables(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    ground = paint("sea", np.random.default_rng(1), 240, 240)
    write_tile(images, "b.jpg", ground[:144, :144], 90)
    write_tile(images, "a.JPG", ground[96:, 48:192], 85)
    write_tile(images, "c.jpg", paint("sea", np.random.default_rng(2), 144, 144), 90)
    (images / "notes.txt").write_text("no image")
    for hidden in ("._a.jpg", ".DS_Store"):
        (images / hidden).touch()
    find_overlaps(images, tmp_path / "tables", jobs=1)
    written = [(tmp_path / "tables" / name).read_text() for name in ("groups.csv", "pairs.csv")]
    assert written[0] == "ImageId,group\na.JPG,0\nb.jpg,0\nc.jpg,1\n"
    assert written[1] == (
        "ImageId,other,down_px,right_px,mirrored,quarter_turns\na.JPG,b.jpg,-96,-48,0,0\n"
    )
    with pytest.raises(DataError, match="expected a folder with images"):
        find_overlaps(tmp_path, tmp_path / "tables", jobs=1)


def test_images_that_cannot_be_compared_are_told_as_stage_0_tells_them(tmp_path):
    paths = three_tiles(tmp_path)
    Image.new("RGB", (90, 96)).save(paths[0])
    paths[1].write_bytes(b"not an image")
    Image.new("RGB", (96, 96)).save(tmp_path / "3.bmp")
    (tmp_path / os.fsdecode(b"\xff.png")).touch()
    with pytest.raises(DataError, match="3 of 5 images cannot be used") as told:
        find_overlaps(tmp_path, tmp_path / "tables", jobs=1)
    for line in ("0.jpg: expected 96x96 px like most, got 90x96", "1.jpg: not decodable: 12 bytes"):
        assert line in str(told.value)
    assert "udcff.png': its name has control characters or is not UTF-8" in str(told.value)


def test_one_image_is_one_group(tmp_path):
    path = write_tile(tmp_path, "a.jpg", paint("sea", np.random.default_rng(0), 96, 96), 90)
    assert find_groups([path], ["a"], jobs=1, signatures_path=None).tolist() == [0]


# The store


def three_tiles(folder):
    rng = np.random.default_rng(0)
    return [write_tile(folder, f"{n}.jpg", paint("sea", rng, 96, 96), 90) for n in range(3)]


def described_from_now(monkeypatch, stop_at=None):
    """Return the list of images that signatures are computed of; at one of them Ctrl-C comes."""
    look, described = signature_store._look, []

    def looked_at(path, layout, **how):
        if layout is not None:
            described.append(path)
            if len(described) == stop_at:
                raise KeyboardInterrupt
        return look(path, layout, **how)

    monkeypatch.setattr(signature_store, "_look", looked_at)
    return described


def test_a_second_pass_decodes_nothing_but_what_changed(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    paths, store = three_tiles(tmp_path / "images"), tmp_path / "store"
    first = signature_store.read_signatures(paths, jobs=1, store=store)
    described = described_from_now(monkeypatch)
    again = signature_store.read_signatures(paths[::-1], jobs=1, store=store)
    assert described == []
    assert (again.values == first.values[::-1]).all()
    assert (again.noise == first.noise[::-1]).all()
    rng = np.random.default_rng(1)
    write_tile(tmp_path / "images", "1.jpg", paint("sea", rng, 96, 96), 91)
    changed = signature_store.read_signatures(paths, jobs=1, store=store)
    assert described == [paths[1]]
    assert (changed.values[[0, 2]] == first.values[[0, 2]]).all()
    assert (changed.values[1] != first.values[1]).any()


def test_an_interrupted_pass_goes_on(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    paths, store = three_tiles(tmp_path / "images"), tmp_path / "store"
    monkeypatch.setattr(signature_store, "PART_IMAGES", 1)
    described = described_from_now(monkeypatch, stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        signature_store.read_signatures(paths, jobs=1, store=store)
    signature_store.read_signatures(paths, jobs=1, store=store)
    assert described == [*paths, paths[2]]


def test_one_decoding_gives_verdict_and_signature(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    paths, store = three_tiles(tmp_path / "images"), tmp_path / "store"
    Image.new("RGB", (90, 96)).save(tmp_path / "images" / "3.jpg")
    (tmp_path / "images" / "4.jpg").write_bytes(b"not an image")
    all_paths, memory = sorted((tmp_path / "images").iterdir()), tmp_path / "memory.csv"
    alone = signature_store.read_signatures(paths, jobs=1, store=None)
    first = verify_images(all_paths, memory, jobs=2, signatures=store)
    described = described_from_now(monkeypatch)
    together = signature_store.read_signatures(paths, jobs=1, store=store)
    assert described == []
    for name in signature_store.ARRAYS:
        np.testing.assert_array_equal(getattr(together, name), getattr(alone, name))
    assert verify_images(all_paths, memory, jobs=1, signatures=store).equals(first)
    assert described == []
    write_tile(tmp_path / "images", "1.jpg", paint("sea", np.random.default_rng(1), 96, 96), 91)
    verify_images(all_paths, memory, jobs=1, signatures=store)
    signature_store.read_signatures(paths, jobs=1, store=store)
    assert described == [paths[1]]


@pytest.mark.parametrize("spoil", [lambda c: c[:-200], lambda c: b"", lambda c: c[:300] + c[301:]])
def test_a_damaged_part_is_described_again(tmp_path, spoil, caplog):
    (tmp_path / "images").mkdir()
    paths, store = three_tiles(tmp_path / "images"), tmp_path / "store"
    first = signature_store.read_signatures(paths, jobs=1, store=store)
    part = next(store.glob("part-*.npz"))
    part.write_bytes(spoil(part.read_bytes()))
    again = signature_store.read_signatures(paths, jobs=1, store=store)
    assert caplog.text.count(f"{part.name}: cannot be read") == 1
    assert (again.values == first.values).all()
    assert (again.tables == first.tables).all()
    caplog.clear()
    signature_store.read_signatures(paths, jobs=1, store=store)
    assert not caplog.text


def test_a_part_that_another_process_deletes_is_described_again(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    paths, store = three_tiles(tmp_path / "images"), tmp_path / "store"
    first = signature_store.read_signatures(paths, jobs=1, store=store)
    load = np.load
    monkeypatch.setattr(
        signature_store.np, "load", lambda path, **how: path.unlink() or load(path, **how)
    )
    again = signature_store.read_signatures(paths, jobs=1, store=store)
    assert (again.values == first.values).all()


def test_images_of_one_name_in_two_folders_have_their_own_signatures(tmp_path):
    paths = []
    for name, tone in (("a", 60), ("b", 90)):
        (tmp_path / name).mkdir()
        ground = paint("sea", np.random.default_rng(tone), 96, 96)
        paths.append(write_tile(tmp_path / name, "t.png", ground, 90))
        os.utime(paths[-1], ns=(0, 0))
    for path in paths:  # of one size: Pillow and OpenCV stop reading behind IEND
        path.write_bytes(path.read_bytes().ljust(40_000, b"\0"))
        os.utime(path, ns=(0, 0))
    both = signature_store.read_signatures(paths, jobs=1, store=tmp_path / "store")
    again = signature_store.read_signatures(paths, jobs=1, store=tmp_path / "store")
    for number, path in enumerate(paths):
        alone = signature_store.read_signatures([path], jobs=1, store=None)
        assert (both.values[number] == alone.values[0]).all()
        assert (again.values[number] == alone.values[0]).all()


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_progress_bar_ends_at_all_images(tmp_path, monkeypatch, jobs):
    bars = []
    bar = signature_store.tqdm
    monkeypatch.setattr(signature_store, "tqdm", lambda **how: bars.append(bar(**how)) or bars[-1])
    signature_store.read_signatures(three_tiles(tmp_path), jobs=jobs, store=None)
    assert bars[0].n == 3


def test_a_part_about_other_images_is_deleted(tmp_path):
    (tmp_path / "images").mkdir()
    paths, store = three_tiles(tmp_path / "images"), tmp_path / "store"
    signature_store.read_signatures(paths[:1], jobs=1, store=store)
    signature_store.read_signatures(paths[1:], jobs=1, store=store)
    assert len(list(store.iterdir())) == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.unlink(), "2.jpg: missing"),
        (lambda p: p.write_bytes(b""), r"2.jpg: not decodable: 0 bytes.*Run s0_data again"),
        (lambda p: p.write_bytes(b"not an image"), "2.jpg: not decodable: 12 bytes"),
        (lambda p: cv2.imwrite(str(p), np.zeros((96, 90))), "2.jpg: expected 96x96 px .*96x90"),
    ],
)
def test_unusable_images_are_named(tmp_path, spoil, message):
    paths = three_tiles(tmp_path)
    spoil(paths[2])
    with pytest.raises(DataError, match=message):
        find_groups(paths, list("abc"), jobs=1, signatures_path=None)


def test_no_images_and_repeated_ids_are_errors(tmp_path):
    with pytest.raises(DataError, match="no images"):
        find_groups([], [], jobs=1, signatures_path=None)
    with pytest.raises(DataError, match="2 ids, 1 of them distinct"):
        find_groups(three_tiles(tmp_path)[:2], ["a", "a"], jobs=1, signatures_path=None)


# The parts


@pytest.mark.parametrize("side", [48, 97, 98, 256, 768])
def test_shared_cells_lie_where_the_offset_says(side):
    layout = Layout(side, side)
    assert len(layout.origins_yx) == (9 if side % 3 == 0 else 36)
    for offset in layout.offsets_yx:
        shared = layout.shared_cells(offset)
        assert len(shared) >= 1
        for cell, there in shared:
            ahead = np.subtract(layout.origins_yx[cell], layout.origins_yx[there])
            assert tuple(ahead) == offset
    assert len(layout.shared_cells((0, 0))) == len(layout.origins_yx)


def test_masks_see_neither_brightness_nor_slope():
    layout = Layout(192, 192)
    y, x = np.mgrid[:192, :192]
    values, means = sign((20 + y // 2 * 2 * 0 + x).clip(0, 255).astype(np.uint8), layout)
    assert np.abs(to_levels()[values.astype(int) + 128]).max() < 0.05
    assert means.shape == (9, 4)
    assert means[0, 0] / 64 == pytest.approx(20 + 15.5, abs=0.05)


@pytest.mark.parametrize("side", [48, 96, 384])
def test_a_cell_is_described_alike_wherever_it_lies(side):
    layout = Layout(side, side)
    gray = paint("coast", np.random.default_rng(0), side, side).clip(0, 255).astype(np.uint8)
    values, means = sign(gray, layout)
    for number, (y, x) in enumerate(layout.origins_yx):
        crop = gray[y : y + side // 3, x : x + side // 3]
        alone, means_alone = sign(np.tile(crop, (3, 3)), layout)
        assert (alone == values[number]).all()
        assert (means_alone == means[number]).all()
        assert means[number].mean() / 64 == pytest.approx(crop.mean(), abs=0.01)


def encode(gray, quality):
    """A grey JPEG and what it decodes to."""
    content = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return content, cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)


@pytest.mark.parametrize("quality", [75, 85, 95])
@pytest.mark.parametrize("side", [256, 384])
def test_noise_is_what_jpeg_does_to_the_answers(quality, side):
    layout, levels = Layout(side, side), to_levels()
    gray = paint("sea", np.random.default_rng(0), side, side).clip(0, 255).astype(np.uint8)
    content, decoded = encode(gray, quality)
    clean, coded = (sign(image, layout)[0].astype(int) for image in (gray, decoded))
    error = np.sqrt(((levels[coded + 128] - levels[clean + 128]) ** 2).mean())
    said = jpeg_noise(luminance_table(content), decoded, layout).mean()
    assert 0.7 < error / said < 1.4


def test_the_table_is_the_files_own():
    content, _ = encode(np.zeros((16, 16), np.uint8), 50)
    table = luminance_table(content)
    # The example table of ITU-T T.81, annex K.1, which quality 50 stands for.
    assert table[0].tolist() == [16, 11, 10, 16, 24, 40, 51, 61]
    assert table[:, 0].tolist() == [16, 12, 14, 14, 18, 24, 49, 72]
    assert table[7, 7] == 99


def test_a_file_without_a_quantisation_table_has_rounding_noise_only():
    gray = paint("sea", np.random.default_rng(0), 96, 96).astype(np.uint8)
    table = luminance_table(cv2.imencode(".png", gray)[1].tobytes())
    assert not table.any()
    assert jpeg_noise(table, gray, Layout(96, 96)).max() < 0.3


def test_collisions_find_noisy_copies_among_many():
    rng = np.random.default_rng(0)
    values = rng.integers(-90, 90, (4000, 256)).astype(np.int8)
    values[2000:2500] = np.clip(values[:500] + rng.normal(0, 25, (500, 256)), -127, 127)
    groups = np.arange(4000, dtype=np.int32)
    found = set()
    proposed = 0
    for one, other in colliding_cells(values, np.arange(4000), groups):
        proposed += len(one)
        found |= set(zip(np.minimum(one, other), np.maximum(one, other), strict=True))
    true = {(n, 2000 + n) for n in range(500)}
    assert true <= found
    assert len(found) < 20_000  # of 8 million
    assert proposed < 100_000


def test_pairs_within_a_group_are_not_proposed():
    values = np.tile(np.random.default_rng(0).integers(-90, 90, (1, 256)), (8, 1)).astype(np.int8)
    groups = np.zeros(8, np.int32)
    assert all(len(one) == 0 for one, _ in colliding_cells(values, np.arange(8), groups))


def test_ten_thousand_like_cells_do_not_take_a_square_of_the_time():
    rng = np.random.default_rng(0)
    values = np.tile(rng.integers(-90, 90, (1, 256)), (10_000, 1)).astype(np.int8)
    proposed = sum(
        len(one)
        for one, _ in colliding_cells(values, np.arange(10_000), np.arange(10_000, dtype=np.int32))
    )
    assert proposed < 10_000 * 48 * 8 * 1.1


def test_links_from_signatures_alone():
    rng = np.random.default_rng(0)
    layout = Layout(96, 96)
    count, size = 40, sign(np.zeros((96, 96), np.uint8), layout)[0].shape[1]
    values = rng.integers(-60, 60, (count, 9, size)).astype(np.int8)
    values[7, 0] = values[3, 8]  # the upper left cell of 7 is the lower right one of 3
    means = np.full((count, 9, 4), 6400, np.uint16)
    noise_of, tables = np.full((count, 9), 0.2, np.float32), np.zeros(count, np.uint32)
    none = [np.empty((count, 0), np.uint8)] * 3
    groups = link_tiles(Signatures(layout, values, means, noise_of, tables, *none))
    assert groups[3] == groups[7]
    assert groups.max() == count - 2
