"""Labelled pairs of questions: reading and checking files, splitting, clusters of duplicates."""

import csv
import hashlib
import itertools
import json
import re
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from siamese.errors import DataError
from siamese.ragged import Texts

SUFFIXES = ".csv, .tsv, .jsonl or .parquet"
SHOWN = 5  # faulty rows that are described one by one
COURSE_TRAINING, COURSE_TEST = 300_000, 10_240  # rows of the published assignment's cut


@dataclass(frozen=True)
class Columns:
    """The names of a file's columns; the defaults are Quora's."""

    question1: str = "question1"
    question2: str = "question2"
    label: str = "is_duplicate"
    question: str = "question"  # with `group`: a file of questions instead of pairs
    group: str = "group"


@dataclass(frozen=True)
class Pairs:
    """n labelled pairs."""

    question1: Texts
    question2: Texts
    labels: np.ndarray  # (n,) int8: 1 duplicates, 0 not, -1 no label
    unseen: np.ndarray | None = None  # (n,) bool: neither question is in the training data, where the file says so
    split: np.ndarray | None = None  # (n,) str: "train", "validation" or "test", where the file says so
    rows: int = 0  # in the file
    faults: list[str] = field(default_factory=list)  # the first few faulty rows, with line and reason
    skipped: int = 0  # how many rows were faulty

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def duplicates(self) -> int:
        return int((self.labels == 1).sum())

    def take(self, which: np.ndarray) -> "Pairs":
        """The pairs with the given numbers, or where a (n,) bool array is true."""
        if which.dtype == bool:
            which = np.flatnonzero(which)
        return Pairs(
            self.question1.take(which),
            self.question2.take(which),
            self.labels[which],
            None if self.unseen is None else self.unseen[which],
            None if self.split is None else self.split[which],
            self.rows,
            self.faults,
            self.skipped,
        )

    def part(self, name: str) -> "Pairs | None":
        """The pairs of one part of the file's own split, or None where it has none."""
        if self.split is None or not (self.split == name).any():
            return None
        return self.take(self.split == name)

    @classmethod
    def of(cls, question1: Iterable[str], question2: Iterable[str], labels: Iterable[int]) -> "Pairs":
        """Pairs from Python values."""
        values = np.array(list(labels), np.int8)
        return cls(Texts.of(question1), Texts.of(question2), values, rows=len(values))


# Reading


