"""Losses and towers of other packages: their contracts, and the plug-ins that the user of this process named.

A plug-in is given as a class, as "module:Class", or by the name of an entry point of an installed package, in the group
`siamese.losses` or `siamese.towers`. Only that imports it. Recipes and model folders hold the name of its class alone,
from which nothing is ever imported.
"""

import importlib
import inspect
import os
import re
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from siamese.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

LOSSES, TOWERS = "siamese.losses", "siamese.towers"  # groups of entry points
OPTIONS = {LOSSES: "--loss", TOWERS: "--tower"}


class InBatchLoss(Protocol):
    """A loss on a batch of duplicates, an `nn.Module`. `siamese.testing.check_loss` checks it.

    Two class attributes are optional: `settings` maps arguments of the constructor to fields of the recipe, as in
    {"margin": "margin"}, and `formula` is a line for the command `losses`. Without `settings` the constructor is called
    without arguments.
    """

    settings: ClassVar[Mapping[str, str]] = {}
    formula: ClassVar[str] = ""

    def forward(self, v1: "Tensor", v2: "Tensor", same: "Tensor | None") -> "Tensor":
        """Return the loss of a batch, a scalar.

        Args:
            v1, v2: (B, d) float32, B ≥ 2; v1[i] and v2[i] are the vectors of a pair of duplicates, of length 1 or, for
                a question without a known word, 0.
            same: (B, B) bool, true for known duplicates off the diagonal, which are no negatives; None: there are none.
            own: optional: a loss that also takes `own: slice | None = None` returns the part of the loss with these
                pairs as anchors, and gets these rows of `same`. Then several processes share the work.
        """
        ...


class LabelledLoss(Protocol):
    """A loss on labelled pairs, an `nn.Module` with the same class attributes as an `InBatchLoss`.

    The name of the third argument, `labels`, shows which of the two a loss is.
    """

    settings: ClassVar[Mapping[str, str]] = {}
    formula: ClassVar[str] = ""

    def forward(self, u: "Tensor", v: "Tensor", labels: "Tensor") -> "Tensor":
        """Return the loss of a batch, a scalar, 0 without a pair.

        Args:
            u, v: (n, d) float32, n ≥ 0; u[i] and v[i] are the vectors of a pair, of length 1 or 0.
            labels: (n,) bool, true for duplicates.
        """
        ...


class Tower(Protocol):
    """A network from token ids to vectors, an `nn.Module`. `siamese.testing.check_tower` checks it.

    All its weights and buffers are float32. Its constructor also runs on torch's device "meta", where a model folder's
    shapes are checked before memory is taken for them.
    """

    def __init__(self, vocabulary: int, embedding: int, hidden: int) -> None:
        """Make the tower with its first weights; torch's seed is set.

        Args:
            vocabulary: number of token ids.
            embedding, hidden: dimension of a word's embedding and of a question vector, --embedding and --hidden.
        """

    def forward(self, ids: "Tensor", lengths: "Tensor") -> "Tensor":
        """Return the vectors of n questions, (n, hidden) float32, of any length; they are normalized afterwards.

        A vector depends on its own question alone, not on the others of the batch.

        Args:
            ids: (total,) int64, the token ids of all questions, one after the other.
            lengths: (n,) int64, n ≥ 1, tokens per question; 0 is allowed.
        """
        ...


_named: dict[tuple[str, str], Any] = {}  # by group and name of the class: the classes and instances of this process
_texts: dict[tuple[str, str], str] = {}  # by group and the text that gave one: the name of its class


def is_name(value: object) -> bool:
    """Return whether a recipe's value is the name of a plug-in's class; our own losses and towers are in lower case."""
    return isinstance(value, str) and re.fullmatch("[A-Z][A-Za-z0-9_]{0,99}", value) is not None


def installed(group: str) -> dict[str, EntryPoint]:
    """Return the plug-ins of a group that installed packages offer, by name, sorted. Imports none of them."""
    return {point.name: point for point in sorted(entry_points(group=group))}


def is_given(group: str, value: str) -> bool:
    """Return whether a text of the user's names a plug-in: "module:Class", or an entry point of the group."""
    return ":" in value or value in installed(group)


