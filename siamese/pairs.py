"""Labelled pairs of questions: reading and checking, splitting."""

import dataclasses
import itertools
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from siamese.errors import DataError
from siamese.huggingface import open_rows
from siamese.keys import Clusters, key, pair_keys
from siamese.ragged import Texts
from siamese.reading import Faults, File, Record

PARTS = ("train", "validation", "test")  # the values of a column `split`
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
    split: np.ndarray | None = None  # (n,) str: one of PARTS or "", where the file has a column `split`
    id: Texts | None = None  # a name of each pair, where the file has a column `id`
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
        which = np.flatnonzero(which) if which.dtype == bool else which
        columns = {name: getattr(self, name) for name in ("question1", "question2", "labels", "unseen", "split", "id")}
        taken: dict[str, Any] = {
            name: values[which] if isinstance(values, np.ndarray) else values.take(which)
            for name, values in columns.items()
            if values is not None
        }
        return dataclasses.replace(self, **taken)

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
    """Read a file of pairs: CSV, TSV, JSON lines or Parquet, UTF-8; or a data set, hf:NAME.

    A file with the columns `question` and `group` instead holds questions; those
    of one group are duplicates, and pairs are made from them (`from_groups`).

    Args:
        path: the file; its ending says the format. Or a data set, as `huggingface` names it.
        columns: how its columns are named. Others are ignored, but for
            `unseen`, `split` and `id`, which are kept where they are there.
        labelled: False where no label is needed.
        need: labels of which there must be a pair.

    Raises:
        DataError: no such file, not this format or encoding, a column missing,
            more than 1 % (and more than two) faulty rows, no pair of a needed label.
    """
    file, faults = open_rows(path), Faults(str(path))
    if not file.names:
        raise DataError(f"{path}: empty; expected columns {_expected(columns, labelled)}")
    if {columns.question, columns.group} <= set(file.names) and columns.question1 not in file.names:
        pairs = _from_questions(file, faults, columns)
    else:
        pairs = _from_pairs(file, faults, columns, labelled)
    for label, meaning in ((1, "duplicate pairs (label 1)"), (0, "non-duplicate pairs (label 0)")):
        if labelled and label in need and not (pairs.labels == label).any():
            raise DataError(f"{path}: {faults.rows} rows and no usable {meaning}; at least one is needed{faults}")
    return dataclasses.replace(pairs, rows=faults.rows, faults=faults.shown, skipped=faults.count)


def _expected(columns: Columns, labelled: bool) -> str:
    label = f", {columns.label}" if labelled else ""
    return f"{columns.question1}, {columns.question2}{label} (or {columns.question}, {columns.group})"


def _from_pairs(file: File, faults: Faults, columns: Columns, labelled: bool) -> Pairs:
    wanted = [columns.question1, columns.question2, *([columns.label] if labelled else [])]
    missing = [name for name in wanted if name not in file.names]
    if missing:
        has = ", ".join(repr(name[:40]) for name in file.names[:20])
        raise DataError(
            f"{faults.path}, line 1: no column {', '.join(map(repr, missing))}; it has {has}. "
            f"Expected {_expected(columns, labelled)}; other names are given by --question1, --question2, --label"
        )

    def check(record: Record) -> str | None:
        reason = _question_fault(record, columns.question1) or _question_fault(record, columns.question2)
        if not reason and labelled and label_of(record.get(columns.label)) is None:
            reason = f"{columns.label} is {repr(record.get(columns.label))[:40]}, expected 0 or 1"
        return reason

    kept: dict[str, list[Any]] = {name: [] for name in ("unseen", "split") if name in file.names}
    labels = array("b")

    def texts() -> Iterator[str]:
        for record in faults.without(file.records, check):
            label = label_of(record[columns.label]) if labelled else None
            labels.append(-1 if label is None else label)
            for name, values in kept.items():
                values.append(record.get(name))
            yield record[columns.question1]
            yield record[columns.question2]
            if has_id:
                yield "" if record.get("id") is None else str(record["id"])

    has_id = "id" in file.names
    all_texts = Texts.of(texts())  # in turn, so that no row is held as an object
    faults.check()
    first = np.arange(0, len(all_texts), 3 if has_id else 2)
    return Pairs(
        all_texts.take(first),
        all_texts.take(first + 1),
        np.array(labels, np.int8),
        np.array([label_of(value) == 1 for value in kept["unseen"]], bool) if "unseen" in kept else None,
        np.array([value if value in PARTS else "" for value in kept["split"]], "U10") if "split" in kept else None,
        all_texts.take(first + 2) if has_id else None,
    )


