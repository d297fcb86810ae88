"""Read a file of labelled pairs, or of questions in groups."""

import dataclasses
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from siamese.errors import DataError
from siamese.pairs.formats import Faults, File, Row, open_file
from siamese.pairs.groups import from_groups
from siamese.pairs.huggingface import names_data_set, open_data_set
from siamese.pairs.pairs import PARTS, Columns, Pairs
from siamese.text.ragged import Texts

QUORA = Columns()


def read_pairs(
    path: str | Path, columns: Columns = QUORA, *, labelled: bool = True, need: tuple[int, ...] = (0, 1)
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
    return pairs_of_rows(open_records(path), Faults(str(path)), columns, labelled=labelled, need=need)


def open_records(path: str | Path) -> File:
    """Open a file by its ending, or a data set, hf:NAME."""
    return open_data_set(str(path)) if names_data_set(path) else open_file(path)


def pairs_of_rows(
    file: File, faults: Faults, columns: Columns, *, labelled: bool = True, need: tuple[int, ...] = (0, 1)
) -> Pairs:
    """Make pairs of rows, whatever they are read from: see `read_pairs`."""
    if not file.names:
        raise DataError(f"{faults.path}: empty; expected columns {_expected(columns, labelled)}")
    if {columns.question, columns.group} <= set(file.names) and columns.question1 not in file.names:
        pairs = _from_questions(file, faults, columns)
    else:
        pairs = _from_pairs(file, faults, columns, labelled)
    for label, meaning in ((1, "duplicate pairs (label 1)"), (0, "non-duplicate pairs (label 0)")):
        if labelled and label in need and not (pairs.labels == label).any():
            raise DataError(
                f"{faults.path}: {faults.rows} rows and no usable {meaning}; at least one is needed{faults}"
            )
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
            f"{faults.path}{'' if faults.strict else ', line 1'}: no column {', '.join(map(repr, missing))}; "
            f"it has {has}. Expected {_expected(columns, labelled)}; "
            "other names are given by --question1, --question2, --label, or by Columns"
        )

    def check(record: Row) -> str | None:
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
    def check(record: Row) -> str | None:
        reason = _question_fault(record, columns.question)
        if not reason and record.get(columns.group) in (None, ""):
            reason = f"{columns.group} is missing or empty"
        return reason

    groups: dict[str, list[str]] = {}
    for record in faults.without(file.records, check):
        groups.setdefault(str(record[columns.group]), []).append(record[columns.question])
    faults.check()
    return from_groups(groups)


def _question_fault(record: Row, name: str) -> str | None:
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
