"""The losses by name: formula, needs, source, and the settings of a recipe that each one takes.

Only `make` loads torch, and a plug-in that was imported before.
"""

import copy
import importlib
import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese import plugins
from siamese.errors import UserError

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
    home: str  # module and class, in siamese.losses unless it is a plug-in
    settings: Mapping[str, str] = field(default_factory=dict)  # argument → field of the recipe
    plain: str = ""  # as `home`, the same loss for a recipe that is `plain`; empty if `home` is plain enough
    parts: bool = False  # has the argument `own`, so that processes can share the anchors of a batch
    plugin: Any = None  # a class or an instance of another package

    def make(self, recipe: Any) -> "nn.Module":
        """Return the loss with the settings of a `Config`; of a plug-in's instance, a copy.

        Raises:
            UserError: a plug-in cannot be made.
        """
        if self.plugin is not None:
            try:
                made: nn.Module = (
                    self.plugin(**{argument: getattr(recipe, field) for argument, field in self.settings.items()})
                    if isinstance(self.plugin, type)
                    else copy.deepcopy(self.plugin)
                )
            except Exception as error:  # of the code of others, which may raise anything
                raise UserError(f"the loss {self.name}: cannot be made: {type(error).__name__}: {error}") from error
            return made
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


def find(name: str) -> Loss:
    """Return the loss of a recipe: one of LOSSES, or a plug-in of this process.

    Raises:
        UserError: nobody gave a plug-in of this name.
    """
    if name in LOSSES:
        return LOSSES[name]
    return describe(plugins.admitted(plugins.LOSSES, name))


def describe(plugin: Any) -> Loss:
    """Return the entry of a plug-in, a class or an instance."""
    kind = plugins.class_of(plugin)
    labelled = plugins.takes(plugin, "labels")
    return Loss(
        name=kind.__name__,
        slot="labelled" if labelled else "in-batch",
        formula=getattr(kind, "formula", "") or (inspect.getdoc(kind) or "not described").partition("\n")[0],
        needs="labelled pairs of both kinds" if labelled else "duplicates; 2 or more a batch",
        source=f"plug-in {kind.__module__}",
        home=f"{kind.__module__}.{kind.__qualname__}",
        settings=getattr(kind, "settings", {}) if plugin is kind else {},  # an instance has its own
        parts=plugins.takes(plugin, "own"),
        plugin=plugin,
    )
