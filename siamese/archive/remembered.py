"""What an archive remembers of mining: which questions were compared, the pairs that were found, and cluster numbers.

Of questions whose texts are the same once they are clean, the one with the first id was compared, the others are its
copies. The pairs of every two questions in `mined` that are no copies are in `mined_pairs`. Whoever adds questions need
do nothing, since a question is new until it is in `mined`; whoever changes the text of a question or removes it calls
`forget`, and whoever changes the vectors of all calls `forget_all`, in the same transaction.
"""

import sqlite3
from collections.abc import Iterable

# `mining` has the settings and the next number of a cluster. `score` is NULL without a verdict.
_SCHEMA = """
CREATE TABLE mining(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE mined(id TEXT PRIMARY KEY, is_copy INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE mined_pairs(
    first TEXT NOT NULL, second TEXT NOT NULL, millionths INTEGER NOT NULL, score INTEGER,
    PRIMARY KEY (first, second)) WITHOUT ROWID;
CREATE INDEX mined_pairs_second ON mined_pairs(second);
CREATE TABLE clusters(id TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
"""


def create(connection: sqlite3.Connection) -> None:
    """Create the empty tables, within the transaction if there is one."""
    for statement in _SCHEMA.split(";"):  # executescript would commit
        connection.execute(statement)


def place(id: str) -> tuple[int, str]:
    """Return what orders ids: their length, then the text, so that numbers are in their order."""
    return len(id), id


def forget(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Forget the pairs of questions whose text changes or that are removed, so that they count as new.

    Their clusters keep their numbers, which the next mining compares with.
    """
    known = [(id,) for id in ids]
    for sql in (
        "DELETE FROM mined WHERE id = ?",
        "DELETE FROM mined_pairs WHERE first = ?",
        "DELETE FROM mined_pairs WHERE second = ?",
    ):
        connection.executemany(sql, known)


def forget_all(connection: sqlite3.Connection) -> None:
    """Forget all pairs, as after a change of the model. Clusters keep their numbers, by which the next are numbered."""
    for table in ("mined", "mined_pairs"):
        connection.execute(f"DELETE FROM {table}")
