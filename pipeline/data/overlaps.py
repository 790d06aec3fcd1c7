"""Which tiles show the same place: the groups that a split must keep whole.

Image files enter; one group number per image leaves. Every pair of tiles that hashing proposes is
held to all that the two share at that offset: the shared area must tell something (solid areas do
not), must agree beyond chance, and may differ by no more than JPEG's rounding explains.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.config.reading import STRICT, Reading
from pipeline.data.any_offset import find_pairs
from pipeline.data.collisions import colliding_cells
from pipeline.data.grouping import connected, join_groups, numbered
from pipeline.data.signature_store import read_signatures
from pipeline.data.signatures import MEAN_STEPS, Signatures, to_levels
from pipeline.errors import DataError

Index = npt.NDArray[np.int64]

# Grey levels of an answer, root mean square. Flat water with noise of 0.4 and haze reach 0.41, the
# calmest water with waves of 1.2 starts at 0.45 where cells are shrunk most, at 768 px.
SOLID_BELOW = 0.42
EDGE_PX = 24  # wide is what JPEG makes of an edge
EDGE_ABOVE = 4.0  # times the median row's energy has one that is no evidence
SPREAD = 0.5  # of a row's mean energy, which three tenths of its patches reach where an edge runs
# Nats beyond what the best of all pairs of cells reaches by chance: 40 in all at full scale.
MIN_EVIDENCE = 12.0
# Of the noise that the quantisation tables of both files explain, root mean square. A texture
# repeated in another place, with sea noise of 2 grey levels of its own, starts at 1.49.
MAX_RESIDUAL = 1.35  # true pairs lie about 1.0 and reach 1.25
MAX_RESIDUAL_ALIKE = 0.8  # one table, one grid of 8x8 blocks: copies, but for a few pixels
MAX_SINGLE_RESIDUAL = 9.0  # true pairs reach 7.3
MAX_MEAN_DIFFERENCE = 1.3  # grey levels, any quarter of a cell; one step of flat water at q = 10
ROUNDING = 0.03  # relative, of the logarithmic scale
VERIFIED_AT_ONCE = 1024
CELLS_AT_ONCE = 32_768


def find_groups(
    image_paths: Sequence[Path],
    ids: Sequence[str],
    *,
    jobs: int,
    signatures_path: Path | None,
    reading: Reading = STRICT,
) -> Index:
    """Group the images that are connected by overlaps.

    Args:
        image_paths: One file per image, all of one size.
        ids: `ImageId` of each; their order, not that of the paths, numbers the groups.
        jobs: Threads that decode.
        signatures_path: Folder where signatures are kept for the next time, or None.
        reading: How the images are read; signatures are kept of one way.

    Returns:
        int64 (n,): group of each image, 0 <= group < number of groups; the group of the smallest
        `ImageId` is 0. An image that shares nothing is alone in its group, and so is a solid one.

    Raises:
        DataError: Ids repeat or do not fit the paths, or an image cannot be used.
        ArtifactError: The disk is full.
    """
    if len(image_paths) != len(ids) or len(set(ids)) != len(ids):
        raise DataError(
            f"expected one path and one distinct ImageId per image, got {len(image_paths)} paths "
            f"and {len(ids)} ids, {len(set(ids))} of them distinct."
        )
    order = np.array(sorted(range(len(ids)), key=lambda index: ids[index]), dtype=np.int64)
    signatures = read_signatures(
        [image_paths[index] for index in order], jobs=jobs, store=signatures_path, reading=reading
    )
    known = link_tiles(signatures)
    pairs = find_pairs(
        signatures, [image_paths[index] for index in order], known, jobs=jobs, reading=reading
    )
    groups = np.empty(len(ids), np.int64)
    groups[order] = join_groups(known, [pair[:2] for pair in pairs])
    return groups


def link_tiles(signatures: Signatures) -> Index:
    """Group tiles by their signatures.

    Args:
        signatures: Of n tiles.

    Returns:
        int64 (n,): group of each tile, numbered in the order of their first tiles.
    """
    count, cells, size = signatures.values.shape
    check = _Check(signatures)
    groups = np.arange(count, dtype=np.int32)
    links = np.empty((0, 2), np.int64)
    values = signatures.values.reshape(count * cells, size)
    rejected = np.empty(0, np.int64)
    for one, other in colliding_cells(values, np.flatnonzero(check.telling), groups):
        candidates = _without(check.candidates(one, other), rejected)
        # A group of n tiles has up to 12 n pairs and needs n - 1: a few rounds look at one pair per
        # group, and what they link need not be looked at again.
        for thin in (True, True, True, False):
            a, b, _ = check.tiles(candidates)
            candidates = candidates[groups[a] != groups[b]]
            first = np.unique(groups[check.tiles(candidates)[0]], return_index=True)[1]
            looked_at = candidates[first] if thin else candidates
            same = check.same_ground(looked_at)
            candidates = _without(candidates, np.sort(looked_at))
            rejected = np.sort(np.concatenate([rejected, looked_at[~same]]), kind="stable")
            if same.any():
                true = np.stack(check.tiles(looked_at[same])[:2], axis=1)
                links = np.concatenate([links, true])
                groups[:] = connected(links, count)
    return numbered(groups)


def linked_pairs(signatures: Signatures, groups: Index) -> tuple[Index, Index, Index]:
    """Find every pair of tiles that overlap, not only as many as connect a group.

    Args:
        signatures: Of n tiles.
        groups: What `link_tiles` says of them.

    Returns:
        The tile and the later tile of each pair, int64 (m,), ascending; and where the corner of the
        later one lies in the other, rows and columns in px, int64 (m, 2).
    """
    check = _Check(signatures)
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    pairs = [np.stack(np.triu_indices(len(tiles), 1)) for tiles in members]
    one, other = np.concatenate([t[p] for t, p in zip(members, pairs, strict=True)], axis=1)
    offsets = np.arange(len(check.shared))
    codes = ((one * len(groups) + other)[:, None] * len(offsets) + offsets).ravel()
    codes = np.sort(codes[check.same_ground(codes)])
    one, other, offset = check.tiles(codes)
    return one, other, np.array(signatures.layout.offsets_yx, dtype=np.int64)[offset]


def _without(codes: Index, others: Index) -> Index:
    """Return the codes that are not among `others`, which are sorted."""
    if not len(others):
        return codes
    place = np.minimum(np.searchsorted(others, codes), len(others) - 1)
    return np.asarray(codes[others[place] != codes])


class _Check:
    """Whether two tiles agree in all that they share at an offset."""

    def __init__(self, signatures: Signatures) -> None:
        self.signatures = signatures
        self.levels = to_levels()
        self.telling = self._telling()
        pairs = self.telling.sum() ** 2 / 2
        self.min_evidence = MIN_EVIDENCE + np.log(max(pairs, 1))
        layout = signatures.layout
        self.shared = [layout.shared_cells(offset) for offset in layout.offsets_yx]
        self.shared_count = np.array([len(cells) for cells in self.shared])
        self.same_blocks = np.array([y % 8 == x % 8 == 0 for y, x in layout.offsets_yx])
        number = {offset: index for index, offset in enumerate(layout.offsets_yx)}
        origins = layout.origins_yx
        self.offset_of_cells = np.array(
            [[number.get((ay - by, ax - bx), -1) for by, bx in origins] for ay, ax in origins]
        )

    def _telling(self) -> npt.NDArray[np.bool_]:
        """Tell which cells are more than solid areas and the edges of a border, (n, cells).

        A border makes two different tiles alike. Its edge runs along an axis, through all of few
        rows or columns of patches: the strongest do not count if their energy is spread out. That
        of an object on flat water, or of what JPEG left of calm water, is in few patches of a row.
        """
        count, cells, size = self.signatures.values.shape
        values = self.signatures.values.reshape(count * cells, size)
        telling = np.empty(len(values), bool)
        for start in range(0, len(values), CELLS_AT_ONCE):
            part = slice(start, start + CELLS_AT_ONCE)
            energy = self._energy(values[part])
            kept = ~self._edges(energy, above=0)
            rest = (energy * kept).sum(axis=(1, 2)) / kept.sum(axis=(1, 2))
            telling[part] = rest >= SOLID_BELOW**2
        return telling.reshape(count, cells)

    def _energy(self, values: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        """Mean square of the answers of each patch of cells, (n, values) -> (n, down, across)."""
        layout = self.signatures.layout
        squares = (self.levels**2)[values.astype(np.int16) + 128]
        patches = squares.reshape(len(values), layout.masks, *layout.patches_hw)
        return np.asarray(patches.mean(axis=1))

    def _edges(self, energy: npt.NDArray[np.float32], above: float) -> npt.NDArray[np.bool_]:
        """Tell which patches lie where the edge of a border may run, shape of `energy`.

        Args:
            energy: Of patches, (n, down, across).
            above: Times the median row, or column, that one with an edge must have.
        """
        layout = self.signatures.layout
        found = np.zeros(energy.shape, bool)
        for axis, side, patches in zip((1, 2), layout.cell_hw, layout.patches_hw, strict=True):
            most = min(-(-EDGE_PX * patches // side), patches - 1)
            lines = energy if axis == 1 else energy.transpose(0, 2, 1)
            sums = lines.sum(axis=2)
            limit = np.partition(sums, -1 - most, axis=1)[:, -1 - most, None]
            if above:
                limit = np.maximum(limit, above * np.median(sums, axis=1, keepdims=True))
            place = lines.shape[2] * 7 // 10
            high = np.partition(lines, place, axis=2)[:, :, place]
            edges = (sums > limit) & (high >= SPREAD * sums / lines.shape[2])
            found |= np.expand_dims(edges, 3 - axis)
        return found

    def candidates(self, one: Index, other: Index) -> Index:
        """Turn pairs of cells into pairs of tiles.

        Returns:
            (n,): codes, for `tiles`, of the pairs and offsets at which those cells would coincide;
            ascending, each once, without cells that cannot coincide.
        """
        count, cells, _ = self.signatures.values.shape
        first, second = np.minimum(one, other), np.maximum(one, other)
        offset = self.offset_of_cells[first % cells, second % cells]
        possible = (offset >= 0) & (first // cells != second // cells)
        code = (first // cells * count + second // cells) * len(self.shared) + offset
        code = np.sort(code[possible])
        return code[np.diff(code, prepend=-1) > 0]

    def tiles(self, codes: Index) -> tuple[Index, Index, Index]:
        """Return the tile, the later tile and the number of the offset of each code."""
        pair, offset = np.divmod(codes, len(self.shared))
        one, other = np.divmod(pair, len(self.signatures.values))
        return one, other, offset

    def same_ground(self, codes: Index) -> npt.NDArray[np.bool_]:
        """Tell which candidates are true; shape (n,)."""
        one, other, offsets = self.tiles(codes)
        true = np.zeros(len(codes), bool)
        counts = self.shared_count[offsets]
        for count in np.unique(counts):
            rows = np.flatnonzero(counts == count)
            for start in range(0, len(rows), VERIFIED_AT_ONCE):
                part = rows[start : start + VERIFIED_AT_ONCE]
                true[part] = self._agree(one[part], other[part], offsets[part])
        return true

    def _agree(self, one: Index, other: Index, offsets: Index) -> npt.NDArray[np.bool_]:
        """Tell which pairs of tiles agree; all offsets share the same number of cells."""
        known = self.signatures
        cells = np.stack([self.shared[offset] for offset in offsets])
        one_at, other_at = (one[:, None], cells[:, :, 0]), (other[:, None], cells[:, :, 1])
        a, b = known.values[one_at], known.values[other_at]
        level_a, level_b = (self.levels[side.astype(np.int16) + 128] for side in (a, b))
        noise = np.hypot(known.noise[one_at], known.noise[other_at])
        scale = ROUNDING * np.maximum(np.abs(level_a), np.abs(level_b))
        residual = np.abs(level_a - level_b) / np.hypot(noise[:, :, None], scale)
        means_a, means_b = known.means[one_at], known.means[other_at]
        shift = np.abs(means_a.astype(np.int32) - means_b).max(axis=(1, 2)) / MEAN_STEPS
        alike = self.same_blocks[offsets] & (known.tables[one] == known.tables[other])
        max_residual = np.where(alike, MAX_RESIDUAL_ALIKE, MAX_RESIDUAL)
        agree: npt.NDArray[np.bool_] = (
            ((residual**2).mean(axis=(1, 2)) <= max_residual**2)
            & (residual.max(axis=(1, 2)) <= MAX_SINGLE_RESIDUAL)
            & (shift <= MAX_MEAN_DIFFERENCE)
        )
        if agree.any():
            telling = (self.telling[one_at] & self.telling[other_at])[agree]
            a, b = a[agree], b[agree]
            counted = telling[:, :, None] & self._off_edges(a) & self._off_edges(b)
            agree[agree] = _evidence(a * counted, b) >= self.min_evidence
        return agree

    def _off_edges(self, values: npt.NDArray[np.int8]) -> npt.NDArray[np.bool_]:
        """Tell which values (n, cells, values) owe nothing to the edge of a border."""
        edges = self._edges(self._energy(values.reshape(-1, values.shape[2])), above=EDGE_ABOVE)
        off = np.tile(~edges.reshape(len(edges), -1), self.signatures.layout.masks)
        return off.reshape(values.shape)


def _evidence(a: npt.NDArray[np.int8], b: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    """Information in the agreement of answers, in nats; (n, cells, values) -> (n,).

    The likelihood ratio of correlated against independent Gaussian answers, -n/2 ln(1 - r^2), with
    the effective number n of answers that carry the energy: one bright edge is one witness.
    """
    x = a.reshape(len(a), -1).astype(np.float32)
    y = b.reshape(len(b), -1).astype(np.float32)
    product = np.einsum("nv,nv->n", x, y)
    y *= x != 0
    energy = np.sqrt(np.einsum("nv,nv->n", x, x) * np.einsum("nv,nv->n", y, y))
    correlation = np.clip(product / (energy + 1), 0, 0.999)
    size = np.abs(x * y)
    witnesses = size.sum(axis=1) ** 2 / (np.einsum("nv,nv->n", size, size) + 1)
    return np.asarray(-witnesses / 2 * np.log1p(-(correlation**2)), dtype=np.float32)
