"""Whether a rule pays: what it adds to the out-of-fold score, and how much of that may be chance.

The terms of each image's score with and without the rule enter, and the image's scene. Tiles of one
scene are no independent evidence, so the bootstrap draws scenes.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.metrics.metric import Floats, Integers, score

DRAWS = 1000


@dataclass(frozen=True)
class Trial:
    """One rule that was tried.

    Attributes:
        rule: Its name.
        score: Of all images with it, cross-fitted.
        gain: How much more that is than without it.
        standard_error: Of the gain, over scenes; None where there are fewer than two.
        kept: Whether the gain is above its standard error.
    """

    rule: str
    score: float | None
    gain: float
    standard_error: float | None
    kept: bool

    def to_json(self, key: str) -> dict[str, object]:
        """Return a JSON object, the score named by the metric's key."""
        values = vars(self)
        return {key if name == "score" else name: values[name] for name in values}


def try_rule(rule: str, with_rule: Floats, without: Floats, groups: Integers, seed: int) -> Trial:
    """Compare scores with and without a rule by bootstrap over scenes.

    Args:
        rule: Its name.
        with_rule: Numerator and denominator of each image's score, (2, images).
        without: The same.
        groups: Scene of each image.
        seed: Of the draws.
    """
    _, group = np.unique(groups, return_inverse=True)
    of_group = [np.bincount(group, each) for each in (*(with_rule - without), *without)]

    def gain(drawn: Integers | slice) -> float:
        """Return the difference of the two ratios; 0 where nothing is true or predicted.

        (n + dn) / (d + dd) - n / d, such that no rounding enters for a mean, whose dd is 0.
        """
        dn, dd, n, d = (each[drawn].sum() for each in of_group)
        return float((dn - n / max(d, 1) * dd) / max(d + dd, 1))

    error = None
    scenes = len(of_group[0])
    if scenes > 1:
        rng = np.random.default_rng(seed)
        draws = (rng.integers(0, scenes, scenes) for _ in range(DRAWS))
        error = float(np.std([gain(draw) for draw in draws], ddof=1))
    added = gain(slice(None))
    return Trial(rule, score(with_rule), added, error, error is not None and added > error)
