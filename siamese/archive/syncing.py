"""Bring an archive to the state of a file: add what is new, change what differs, remove what is missing.

A question whose text changes gets another row, since its old vector must stay readable until the transaction commits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from siamese.archive import changes, payloads, tables, words
from siamese.archive.changes import Block
from siamese.archive.database import Database
from siamese.archive.rows import Rows
from siamese.errors import ArchiveError, UserError
from siamese.model.model import SiameseModel

KNOWN = ("error", "skip", "update")


@dataclass(frozen=True)
class Changes:
    """The ids that a change concerned; `unchanged` are those that were given, but did not differ or were skipped."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Treatment:
    """How to treat questions that the archive has."""

    known: str = "error"  # one of KNOWN: what to do with an id that is there
    remove_missing: bool = False
    force: bool = False  # remove even more than half of the questions

    def __post_init__(self) -> None:
        if self.known not in KNOWN:
            raise UserError(f"known {self.known!r}: expected one of {', '.join(KNOWN)}")
        if self.remove_missing and self.known == "error":
            raise UserError("removing what is missing (--remove-missing) needs known ids skipped or updated (--known)")


def sync(database: Database, model: SiameseModel, change: Rows, blocks: Iterable[Block], how: Treatment) -> Changes:
    """Bring an archive to the state of blocks, of which one is in memory at a time.

    Raises:
        ArchiveError: an id is given twice, or is there and `known` is "error" (`position` is its place in its block);
            more than half of the questions would be removed without `force`.
    """
    seen, done = np.zeros(change.meta["rows"], bool), Changes()
    for block in blocks:
        if how.known == "error":
            done.added.extend(changes.append(database, model, change, block))
        else:
            _sync(database, model, change, block, how.known == "update", seen, done)
    if how.remove_missing:
        done.removed.extend(_remove_missing(database, change, np.flatnonzero(~seen).tolist(), len(seen), how.force))
    words.add(change.connection, len(seen))
    if change.meta["rows"] > change.meta["questions"]:  # some were removed, or got another row
        words.purge(change.connection)
    return done


def update(
    database: Database, model: SiameseModel, change: Rows, id: str, question: str | None,
    payload: Mapping[str, Any] | None,
) -> bool:  # fmt: skip
    """Change the text of a question, or values of its payload, unless they are None. Return whether any differed.

    Raises:
        ArchiveError: there is no such id.
    """
    if (stored := database.stored("id", changes.checked_id(id))) is None:
        raise ArchiveError(f"no question has the id {id!r}", 0)
    block = Block([stored[2] if question is None else question], [id], [payload or {}])
    return bool(sync(database, model, change, [block], Treatment("update")).changed)


def _sync(
    database: Database, model: SiameseModel, change: Rows, block: Block, update: bool, seen: np.ndarray, done: Changes
) -> None:
    """Add the new questions of a block, and change the others; `seen` marks the rows that were there at the start."""
    ids, kept = changes.ids_of(block), tables.kept(change.meta)
    places, texts, cells, old = list[int](), list[str](), list[Mapping[str, Any]](), dict[int, tuple[str, str]]()
    for place, (id, question) in enumerate(zip(ids, block.questions)):
        stored = database.stored("id", changes.checked_id(id, place))
        if stored is None:
            done.added.append(id)
        else:
            row, _, text, payload = stored
            if row >= len(seen) or seen[row]:
                raise ArchiveError(f"the id {id!r} is given twice", place)
            seen[row] = True
            earlier = payloads.parse(payload)
            merged = changes.payload_of(block, place, kept, earlier) if update else earlier
            if not update or (question == text and merged == earlier):
                done.unchanged.append(id)
                continue
            done.changed.append(id)
            if question == text:
                changes.repay(change, row, id, text, merged)
                continue
            old[row] = id, text
        places.append(place)
        texts.append(question)
        cells.append(changes.payload_of(block, place, kept) if stored is None else merged)
    changes.remove(change, old)
    try:
        changes.append(database, model, change, Block(texts, [ids[place] for place in places], cells))
    except ArchiveError as error:
        if error.position is not None:
            error.position = places[error.position]
        raise


def _remove_missing(database: Database, change: Rows, missing: list[int], count: int, force: bool) -> list[str]:
    """Remove the questions of these rows, of so many that there were. Return their ids."""
    if len(missing) > count / 2 and not force:
        raise ArchiveError(
            f"{len(missing):,} of its {count:,} questions are missing in what is added, more than half; is that cut "
            "off? Nothing was changed; --force (force=True from Python) removes them"
        )
    found = {row: stored[1:3] for row in missing if (stored := database.stored("row", row))}
    changes.remove(change, found)
    return [id for id, _ in found.values()]
