"""Options that several commands share."""

import argparse
import dataclasses
import difflib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from siamese import plugins
from siamese.config import CHOICES, ENCODER, PACKAGED, PLUGINS, PRETRAINED, Config
from siamese.errors import UserError
from siamese.system import outputs as outputs_module
from siamese.system.console import say
from siamese.system.outputs import Folder, Output
from siamese.system.program import command_line

if TYPE_CHECKING:
    from siamese.archive.store import Archive
    from siamese.model.model import SiameseModel
    from siamese.pairs.formats import Faults
    from siamese.pairs.pairs import Columns, Pairs
    from siamese.pairs.splits import Source

MODEL = "models/latest"
DATA = "data/questions.csv"  # comes with the source
DEFAULTS = Config()
SHOWN = 400  # characters of a message that may quote an argument
PAIR_COLUMNS = ("question1", "question2", "label", "question", "group")
FILES = ".csv, .tsv, .json, .jsonl, .parquet or .xlsx, with Quora's columns; hf:NAME[:CONFIG[:SPLIT]] of Hugging Face"
OUTPUTS = "the .csv, .tsv, .jsonl or .parquet file"
QUESTIONS = ".txt with a question a line, or .csv, .tsv, .json, .jsonl, .parquet, .xlsx"


class Names(tuple[str, ...]):
    """Choices of an option that also takes plug-ins: "module:Class", or the name of an entry point of a group."""

    group: str

    @classmethod
    def of(cls, own: Collection[str], group: str) -> "Names":
        """Return our own names, which help shows, with the group of the plug-ins."""
        names = cls(own)
        names.group = group
        return names

    def __contains__(self, value: object) -> bool:
        return super().__contains__(value) or (isinstance(value, str) and plugins.is_given(self.group, value))


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
    sub.add_argument("--data", metavar="PATH",
                     help=f"{FILES}{more} (default {DATA}, if it exists)")  # fmt: skip
    sub.add_argument("--validation", metavar="PATH", help="pairs to choose epoch and threshold on")
    add_columns(sub)


def data_source(options: argparse.Namespace) -> "Source":
    """Return the options of `add_data`, and --split, or raise a UserError if --data is not given and has no default."""
    data = options.data or (DATA if os.path.isfile(DATA) else None)
    if data is None:
        raise UserError(f"--data PATH is needed, because this folder has no {DATA}. PATH is {FILES}")
    from siamese.pairs.splits import Source

    return Source(data, options.validation, getattr(options, "split", None), column_names(options))


def add_recipe(sub: argparse.ArgumentParser, about: str, names: Collection[str] = (), base: Config = DEFAULTS) -> None:
    """Add the options that change the recipe of a training.

    Args:
        sub: the command.
        about: help on the group.
        names: of the fields, without those of the recipe that are no options; by default all.
        base: the recipe that the options change.
    """
    group = sub.add_argument_group("recipe", about)
    for field in dataclasses.fields(Config):
        if "help" in field.metadata and (not names or field.name in names):
            kind = (get_args(field.type) or (field.type,))[0]  # int of int | None
            if kind is bool:
                more: dict[str, Any] = {"action": "store_false" if field.default else "store_true"}
            else:
                choices = CHOICES.get(field.name)
                if choices and field.name in PLUGINS:
                    choices = Names.of(choices, PLUGINS[field.name])
                more = {"type": kind, "choices": choices, "metavar": "N" if kind is int else None}
            flag = field.metadata["flag"] or f"--{field.name.replace('_', '-')}"
            text = field.metadata["help"] + default_of(field, base)
            group.add_argument(flag, dest=field.name, help=text, default=None, **more)


def default_of(field: "dataclasses.Field[Any]", base: Config = DEFAULTS) -> str:
    """Return the default of a field of the recipe for its help, or "" if it is a switch or has none."""
    default = getattr(base, field.name)
    shown = field.metadata["unset"] if default is None else default
    return "" if isinstance(default, bool) or not shown else f" (default {shown})"


def add_model(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--model", default=default_model(), metavar="NAME", help=f"a model folder; a model of the "
                     f"package: {' or '.join(PACKAGED)}; or a sentence encoder: {ENCODER} "
                     f"(default {MODEL} if it exists, else {PRETRAINED})")  # fmt: skip
    add_calibration(sub)
    add_tower(sub)


