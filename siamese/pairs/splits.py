"""Which pairs train, which choose the threshold and which are scored; and how a model remembers that."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from siamese.errors import DataError, UserError
from siamese.pairs import huggingface
from siamese.pairs.clusters import pair_keys
from siamese.pairs.frames import PairsLike, name_of, pairs_of
from siamese.pairs.pairs import Columns, Pairs
from siamese.pairs.reading import read_pairs
from siamese.system.files import sha256
from siamese.text.ragged import Texts


@dataclass(frozen=True)
class Source:
    """Where the pairs of a training run come from."""

    data: str  # a file of pairs, or a data set: hf:NAME
    validation: str | None = None  # another one to choose the epoch and the threshold on
    split: str | None = None  # "course": the published assignment's cut of `data`
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        if self.split not in (None, "course"):
            raise UserError(f"--split: {self.split!r} is not 'course'")
        if self.split and self.validation:
            raise UserError("--split course makes its own validation pairs; leave out --validation")


@dataclass(frozen=True)
class Datasets:
    """The three parts; `test` is None where nothing was kept for it."""

    training: Pairs
    validation: Pairs
    test: Pairs | None
    how: str  # in words, how they were parted


def load(source: Source, warn: Callable[[Pairs, str], None] = lambda pairs, path: None) -> Datasets:
    """Read and part the pairs; `warn` is told of each file that was read, for its faulty rows.

    In this order: the course's cut where it is asked for; the validation file
    where one is given; the file's own `split` column; else one pair in ten, by
    chance, is kept for validation.

    Raises:
        DataError: a file that cannot be used, or too few pairs of a label in a part.
    """
    pairs = read_pairs(source.data, source.columns, need=(1,))
    warn(pairs, source.data)
    if source.split == "course":
        training, validation, test = (pairs.take(rows) for rows in course_split(pairs.labels))
        return _checked(Datasets(training, validation, test, "cut as the course did"), source.data, source.data)
    if source.validation:
        validation = to_tune(source.validation, source.columns)
        warn(validation, source.validation)
        return part(pairs, validation, source.data, source.validation)
    return part(pairs, None, source.data)


def part(pairs: Pairs, validation: Pairs | None = None, name: str = "pairs", validation_name: str = "") -> Datasets:
    """Return the parts of labelled pairs, as their column `split` says; without one, by chance.

    Args:
        pairs: all pairs.
        validation: the validation pairs instead.
        name, validation_name: where they are from, for messages.

    Raises:
        DataError: too few pairs of a label in a part.
    """
    own = {part: pairs.part(part) for part in ("validation", "test")}
    training = _training_part(pairs, name)
    if validation is not None:
        how = f"validation pairs from {validation_name}" if validation_name else "validation pairs given beside them"
    elif (validation := own["validation"]) is not None:
        by = "the data set itself" if huggingface.names_data_set(name) else "the file itself, question by question"
        how = f"parted by {by}"
    else:
        training, validation = random_split(training)
        how = "one pair in ten, by chance, kept for validation"
    return _checked(Datasets(training, validation, own["test"], how), name, validation_name or name)


def _checked(parts: Datasets, name: str, validation_name: str) -> Datasets:
    if parts.training.duplicates < 2:
        raise DataError(
            f"{name}: {parts.training.duplicates} duplicate pair(s) to train on ({parts.how}); "
            "two or more are needed, which are each other's negatives"
        )
    for label, meaning in ((1, "duplicates"), (0, "non-duplicates")):
        if not (parts.validation.labels == label).any():
            raise DataError(
                f"{validation_name}: no {meaning} among the {len(parts.validation)} validation pairs "
                f"({parts.how}); the threshold is chosen on both: give pairs by --validation PATH"
            )
    return parts


def remember(source: Source) -> dict[str, Any]:
    """What a model keeps of its source, as JSON; the checksums tell whether the files are still the same."""
    files = [source.data, *([source.validation] if source.validation else [])]
    return {"source": asdict(source), "sha256": {name: _checksum(name) for name in files}}


def _checksum(name: str) -> str:
    """Of a file's bytes, or of a data set's rows."""
    return huggingface.checksum(name) if huggingface.names_data_set(name) else sha256(name)


def _is_there(name: str) -> bool:
    return huggingface.names_data_set(name) or Path(name).is_file()


def recall(facts: dict[str, Any]) -> Datasets | None:
    """The pairs that a model was trained on, or None where the files are gone or changed.

    A data set of a hub is looked for among what was downloaded before: what a
    model says of itself makes nobody download anything.
    """
    try:
        saved = facts["data"]
        source = Source(**{**saved["source"], "columns": Columns(**saved["source"]["columns"])})
        digests = {name: saved["sha256"][name] for name in (source.data, source.validation) if name is not None}
        with huggingface.from_cache():
            if all(_is_there(name) and _checksum(name) == digest for name, digest in digests.items()):
                return load(source)
    except (KeyError, TypeError, ValueError, OSError, UserError):  # what a model says of itself may be anything
        pass
    return None


def _training_part(pairs: Pairs, path: str) -> Pairs:
    part = pairs.part("train")
    if pairs.split is not None and part is None:
        raise DataError(f"{path}: no row has 'train' in its column 'split'; expected train, validation or test")
    return part or pairs


def to_learn(data: PairsLike, columns: Columns) -> Pairs:
    """Return the pairs that a model was trained on: the training part if there is one, else all."""
    return _training_part(pairs_of(data, columns, need=()), name_of(data))


def to_score(data: PairsLike, columns: Columns) -> Pairs:
    """Return the pairs that an evaluation scores: the test part if there is one, else all.

    If there is no column `id`, a pair's is its number, from 1.
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


COURSE_TRAINING, COURSE_TEST = 300_000, 10_240  # rows of the published assignment's cut


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