def _from_questions(file: File, faults: Faults, columns: Columns) -> Pairs:
    def check(record: Record) -> str | None:
        reason = _question_fault(record, columns.question)
        if not reason and record.get(columns.group) in (None, ""):
            reason = f"{columns.group} is missing or empty"
        return reason

    groups: dict[str, list[str]] = {}
    for record in faults.without(file.records, check):
        groups.setdefault(str(record[columns.group]), []).append(record[columns.question])
    faults.check()
    return from_groups(groups)


def _question_fault(record: Record, name: str) -> str | None:
    value = record.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return f"{name} is missing or empty"
    if not isinstance(value, str):
        return f"{name} is no text"
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can spell half of a surrogate pair
        return f"{name} is no text: {value[:40]!r} has half a character"
    return None


def label_of(value: Any) -> int | None:
    """0 or 1 as files write it, or None where it is neither."""
    if isinstance(value, str):
        value = value.strip()
    return {"0": 0, "1": 1, "0.0": 0, "1.0": 1}.get(str(int(value) if isinstance(value, bool) else value))


# Pairs from groups


def from_groups(groups: Mapping[str, list[str]], seed: int = 0) -> Pairs:
    """Pairs from groups of questions that mean the same; groups that share a question are one.

    Every two questions of a group are duplicates; in a group of more than ten,
    each is paired with five others. As many non-duplicates are drawn from
    different groups, without regard to how alike they are. Whole groups, one in
    ten, become the validation part, so that its questions are never trained on.
    """
    chains = [pair for members in groups.values() for pair in zip(members, [*members[1:], *members[-1:]])]
    linked = Clusters(Pairs.of((a for a, _ in chains), (b for _, b in chains), [1] * len(chains)))
    joined: dict[int, dict[int, str]] = {}  # cluster to its distinct questions, by key
    for question, cluster in zip((a for a, _ in chains), linked.of(a for a, _ in chains)):
        joined.setdefault(int(cluster), {}).setdefault(key(question), question)

    if len(joined) < 4:
        raise DataError(
            f"{len(joined)} groups of questions; at least four are needed, two to train and two to validate"
        )
    random = np.random.default_rng(seed)
    held = random.permutation(len(joined)) < max(2, len(joined) // 10)
    rows: list[tuple[str, str, int, str]] = []
    for part, members in (("train", ~held), ("validation", held)):
        chosen = [list(group.values()) for group, here in zip(joined.values(), members) if here]
        duplicates = [pair for group in chosen for pair in _within(group)]
        rows += [(a, b, 1, part) for a, b in duplicates]
        owner = np.repeat(np.arange(len(chosen)), [len(group) for group in chosen])
        questions = [question for group in chosen for question in group]
        first, size = np.searchsorted(owner, owner), np.bincount(owner)[owner]  # of each question's group
        for i in random.integers(len(questions), size=len(duplicates)):
            j = int(random.integers(len(questions) - size[i]))  # among the questions of the other groups
            rows.append((questions[i], questions[j if j < first[i] else j + size[i]], 0, part))
    pairs = Pairs.of((r[0] for r in rows), (r[1] for r in rows), (r[2] for r in rows))
    return dataclasses.replace(pairs, split=np.array([r[3] for r in rows]))


def _within(group: list[str]) -> list[tuple[str, str]]:
    if len(group) <= 10:
        return list(itertools.combinations(group, 2))
    return [(group[i], group[(i + step) % len(group)]) for i in range(len(group)) for step in range(1, 6)]


# Splitting


def random_split(pairs: Pairs, seed: int = 0, share: float = 0.1) -> tuple[Pairs, Pairs]:
    """Keep a share of the pairs for validation; a pair that stands twice, in either order, stays together."""
    _, pair = np.unique(pair_keys(pairs), axis=0, return_inverse=True)
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
