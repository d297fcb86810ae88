"""Read data sets of the Hugging Face hub, or local folders of one, by the library `datasets`.

They are named hf:NAME[:CONFIG[:SPLIT]], in place of the path of a file:

    hf:nyu-mll/glue:qqp             the configuration qqp, with its splits
    hf:nyu-mll/glue:qqp:validation  one split of it
    hf:NAME::train                  one split of a data set without configurations
    hf:path/to/folder               the output of `save_to_disk`, or CSV, JSON lines or Parquet files
"""

import hashlib
import itertools
import json
import os
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from siamese.errors import DataError
from siamese.pairs.cells import part_of
from siamese.pairs.formats import ROWS_AT_A_TIME, File, Row, refusing
from siamese.pairs.pairs import PARTS
from siamese.system.console import say
from siamese.system.optional import optional

if TYPE_CHECKING:
    import datasets

PREFIX = "hf:"
FORM = "hf:NAME, hf:NAME:CONFIG or hf:NAME:CONFIG:SPLIT (CONFIG may be empty)"
NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
# Words in the names of classes. Others leave it open which class means duplicates.
SAME = {
    "1", "true", "yes", "positive", "duplicate", "duplicates", "duplicated", "dup", "equivalent", "paraphrase",
    "paraphrases", "paraphrased", "same", "similar", "alike", "identical", "equal", "match", "matching",
}  # fmt: skip
DIFFERENT = {"0", "false", "negative", "different", "distinct", "unique", "unlike", "mismatch"}
NOT = re.compile(r"not|non|no|isnt|(not|non|un|in|dis)(?P<rest>\w+)")
ASIDE = {"a", "an", "is", "are", "the", "question", "questions", "pair", "pairs", "semantically"}

_cache_only = ContextVar("cache_only", default=False)


def names_data_set(path: object) -> bool:
    """Return whether a path is the name of a data set instead."""
    return str(path).startswith(PREFIX)


@contextmanager
def from_cache() -> Iterator[None]:
    """Read data sets within the block from folders and the download cache only, never from the network."""
    token = _cache_only.set(True)
    try:
        yield
    finally:
        _cache_only.reset(token)


def parse(name: str) -> tuple[str, str | None, str | None]:
    """Return the folder or the name on the hub, the configuration and the split of hf:NAME[:CONFIG[:SPLIT]].

    Raises:
        DataError: it is neither a folder nor a name of this form.
    """
    rest = name.removeprefix(PREFIX)
    fields = rest.split(":")
    # The path of a folder may contain colons, as on Windows.
    for count in range(len(fields), 0, -1):
        if os.path.isdir(folder := ":".join(fields[:count])):
            fields = [folder, *fields[count:]]
            break
    else:
        if os.path.isfile(rest):
            raise DataError(f"{name}: a file; leave out {PREFIX!r}")
        if not NAME.fullmatch(fields[0]):
            raise DataError(f"{name}: no such folder, and not a name on the Hugging Face hub; expected {FORM}")
    if len(fields) > 3:
        raise DataError(f"{name}: more than a configuration and a split; expected {FORM}")
    data, config, split = (*fields, "", "")[:3]
    return data, config or None, split or None


def open_data_set(
    name: str, label: str | None = None, duplicate: str | None = None, wanted: Collection[str] | None = None
) -> File:
    """Open a data set. Its rows are numbered across splits; if there are several, a column `split` names them.

    If the name has no split, those that mean train, validation and test are read, except those without labels (-1, as
    in benchmarks that keep them secret). A note on stderr names the splits that are left out.

    Args:
        name: the data set.
        label: the column of labels. If these have names, as in ("equivalent", "different"), they become numbers: 1 for
            the class whose name means duplicates.
        duplicate: the name of that class, if the names do not say so.
        wanted: the columns to read, if others may be left out, which is done in folders of Parquet files; None: all.

    Raises:
        UserError: the library `datasets` is not installed.
        DataError: there is no such data set, configuration or split, it cannot be downloaded or read, or the names of
            the labels leave it open which means duplicates.
    """
    with refusing(name):
        loaded, names = _load(name, wanted)
        splits = _chosen(name, loaded)
        # A stream of CSV knows its columns from its first row.
        columns: list[Any] = [names or rows.column_names or next(iter(rows), {}) for rows in splits.values()]
    ones = {split: _class_of_duplicates(name, rows, label, duplicate) for split, rows in splits.items()}
    added = ["split"] if len(splits) > 1 else []
    names = list(dict.fromkeys([*itertools.chain.from_iterable(columns), *added]))

    def records() -> Iterator[Row]:
        with refusing(name):
            for split, rows in splits.items():
                tables = rows.with_format("arrow").iter(ROWS_AT_A_TIME)
                for record in itertools.chain.from_iterable(table.to_pylist() for table in tables):
                    if label and (one := ones[split]) is not None and record[label] in range(2**31):  # -1 is no label
                        record[label] = int(record[label] == one)
                    yield record | dict.fromkeys(added, split)

    return File(names, enumerate(records(), 1))


