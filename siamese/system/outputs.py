"""Decide, before any work begins, whether a command may write its outputs.

An output that is an input, or two outputs of one name, is an error. A file with a person's labels is never replaced.
Another file or folder is replaced only if its content shows that we wrote it, or with `--force`. A device or a pipe is
written to as it is. A link that stands at one of our fixed names in a folder is refused, since somebody else made it.
"""

import csv
import json
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from siamese.errors import UserError

Ours = Callable[[Path], bool]  # whether the content of a file shows that we wrote it

LABELS = {"is_duplicate", "label", "decision"}  # columns that a person fills
WRITTEN = {"cluster", "representative", "decision", "why"}  # by `apply`, which fills its column decision itself
ANSWERS = ("question1", "question2", "answer")  # columns of a file of decisions, of which a person gives the last
OF_A_MODEL = {"similarity", "probability"}  # columns beside which is_duplicate is the model's
BEGINNING = 1 << 16  # bytes of a file that are searched for a mark
ADVICE = "choose another name, or replace it with --force"


class Output(NamedTuple):
    """A file that a command writes."""

    option: str
    path: str | None  # None: it is not asked for
    ours: Ours


class Folder(NamedTuple):
    """A folder that a command writes files of fixed names into."""

    option: str
    path: str
    names: Sequence[str]  # that it writes or replaces
    proofs: Mapping[str, Ours]  # of some names; those that exist must be ours, and without any, no name may exist


def check_outputs(
    outputs: Iterable[Output | Folder], inputs: Iterable[str | Path | None] = (), force: bool = False
) -> None:
    """Raise a UserError if an output would replace what a person has.

    Args:
        outputs: all files and folders that the command writes.
        inputs: files and folders that it reads; what is no path, such as "hf:NAME", is none of the outputs.
        force: replace what we may not have written, except for a person's labels.
    """
    read = [path for path in inputs if path]
    earlier: list[Output | Folder] = []
    for output in outputs:
        if output.path is None or is_stream(output.path):
            continue
        for other in earlier:
            if _same(output.path, other.path or ""):
                raise UserError(f"{output.path}: named by {output.option} and {other.option}; choose two names")
        for path in read:
            if _same(output.path, path) or (isinstance(output, Output) and _is_part(output, path)):
                raise UserError(f"{output.path}: also an input, which {output.option} would replace; "
                                "choose another name")  # fmt: skip
        earlier.append(output)
        if "://" in output.path:
            continue
        if isinstance(output, Output):
            _check_file(output, force)
        else:
            check_folder(output, force)


def check_folder(output: Folder, force: bool = False) -> None:
    """Raise a UserError if files that we did not write have the names that we would replace in a folder."""
    folder = Path(output.path)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file; expected a folder")
    found = [name for name in output.names if os.path.lexists(folder / name)]
    refuse_links(folder, *found)
    if force:
        return
    proofs = [name for name in found if name in output.proofs]
    strange = [name for name in proofs if not output.proofs[name](folder / name)] or (not proofs and found)
    if strange:
        raise UserError(f"{folder / strange[0]}: exists, and does not look like our file of this name; {ADVICE}")


def _check_file(output: Output, force: bool) -> None:
    path = Path(output.path or "")
    if path.is_dir():
        raise UserError(f"{path}: a folder; expected a file")
    if path.is_file():
        refuse_labels(path)
        if not force and path.stat().st_size and not output.ours(path):
            raise UserError(f"{path}: exists, and does not look like an output of this command; {ADVICE}")


def refuse_labels(path: str | Path) -> None:
    """Raise a UserError if a table has labels or decisions that a person filled in."""
    if not os.path.isfile(path):
        return
    names, rows = _table(Path(path))
    labels = _labels(names)
    if not labels or (set(names) >= OF_A_MODEL and "stratum" not in names):
        return
    for row in rows:
        for name in labels:
            if str("" if row.get(name) is None else row[name]).strip():
                raise UserError(f"{path}: its column {name} has labels, which are never replaced; choose another name")


def is_for_labels(name: str, filled: Collection[str] = LABELS) -> bool:
    """Return whether a column has the name of one that a person fills."""
    return name.strip().casefold() in filled


def _labels(names: Sequence[str]) -> list[str]:
    """Return the columns that a person fills."""
    filled = LABELS - WRITTEN if set(names) >= WRITTEN else LABELS
    found = [name for name in names if is_for_labels(name, filled)]
    return [*found, ANSWERS[-1]] if set(names) >= set(ANSWERS) else found


