"""Groups of what is connected: numbers that say which tiles belong together."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Index = npt.NDArray[np.int64]


def join_groups(groups: Index, pairs: Sequence[tuple[int, int]]) -> Index:
    """Unite groups that pairs of tiles connect; numbered from 0 on by their first tiles."""
    links = groups[np.array(pairs, np.int64).reshape(-1, 2)]
    return numbered(connected(links, len(groups))[groups])


def unite_groups(groups: Index, others: Index) -> Index:
    """Return the smallest groups that split none of either kind; all (n,)."""
    _, first, other = np.unique(others, return_index=True, return_inverse=True)
    return join_groups(numbered(groups), [*enumerate(first[other].tolist())])


def numbered(groups: npt.NDArray[np.integer]) -> Index:
    """Number groups from 0 on, in the order of their first tiles."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def connected(links: Index, count: int) -> npt.NDArray[np.int32]:
    """Return the group of each of `count` nodes that links (n, 2) connect."""
    weights = np.ones(len(links), np.int8)
    graph = coo_array((weights, (links[:, 0], links[:, 1])), (count, count))
    return np.asarray(connected_components(graph, directed=False)[1])