def admit(group: str, given: Any, option: str = "") -> str:
    """Import a plug-in, keep it for this process, and return the name of its class.

    Args:
        group: LOSSES or TOWERS.
        given: a class, an instance of a loss, "module:Class", or the name of an entry point. It must come from the
            user, not from a file.
        option: that gives it, for messages.

    Raises:
        UserError: it cannot be imported or used, or another plug-in of this process has the same name.
    """
    option = option or OPTIONS[group]
    kind = _imported(group, given, option) if isinstance(given, str) else given
    shown = given if isinstance(given, str) else _home(kind)
    if not all(callable(getattr(kind, name, None)) for name in ("forward", "state_dict", "parameters")):
        raise UserError(f"{option} {shown}: not a torch.nn.Module with a method forward")
    if group == TOWERS and not isinstance(kind, type):
        raise UserError(f"{option} {shown}: an instance; give the class, which is made for the vocabulary of the pairs")
    name = class_of(kind).__name__
    if not is_name(name):
        raise UserError(f"{option} {shown}: rename the class {name}; a plug-in's name begins with a capital letter and "
                        "has letters, digits and _ only")  # fmt: skip
    if (group, name) in _named and (other := _home(_named[group, name])) != _home(kind):
        raise UserError(f"{option} {shown}: this process already uses {other}, a plug-in of the same name; rename one")
    _named[group, name] = kind
    if isinstance(given, str):
        _texts[group, given] = name
    return name


def name_of(group: str, text: str) -> str | None:
    """Return the name of the class that `admit` imported for a text, or None; imports nothing."""
    return _texts.get((group, text))


def admitted(group: str, name: str) -> Any:
    """Return the plug-in of this name that `admit` kept. Raise a UserError if there is none."""
    if (group, name) not in _named:
        what = OPTIONS[group].removeprefix("--")
        raise UserError(
            f"the {what} {name} is a plug-in, and its name alone imports nothing; if you trust it, give it as "
            f"{OPTIONS[group]} MODULE:{name} or by the name of its entry point, or from Python as {what}={name}"
        )
    return _named[group, name]


def is_admitted(group: str, name: str) -> bool:
    """Return whether `admit` kept a plug-in of this name."""
    return (group, name) in _named


def everything() -> dict[tuple[str, str], Any]:
    """Return what `admit` kept, to hand it to `keep` in another process."""
    return dict(_named)


def keep(named: Mapping[tuple[str, str], Any]) -> None:
    """Keep the plug-ins that the process which started this one has."""
    _named.update(named)


def class_of(plugin: Any) -> type[Any]:
    """Return the class of a plug-in, which may be an instance."""
    return plugin if isinstance(plugin, type) else type(plugin)


def takes(plugin: Any, argument: str) -> bool:
    """Return whether the method `forward` of a plug-in has an argument of this name."""
    return argument in inspect.signature(class_of(plugin).forward).parameters


def _home(plugin: Any) -> str:
    return f"{class_of(plugin).__module__}.{class_of(plugin).__qualname__}"


def _imported(group: str, given: str, option: str) -> Any:
    """Return what a text of the user's names."""
    module, colon, name = given.partition(":")
    if not colon:
        if given not in (points := installed(group)):
            offers = f"installed packages offer {', '.join(points)}" if points else "no installed package offers any"
            raise UserError(f"{option} {given}: no plug-in of this name; {offers}; or give MODULE:CLASS")
        module, _, name = points[given].value.partition(":")
    try:
        found = _module(module.strip())
        for part in name.strip().split("."):
            found = getattr(found, part)
    except Exception as error:  # of the code of others, which may raise anything
        raise UserError(f"{option} {given}: cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(found, type):
        raise UserError(f"{option} {given}: {type(found).__name__}, not a class; give MODULE:CLASS")
    return found


def _module(name: str) -> Any:
    """Import a module, also from the working folder, which comes last, so that it hides no installed one."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        here = os.getcwd()
        if error.name != name.partition(".")[0] or here in sys.path or sys.flags.safe_path:
            raise
        sys.path.append(here)
        return importlib.import_module(name)