def checksum(name: str, label: str | None = None, duplicate: str | None = None) -> str:
    """Return the SHA-256 of all rows, which does not depend on how the data set is stored."""
    digest = hashlib.sha256()
    for _, record in open_data_set(name, label, duplicate).records:
        digest.update(json.dumps(record, sort_keys=True, default=str).encode() + b"\n")
    return digest.hexdigest()


Rows: TypeAlias = "datasets.Dataset | datasets.IterableDataset"
Splits = dict[str, Rows]


def _load(name: str, wanted: Collection[str] | None) -> tuple[Splits, list[str]]:
    """Load all splits, and the names of all columns if some are left out.

    The splits of a folder are streamed, so that no copy is made.
    """
    data, config, _ = parse(name)
    datasets = optional("datasets", f"{name}: a data set of Hugging Face")
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    if not os.path.isdir(data):
        with _offline(_cache_only.get()):
            return dict(datasets.load_dataset(data, config)), []
    data = os.path.abspath(data)  # a relative path could also be the name of a format
    with _offline(True):
        if any(os.path.isfile(os.path.join(data, file)) for file in ("state.json", "dataset_dict.json")):
            if config:
                raise DataError(f"{name}: a folder of save_to_disk has no configurations; leave out {config!r}")
            saved = datasets.load_from_disk(data)
            return dict(saved) if isinstance(saved, dict) else {"train": saved}, []
        builder = datasets.load_dataset_builder(data, config)
        splits, names = builder.as_streaming_dataset(), list[str]()
        if builder.name == "parquet":
            builder.config.batch_size = ROWS_AT_A_TIME
            names = list(builder.info.features)
            if wanted is not None and (kept := [name for name in names if name in wanted]):
                builder.config.columns = kept
                splits = builder.as_streaming_dataset()
        return dict(splits), names


def _chosen(name: str, splits: Splits) -> Splits:
    """Return the splits to read."""
    _, _, split = parse(name)
    shown = ", ".join(splits)
    if split is not None:
        if split not in splits:
            raise DataError(f"{name}: no split {split!r}; it has {shown}")
        return {split: splits[split]}
    if len(splits) == 1:
        return splits
    ordered = sorted((part for part in splits if part_of(part)), key=lambda part: PARTS.index(str(part_of(part))))
    chosen = {part: splits[part] for part in ordered if not _is_unlabelled(splits[part])}
    if not chosen:
        raise DataError(f"{name}: its splits are {shown}; name the one to read, as hf:NAME:CONFIG:SPLIT")
    if left := [part for part in splits if part not in chosen]:
        _note(f"{name}: without its splits {', '.join(left)} (no labels, or another name)")
    return chosen


@cache
def _note(text: str) -> None:
    """Print a note, once however often the data set is read."""
    say(f"note: {text}")


def _classes(rows: Rows) -> dict[str, list[str]]:
    """Return the columns of labels with names, and these names."""
    import datasets

    features = rows.features or {}
    return {name: list(f.names or []) for name, f in features.items() if isinstance(f, datasets.ClassLabel)}


def _is_unlabelled(rows: Rows) -> bool:
    first = next(iter(rows.with_format("arrow").iter(ROWS_AT_A_TIME)), None)
    labels = _classes(rows)
    return first is not None and bool(labels) and all(set(first[name].to_pylist()) <= {-1, None} for name in labels)


def _class_of_duplicates(name: str, rows: Rows, label: str | None, duplicate: str | None) -> int | None:
    """Return the number of the class that means duplicates, or None if the labels have no names."""
    names = _classes(rows).get(str(label), [])
    ask = f"name the class of duplicates: --duplicate-class NAME, or Columns(duplicate=NAME); the classes are {names}"
    if duplicate is not None:
        if duplicate not in names:
            raise DataError(f"{name}: {label} has no class {duplicate!r}; {ask}")
        return names.index(duplicate)
    if not names:
        return None
    meanings = [_meaning(one) for one in names]
    if sorted(meanings) != [-1, 1]:
        raise DataError(f"{name}: the names of the classes of {label} leave open which means duplicates; {ask}")
    return meanings.index(1)


def _meaning(name: str) -> int:
    """Return what the name of a class means: 1 for duplicates, -1 for non-duplicates, 0 if that is open."""
    sign, meaning = 1, 0
    words = re.findall(r"[a-z]+|\d+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower().replace("'", ""))
    for word in words:
        if word in SAME | DIFFERENT:
            meaning = meaning or (1 if word in SAME else -1)
        elif (no := NOT.fullmatch(word)) and (no["rest"] is None or no["rest"] in SAME | DIFFERENT):
            sign, meaning = -sign, meaning or (no["rest"] and (1 if no["rest"] in SAME else -1)) or 0
        elif word not in ASIDE:
            return 0
    return -1 if words == ["no"] else sign * meaning


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Keep the library and its hub client off the network within the block, if wanted."""
    import huggingface_hub.constants
    from datasets import config

    homes: list[Any] = [config, huggingface_hub.constants]  # both have their own copy of the variable
    before = [home.HF_HUB_OFFLINE for home in homes]
    try:
        for home in homes:
            home.HF_HUB_OFFLINE = home.HF_HUB_OFFLINE or wanted
        yield
    finally:
        for home, value in zip(homes, before):
            home.HF_HUB_OFFLINE = value