def _table(path: Path) -> tuple[list[str], Iterable[dict[str, Any]]]:
    """Return the names of the columns of a table, and its rows; nothing if the file is no table.

    The content decides what it is: Parquet, JSON lines, or CSV however a spreadsheet saved it.
    """
    with open(path, "rb") as binary:
        start = binary.read(BEGINNING)
    if start.startswith(b"PAR1"):
        try:
            from pyarrow import parquet

            table = parquet.ParquetFile(path)
        except (ImportError, OSError, ValueError):
            return [], []
        labels = _labels(table.schema_arrow.names)
        return table.schema_arrow.names, (r for batch in table.iter_batches(columns=labels) for r in batch.to_pylist())
    rows = _text_rows(path, start)
    first = next(rows, {})
    return list(first), chain([first] if start.startswith(b"{") else [], rows)


def _text_rows(path: Path, start: bytes) -> Iterator[dict[str, Any]]:
    """Yield the rows of JSON lines, or first the names and then the rows of a CSV."""
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if b"\0" in start and encoding != "utf-16":
        return
    with open(path, encoding=encoding, errors="replace", newline="") as file, suppress(csv.Error, ValueError):
        if start.startswith(b"{"):
            yield from (row for row in map(json.loads, file) if isinstance(row, dict))
            return
        delimiter = max(",;\t", key=file.readline(BEGINNING).count)
        file.seek(0)
        reader = csv.DictReader(file, delimiter=delimiter, restkey="")
        yield dict.fromkeys(reader.fieldnames or ())
        yield from reader


def table_with(*headers: Sequence[str]) -> Ours:
    """Return whether a table has the columns of one of these headers."""
    return lambda path: _table(path)[0] in [list(header) for header in headers]


def table_with_one_of(headers: Callable[[], Iterable[Sequence[str]]]) -> Ours:
    """Do the same with headers that are made when they are needed."""
    return lambda path: table_with(*headers())(path)


def table_ending_with(added: Sequence[str], prefix: str) -> Ours:
    """Return whether a table ends with these columns, each with or without the prefix."""

    def ours(path: Path) -> bool:
        names = _table(path)[0][-len(added) :]
        return [name.replace(prefix, "") for name in names] == list(added)

    return ours


def beginning_with(*marks: str | bytes) -> Ours:
    """Return whether one of these marks stands at the beginning of a file, within BEGINNING bytes."""

    def ours(path: Path) -> bool:
        with open(path, "rb") as file:
            start = file.read(BEGINNING)
        return any((mark.encode() if isinstance(mark, str) else mark) in start for mark in marks)

    return ours


def json_with(*fields: str) -> Ours:
    """Return whether a JSON file, or the first line of JSON lines, is an object with these fields."""

    def ours(path: Path) -> bool:
        try:
            text = path.read_text(encoding="utf-8")
            found = json.loads(text.partition("\n")[0] if path.suffix == ".jsonl" else text)
        except (ValueError, RecursionError):
            return False
        return isinstance(found, dict) and found.keys() >= set(fields)

    return ours


def is_stream(path: str | Path) -> bool:
    """Return whether a path is a device, a pipe or a socket.

    Raises:
        UserError: it names an open file of this process, such as /dev/stdout that is redirected to a file.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    if not stat.S_ISREG(mode):
        return not stat.S_ISDIR(mode)
    if str(path).startswith(("/dev/std", "/dev/fd/", "/proc/")):
        raise UserError(f"{path}: leads to a file; give the name of that file")
    return False


def refuse_links(folder: str | Path, *names: str) -> None:
    """Raise a UserError if one of our fixed names in a folder is a link, which may lead to a file of somebody else."""
    for name in names:
        if (path := Path(folder) / name).is_symlink():
            raise UserError(f"{path}: a link, where our own file is expected; remove it, or choose another folder")


def no_follow(path: str, flags: int) -> int:
    """Open a file of a fixed name, as `opener` of `open`; an OSError if it is a link."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _is_part(output: Output, folder: str | Path) -> bool:
    """Return whether an output is a file of an input folder, such as the weights of a model."""
    path = Path(output.path or "")
    return path.is_file() and os.path.isdir(folder) and _same(path.parent, folder) and not output.ours(path)


def _same(one: str | Path, other: str | Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return os.path.realpath(one) == os.path.realpath(other)
