"""The tables of an archive's database, in this format and in earlier ones.

Format 1, of version 0.1.0, has no id and no checksums; format 2 has no payloads. Both are read as they are, and the
first change turns them into format 3.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from siamese.archive import remembered, words
from siamese.archive.sqlite import DATABASE
from siamese.config import PACKAGED
from siamese.errors import ArchiveError, UserError
from siamese.model.model import SiameseModel, fingerprint

FORMAT = 3

# `blank` has the rows whose vector counts as 0: questions without a known word, and removed questions.
SUMS = "CREATE TABLE sums(block INTEGER PRIMARY KEY, crc INTEGER NOT NULL)"
_PAYLOAD = "payload TEXT NOT NULL DEFAULT '{}'"  # a JSON object
_SCHEMA = f"""
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE questions(
    row INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, question TEXT NOT NULL, crc INTEGER, {_PAYLOAD});
CREATE TABLE blank(row INTEGER PRIMARY KEY, wiped INTEGER NOT NULL);
{SUMS};
"""
COUNTS = ("rows", "questions", "number", "changes")  # of questions; the last number given as an id; of transactions
ALL = "null"  # columns to keep: a JSON list of their names, or this for all

Meta = dict[str, Any]  # the table: format, model, fingerprint, dimensions, id, keep, columns, and COUNTS


def create(connection: sqlite3.Connection, facts: Mapping[str, Any]) -> None:
    """Create the tables of an empty archive; `facts` are model, fingerprint, dimensions and keep."""
    connection.executescript(_SCHEMA)
    words.create(connection)
    remembered.create(connection)
    counts = dict.fromkeys(COUNTS, 0)
    meta = {"format": FORMAT, "keep": ALL, "columns": "[]", **facts, **counts}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())


def read_meta(connection: sqlite3.Connection, folder: Path) -> Meta:
    """Return the table of facts. Raise ArchiveError if it is damaged, or of a later format."""
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    if meta.get("format") not in (1, 2, FORMAT):
        raise ArchiveError(f"{folder}: an archive of format {meta.get('format')!r}; expected {FORMAT}")
    kinds: dict[str, type] = {"model": str, "fingerprint": str, "dimensions": int, **dict.fromkeys(COUNTS, int)}
    kinds |= {"id": str} if meta["format"] > 1 else {}
    kinds |= {"keep": str, "columns": str} if meta["format"] > 2 else {}
    for key, kind in kinds.items():
        value = meta.get(key)
        if type(value) is not kind or (isinstance(value, int) and value < (key == "dimensions")):
            raise ArchiveError(f"{folder / DATABASE}: damaged: {key} is {value!r}")
    return meta


def stored(meta: Mapping[str, Any]) -> str:
    """Return the source, for SELECT, of the columns row, id, question, payload, and right: whether they are intact."""
    right = ("1", "crc IS crc(row, id, question)", "crc IS crc(row, id, question, payload)")[meta["format"] - 1]
    payload = "payload" if meta["format"] > 2 else "'{}' AS payload"
    return f"(SELECT row, id, question, {payload}, {right} AS right FROM questions)"


def add_sums(connection: sqlite3.Connection) -> None:
    """Turn the tables of format 1 into those of format 2, without the checksums of the vectors."""
    connection.execute("ALTER TABLE questions ADD COLUMN crc INTEGER")
    connection.execute("UPDATE questions SET crc = crc(row, id, question)")
    connection.execute(SUMS)


def add_payloads(connection: sqlite3.Connection, meta: Meta) -> None:
    """Turn the tables of format 2 into those of format 3."""
    connection.execute(f"ALTER TABLE questions ADD COLUMN {_PAYLOAD}")
    remembered.create(connection)
    meta |= {"keep": ALL, "columns": "[]", "format": FORMAT}


def kept(meta: Mapping[str, Any]) -> list[str] | None:
    """Return the columns that the archive keeps beside id and question; None: all."""
    return _names(meta, "keep", ALL)


def keeping(names: Iterable[str] | None) -> str:
    """Return what `kept` reads."""
    if isinstance(names, str):
        raise UserError("keep: one string instead of several names; put it in a list")
    return ALL if names is None else json.dumps(list(names), ensure_ascii=False)


def columns(meta: Mapping[str, Any]) -> list[str]:
    """Return the names that occur in the payloads, as they came."""
    return _names(meta, "columns", "[]") or []


def _names(meta: Mapping[str, Any], key: str, default: str) -> list[str] | None:
    try:
        found = json.loads(meta.get(key, default))
        if found is None or (isinstance(found, list) and all(isinstance(name, str) for name in found)):
            return found
    except ValueError:
        pass
    raise ArchiveError(f"{DATABASE}: damaged: {key} is {meta[key]!r}")


def facts_of(model: SiameseModel, name: str) -> dict[str, Any]:
    """Return what an archive stores of its model. Raise UserError if the model's vectors depend on their batch."""
    if model.config.padding != "none":
        shown = name or "the model"
        raise UserError(f"{shown} averages the padding, so its vectors depend on their batch; use another preset")
    name = str(Path(name).resolve()) if name not in PACKAGED and os.path.isdir(name) else name  # else of an encoder
    return {"model": name, "fingerprint": fingerprint(model), "dimensions": model.dimensions}
