"""Finding tiles that share ground: which pairs, cost beside decoding, growth, full scale.

    python -m tests.bench.overlaps [accuracy] [decoding] [growth] [full]

`accuracy` cuts nine overlapping tiles from each of the demo's scenes, each compressed anew.
Times are of this process's processor alone, so that a busy machine does not change them; `full`
gives the wall clock too. `full` simulates the signatures of 192,556 tiles of 768 px in about 36,000
groups, a tenth of the cells solid, with random landmarks. For images of your own:
./run.sh find_overlaps.
"""

import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.data.any_offset import find_pairs
from pipeline.data.landmark_votes import propose
from pipeline.data.landmarks import CODES, DIRECTIONS, LANDMARKS, VIEWS
from pipeline.data.overlaps import _Check, find_groups, link_tiles
from pipeline.data.rendering.scenes import lay_out, paint
from pipeline.data.signature_store import read_signatures
from pipeline.data.signatures import Layout, Signatures
from tests.bench.sizes import do_named, sized

FULL = sized(192_556, 300)
LARGEST = 1096
COUNTS = sized((2000, 8000, 32_000), (25, 50, 50))


def ground(rng, height, width):
    """Sea with fine and coarse waves, grey, (height, width)."""
    image = np.full((height, width), rng.uniform(30, 120), np.float32)
    for std, blur in ((3, 1), (3, 6)):
        field = cv2.GaussianBlur(rng.standard_normal(image.shape).astype(np.float32), (0, 0), blur)
        image += field / field.std() * std
    return image.clip(0, 255).astype(np.uint8)


def write_tiles(folder, count, tile_px, side=5, seed=0):
    """Cut `side` x `side` overlapping tiles from each of as many scenes as are needed."""
    rng, step = np.random.default_rng(seed), tile_px // 3
    paths = []
    while len(paths) < count:
        scene = cv2.cvtColor(ground(rng, *[tile_px + step * (side - 1)] * 2), cv2.COLOR_GRAY2BGR)
        for index in range(min(side**2, count - len(paths))):
            y, x = (step * at for at in divmod(index, side))
            path = folder / f"{len(paths):06d}.jpg"
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(80, 96))]
            cv2.imwrite(str(path), scene[y : y + tile_px, x : x + tile_px], quality)
            paths.append(path)
    return paths


