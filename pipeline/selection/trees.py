"""Gradient-boosted regression trees as plain arrays: fitted by scikit-learn, kept as JSON.

Rows of numbers enter, one number a row leaves. What `predict` returns is what scikit-learn's own
`predict` returns, to the last bit, without scikit-learn and without a pickle between stages.
"""

from dataclasses import dataclass, fields
from multiprocessing import parent_process
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ArtifactError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Rows = npt.NDArray[np.float64] | npt.NDArray[np.float32]

BLOCK_ROWS = 1024  # stay in the processor's cache
ROWS_FOR_THREADS = 50_000


@dataclass(frozen=True, eq=False)
class Trees:
    """The trees, their nodes one after the other; a tree's root is its first node.

    Attributes:
        baseline: What the trees' leaves are added to.
        roots: Index of each tree's root, int64 (t,).
        feature: The feature a node asks for; -1 in a leaf, int64 (n,).
        threshold: Rows whose feature is at most this go left, float64 (n,).
        left: Index of the node to the left; a leaf's own, int64 (n,).
        right: The same to the right.
        value: What a leaf adds, float64 (n,).
    """

    baseline: float
    roots: Integers
    feature: Integers
    threshold: Floats
    left: Integers
    right: Integers
    value: Floats

    def predict(self, rows: Rows) -> Floats:
        """Return the prediction for each row, (r, f) -> float64 (r,)."""
        blocks = range(0, len(rows), BLOCK_ROWS)
        parts = [self._predict(rows[first : first + BLOCK_ROWS]) for first in blocks]
        return np.concatenate([np.zeros(0), *parts])

    def _predict(self, rows: Rows) -> Floats:
        # Twice a node's index: the places of its left and its right child, side by side.
        node = np.tile(2 * self.roots, (len(rows), 1))
        child = 2 * np.stack([self.left, self.right], axis=1).ravel()
        asked, threshold = np.repeat(np.maximum(self.feature, 0), 2), np.repeat(self.threshold, 2)
        first = np.arange(len(rows))[:, None] * rows.shape[1]
        values = rows.ravel()
        # A leaf leads to itself, so all rows take the steps of the deepest tree: cheaper than
        # finding out which of them still move.
        moved = True
        while moved:
            goes_right = values.take(first + asked.take(node)) > threshold.take(node)
            following = child.take(node + goes_right)
            moved = bool((following != node).any())
            node = following
        total = np.full(len(rows), self.baseline)
        for value in self.value[node // 2].T:  # one by one, as scikit-learn adds them
            total += value
        return total

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; each array is one line of text, its numbers exact."""
        return {
            name: value if isinstance(value, float) else " ".join(map(repr, value.tolist()))
            for name, value in vars(self).items()
        }

    @classmethod
    def from_json(cls, value: Any, source: str) -> "Trees":  # noqa: ANN401  any JSON value
        """Read what `to_json` gave.

        Raises:
            ArtifactError: Not that; `source` is named.
        """
        kinds = {"baseline": float, "threshold": np.float64, "value": np.float64}
        try:
            arrays = {
                one.name: np.array(value[one.name].split(), kinds.get(one.name, np.int64))
                for one in fields(cls)
                if one.name != "baseline"
            }
            return cls(float(value["baseline"]), **arrays)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ArtifactError(
                f"{source}: not trees as this version keeps them ({error!r}). Run the calibration "
                "again."
            ) from None


def fit_trees(
    rows: Rows,
    targets: Floats,
    *,
    trees: int,
    learning_rate: float,
    leaves: int,
    min_leaf_rows: int,
    seed: int,
) -> Trees:
    """Fit by scikit-learn's histogram gradient boosting of the squared error.

    Args:
        rows: (r, f), no NaN, at least one row.
        targets: float64 (r,).
        trees: How many.
        learning_rate: Share of each tree's answer that is taken.
        leaves: Of a tree, at most.
        min_leaf_rows: Rows that a leaf must stand for.
        seed: Each split looks at a third of the features, drawn by this.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    # On few rows threads cost more than they save, and spin where other work takes the cores.
    threads = 1 if len(rows) < ROWS_FOR_THREADS or parent_process() is not None else None
    model = HistGradientBoostingRegressor(
        max_iter=trees,
        learning_rate=learning_rate,
        max_leaf_nodes=leaves,
        min_samples_leaf=min_leaf_rows,
        l2_regularization=5.0,
        max_features=1 / 3,
        early_stopping=False,
        random_state=seed,
    )
    with threadpool_limits(threads, user_api="openmp"):
        model.fit(rows, targets)
    # scikit-learn has no public way to these trees. Its older boosting has one, at many times the
    # time; LightGBM's wheel needs a libgomp that not every system has, for the same F2. So a test
    # holds the two private names, and that the predictions are the same bit by bit.
    nodes = [each.nodes for (each,) in model._predictors]
    first = np.cumsum([0, *map(len, nodes)])[: len(nodes)]
    offset = np.repeat(first, [len(each) for each in nodes])
    table = np.concatenate(nodes)
    leaf = table["is_leaf"].astype(bool)
    own = np.arange(len(table))
    return Trees(
        baseline=float(model._baseline_prediction.item()),
        roots=first.astype(np.int64),
        feature=np.where(leaf, -1, table["feature_idx"]).astype(np.int64),
        threshold=np.where(leaf, 0.0, table["num_threshold"]),
        left=np.where(leaf, own, table["left"].astype(np.int64) + offset),
        right=np.where(leaf, own, table["right"].astype(np.int64) + offset),
        value=np.where(leaf, table["value"], 0.0),
    )
