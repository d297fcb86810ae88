"""Data sets of the Hugging Face hub, and local folders of one, read by the library `datasets`.

They are named hf:NAME[:CONFIG[:SPLIT]], where a path is given by the name of a file otherwise:

    hf:nyu-mll/glue:qqp             the configuration qqp, with its splits
    hf:nyu-mll/glue:qqp:validation  one split of it
    hf:NAME::train                  one split of a data set without configurations
    hf:path/to/folder               what `save_to_disk` wrote, or CSV, JSON lines or Parquet files
"""

import hashlib
import itertools
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from siamese.errors import DataError, UserError
from siamese.pairs.formats import ROWS_AT_A_TIME, File, Row
from siamese.pairs.pairs import PARTS
from siamese.system.optional import optional

if TYPE_CHECKING:
    import datasets

PREFIX = "hf:"
FORM = "hf:NAME, hf:NAME:CONFIG or hf:NAME:CONFIG:SPLIT (CONFIG may be empty)"
NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
MOST_CHARACTERS = 300  # letters of a reason
DUPLICATE = {"1", "duplicate", "duplicates", "equivalent", "paraphrase", "same", "true", "yes"}  # names of a class

_cache_only = ContextVar("cache_only", default=False)


def names_data_set(path: object) -> bool:
    """Whether a path is the name of a data set instead."""
    return str(path).startswith(PREFIX)


@contextmanager
def from_cache() -> Iterator[None]:
    """Within the block data sets come from folders and from what was downloaded before, never from the network."""
    token = _cache_only.set(True)
    try:
        yield
    finally:
        _cache_only.reset(token)


def parse(name: str) -> tuple[str, str | None, str | None]:
    """The folder or the name on the hub, the configuration and the split of hf:NAME[:CONFIG[:SPLIT]].

    Raises:
        DataError: it is neither a folder nor the form of a name.
    """
    rest = name.removeprefix(PREFIX)
    fields = rest.split(":")
    # A folder's path may have colons of its own, as on Windows.
    for count in range(len(fields), 0, -1):
        if os.path.isdir(folder := ":".join(fields[:count])):
            fields = [folder, *fields[count:]]
            break
    else:
        if os.path.isfile(rest):
            raise DataError(f"{name}: a file; it is read without {PREFIX!r}")
        if not NAME.fullmatch(fields[0]):
            raise DataError(f"{name}: no such folder, and not a name on the Hugging Face hub; expected {FORM}")
    if len(fields) > 3:
        raise DataError(f"{name}: more than a configuration and a split; expected {FORM}")
    data, config, split = (*fields, "", "")[:3]
    return data, config or None, split or None


def open_data_set(name: str) -> File:
    """The rows of a data set, numbered through its splits; where there are several, a column `split` tells them apart.

    Where no split is named, those that are called train, validation and test
    are read, but for one without labels (-1, as where a benchmark keeps them
    to itself); a note on stderr names those that are left out.
    Labels with names are numbers afterwards: 1 for the class that is called
    duplicate, equivalent, paraphrase, same, true, yes or 1.

    Raises:
        UserError: the library `datasets` is not installed.
        DataError: no such data set, configuration or split, or it cannot be had or read.
    """
    with _refusing(name):
        splits = _chosen(name, _load(name))
        columns = {split: _columns(rows) for split, rows in splits.items()}
    several = len(splits) > 1
    names = list(dict.fromkeys(itertools.chain.from_iterable(columns.values())))

    def records() -> Iterator[tuple[int, Row | str]]:
        number = 0
        for split, rows in splits.items():
            for record in _records(name, rows):
                number += 1
                yield number, record | {"split": split} if several else record

    return File([*names, *(["split"] if several and "split" not in names else [])], records())


def checksum(name: str) -> str:
    """The SHA-256 of all rows, which is the same wherever and however the data set is kept."""
    digest = hashlib.sha256()
    for _, record in open_data_set(name).records:
        digest.update(json.dumps(record, sort_keys=True, default=str).encode() + b"\n")
    return digest.hexdigest()


