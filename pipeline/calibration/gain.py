"""Whether a rule pays: what it adds to the out-of-fold F2, and how much of that may be chance.

The F2 of each image with and without the rule enters, and the image's scene. Tiles of one scene are
no independent evidence, so the bootstrap draws scenes.
"""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

DRAWS = 1000


@dataclass(frozen=True)
class Trial:
    """One rule that was tried.

    Attributes:
        rule: Its name.
        f2: Mean F2 over all images with it, cross-fitted.
        gain: How much more that is than without it.
        standard_error: Of the gain, over scenes; None where there are fewer than two.
        kept: Whether the gain is above its standard error.
    """

    rule: str
    f2: float
    gain: float
    standard_error: float | None
    kept: bool

    def to_json(self) -> dict[str, object]:
        """Return a JSON object."""
        return asdict(self)


def try_rule(
    rule: str,
    with_rule: npt.NDArray[np.float64],
    without: npt.NDArray[np.float64],
    groups: npt.NDArray[np.int64],
    seed: int,
) -> Trial:
    """Compare the F2 of each image with and without a rule, (images,), by bootstrap over scenes."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.bincount(group, with_rule - without)
    sizes = np.bincount(group)
    gain = float(sums.sum() / sizes.sum())
    error = None
    if len(sums) > 1:
        rng = np.random.default_rng(seed)
        draws = (rng.integers(0, len(sums), len(sums)) for _ in range(DRAWS))
        error = float(np.std([sums[draw].sum() / sizes[draw].sum() for draw in draws], ddof=1))
    kept = error is not None and gain > error
    return Trial(rule, float(with_rule.mean()), gain, error, kept)
