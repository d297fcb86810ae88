"""Read the questions of an archive as they are stored: one, a page of them, or all into a file."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siamese.archive import payloads, tables
from siamese.archive.changes import checked_id
from siamese.archive.database import Database
from siamese.system.csv_output import cells_for, names_beside, writing_csv

OWN = ("id", "question")  # columns of an export before those of the payloads
PREFIX = "payload_"  # of those that are called as these


@dataclass(frozen=True)
class Record:
    """A question of an archive."""

    id: str
    question: str
    payload: dict[str, Any]  # its further columns


def one(database: Database, id: str) -> Record | None:
    """Return the question with an id, or None. Call it within `reading`."""
    return next(_records(database, "id = ?", (id,)), None)


def page(database: Database, where: Mapping[str, Any], after: str | None, limit: int | None) -> list[Record]:
    """Return questions in the order of their ids, as text. Call it within `reading`.

    Args:
        database: the archive.
        where: as in `Database.rows_where`.
        after: only ids behind this one.
        limit: the most to return; None: all.
    """
    condition, values = payloads.condition(database.connection, where, tables.columns(database.facts))
    sql = f"{condition} AND id > ? ORDER BY id LIMIT ?"
    return list(_records(database, sql, (*values, checked_id(after) if after else "", -1 if limit is None else limit)))


def export(database: Database, out: str | Path, progress: Callable[[int, int], None]) -> int:
    """Write all questions with ids and payloads to a file, whose ending names the format. Return their number."""
    with database.reading() as meta:
        columns, total = tables.columns(meta), meta["questions"]
        with writing_csv(out, names_beside(OWN, columns, PREFIX)) as writer:
            for done, record in enumerate(_records(database, "1 ORDER BY row"), 1):
                cells = (record.payload.get(name) for name in columns)
                writer.writerow(cells_for(out, itertools.chain((record.id, record.question), cells)))
                progress(done, total)
    return int(total)


def _records(database: Database, condition: str, values: tuple[Any, ...] = ()) -> Iterator[Record]:
    for _, id, question, payload in database.all_stored(condition, values):
        yield Record(id, question, payloads.parse(payload))