def read_pairs(
    path: str | Path,
    columns: Columns = Columns(),
    *,
    labelled: bool = True,
    need: tuple[int, ...] = (0, 1),
) -> Pairs:
    """Read a file of pairs: CSV, TSV, JSON lines or Parquet, UTF-8.

    A file with the columns `question` and `group` instead holds questions; those
    of one group are duplicates, and pairs are made from them (`from_groups`).

    Args:
        path: the file; its ending says the format.
        columns: how its columns are named. Others are ignored, but for
            `unseen` and `split`, which are kept where they are there.
        labelled: False where no label is needed.
        need: labels of which there must be a pair.

    Raises:
        DataError: no such file, not this format or encoding, a column missing,
            more than 1 % (and more than two) faulty rows, no pair of a needed label.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file; expected a {SUFFIXES} file")
    if not path.is_file():
        raise DataError(f"{path}: a folder, expected a {SUFFIXES} file")
    readers: dict[str, Callable[[Path], Iterator[tuple[int, Any]]]] = {
        ".csv": lambda p: _delimited(p, ","),
        ".tsv": lambda p: _delimited(p, "\t"),
        ".jsonl": _json_lines,
        ".ndjson": _json_lines,
        ".parquet": _parquet,
    }
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: cannot tell the format from {path.suffix!r}; expected {SUFFIXES}")
    records = readers[path.suffix.lower()](path)
    try:
        _, names = next(records)
    except StopIteration:
        raise DataError(f"{path}: empty; expected columns {_expected(columns, labelled)}") from None
    if {columns.question, columns.group} <= set(names) and columns.question1 not in names:
        pairs = from_groups(_questions(path, records, names, columns))
    else:
        pairs = _pairs(path, records, names, columns, labelled)
    for label, meaning in ((1, "duplicate pairs (label 1)"), (0, "non-duplicate pairs (label 0)")):
        if labelled and label in need and not (pairs.labels == label).any():
            raise DataError(f"{path}: {pairs.rows} rows and no usable {meaning}; at least one is needed")
    return pairs


def _expected(columns: Columns, labelled: bool) -> str:
    label = f", {columns.label}" if labelled else ""
    return f"{columns.question1}, {columns.question2}{label} (or {columns.question}, {columns.group})"


class _Faults:
    """Counts faulty rows, and keeps the first few with line and reason."""

    def __init__(self, path: Path) -> None:
        self.path, self.count, self.rows, self.shown = path, 0, 0, list[str]()

    def add(self, line: int, reason: str) -> None:
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(f"{self.path}, line {line}: {reason}")

    def check(self) -> None:
        if self.count > max(2, self.rows / 100):
            raise DataError(
                f"{self.path}: {self.count} of {self.rows} rows are faulty, more than 1 %; mend or remove them\n"
                + "\n".join(f"  {line}" for line in self.shown)
            )


def _pairs(path: Path, records: Iterator[tuple[int, Any]], names: list[str], columns: Columns, labelled: bool) -> Pairs:
    wanted = [columns.question1, columns.question2, *([columns.label] if labelled else [])]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise DataError(
            f"{path}, line 1: no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, names[:20]))}. "
            f"Expected {_expected(columns, labelled)}; other names are given by --question1, --question2, --label"
        )
    extra = [name for name in ("unseen", "split") if name in names]
    faults = _Faults(path)
    labels, extras = array("b"), [list[Any]() for _ in extra]

    def good() -> Iterator[tuple[str, str]]:
        for line, record in records:
            faults.rows += 1
            if isinstance(record, str):  # why it could not be read
                faults.add(line, record)
                continue
            reason = _question_fault(record, columns.question1) or _question_fault(record, columns.question2)
            label = _label(record.get(columns.label)) if labelled else -1
            if label is None:
                reason = reason or f"{columns.label} is {record.get(columns.label)!r}, expected 0 or 1"
            if reason:
                faults.add(line, reason)
                continue
            labels.append(label)  # type: ignore[arg-type]
            for values, name in zip(extras, extra):
                values.append(record.get(name))
            yield record[columns.question1], record[columns.question2]

    question1, question2 = _two_texts(good())
    faults.check()
    kept = dict(zip(extra, extras))
    return Pairs(
        question1,
        question2,
        np.array(labels, np.int8),
        np.array([_label(value) == 1 for value in kept["unseen"]]) if "unseen" in kept else None,
        np.array([str(value) for value in kept["split"]]) if "split" in kept else None,
        faults.rows,
        faults.shown,
        faults.count,
    )


def _two_texts(pairs: Iterator[tuple[str, str]]) -> tuple[Texts, Texts]:
    """Two columns of strings without holding them as objects."""
    both = Texts.of(itertools.chain.from_iterable(pairs))
    which = np.arange(0, len(both), 2)
    return both.take(which), both.take(which + 1)


def _questions(path: Path, records: Iterator[tuple[int, Any]], names: list[str], columns: Columns) -> dict:
    groups: dict[str, list[str]] = {}
    faults = _Faults(path)
    for line, record in records:
        faults.rows += 1
        reason = record if isinstance(record, str) else _question_fault(record, columns.question)
        if not reason and record.get(columns.group) in (None, ""):
            reason = f"{columns.group} is missing or empty"
        if reason:
            faults.add(line, reason)
        else:
            groups.setdefault(str(record[columns.group]), []).append(record[columns.question])
    faults.check()
    return groups


def _question_fault(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        return f"{name} is missing or empty" if value in (None, "") or isinstance(value, str) else f"{name} is no text"
    return None


def _label(value: Any) -> int | None:
    if isinstance(value, str):
        value = value.strip()
    return {"0": 0, "1": 1, "0.0": 0, "1.0": 1}.get(str(int(value) if isinstance(value, bool) else value))


# Each reader yields (1, the column names) first and then (line, record), where a
# record is a mapping from column to value, or a string that says what is wrong with it.


def _lines(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from file
    except UnicodeDecodeError:
        with open(path, "rb") as binary:
            for number, line in enumerate(binary, 1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{path}, line {number}: not UTF-8 text ({error.reason}); expected a {SUFFIXES} file in UTF-8"
                    ) from None
        raise


class _Rereadable:
    """Lines that remember what was read since the last mark, and can take it back."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines, self.pending, self.read, self.number = lines, deque[str](), list[str](), 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.pending.popleft() if self.pending else next(self.lines)
        self.read.append(line)
        self.number += 1
        return line

    def mark(self) -> None:
        self.read.clear()

    def back_to_second(self) -> None:
        """Take back all but the first line since the mark."""
        self.pending.extendleft(reversed(self.read[1:]))
        self.number -= len(self.read) - 1


