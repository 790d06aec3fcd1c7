"""The objects that rules find in foregrounds, as stages 5 and 6 have them drawn."""

from pipeline.selection.submission import draw_instances
from pipeline.selection.workers import workers


def find_instances(foregrounds, rules, *, objects=True, jobs=1):
    """Instances of `(ImageId, fold, foreground)`s, by the rules of each fold."""
    layers = (((image_id,), rules[fold], packed) for image_id, fold, packed in foregrounds)
    with workers(jobs) as those:
        return draw_instances(layers, those, objects=objects).instances
