"""The loss terms that a configuration may list: those found in `training/losses/`.

The training loss is the weighted sum of the terms. torch is not imported, so that reading a
configuration stays quick.
"""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from pipeline.config import fields
from pipeline.config.extensions import modules_in

TERMS: dict[str, type[fields.LossTerm]] = {
    each.model_fields["name"].annotation.__args__[0]: each  # type: ignore[union-attr]
    for module in modules_in("training.losses")
    for each in vars(module).values()
    if isinstance(each, type)
    and issubclass(each, fields.LossTerm)
    and each.__module__ == module.__name__
}
"""Each term by its name."""

if TYPE_CHECKING:

    class LossTerm(fields.LossTerm):
        """Any of the terms."""

        name: str
else:
    LossTerm = Annotated[reduce(or_, TERMS.values()), Field(discriminator="name")]
