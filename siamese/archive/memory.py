"""Read and write what an archive remembers of mining; `remembered` has the tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from siamese.archive import remembered, tables
from siamese.archive.database import Database
from siamese.errors import ArchiveError

_NEXT = "next_cluster"  # key of the number that no cluster had yet
_TABLES_SINCE = 3  # format of archives
_CACHE, _SMALL_CACHE = 65_536, 2_000  # KiB of SQLite's pages, while a result is written and otherwise


class Numbered(NamedTuple):
    """The numbers of clusters: of each question in one, by its id, and the next that was never given."""

    number: dict[str, int]
    next: int


class Result(NamedTuple):
    """What a run of mining found, for `Memory.write`."""

    mined: dict[str, bool]  # every question that was compared now or before, by its id: whether it is a copy
    texts: dict[str, str]  # of the questions of the archive when it was read, by their ids
    pairs: Iterable[tuple[str, str, int, int | None]]  # new ones, by their ids; similarity and score in millionths
    settings: dict[str, Any]
    clusters: Numbered | None  # None: as before


@dataclass(frozen=True)
class Snapshot:
    """An archive at one moment, with what it remembers. Its questions are in the order of `remembered.place`."""

    database: Database
    changes: int  # transactions of the archive
    ids: list[str]
    texts: list[str]
    rows: np.ndarray  # (n,) int64
    columns: list[str]  # of the payloads
    payloads: list[str]  # JSON objects
    mined: dict[str, bool]  # of the questions that were mined, by their ids: whether as a copy
    settings: dict[str, Any]  # they were mined with; empty if none were

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """Return the vectors of questions, (m,), as a new array, (m, d) float32."""
        return self.database.vectors[self.rows[numbers]]

    def pairs(self) -> Iterator[tuple[str, str, int, int | None]]:
        """Yield the pairs: the ids, the similarity and the score in millionths."""
        yield from self._select("first, second, millionths, score FROM mined_pairs")

    def clusters(self) -> Numbered:
        """Return the clusters as they were written last."""
        return Numbered(dict(self._select("id, number FROM clusters")), int(self.settings.get(_NEXT, 1)))

    def _select(self, columns: str) -> list[Any]:
        return _select(self.database, columns)


def _select(database: Database, columns: str) -> list[Any]:
    if database.facts["format"] < _TABLES_SINCE:
        return []
    return database.execute(f"SELECT {columns}").fetchall()


class Memory:
    """The part of an archive that mining reads and writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """Hold a snapshot of the archive for the block."""
        data = self._database
        with data.reading(with_vectors=True) as meta:
            stored = sorted(data.all_stored(), key=lambda one: remembered.place(one[1]))
            rows = np.array([row for row, *_ in stored], np.int64)
            mined = {id: bool(is_copy) for id, is_copy in _select(data, "id, is_copy FROM mined")}
            settings = dict(_select(data, "key, value FROM mining"))
            ids, texts = [id for _, id, *_ in stored], [text for _, _, text, _ in stored]
            columns, payloads = tables.columns(meta), [payload for *_, payload in stored]
            yield Snapshot(data, meta["changes"], ids, texts, rows, columns, payloads, mined, settings)
            data.release()

    def write(self, found: Result, changes: int) -> None:
        """Remember what a run found, except for questions that were changed or removed meanwhile.

        Args:
            found: the result.
            changes: of the snapshot that it is about.

        Raises:
            ArchiveError: another process is writing, or the archive was mined meanwhile.
        """
        with self._database.writing() as change:
            connection = change.connection
            connection.execute(f"PRAGMA cache_size = -{_CACHE}")
            known = {id: bool(is_copy) for id, is_copy in _select(self._database, "id, is_copy FROM mined")}
            there = set(found.mined)
            if change.meta["changes"] != changes:
                there &= {id for _, id, text, _ in self._database.all_stored() if found.texts.get(id) == text}
            settings = dict(_select(self._database, "key, value FROM mining"))
            if settings.get("run", 0) != found.settings["run"] - 1:
                raise ArchiveError(f"{self._database.folder}: mined by another process meanwhile; run this again")
            if any(settings.get(key) != found.settings[key] for key in found.settings.keys() - {"run"}):
                remembered.forget_all(connection)
                known = {}
            # In the order of the tables, since SQLite is slow to insert in random order.
            differing = sorted(id for id in there if known.get(id) != found.mined[id])
            remembered.forget(connection, (id for id in differing if id in known))
            connection.executemany("INSERT INTO mined VALUES (?, ?)", ((id, found.mined[id]) for id in differing))
            pairs = (pair for pair in found.pairs if pair[0] in there and pair[1] in there)
            connection.executemany("INSERT OR REPLACE INTO mined_pairs VALUES (?, ?, ?, ?)", pairs)
            settings = dict(found.settings)
            if found.clusters is not None:
                _renumber(self._database, found.clusters.number)
                settings[_NEXT] = found.clusters.next
            connection.executemany("INSERT OR REPLACE INTO mining VALUES (?, ?)", settings.items())
        self._database.execute(f"PRAGMA cache_size = -{_SMALL_CACHE}")


def _renumber(database: Database, number: Mapping[str, int]) -> None:
    """Write the numbers that differ from those that are there."""
    before = dict(_select(database, "id, number FROM clusters"))
    gone: Sequence[str] = [id for id in before if id not in number]
    database.connection.executemany("DELETE FROM clusters WHERE id = ?", ((id,) for id in gone))
    new = ((id, one) for id, one in number.items() if before.get(id) != one)
    database.connection.executemany("INSERT OR REPLACE INTO clusters VALUES (?, ?)", new)
