"""What training makes small: the loss of the pixels, and of the image head where there is one.

A network's prediction and the target enter; one number leaves, and its terms by name.

Contact is rare, one pixel in a thousand, and matters only where objects are: it tells them apart.
So the network is asked for it on the pixels of objects and of contact alone; elsewhere its answer
counts as a sure no, which moves no loss. Asked everywhere it learns to say no everywhere.
"""

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.config.losses import LossTerm
from pipeline.config.schema import Targets
from pipeline.data.targets import object_truth
from pipeline.errors import ConfigError
from pipeline.networks.build import Prediction

IMAGE_HEAD, CONTACT = "image_head", "contact"
SURE_NO = -20.0  # as a logit


class WeightedSum(nn.Module):
    """Terms of a configuration, each times its weight, as one loss.

    Called with logits (N, C, H, W) and truth: 0 and 1 of any type (N, C, H, W), or int64
    (N, H, W). That the values of the truth are legal is not looked at: it would make every step
    wait for the device.
    """

    def __init__(self, terms: Sequence[LossTerm]) -> None:
        super().__init__()
        names = [term.name for term in terms]
        if not terms or len(set(names)) < len(names):
            raise ConfigError(
                f"loss: expected one or more different terms, got {names}. List each term once, "
                "and raise its weight instead."
            )
        # Listed once: to ask a term for its settings takes a copy of them.
        self._terms = [(term, term.settings) for term in terms]

    def forward(
        self, logits_nchw: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Compute the weighted sum, and each term by name, unweighted and detached.

        Raises:
            ValueError: Shapes or types do not fit each other or a term.
        """
        logits = logits_nchw if logits_nchw.dtype == torch.float64 else logits_nchw.float()
        with torch.autocast(logits.device.type, enabled=False):
            values: dict[str, torch.Tensor] = {}
            total = logits.new_zeros(())
            for term, settings in self._terms:
                truth = _checked(logits, target, term)
                value = term.loss(logits, truth, **settings)
                total = total + term.weight * value
                values[term.name] = value.detach()
        return total, values


class Objective(nn.Module):
    """The loss of a whole prediction.

    Args:
        terms: The loss of the pixels: of every channel, and with `object_contact` of objects and of
            contact each by itself.
        targets: What is learnt, and the weight of contact beside objects.
        image_weight: Of the image head's binary cross-entropy: is there an object's pixel in the
            crop? 0 for networks without the head.
    """

    def __init__(self, terms: Sequence[LossTerm], targets: Targets, image_weight: float) -> None:
        super().__init__()
        self._pixels, self._image_weight = WeightedSum(terms), image_weight
        self._kind = targets.kind
        self._contact_weight = targets.contact_weight if targets.kind == "object_contact" else 0.0
        self.terms: list[str] = [term.name for term in terms]
        self.terms += [CONTACT] * (self._contact_weight > 0) + [IMAGE_HEAD] * (image_weight > 0)

    def forward(
        self, prediction: Prediction, target: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Compute the sum of the weighted terms, and each term by name, unweighted and detached.

        Args:
            prediction: Logits (N, C, H, W), and image logits (N,) where the head has a weight.
            target: As `pipeline.data.targets.make_target` gives it, in a batch.
        """
        logits_nchw = prediction.logits_nchw
        if self._contact_weight > 0:
            (objects, contacts), (true_objects, true_contacts) = (
                each.chunk(2, dim=1) for each in (logits_nchw, target)
            )
            asked = torch.maximum(true_objects, true_contacts) > 0
            total, values = self._pixels(objects, true_objects)
            value, _ = self._pixels(torch.where(asked, contacts, SURE_NO), true_contacts)
            total = total + self._contact_weight * value
            values[CONTACT] = value.detach()
        else:
            total, values = self._pixels(logits_nchw, target)
        if self._image_weight > 0:
            if prediction.image_logits is None:
                raise ValueError("expected image logits, for the image head has a weight; got none")
            has_object = object_truth(target, self._kind).flatten(1).any(1).float()
            value = nn.functional.binary_cross_entropy_with_logits(
                prediction.image_logits.float(), has_object
            )
            total = total + self._image_weight * value
            values[IMAGE_HEAD] = value.detach()
        return total, values


def _checked(logits_nchw: torch.Tensor, target: torch.Tensor, term: LossTerm) -> torch.Tensor:
    """Return the truth in the type the loss computes with, or say why it cannot."""
    shape = logits_nchw.shape
    if len(shape) == 4 and logits_nchw.numel() > 0:
        if target.shape == shape and "sigmoid" in term.answers:
            return target.to(logits_nchw.dtype)
        is_index = target.dtype == torch.int64 and target.shape == (shape[0], *shape[2:])
        if is_index and shape[1] > 1 and "softmax" in term.answers:
            return target
    forms = {
        "0/1 of the logits' shape": "sigmoid" in term.answers,
        "int64 class indices (N, H, W) with at least two logit channels": "softmax" in term.answers,
    }
    raise ValueError(
        f"{term.name}: expected logits (N, C, H, W) and targets of "
        f"{' or '.join(form for form, allowed in forms.items() if allowed)}, got logits "
        f"{tuple(shape)} and {target.dtype} targets {tuple(target.shape)}."
    )
