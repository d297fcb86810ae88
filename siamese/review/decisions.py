"""Keep a person's decisions about pairs of questions in a CSV file that only grows.

Each answer is a row, which is on disk before the next question is asked. A later row about the same two questions, in
either order, replaces an earlier one; `undo` takes the decision back. What a killed process leaves of a row is cut off
when the file is opened for more.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from siamese.errors import BusyError, DataError, UserError
from siamese.pairs.cells import is_missing
from siamese.pairs.formats import open_file
from siamese.system.csv_output import csv_writer
from siamese.system.files import lock, sync_folder
from siamese.text.keys import identity

DUPLICATE, DIFFERENT, UNSURE, SKIP, UNDO, REPRESENTATIVE = ANSWERS = (
    "duplicate", "different", "unsure", "skip", "undo", "representative",
)  # fmt: skip


class Decision(NamedTuple):
    """What somebody decided about two questions.

    The numbers are those of the pair when it was asked, as text; "" if there is none.
    """

    question1: str
    question2: str  # "" for a representative
    answer: str  # one of ANSWERS; representative: question 1 stands for its cluster
    similarity: str = ""
    probability: str = ""
    value: str = ""  # size in priority sampling, see siamese.review.order; "" if the pair was not drawn
    priority: str = ""
    by: str = ""  # who
    at: str = ""  # when, ISO 8601 in UTC
    stage: str = ""  # of the draw that gave value and priority: "DRAW:NUMBER", see siamese.review.order

    @property
    def about(self) -> frozenset[int]:
        """Return what the decision is about: the identities of its questions."""
        return frozenset(identity(question) for question in (self.question1, self.question2) if question)


def latest(decisions: Iterable[Decision]) -> dict[frozenset[int], Decision]:
    """Return the decision that counts about each pair, or each representative, in the order they were first made."""
    found: dict[frozenset[int], Decision] = {}
    for decision in decisions:
        if decision.answer == UNDO:
            found.pop(decision.about, None)
        else:
            found[decision.about] = decision
    return found


def read_decisions(path: str | Path) -> list[Decision]:
    """Read all rows of a file of decisions, in their order. It may have been saved by a spreadsheet.

    Raises:
        DataError: there is no such file, it has other columns, or a row is none of a decision.
    """
    file = open_file(path)
    if missing := [name for name in Decision._fields[:3] if name not in file.names]:
        raise DataError(f"{path}, line 1: no column {missing[0]!r}; expected a file that `review` wrote")
    found = []
    for line, row in file.records:
        where = f"{path}, line {line}"
        if isinstance(row, str):
            raise DataError(f"{where}: {row}; expected a row that `review` wrote")
        found.append(_decision(row, where))
    return found


def _decision(row: Mapping[str, object], where: str) -> Decision:
    given = {name: row.get(name) for name in Decision._fields}
    return _checked(Decision(**{name: "" if is_missing(cell) else str(cell) for name, cell in given.items()}), where)


def _checked(decision: Decision, where: str) -> Decision:
    """Return a decision, or raise a DataError if it is none."""
    if decision.answer not in ANSWERS:
        raise DataError(f"{where}: answer is {decision.answer[:40]!r}; expected one of {', '.join(ANSWERS)}")
    of_one = decision.answer == REPRESENTATIVE or (decision.answer == UNDO and not decision.question2)
    if not decision.question1.strip() or bool(decision.question2.strip()) == of_one:
        raise DataError(f"{where}: a {decision.answer} has {'one question' if of_one else 'two questions'}")
    if len(decision.about) != 2 - of_one:
        raise DataError(f"{where}: a question with itself; expected two different questions")
    return decision


class Log:
    """A file of decisions that is open for more, made by `open_log`."""

    def __init__(self, path: Path, file: int) -> None:
        self.path, self._file = path, file
        self.decisions = read_decisions(path)

    def append(self, *decisions: Decision) -> None:
        """Add decisions in one go, so that a killed process leaves all of them or none. They are on disk on return."""
        _write(self.path, self._file, b"".join(map(_line, decisions)))
        self.decisions += decisions


@contextmanager
def open_log(path: str | Path) -> Iterator[Log]:
    """Open a file of decisions for more, or begin one.

    Raises:
        BusyError: another process writes to it.
        DataError: it is no file of decisions.
    """
    path = Path(path)
    with _locked(path) as file:
        yield Log(path, file)


def append_decisions(path: str | Path, decisions: Iterable[Decision]) -> None:
    """Add decisions to a file, or begin one, without reading those that it has. They are on disk on return.

    Raises:
        DataError: one of these is no decision, and could not be read again.
        BusyError: another process writes to the file.
        UserError: it is no file of decisions.
    """
    path = Path(path)
    rows = [_checked(decision, f"decision {place}") for place, decision in enumerate(decisions, 1)]
    try:
        with _locked(path) as file:
            _write(path, file, b"".join(map(_line, rows)))
    except DataError as error:  # of the file
        raise UserError(str(error)) from None


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a file of decisions for more, locked and mended, and yield its descriptor."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if not lock(file, wait=False) and os.name == "posix":
            raise BusyError(f"{path}: another process writes to it; wait for its end, or choose another file")
        _mend(path, file)
        yield file
    finally:
        os.close(file)


def _write(path: Path, file: int, rows: bytes) -> None:
    """Append rows to an open file, all or none."""
    length = os.fstat(file).st_size
    try:
        while rows:
            rows = rows[os.write(file, rows) :]
        os.fsync(file)
    except OSError as error:  # such as a full disk
        os.ftruncate(file, length)
        error.filename = error.filename or str(path)
        raise


def _mend(path: Path, file: int) -> None:
    """Begin the file if it is empty, end its last row, and cut off what a killed process has left of one."""
    content, names = path.read_bytes(), _line(Decision._fields)
    if names.startswith(content) and content != names:
        os.ftruncate(file, 0)
        os.write(file, names)
        os.fsync(file)
        sync_folder(path.parent)
        return
    if not content.startswith(names):
        read_decisions(path)  # raises if the file is of another kind
        _refuse_other_form(path, content)
    tail = content[(end := whole(content)) :]
    if not tail:
        return
    cells = len(next(csv.reader(io.StringIO(tail.decode("utf-8", "replace"), newline=""))))
    complete = cells == len(Decision._fields) and tail.endswith(b'"') and tail.count(b'"') % 2 == 0
    if content.startswith(names) and not complete:
        os.ftruncate(file, end)
    else:  # as a spreadsheet may end a file
        os.write(file, b"\n")


def _refuse_other_form(path: Path, content: bytes) -> None:
    """Raise a UserError if our rows, appended to a file of decisions, could not be read again."""
    try:
        first = next(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error, StopIteration):
        first = []
    if tuple(first) != Decision._fields:
        copy = path.with_name(f"{path.stem}-2.csv")
        raise UserError(
            f"{path}: has not all columns of a file that `review` wrote, in their order, between commas, in UTF-8, so "
            f"nothing can be added to it. Copy it to such a file: review --merge {path} --decisions {copy}"
        )


def whole(content: bytes) -> int:
    """Return the length of the rows of a CSV file that have their end; what follows is part of one.

    A quote within a text is doubled, so a row ends with a line before which the number of quotes is even.
    """
    end = content.rfind(b"\n") + 1
    while end and content.count(b'"', 0, end) % 2:
        end = content.rfind(b"\n", 0, end - 1) + 1
    return end


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv_writer(text).writerow(cells)
    return text.getvalue().encode("utf-8")
