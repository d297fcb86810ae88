"""Split pairs into training, validation and test pairs, and find those of a saved model again."""

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from siamese.errors import DataError, UserError
from siamese.pairs import huggingface
from siamese.pairs.held import split_questions
from siamese.pairs.pairs import Columns, Pairs
from siamese.pairs.reading import QUORA, PairsLike, name_of, pairs_of, read_pairs
from siamese.system.files import sha256
from siamese.text.ragged import Texts

COURSE_TRAINING, COURSE_TEST = 300_000, 10_240  # rows of the published assignment's split
DRAWN_BY = "questions"  # how a file without a split is split; 0.1.0 drew pairs, and did not say so


@dataclass(frozen=True)
class Source:
    """The source of a training run's pairs."""

    data: str  # a file of pairs, or a data set: hf:NAME
    validation: str | None = None  # another one, to choose the epoch and the threshold on
    split: str | None = None  # "course": split `data` as the published assignment did
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        if self.split not in (None, "course"):
            raise UserError(f"--split: {self.split!r} is not 'course'")
        if self.split and self.validation:
            raise UserError("--split course makes its own validation pairs; leave out --validation")
        if self.columns.duplicate and not any(map(huggingface.names_data_set, (self.data, self.validation))):
            raise UserError("--duplicate-class is for data sets, hf:NAME; the labels of a file are 0 and 1")


@dataclass(frozen=True)
class Datasets:
    """The three parts; `test` is None if there is none."""

    training: Pairs
    validation: Pairs
    test: Pairs | None
    how: str  # description of the split, for messages
    drawn: bool = False  # whether `split_questions` drew the validation pairs


def load(source: Source, warn: Callable[[Pairs, str], None] = lambda pairs, path: None) -> Datasets:
    """Read and split the pairs of a source.

    The first of these decides: the course's split, if chosen; the validation file, if given; the column `split`; else
    `split_questions` keeps a tenth of the pairs for validation.

    Args:
        source: the files.
        warn: called with the pairs of each file and its path, to report faulty rows.

    Raises:
        DataError: a file cannot be used, or a part has too few pairs of a label.
    """
    pairs = read_pairs(source.data, source.columns, need=(1,))
    warn(pairs, source.data)
    if source.split == "course":
        training, validation, test = (pairs.take(rows) for rows in course_split(pairs.labels))
        return _checked(Datasets(training, validation, test, "split as in the course"), source.data, source.data)
    if source.validation:
        validation = to_tune(source.validation, source.columns)
        warn(validation, source.validation)
        return part(pairs, validation, source.data, source.validation)
    return part(pairs, None, source.data)


def part(pairs: Pairs, validation: Pairs | None = None, name: str = "pairs", validation_name: str = "") -> Datasets:
    """Return the parts of labelled pairs by their column `split`, or else by `split_questions`.

    Args:
        pairs: all pairs.
        validation: validation pairs to use instead.
        name, validation_name: the sources, for messages.

    Raises:
        DataError: a part has too few pairs of a label.
    """
    own = {part: pairs.part(part) for part in ("validation", "test")}
    training, drawn = _training_part(pairs, name), False
    if validation is not None:
        how = f"validation pairs from {validation_name}" if validation_name else "validation pairs given separately"
    elif (validation := own["validation"]) is not None:
        how = f"split by the {'data set' if huggingface.names_data_set(name) else 'column split of the file'}"
    else:
        training, validation, across = split_questions(training)
        how, drawn = f"a tenth kept for validation, by questions; {across:,} pairs across the two parts left out", True
    return _checked(Datasets(training, validation, own["test"], how, drawn), name, validation_name or name)


def validation_alone(
    validation: PairsLike | None, columns: Columns = QUORA,
    warn: Callable[[Pairs, str], None] = lambda pairs, path: None,
) -> Datasets:  # fmt: skip
    """Return no training pairs, and validation pairs if there are any, for a training on unlabelled questions."""
    none = Pairs.of([], [], [])
    if validation is None:
        return Datasets(none, none, None, "no labelled pairs")
    pairs, name = to_tune(validation, columns), name_of(validation)
    warn(pairs, name)
    return _checked_labels(Datasets(none, pairs, None, f"validation pairs from {name}"), name)


def _checked(parts: Datasets, name: str, validation_name: str) -> Datasets:
    if parts.training.duplicates < 2:
        found = f"{parts.training.duplicates} duplicate pair(s) to train on ({parts.how})"
        raise DataError(f"{name}: {found}; give two or more, which serve as each other's negatives")
    return _checked_labels(parts, validation_name)