def _delimited(path: Path, delimiter: str) -> Iterator[tuple[int, Any]]:
    lines = _Rereadable(_lines(path))
    # csv's own limit of 131,072 characters a field stays: it ends what an
    # unclosed quote would otherwise swallow.
    reader = csv.reader(lines, delimiter=delimiter)
    names: list[str] | None = None
    while True:
        lines.mark()
        line = lines.number + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            row, reason = [], str(error)
        else:
            reason = f"{len(row)} fields, expected {len(names or row)}"
        if not row and len(lines.read) == 1 and not lines.read[0].strip():
            continue  # an empty line
        if names is None:
            names = [name.strip() for name in row]
            yield 1, names
        elif len(row) == len(names):
            yield line, dict(zip(names, row))
        else:
            # A stray quote can swallow good rows: only its own line is faulty.
            lines.back_to_second()
            yield line, reason


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    names = False
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            fault = None if isinstance(record, dict) else "not a JSON object"
        except (ValueError, RecursionError) as error:
            fault = f"not JSON: {error}"
        if not names:
            if fault:
                raise DataError(f"{path}, line {number}: {fault}; expected one JSON object a line")
            names = True
            yield 1, list(record)
        yield number, fault or record


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pandas
    import pyarrow

    try:
        table = pandas.read_parquet(path)
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        raise DataError(f"{path}: not a Parquet file: {error}") from None
    yield 1, [str(name) for name in table.columns]
    table = table.astype(object).where(table.notna(), None)
    names = [str(name) for name in table.columns]
    for number, row in enumerate(table.itertuples(index=False, name=None), 1):
        yield number, dict(zip(names, row))


# Pairs from groups