Splits = dict[str, "datasets.Dataset | datasets.IterableDataset"]


def _load(name: str) -> Splits:
    """All splits; those of a folder are read as a stream, so that no copy of them is made."""
    data, config, _ = parse(name)
    datasets = optional("datasets", f"{name}: a data set of Hugging Face")
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    if not os.path.isdir(data):
        with _offline(_cache_only.get()):
            return dict(datasets.load_dataset(data, config))
    data = os.path.abspath(data)  # a relative one may be the name of a format, too
    with _offline(True):
        if any(os.path.isfile(os.path.join(data, file)) for file in ("state.json", "dataset_dict.json")):
            if config:
                raise DataError(f"{name}: what save_to_disk wrote has no configurations, such as {config!r}")
            saved = datasets.load_from_disk(data)
            return dict(saved) if isinstance(saved, dict) else {"train": saved}
        return dict(datasets.load_dataset(data, config, streaming=True))


def _chosen(name: str, splits: Splits) -> Splits:
    """The splits to read."""
    _, _, split = parse(name)
    shown = ", ".join(splits)
    if split is not None:
        if split not in splits:
            raise DataError(f"{name}: no split {split!r}; it has {shown}")
        return {split: splits[split]}
    if len(splits) == 1:
        return splits
    chosen = {part: splits[part] for part in PARTS if part in splits and not _is_unlabelled(splits[part])}
    if not chosen:
        raise DataError(f"{name}: its splits are {shown}; name the one to read, as hf:NAME:CONFIG:SPLIT")
    if left := [part for part in splits if part not in chosen]:
        _note(f"{name}: left out of it {', '.join(left)} (no labels, or another name)")
    return chosen


@cache
def _note(text: str) -> None:
    """Told once, however often the data set is read."""
    print(f"note: {text}", file=sys.stderr)


def _classes(rows: "datasets.Dataset | datasets.IterableDataset") -> dict[str, list[str]]:
    """The columns of labels that have names, with these."""
    import datasets

    features = rows.features or {}
    return {name: list(f.names or []) for name, f in features.items() if isinstance(f, datasets.ClassLabel)}


def _is_unlabelled(rows: "datasets.Dataset | datasets.IterableDataset") -> bool:
    first = next(iter(rows.with_format("arrow").iter(ROWS_AT_A_TIME)), None)
    labels = _classes(rows)
    return first is not None and bool(labels) and all(set(first[name].to_pylist()) <= {-1, None} for name in labels)


def _columns(rows: "datasets.Dataset | datasets.IterableDataset") -> list[str]:
    """The names of the columns; of a stream of CSV they are known from its first row."""
    return list(rows.column_names or next(iter(rows), {}))


def _records(name: str, rows: "datasets.Dataset | datasets.IterableDataset") -> Iterator[dict[str, Any]]:
    turned = [column for column, names in _classes(rows).items() if len(names) == 2 and names[0].lower() in DUPLICATE]
    with _refusing(name):
        for table in rows.with_format("arrow").iter(ROWS_AT_A_TIME):
            for record in table.to_pylist():
                for column in turned:  # class 0 is that of the duplicates
                    record[column] = {0: 1, 1: 0}.get(record[column], record[column])
                yield record


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Whatever the library cannot do is told in a line: it raises errors of many other libraries."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = error.__cause__ if type(error).__name__ == "DatasetGenerationError" and error.__cause__ else error
        text = " ".join(str(reason).split()) or type(reason).__name__
        raise DataError(f"{name}: cannot be read: {text[:MOST_CHARACTERS]}") from error


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Within the block the library and its client of the hub keep off the network, where that is wanted."""
    import huggingface_hub.constants
    from datasets import config

    homes: list[Any] = [config, huggingface_hub.constants]  # the one variable, which each reads for itself
    before = [home.HF_HUB_OFFLINE for home in homes]
    try:
        for home in homes:
            home.HF_HUB_OFFLINE = home.HF_HUB_OFFLINE or wanted
        yield
    finally:
        for home, value in zip(homes, before):
            home.HF_HUB_OFFLINE = value