def accuracy():
    """Precision and recall over the pairs of tiles of the same scene, by tile and JPEG quality."""
    for tile_px, count in sized(((192, 60), (240, 60), (768, 12)), ((96, 2),)):
        pictures = [
            paint(
                lay_out(
                    0,
                    f"scene-{number}",
                    (5 * tile_px // 3,) * 2,
                    tile_px=tile_px,
                    max_ship_px=tile_px // 2,
                    with_ships=number % 2 == 0,
                )
            )
            for number in range(count)
        ]
        for quality in sized((70, 75, 85, 95), (85,)):
            with tempfile.TemporaryDirectory() as folder:
                paths = []
                for number, picture in enumerate(pictures):
                    for index in range(9):
                        y, x = (tile_px // 3 * at for at in divmod(index, 3))
                        paths.append(Path(folder) / f"{number:03d}-{index}.jpg")
                        tile = picture[y : y + tile_px, x : x + tile_px, ::-1]
                        cv2.imwrite(str(paths[-1]), tile, [cv2.IMWRITE_JPEG_QUALITY, quality])
                ids = [path.name for path in paths]
                groups = find_groups(paths, ids, jobs=1, signatures_path=None)
            scenes = np.repeat(np.arange(count), 9)
            same = np.equal.outer(scenes, scenes), np.equal.outer(groups, groups)
            pairs = np.triu_indices(len(scenes), 1)
            true, found = (table[pairs] for table in same)
            hits = (true & found).sum()
            print(
                f"{tile_px} px, quality {quality}: {len(paths)} tiles, {true.sum()} pairs, "
                f"precision {hits / found.sum():.4f}, recall {hits / true.sum():.4f}"
            )


def cpu_s(work):
    before = time.process_time()
    result = work()
    return time.process_time() - before, result


def decoding():
    """One process's time per tile of 768 px: decoding alone, and with the signature."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_tiles(Path(folder), sized(200, 25), sized(768, 96))
        sizes_kb = np.array([path.stat().st_size for path in paths]) / 1000
        print(f"768 px: files of {np.percentile(sizes_kb, [5, 50, 95]).round()} kB")
        works = {
            "decode, colour": lambda: [cv2.imread(str(path)) for path in paths],
            "decode, grey": lambda: [cv2.imread(str(path), 0) for path in paths],
            "signature": lambda: read_signatures(paths, jobs=1, store=None),
        }
        best = dict.fromkeys(works, np.inf)
        for _ in range(sized(5, 1)):
            for name, work in works.items():
                best[name] = min(best[name], cpu_s(work)[0])
    for name, seconds in best.items():
        print(f"768 px, {name}: {seconds / len(paths) * 1e3:.2f} ms per image")
    ratios = [best["signature"] / best[f"decode, {kind}"] for kind in ("colour", "grey")]
    print(f"signature with decoding: {ratios[0]:.2f} of colour, {ratios[1]:.2f} of grey decoding")


def growth():
    """Time per image for 2k, 8k and 32k tiles of 192 px: from file to signature, and to match."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_tiles(Path(folder), max(COUNTS), sized(192, 96))
        for count in COUNTS:
            some = paths[:count]
            reading, table = cpu_s(lambda some=some: read_signatures(some, jobs=1, store=None))
            matching, found = cpu_s(lambda table=table: link_tiles(table))
            further, _ = cpu_s(lambda s=some, t=table, f=found: find_pairs(t, s, f, jobs=1))
            right = len(set(found)) == len(set(np.arange(count) // 25)) == found.max() + 1
            print(
                f"{count:6d} tiles: ms per image: {reading / count * 1e3:.2f} to decode and sign, "
                f"{matching / count * 1e3:.2f} to match at thirds, {further / count * 1e3:.2f} at "
                f"any offset; groups {'right' if right else 'WRONG'}"
            )
        some = paths[: COUNTS[0]]
        again = find_groups(some, [path.name for path in some], jobs=2, signatures_path=None)
        print("two processes agree:", bool((again == np.arange(len(some)) // 25).all()))


def simulate(count, seed=0, solid=0.1):
    """Signatures of tiles over fields of cells, the group of each tile, and its cells' numbers."""
    rng, layout = np.random.default_rng(seed), Layout(768, 768)
    values = np.empty((count, 9, 256), np.int8)
    means = np.empty((count, 9, 4), np.uint16)
    groups = np.empty(count, np.int64)
    numbers = np.empty((count, 9), np.int64)
    done = group = first = 0
    while done < count:
        size = 1 if rng.random() < 0.56 else min(int(2 * rng.pareto(1.1)) + 2, LARGEST)
        size = min(size, count - done)
        side = int(np.ceil(np.sqrt(1.5 * size))) if size > 1 else 1
        field = rng.standard_normal((side + 2, side + 2, 256), np.float32)
        field *= rng.lognormal(3.3, 0.8, (side + 2, side + 2, 1))
        field[rng.random(field.shape[:2]) < solid] = 0
        field = np.clip(np.rint(field), -127, 127)
        level = rng.integers(600, 8000, (side + 2, side + 2, 4))
        for row, col in (divmod(index, side) for index in range(size)):
            cells = field[row : row + 3, col : col + 3].reshape(9, 256)
            noisy = cells + (cells != 0) * (rng.random(cells.shape) < 0.02)
            values[done] = np.clip(noisy, -127, 127)
            means[done] = level[row : row + 3, col : col + 3].reshape(9, 4)
            places = np.arange(field.shape[0] * field.shape[1]).reshape(field.shape[:2])
            numbers[done] = first + places[row : row + 3, col : col + 3].ravel()
            groups[done] = group
            done += 1
        group += 1
        first += places.size
    order = rng.permutation(count)
    noise, tables = np.full((count, 9), 0.15, np.float32), np.zeros(count, np.uint32)
    codes = rng.integers(2 * DIRECTIONS, size=(count, LANDMARKS, VIEWS, CODES), dtype=np.uint8)
    places = rng.integers(140, size=(count, LANDMARKS, 2), dtype=np.int16)
    turns = rng.integers(8, size=(count, LANDMARKS, VIEWS), dtype=np.uint8)
    values, means = values[order], means[order]
    signatures = Signatures(layout, values, means, noise, tables, codes, places, turns)
    return signatures, groups[order], numbers[order]


def count_parts(signatures, numbers):
    """Number of groups when only cells that are not solid connect tiles."""
    tile, cell = np.nonzero(_Check(signatures).telling)
    count, cells = len(numbers), numbers.max() + 1
    links = np.ones(len(tile), np.int8), (tile, count + numbers[tile, cell])
    parts = connected_components(coo_array(links, (count + cells,) * 2), directed=False)[1]
    return len(np.unique(parts[:count]))


def full():
    """Matching alone at the competition's size."""
    signatures, groups, numbers = simulate(FULL)
    before = time.perf_counter()
    seconds, found = cpu_s(lambda: link_tiles(signatures))
    wall = time.perf_counter() - before
    further, candidates = cpu_s(lambda: propose(signatures, found))
    mixed = len(np.unique(np.stack([groups, found]), axis=1).T) - found.max() - 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{FULL} tiles, {groups.max() + 1} groups: {seconds:.0f} s of processor, {wall:.0f} s of "
        f"clock; {further:.0f} s more for {len(candidates.one)} candidates at any offset; peak "
        f"{peak:.2f} GiB; {found.max() + 1} groups found, {mixed} of them mixed; "
        f"{count_parts(signatures, numbers)} are connected by more than solid cells"
    )


def main():
    do_named(accuracy, decoding, growth, full)


if __name__ == "__main__":
    main()
