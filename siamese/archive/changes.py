"""Add, update and remove questions within a transaction of an archive."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
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

_NONE: Mapping[str, Any] = {}


class Block(NamedTuple):
    """Questions that enter an archive."""

    questions: Sequence[str]
    ids: Sequence[str] | None = None  # None numbers them
    payloads: Sequence[Mapping[str, Any]] | None = None  # the further columns of each


def append(database: Database, model: SiameseModel, change: Rows, block: Block) -> list[str]:
    """Add questions that the archive does not have, except to the index of words. Return their ids.

    Raises:
        ArchiveError: an id exists or is given twice, or a value cannot be stored (`position` is its place).
    """
    questions, meta = block.questions, change.meta
    given = _numbers(database, len(questions), meta) if block.ids is None else ids_of(block)
    if block.payloads is not None and len(block.payloads) != len(questions):
        raise UserError(f"{len(questions)} questions and {len(block.payloads)} payloads; give each question one")
    texts = [payloads.EMPTY] * len(questions)
    if block.payloads:
        kept = tables.kept(meta)
        cells = [payload_of(block, position, kept) for position in range(len(questions))]
        _note_columns(meta, cells)
        texts = list(map(payloads.text_of, cells))
    vectors = model.encode(questions)
    for position, record in enumerate(zip(count(meta["rows"]), given, questions, texts)):
        _insert(database, record, position)
    blank = meta["rows"] + np.flatnonzero(~vectors.any(axis=1))
    change.connection.executemany("INSERT INTO blank VALUES (?, 1)", ((row,) for row in blank.tolist()))
    change.append(vectors)
    meta["questions"] += len(given)
    return given


def ids_of(block: Block) -> list[str]:
    """Return the ids of a block. Raise UserError if a question has none."""
    if block.ids is None:
        raise UserError("no ids, by which known questions are found; give each question an id")
    if len(block.ids) != len(block.questions):
        raise UserError(f"{len(block.questions)} questions and {len(block.ids)} ids; give each question one id")
    return list(block.ids)


def payload_of(
    block: Block, position: int, kept: Collection[str] | None, earlier: Mapping[str, Any] = _NONE
) -> dict[str, Any]:
    """Return the payload of a question, with the columns that the archive keeps, as a change of an earlier one."""
    cells = block.payloads[position] if block.payloads is not None else _NONE
    if kept is not None:
        cells = {name: cells[name] for name in cells if name in kept}
    try:
        return payloads.merged(earlier, cells)
    except Refused as fault:
        raise ArchiveError(str(fault), position) from None


def repay(change: Rows, row: int, id: str, question: str, payload: Mapping[str, Any]) -> None:
    """Give a question another payload."""
    _note_columns(change.meta, [payload])
    text = payloads.text_of(payload)
    sql = "UPDATE questions SET payload = ?, crc = ? WHERE row = ?"
    change.connection.execute(sql, (text, text_sum(row, id, question, text), row))


def remove(change: Rows, found: Mapping[int, tuple[str, str]]) -> None:
    """Remove questions, given by row, id and text; `words.purge` then removes the last traces of their words."""
    words.remove(change.connection, [(row, text) for row, (_, text) in found.items()])
    remembered.forget(change.connection, (id for id, _ in found.values()))
    change.connection.executemany("DELETE FROM questions WHERE row = ?", ((row,) for row in found))
    change.blot(list(found))
    change.meta["questions"] -= len(found)


def _note_columns(meta: Meta, payloads: Iterable[Mapping[str, Any]]) -> None:
    known = tables.columns(meta)
    names = dict.fromkeys(known)
    for payload in payloads:
        names |= dict.fromkeys(payload)
    for name in list(names)[len(known) :]:
        if not isinstance(name, str) or name.encode(errors="replace").decode() != name:
            raise ArchiveError(f"a column is called {name!r}; expected a text")
    meta["columns"] = json.dumps(list(names), ensure_ascii=False)


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
        raise ArchiveError(f"the id {id!r} is taken: update it, or use another", position) from None
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