def add_tower(sub: argparse.ArgumentParser) -> None:
    """Add --tower, beside --model: the user trusts this plug-in, whose name in a model folder imports nothing."""
    sub.add_argument("--tower", dest="plugin", metavar="PLUGIN", help="if the model has a tower of another package: "
                     "the plug-in, as MODULE:CLASS or by the name of its entry point")  # fmt: skip


def add_calibration(sub: argparse.ArgumentParser) -> None:
    """Add --calibrate-on, beside --model."""
    sub.add_argument("--calibrate-on", metavar="PATH", help="labelled pairs to fit the threshold and the probability "
                     "of a sentence encoder on (default: English pairs of this project)")  # fmt: skip


def add_cosine(sub: argparse.ArgumentParser) -> None:
    """Add --cosine, for models with a verdict."""
    sub.add_argument(
        "--cosine", action="store_true", help="let the similarity alone decide, whatever numbers or names differ"
    )


def add_force(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--force", action="store_true",
                     help="replace an output even if another program may have written it")  # fmt: skip


def check_outputs(options: argparse.Namespace, *outputs: Output | Folder, inputs: Sequence[str | None]) -> None:
    """Raise a UserError if an output would replace what a person has, an input or another output."""
    from siamese.model.packaged import model_folder_of

    read = [str(model_folder_of(i)) if i in PACKAGED else i for i in inputs]
    outputs_module.check_outputs(outputs, read, options.force)


def default_model() -> str:
    """Return the default of --model: the model trained here, or else the one of the package."""
    return MODEL if os.path.isfile(os.path.join(MODEL, "config.json")) else PRETRAINED


def load_model(name: str, calibrate_on: str | None = None) -> "SiameseModel":
    """Load a model. Notes on stderr say under what terms it answers, and warn of its training or its threshold.

    Args:
        name: as in `SiameseModel.load`.
        calibrate_on: a file of labelled pairs to fit a sentence encoder's threshold and probability on.
    """
    from pathlib import Path

    from siamese.model.folder import is_model
    from siamese.model.model import SiameseModel
    from siamese.model.packaged import model_folder_of

    if name not in PACKAGED and not is_model(name):
        from siamese.model.encoders import is_encoder

        if is_encoder(name):
            return _load_encoder(name, calibrate_on)
    if calibrate_on:
        raise UserError(f"--calibrate-on is for sentence encoders; {name} was calibrated on validation pairs")
    loaded = SiameseModel.load(name)
    if name not in PACKAGED:
        for warning in loaded.warnings:
            say(f"using {name}: warning: {warning}")
        return loaded
    card = model_folder_of(name) / "README.md"
    where = card.relative_to(Path.cwd()) if card.is_relative_to(Path.cwd()) else card
    say(f"using the {name} model ({PACKAGED[name]}: {where})")
    return loaded


def _load_encoder(name: str, calibrate_on: str | None) -> "SiameseModel":
    from siamese.model.model import SiameseModel
    from siamese.pairs.reading import read_pairs

    pairs = None
    if calibrate_on:
        pairs = read_pairs(calibrate_on)
        report_faults(pairs, calibrate_on)
    loaded = SiameseModel.load_encoder(name, pairs, say)
    for warning in loaded.warnings:
        say(f"using {name}: warning: {warning}; --calibrate-on PATH takes pairs of yours")
    licence = loaded.facts["licence"] or "its card names no licence"
    advice = "" if pairs else "; --calibrate-on PATH fits them on yours"
    fitted = f"; threshold and probability were fitted on {loaded.facts['calibrated_on']}{advice}"
    say(f"using the sentence encoder {name} (licence: {licence}){'' if loaded.warnings else fitted}")
    return loaded


def add_columns(sub: argparse.ArgumentParser) -> None:
    """Add the names of the columns of a file of pairs."""
    add_text(sub)
    group = sub.add_argument_group("columns", "names of the file's columns")
    for name in PAIR_COLUMNS:
        default, column = ("is_duplicate" if name == "label" else name), f"{name}_column"
        group.add_argument(f"--{name}", default=default, dest=column, metavar="NAME", help="(default %(default)s)")
    group.add_argument("--duplicate-class", metavar="NAME", help="of hf: data sets whose labels have names: the class "
                       "of duplicates (default: decided by the names)")  # fmt: skip


