"""The losses by name: formula, needs, source, and the settings of a recipe that each one takes.

Only `make` loads torch.
"""

import importlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

CHOICES = {  # of the triplet loss
    "anchors": ("rows", "columns", "both"),
    "closest": ("hardest", "semi-hard"),
    "combine": ("summed", "pooled"),
    "reduction": ("mean", "sum"),
}


@dataclass(frozen=True)
class Loss:
    """An entry of the registry."""

    name: str
    slot: str  # "in-batch": takes (v1, v2, same), duplicates; "labelled": takes (u, v, labels), pairs of both kinds
    formula: str
    needs: str
    source: str
    home: str  # module and class, in siamese.losses
    settings: Mapping[str, str] = field(default_factory=dict)  # argument → field of the recipe
    plain: str = ""  # as `home`, the same loss for a recipe that is `plain`; empty if `home` is plain enough
    parts: bool = False  # has the argument `own`, so that processes can share the anchors of a batch

    def make(self, recipe: Any) -> "nn.Module":
        """Return the loss with the settings of a `Config`."""
        home = self.plain if recipe.plain and self.plain else self.home
        module, _, name = home.rpartition(".")
        kind = getattr(importlib.import_module(f"siamese.losses.{module}"), name)
        loss: nn.Module = kind(**{argument: getattr(recipe, field) for argument, field in self.settings.items()})
        return loss


# In registry.toml, in the order of the command `losses`.
with Path(__file__).with_name("registry.toml").open("rb") as _file:
    LOSSES = {name: Loss(name, **entry) for name, entry in tomllib.load(_file).items()}


def names(slot: str) -> tuple[str, ...]:
    """Return the names of the losses of a slot, "in-batch" or "labelled"."""
    return tuple(loss.name for loss in LOSSES.values() if loss.slot == slot)
