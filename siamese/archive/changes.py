"""Add, update and remove questions within a transaction of an archive."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from siamese.archive import payloads, remembered, tables, words
from siamese.archive.database import Database
from siamese.archive.rows import Rows
from siamese.archive.sqlite import text_sum
from siamese.archive.tables import Meta
from siamese.errors import ArchiveError, UserError
from siamese.model.model import SiameseModel
from siamese.pairs.cells import Refused


class Block(NamedTuple):
    """Questions that enter an archive."""

    questions: Sequence[str]
    ids: Sequence[str] | None = None  # None numbers them
    payloads: Sequence[Mapping[str, Any]] | None = None  # the further columns of each


def append(database: Database, model: SiameseModel, change: Rows, block: Block) -> list[str]:
    """Add questions that the archive does not have. Return their ids.

    Raises:
        ArchiveError: an id exists or is given twice, or a value cannot be stored (`position` is its place).
    """
    questions, meta = block.questions, change.meta
    given = list(block.ids) if block.ids is not None else _numbers(database, len(questions), meta)
    if len(given) != len(questions):
        raise UserError(f"{len(questions)} questions and {len(given)} ids; give each question one id")
    texts = payload_texts(block, meta)
    vectors = model.encode(questions)
    for position, record in enumerate(zip(count(meta["rows"]), given, questions, texts)):
        _insert(database, record, position)
    blank = meta["rows"] + np.flatnonzero(~vectors.any(axis=1))
    change.connection.executemany("INSERT INTO blank VALUES (?, 1)", ((row,) for row in blank.tolist()))
    change.append(vectors)
    meta["questions"] += len(given)
    return given


def payload_texts(block: Block, meta: Meta) -> list[str]:
    """Return the payload of each question as it is stored, with the columns that the archive keeps."""
    if block.payloads is None:
        return [payloads.EMPTY] * len(block.questions)
    if len(block.payloads) != len(block.questions):
        raise UserError(f"{len(block.questions)} questions and {len(block.payloads)} payloads; give each question one")
    kept, names, texts = tables.kept(meta), dict.fromkeys(tables.columns(meta)), []
    for position, cells in enumerate(block.payloads):
        try:
            chosen = cells if kept is None else {name: cells[name] for name in kept if name in cells}
            payload = payloads.merged({}, chosen)
        except Refused as fault:
            raise ArchiveError(str(fault), position) from None
        names |= dict.fromkeys(payload)
        texts.append(payloads.text_of(payload))
    meta["columns"] = json.dumps(list(names), ensure_ascii=False)
    return texts


def remove(change: Rows, found: Mapping[int, tuple[str, str]]) -> None:
    """Remove questions, given by row, id and text."""
    words.remove(change.connection, [(row, text) for row, (_, text) in found.items()])
    remembered.forget(change.connection, (id for id, _ in found.values()))
    change.connection.executemany("DELETE FROM questions WHERE row = ?", ((row,) for row in found))
    change.blot(list(found))
    change.meta["questions"] -= len(found)


def checked_id(value: str, position: int | None = None) -> str:
    """Return an id. Raise ArchiveError if it is empty or no valid text."""
    try:
        if isinstance(value, str) and value and value.encode():
            return value
    except UnicodeEncodeError:
        pass
    raise ArchiveError(f"the id {value!r}: expected a text that is not empty", position)


def _insert(database: Database, record: tuple[int, str, str, str], position: int) -> None:
    row, id, question, payload = record
    try:
        checked_id(id, position)
        crc = text_sum(row, id, question, payload)
        database.execute("INSERT INTO questions VALUES (?, ?, ?, ?, ?)", (row, id, question, crc, payload))
    except sqlite3.IntegrityError:
        raise ArchiveError(f"the id {id!r} is there already", position) from None
    except UnicodeEncodeError:
        raise ArchiveError(f"{question[:40]!r} has half a character", position) from None


def _numbers(database: Database, n: int, meta: Meta) -> list[str]:
    """Return the next n numbers that no question has as its id. None is returned twice, even after a removal."""
    numbers: list[str] = []
    while len(numbers) < n:
        meta["number"] += 1
        if database.stored("id", str(meta["number"])) is None:
            numbers.append(str(meta["number"]))
    return numbers