def add_text(sub: argparse.ArgumentParser) -> None:
    """Add how text files are read, if not as it is detected."""
    sub.add_argument("--encoding", metavar="NAME", help="of text files (default: UTF-8, or detected and said)")
    sub.add_argument("--delimiter", metavar="C", help="of columns: a character, or tab (default: detected and said)")


def column_names(options: argparse.Namespace) -> "Columns":
    """Return the options of `add_columns`."""
    from siamese.pairs.pairs import Columns

    names = {name: getattr(options, f"{name}_column") for name in PAIR_COLUMNS}
    return Columns(**names, duplicate=options.duplicate_class)


def add_question_columns(sub: argparse.ArgumentParser) -> None:
    """Add the names of the columns of a file of questions, and how it is read."""
    add_text(sub)
    sub.add_argument("--question", default="question", dest="question_column", metavar="NAME",
                     help="the file's column of questions (default question)")  # fmt: skip
    sub.add_argument("--id", dest="id_column", metavar="NAME", help="its column of ids (default id, if there is one)")


def add_keep(sub: argparse.ArgumentParser) -> None:
    """Add --keep, for `kept_columns`."""
    sub.add_argument("--keep", default="all", metavar="NAMES",
                     help="further columns to keep, separated by commas, all (default) or none")  # fmt: skip


def kept_columns(keep: str) -> list[str] | None:
    """Return the columns that --keep names; None: all."""
    return {"all": None, "none": []}.get(keep, keep.split(","))


def add_archive(sub: argparse.ArgumentParser) -> None:
    """Add --archive and --model, for `open_archive`."""
    sub.add_argument("--archive", required=True, metavar="DIR", help="the archive's folder")
    sub.add_argument("--model", metavar="NAME", help="the archive's model, if its folder was moved")
    add_calibration(sub)
    add_tower(sub)


def open_archive(options: argparse.Namespace) -> "Archive":
    """Open the archive of `add_archive`."""
    from siamese.archive.store import Archive

    return Archive.open(options.archive, load_model(options.model, options.calibrate_on) if options.model else None)


def add_known(sub: argparse.ArgumentParser) -> None:
    """Add how to treat questions that an archive has, for `siamese.archive.syncing.Treatment`."""
    sub.add_argument("--known", default="error", choices=["error", "skip", "update"],
                     help="what to do with an id that is there: refuse all (default), leave it as it is, or change "
                     "what differs")  # fmt: skip
    sub.add_argument("--remove-missing", action="store_true",
                     help="remove the questions whose ids the file lacks, as a whole export does")  # fmt: skip


def add_where(sub: argparse.ArgumentParser) -> None:
    """Add conditions on kept columns, for `conditions`."""
    sub.add_argument("--where", action="append", default=[], metavar="NAME=VALUE", help="only questions with this "
                     "value in a kept column; may be repeated; NAME= means none")  # fmt: skip


def conditions(given: Sequence[str], option: str = "--where") -> dict[str, str]:
    """Return the names and values of NAME=VALUE. Raise UserError if one has another form, or a name occurs twice."""
    found: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name and equals):
            raise UserError(f"{option} {one!r}: expected NAME=VALUE")
        if name in found:
            raise UserError(f"{option}: two values for {name!r}; give one")
        found[name] = value
    return found


def changed_fields(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of the recipe that options set."""
    fields = {field.name for field in dataclasses.fields(Config)} - {"preset"}
    return {name: value for name, value in vars(options).items() if name in fields and value is not None}


@contextmanager
def advising(*more: str) -> Iterator[None]:
    """If the user stops the block, print the command line that continues it: this one, with more words."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"\nstopped; continue with: {command_line(*more)}")
        raise


def report_faults(pairs: "Pairs", path: str) -> None:
    """Print the number of skipped rows of a file on stderr, and the first few of them."""
    _report(path, pairs.skipped, pairs.rows, "skipped", pairs.faults)


def report_unanswered(faults: "Faults") -> None:
    """Print on stderr how many rows of a file have no answer, why the first few have none, and as `report_unknown`."""
    _report(faults.path, faults.count, faults.rows, "without an answer", faults.shown)
    report_unknown(faults.unknown)


def report_unknown(count: int) -> None:
    """Print the number of questions without a known word on stderr, if there are any."""
    if count:
        say(f"note: the model knows no word of {count:,} question{'s' * (count != 1)}")


def _report(path: str, count: int, rows: int, how: str, shown: list[str]) -> None:
    if count:
        say("\n  ".join([f"{path}: {count} of {rows} rows {how}", *shown]))