def from_groups(groups: Mapping[str, list[str]], seed: int = 0) -> Pairs:
    """Pairs from groups of questions that mean the same.

    Every two questions of a group are duplicates; in a group of more than ten,
    each is paired with five others. As many non-duplicates are drawn from
    different groups, without regard to how alike they are. Whole groups, one in
    ten, become the validation part, so that its questions are never trained on.
    """
    random = np.random.default_rng(seed)
    names = [name for name in groups if groups[name]]
    held = random.permutation(len(names)) < max(2, len(names) // 10)
    rows: list[tuple[str, str, int, str]] = []
    for part, members in (("train", ~held), ("validation", held)):
        chosen = [list(dict.fromkeys(groups[names[i]])) for i in np.flatnonzero(members)]
        duplicates = [pair for group in chosen for pair in _within(group)]
        rows += [(a, b, 1, part) for a, b in duplicates]
        if len(chosen) < 2:
            continue
        owner = np.repeat(np.arange(len(chosen)), [len(group) for group in chosen])
        questions = [question for group in chosen for question in group]
        for i in random.integers(len(questions), size=len(duplicates)):
            j = random.integers(len(questions))
            while owner[j] == owner[i]:
                j = random.integers(len(questions))
            rows.append((questions[i], questions[j], 0, part))
    pairs = Pairs.of((r[0] for r in rows), (r[1] for r in rows), (r[2] for r in rows))
    return Pairs(pairs.question1, pairs.question2, pairs.labels, split=np.array([r[3] for r in rows]), rows=len(rows))


def _within(group: list[str]) -> list[tuple[str, str]]:
    if len(group) <= 10:
        return list(itertools.combinations(group, 2))
    return [(group[i], group[(i + step) % len(group)]) for i in range(len(group)) for step in range(1, 6)]


# Splitting


def random_split(pairs: Pairs, seed: int = 0, share: float = 0.1) -> tuple[Pairs, Pairs]:
    """Keep a share of the pairs for validation; a pair that stands twice, in either order, stays together."""
    a, b = keys(pairs.question1), keys(pairs.question2)
    _, pair = np.unique(np.stack((np.minimum(a, b), np.maximum(a, b))), axis=1, return_inverse=True)
    chance = np.random.default_rng(seed).random(pair.max(initial=0) + 1)
    held = chance[pair] < share
    return pairs.take(~held), pairs.take(held)


def course_split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The published assignment's cut: row numbers to train, validate and test on.

    The first 300,000 rows train, the next 10,240 test. Inside the training part
    the first 80 % of the duplicates train and the rest validate, as published;
    the non-duplicates, which the course left out, are cut in the same way.
    """
    if len(labels) < COURSE_TRAINING + COURSE_TEST:
        raise DataError(
            f"--split course needs {COURSE_TRAINING + COURSE_TEST:,} rows, the file has {len(labels):,}; "
            "it is meant for Quora's whole file (--data quora)"
        )
    training, validation = [], []
    for label in (0, 1):
        rows = np.flatnonzero(labels[:COURSE_TRAINING] == label)
        cut = int(len(rows) * 0.8)
        training.append(rows[:cut])
        validation.append(rows[cut:])
    test = np.arange(COURSE_TRAINING, COURSE_TRAINING + COURSE_TEST)
    return np.sort(np.concatenate(training)), np.sort(np.concatenate(validation)), test


# Which questions are the same, and which mean the same


_NO_LETTER_OR_DIGIT = re.compile(r"[\W_]+")


def key(question: str) -> int:
    """A number that questions share when they have the same letters and digits, case ignored.

    64 bits of a hash: among ten million questions the chance of a single false
    match is 3 in a million.
    """
    text = _NO_LETTER_OR_DIGIT.sub("", question.lower()) or question.strip()
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def keys(questions: Iterable[str]) -> np.ndarray:
    """(n,) uint64: the key of each question."""
    return np.array(array("Q", map(key, questions)), np.uint64)


class Clusters:
    """The connected components of the duplicates among some pairs."""

    def __init__(self, pairs: Pairs) -> None:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        first, second = keys(pairs.question1), keys(pairs.question2)
        self.keys = np.unique(np.concatenate((first, second)))  # of all the pairs' questions
        linked = pairs.labels == 1
        a, b = np.searchsorted(self.keys, first[linked]), np.searchsorted(self.keys, second[linked])
        graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(len(self.keys), len(self.keys)))
        self.number: np.ndarray = connected_components(graph, directed=False)[1].astype(np.int64)

    def of(self, questions: Iterable[str]) -> np.ndarray:
        """(n,) int64: the cluster of each question, -1 where the pairs do not have it."""
        wanted = keys(questions)
        if not len(self.keys):
            return np.full(len(wanted), -1)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.number[place], -1)

    def linked(self, pairs: Pairs) -> np.ndarray:
        """(n,) bool: both questions lie in one cluster, so that the training labels already say duplicate."""
        first = self.of(pairs.question1)
        return (first >= 0) & (first == self.of(pairs.question2))

    def unseen(self, pairs: Pairs) -> np.ndarray:
        """(n,) bool: neither question occurs in the training pairs."""
        return (self.of(pairs.question1) < 0) & (self.of(pairs.question2) < 0)