def _checked_labels(parts: Datasets, validation_name: str) -> Datasets:
    for label, meaning in ((1, "duplicates"), (0, "non-duplicates")):
        if not (parts.validation.labels == label).any():
            lack = f"no {meaning} among the {len(parts.validation)} validation pairs ({parts.how})"
            raise DataError(f"{validation_name}: {lack}; the threshold needs both: give pairs by --validation PATH")
    return parts


def remember(source: Source) -> dict[str, Any]:
    """Return the facts on a source that a model saves as JSON, with checksums to recognize changed files."""
    files = [source.data, *([source.validation] if source.validation else [])]
    facts = asdict(source)
    if source.columns.duplicate is None:  # which version 0.1 did not know
        del facts["columns"]["duplicate"]
    sums = {name: _checksum(name, source.columns) for name in files}
    return {"source": facts, "sha256": sums, "drawn_by": DRAWN_BY}


def _checksum(name: str, columns: Columns) -> str | None:
    """Return the SHA-256 of a file's bytes or a data set's rows, or None if there is no such file."""
    if huggingface.names_data_set(name):
        return huggingface.checksum(name, columns.label, columns.duplicate)
    return sha256(name) if Path(name).is_file() else None


def recall(facts: dict[str, Any]) -> Datasets | None:
    """Return the pairs that a model was trained on, or None if the files are gone or changed, or 0.1.0 split them.

    Data sets are looked up in the download cache alone, so that the facts of a model never cause a download.
    """
    try:
        saved = facts["data"]
        source = Source(**{**saved["source"], "columns": Columns(**saved["source"]["columns"])})
        digests = {name: saved["sha256"][name] for name in (source.data, source.validation) if name is not None}
        with huggingface.from_cache():
            if all(digest and _checksum(name, source.columns) == digest for name, digest in digests.items()):
                parts = load(source)
                return None if parts.drawn and saved.get("drawn_by") != DRAWN_BY else parts
    except (KeyError, TypeError, ValueError, OSError, UserError):  # the facts of a model may be anything
        pass
    return None


def _training_part(pairs: Pairs, path: str) -> Pairs:
    part = pairs.part("train")
    if pairs.split is not None and part is None:
        raise DataError(f"{path}: no row has 'train' in its column 'split'; expected train, validation or test")
    if pairs.split is not None and (none := int((pairs.split == "").sum())):
        warnings.warn(f"{path}: {none:,} rows have nothing in their column 'split' and are left out", stacklevel=2)
    return part or pairs


def to_learn(data: PairsLike, columns: Columns) -> Pairs:
    """Return the pairs that a model was trained on: the training part if there is one, else all."""
    return _training_part(pairs_of(data, columns, need=()), name_of(data))


def to_score(data: PairsLike, columns: Columns) -> Pairs:
    """Return the pairs that an evaluation scores: the test part if there is one, else all.

    Without a column `id`, the id of a pair is its number, from 1.
    """
    pairs = pairs_of(data, columns, need=())
    if not len(pairs):
        raise DataError(f"{name_of(data)}: no usable pair to score")
    if pairs.id is None:
        pairs = replace(pairs, id=Texts.of(map(str, range(1, len(pairs) + 1))))
    return pairs.part("test") or pairs


def to_tune(data: PairsLike, columns: Columns) -> Pairs:
    """Return the pairs that a threshold is chosen on: the validation part if there is one, else all."""
    pairs = pairs_of(data, columns)
    return pairs.part("validation") or pairs


def course_split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the numbers of the training, validation and test rows of the published assignment.

    The first 300,000 rows train, the next 10,240 test. Of the former, the first 80 % of the duplicates train and the
    rest validate, as published. The non-duplicates, which the course left out, are split in the same way.
    """
    if len(labels) < COURSE_TRAINING + COURSE_TEST:
        lack = f"--split course needs {COURSE_TRAINING + COURSE_TEST:,} rows, the file has {len(labels):,}"
        raise DataError(f"{lack}; it is meant for Quora's whole file (--data quora)")
    by_label = [np.flatnonzero(labels[:COURSE_TRAINING] == label) for label in (0, 1)]
    training = np.concatenate([rows[: int(len(rows) * 0.8)] for rows in by_label])
    validation = np.concatenate([rows[int(len(rows) * 0.8) :] for rows in by_label])
    return np.sort(training), np.sort(validation), np.arange(COURSE_TRAINING, COURSE_TRAINING + COURSE_TEST)
