"""Studies, and variants of a recipe, written as `both`, `rows,batch_size=64` or `matrix-softmax+logistic`."""

import dataclasses
import itertools
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from siamese import plugins
from siamese.config import CHOICES, Config, chosen
from siamese.errors import UserError
from siamese.losses import registry

# The course's tower and loss. The rest is as in `best`.
BASE = Config(
    min_count=1, buckets=0, skip=False, swap=False, anchors="rows", labelled="none", labelled_weight=2.0,
    learning_rate=0.002, epochs=5, goal="accuracy",
)  # fmt: skip

ONE_SIDED = Path(__file__).with_name("one-sided-vs-symmetric.toml")  # the study that `compare` runs by default

SIDES = {
    "rows": {"anchors": "rows"},
    "columns": {"anchors": "columns"},
    "both": {"anchors": "both"},
    "pooled": {"anchors": "both", "combine": "pooled"},
}


KNOWN = (*SIDES, *CHOICES["loss"][:-1], *CHOICES["labelled"][:-1])  # first names of a variant that are no plug-ins


@dataclass(frozen=True)
class Question:
    """A question, and the pairs of variants that answer it; the first of a pair is compared with the second."""

    text: str
    contrasts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Study:
    """Variants to train and questions to answer. The first contrast of the first question is the primary one."""

    losses: tuple[str, ...]
    questions: tuple[Question, ...]
    base: Config = BASE  # the recipe that the variants change


def against_first(losses: Sequence[str], base: Config = BASE) -> Study:
    """Return the study that compares the other variants with the first. Imports the plug-ins that they name."""
    _admit(losses)
    first, *others = (parse(text, base).name for text in losses)
    question = Question(f"Is another better than {first}?", tuple((other, first) for other in others))
    return Study(tuple(losses), (question,), base)


def _admit(losses: Sequence[str]) -> None:
    """Import the plug-ins among the losses and towers of variants that the user typed. A study's file imports none."""
    for names, *assignments in (text.split(",") for text in losses):
        for name in names.split("+"):
            if name not in KNOWN and plugins.is_given(plugins.LOSSES, name):
                plugins.admit(plugins.LOSSES, name, "--losses")
        for assignment in assignments:
            field, _, tower = assignment.partition("=")
            if field == "tower" and tower not in CHOICES["tower"]:
                chosen("tower", tower)


def read_study(path: str | Path) -> Study:
    """Read a study from a TOML file.

    Args:
        path: a file with `losses`, the variants as `parse` takes them, the reference first; optionally `[base]`, the
            fields of the recipe that differ from the preset `best` (default: BASE); and `[[questions]]`, each with its
            `text` and its `contrasts`, pairs of variants' names. ONE_SIDED is an example.

    Raises:
        UserError: the file cannot be read, or is not a study.
    """
    try:
        with open(path, "rb") as file:
            found = tomllib.load(file)
        if unknown := found.keys() - {"losses", "base", "questions"}:
            raise UserError(f"{path}: {', '.join(sorted(unknown))} is unknown; expected losses, base and questions")
        questions = tuple(
            Question(str(question["text"]), tuple((str(one), str(other)) for one, other in question["contrasts"]))
            for question in found["questions"]
        )
        study = Study(tuple(map(str, found["losses"])), questions, Config(**found["base"]) if "base" in found else BASE)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--study {path}: not a study: {error}; for an example see {ONE_SIDED}") from error
    names = {variant.name for variant in parse_all(study.losses, study.base)}
    for name in (name for question in questions for pair in question.contrasts for name in pair):
        if name not in names:
            raise UserError(f"{path}: the contrasts name {name!r}, which is not among the losses: {', '.join(names)}")
    return study


@dataclass(frozen=True)
class Variant:
    """A named recipe. If it has several settings, the best one on the validation pairs is compared."""

    name: str  # as written, without the fields that have several values
    settings: tuple[Config, ...]


def parse_all(texts: Sequence[str], base: Config) -> list[Variant]:
    """Return the variants that texts describe; UserError if there is only one, or two mean the same."""
    if len(texts) < 2:
        raise UserError("--losses: only one variant; give two or more, the reference first")
    variants = [parse(text, base) for text in texts]
    for i, variant in enumerate(variants):
        for other in variants[:i]:
            if variant.name == other.name or set(variant.settings) & set(other.settings):
                raise UserError(f"--losses: {other.name} and {variant.name} are the same; expected different ones")
    return variants


def parse(text: str, base: Config) -> Variant:
    """Return the variant that a text describes.

    Args:
        text: `LOSS[+LABELLED][,field=value[/value...]]...`. LOSS is the name of an in-batch loss, or rows, columns,
            both or pooled for the triplet loss, or a labelled loss alone. Several values are settings to choose from.
            Plug-ins are known if `plugins.admit` was given the same text before.
        base: the recipe to change.

    Raises:
        UserError: the text names an unknown loss, field or value.
    """
    names, *assignments = text.split(",")
    fields: dict[str, list[object]] = {}
    for assignment in assignments:
        name, _, values = assignment.partition("=")
        fields[name] = [_value(name, value, text) for value in values.split("/")]
    changes = _losses(names, text)
    try:
        every = itertools.product(*fields.values())
        settings = tuple(base.replace(**(changes | dict(zip(fields, values)))) for values in every)
    except UserError as error:
        raise UserError(f"--losses {text}: {error}") from error
    for side in set(names.split("+")) & set(SIDES):
        if twice := set(SIDES[side]) & set(fields):
            raise UserError(f"--losses {text}: {side!r} already sets {', '.join(twice)}")
    fixed = [assignment for assignment in assignments if "/" not in assignment]
    return Variant(",".join([names, *fixed]), settings)


def _losses(names: str, text: str) -> dict[str, str]:
    """Return the fields that the names before the first comma set."""
    changes = {"loss": "none", "labelled": "none"}
    for name in names.split("+"):
        if name in SIDES:
            found = {"loss": "triplet", **SIDES[name]}
        elif name in CHOICES["loss"] and name != "none":
            found = {"loss": name, "anchors": "both"}
        elif name in CHOICES["labelled"] and name != "none":
            found = {"labelled": name}
        elif plugin := plugins.name_of(plugins.LOSSES, name):
            labelled = registry.find(plugin).slot == "labelled"
            found = {"labelled": plugin} if labelled else {"loss": plugin, "anchors": "both"}
        else:
            raise UserError(f"--losses {text}: {name!r} is not one of {', '.join(KNOWN)}")
        slot = "loss" if "loss" in found else "labelled"
        if changes[slot] != "none":
            raise UserError(f"--losses {text}: two {slot} losses; expected one in-batch and one labelled at most")
        changes |= found
    return changes


def _value(name: str, text: str, variant: str) -> object:
    others = ("preset", "seed", "loss", "labelled")
    defaults = {field.name: field.default for field in dataclasses.fields(Config) if field.name not in others}
    if name not in defaults:
        raise UserError(f"--losses {variant}: {name!r} is not a field of a recipe: {', '.join(defaults)}")
    if isinstance(defaults[name], bool):
        if text not in ("true", "false"):
            raise UserError(f"--losses {variant}: {name} is {text!r}; expected true or false")
        return text == "true"
    if text == "none" and defaults[name] is None:
        return None
    if name == "tower" and (plugin := plugins.name_of(plugins.TOWERS, text)):
        return plugin
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def differing(one: Config, other: Config) -> tuple[str, ...]:
    """Return the names of the fields in which two recipes differ, except the seed."""
    ours, theirs = vars(one), vars(other)
    return tuple(name for name in ours if name != "seed" and ours[name] != theirs[name])
