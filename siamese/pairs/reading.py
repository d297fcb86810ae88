"""Read labelled pairs, or questions in groups: from files, data sets or DataFrames, without pandas."""

import dataclasses
import warnings
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from siamese.errors import DataError
from siamese.pairs.cells import is_missing, label_in, needed, part_of, text_of
from siamese.pairs.formats import Faults, File, Row
from siamese.pairs.groups import from_groups
from siamese.pairs.pairs import PARTS, Columns, Pairs
from siamese.pairs.tables import Frame, check_once, names_of, open_table, rows_of
from siamese.text.ragged import Texts

QUORA = Columns()
IN_COLUMN = ("", *PARTS)  # the parts that a row may belong to

PairsLike = Pairs | Frame | str | Path


def read_pairs(
    path: str | Path, columns: Columns = QUORA, *, labelled: bool = True, need: tuple[int, ...] = (0, 1)
) -> Pairs:
    """Read pairs from a CSV, TSV, JSON, Parquet or Excel file, or from a data set.

    A file with the columns `question` and `group` holds questions instead. Those of one group are duplicates, and
    `from_groups` makes pairs of them.

    Args:
        path: the file, whose ending names the format; or a data set, hf:NAME, as in `siamese.pairs.huggingface`.
        columns: the names of the columns. Others are ignored, except `unseen`, `split` and `id`.
        labelled: False if no label is needed.
        need: labels that must occur at least once.

    Raises:
        DataError: there is no such file, its format or encoding is another, a column is missing, more than 1 % of the
            rows (and more than two) are faulty, or a needed label does not occur.
    """
    names = {*dataclasses.astuple(columns), "id", "unseen", "split"} - {None}
    file = open_table(path, names, columns.label if labelled else None, columns.duplicate)
    check_once(file.names, f"{path}, line 1", names)
    return _pairs_of_rows(file, Faults(str(path)), columns, labelled=labelled, need=need)


def pairs_of(data: PairsLike, columns: Columns = QUORA, *, need: tuple[int, ...] = (0, 1)) -> Pairs:
    """Return labelled pairs from a DataFrame, a file or `Pairs`.

    Args:
        data: `Pairs`, returned as they are; a DataFrame with the columns question1, question2, is_duplicate and
            optionally unseen, split and id (or question and group); the path of a file, or hf:NAME.
        columns: the names of the columns.
        need: labels that must occur at least once, in a DataFrame or a file.

    Raises:
        DataError: a column is missing; a DataFrame has a question that is missing, NaN, empty or not text, or a label
            that is not 0 or 1; a file cannot be used, as in `read_pairs`.
    """
    if isinstance(data, Pairs):
        return data
    if isinstance(data, str | Path):
        return read_pairs(data, columns, need=need)
    if not hasattr(data, "columns"):
        raise DataError(f"pairs: {type(data).__name__} cannot be read; give Pairs, a DataFrame or the path of a file")
    file, faults = File(names_of(data), rows_of(data)), Faults("the DataFrame", "row", True)
    return _pairs_of_rows(file, faults, columns, need=need)


def name_of(data: PairsLike) -> str:
    """Return the name of pairs for a message: the path of their file, or "the pairs"."""
    return str(data) if isinstance(data, str | Path) else "the pairs"


def _pairs_of_rows(
    file: File, faults: Faults, columns: Columns, *, labelled: bool = True, need: tuple[int, ...] = (0, 1)
) -> Pairs:
    """Make pairs of the rows of any source; see `read_pairs`."""
    with_label = f", {columns.label}" if labelled else ""
    expected = f"{columns.question1}, {columns.question2}{with_label} (or {columns.question}, {columns.group})"
    if not file.names:
        raise DataError(f"{faults.path}: empty; expected columns {expected}")
    if {columns.question, columns.group} <= set(file.names) and columns.question1 not in file.names:
        pairs = _from_questions(file, faults, columns)
    else:
        pairs = _from_pairs(file, faults, columns, labelled, expected)
    for label, meaning in ((1, "duplicate pairs (label 1)"), (0, "non-duplicate pairs (label 0)")):
        if labelled and label in need and not (pairs.labels == label).any():
            lack = f"{faults.rows} rows and no usable {meaning}; at least one is needed"
            raise DataError(f"{faults.path}: {lack}{faults}")
    return dataclasses.replace(pairs, rows=faults.rows, faults=faults.shown, skipped=faults.count)


def _from_pairs(file: File, faults: Faults, columns: Columns, labelled: bool, expected: str) -> Pairs:
    wanted = [columns.question1, columns.question2, *([columns.label] if labelled else [])]
    if missing := [name for name in wanted if name not in file.names]:
        has = ", ".join(repr(name[:40]) for name in file.names[:20])
        lack = f"{'' if faults.strict else ', line 1'}: no column {', '.join(map(repr, missing))}; it has {has}"
        other = "other names are given by --question1, --question2, --label, or by Columns"
        raise DataError(f"{faults.path}{lack}. Expected {expected}; {other}")

    more = {name: name in file.names for name in ("id", "unseen", "split")}
    labels, unseen, parts, unknown = array("b"), array("b"), array("b"), Counter[str]()

    def parse(record: Row) -> tuple[list[str], int, bool, str]:
        texts = [needed(record.get(name), name) for name in (columns.question1, columns.question2)]
        label = label_in(record.get(columns.label), columns.label) if labelled else -1
        texts += [text_of(record.get("id"), "id", whole=True) or ""] if more["id"] else []
        new = more["unseen"] and not is_missing(record.get("unseen")) and label_in(record["unseen"], "unseen") == 1
        return texts, label, new, (text_of(record.get("split"), "split") or "") if more["split"] else ""

    def texts() -> Iterator[str]:
        for texts, label, new, split in faults.without(file.records, parse):
            labels.append(label)
            unseen.append(new)
            part = part_of(split) or ""
            if split and not part:
                unknown[split[:40]] += 1
            parts.append(IN_COLUMN.index(part))
            yield from texts

    all_texts = Texts.of(texts())  # interleaved, so that no row stays in memory as an object
    faults.check()
    if unknown:
        found = ", ".join(f"{name!r} in {count:,} rows" for name, count in unknown.most_common(5))
        raise DataError(f"{faults.path}: split is {found}; use train, validation (dev, valid, val, eval) or test")
    first = np.arange(0, len(all_texts), 3 if more["id"] else 2)
    return Pairs(
        all_texts.take(first),
        all_texts.take(first + 1),
        np.array(labels, np.int8),
        np.array(unseen, bool) if more["unseen"] else None,
        np.array(IN_COLUMN)[np.array(parts, np.int8)] if more["split"] else None,
        all_texts.take(first + 2) if more["id"] else None,
    )


def _from_questions(file: File, faults: Faults, columns: Columns) -> Pairs:
    def parse(record: Row) -> tuple[str, str]:
        question = needed(record.get(columns.question), columns.question)
        return question, needed(record.get(columns.group), columns.group, whole=True)

    groups: dict[str, list[str]] = {}
    for question, group in faults.without(file.records, parse):
        groups.setdefault(group, []).append(question)
    faults.check()
    alike: dict[str, list[str]] = {}
    for group in groups:
        alike.setdefault(" ".join(group.lower().split()), []).append(group)
    if same := [names for names in alike.values() if len(names) > 1]:
        shown = f"{len(same):,} groups differ in spaces or case alone, such as {same[0][0]!r} and {same[0][1]!r}"
        warnings.warn(f"{faults.path}: the names of {shown}; they are kept apart", stacklevel=2)
    return from_groups(groups)
