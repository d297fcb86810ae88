"""What is compared: variants of a recipe, written as `both`, `rows,batch_size=64` or `matrix-softmax+logistic`."""

import dataclasses
import itertools
from dataclasses import dataclass

from siamese.config import CHOICES, Config
from siamese.errors import UserError

# The course's tower and its loss; beside these, what `best` does: so all but the loss is sound and equal.
BASE = Config(skip=False, swap=False, anchors="rows", labelled="none", epochs=5)

SIDES = {
    "rows": {"anchors": "rows"},
    "columns": {"anchors": "columns"},
    "both": {"anchors": "both"},
    "pooled": {"anchors": "both", "combine": "pooled"},
}
ONE_SIDED = (  # the reference, the primary contrast, then the rest
    "rows", "both", "columns", "pooled",
    "rows,closest=semi-hard", "both,closest=semi-hard",
    "rows,swap=true", "both,swap=true",
    "rows,batch_size=64", "both,batch_size=64",
    "rows,batch_size=1024", "both,batch_size=1024",
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A recipe under its name; with several settings the best on the validation pairs is compared."""

    name: str
    settings: tuple[Config, ...]


def parse(text: str, base: Config) -> Variant:
    """The variant that a text describes.

    Args:
        text: `LOSS[+LABELLED][,field=value[/value...]]...`, where LOSS is the name
            of an in-batch loss, or one of rows, columns, both and pooled for the
            triplet loss; or of a labelled loss alone. Several values of a field
            are settings to choose from.
        base: the recipe that it changes.

    Raises:
        UserError: no such loss, field or value.
    """
    names, *assignments = text.split(",")
    fields: dict[str, list[object]] = {}
    for assignment in assignments:
        name, _, values = assignment.partition("=")
        fields[name] = [_value(name, value, text) for value in values.split("/")]
    changes = _losses(names, text)
    try:
        settings = tuple(
            base.replace(**changes, **dict(zip(fields, values))) for values in itertools.product(*fields.values())
        )
    except (UserError, TypeError) as error:
        raise UserError(f"--losses {text}: {error}") from error
    return Variant(text, settings)


def _losses(names: str, text: str) -> dict[str, str]:
    """The fields that the part before the first comma sets."""
    changes = {"loss": "none", "labelled": "none"}
    for name in names.split("+"):
        if name in SIDES:
            found = {"loss": "triplet", **SIDES[name]}
        elif name in CHOICES["loss"] and name != "none":
            found = {"loss": name, "anchors": "both"}
        elif name in CHOICES["labelled"] and name != "none":
            found = {"labelled": name}
        else:
            known = [*SIDES, *CHOICES["loss"][:-1], *CHOICES["labelled"][:-1]]
            raise UserError(f"--losses {text}: {name!r} is not one of {', '.join(known)}")
        slot = "loss" if "loss" in found else "labelled"
        if changes[slot] != "none":
            raise UserError(f"--losses {text}: two {slot} losses; expected one in-batch and one labelled at most")
        changes |= found
    return changes


def _value(name: str, text: str, variant: str) -> object:
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    for slot in ("preset", "seed", "loss", "labelled"):
        defaults.pop(slot)
    if name not in defaults:
        raise UserError(f"--losses {variant}: {name!r} is not a field of a recipe: {', '.join(defaults)}")
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def differing(one: Config, other: Config) -> tuple[str, ...]:
    """The names of the fields in which two recipes differ, the seed aside."""
    return tuple(
        field.name
        for field in dataclasses.fields(Config)
        if field.name != "seed" and getattr(one, field.name) != getattr(other, field.name)
    )
