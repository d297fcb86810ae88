"""What an archive remembers of mining: which questions were compared, the pairs that were found, and cluster numbers.

The pairs of every two questions in `mined` are in `mined_pairs`. Whoever adds questions need do nothing, since a
question is new until it is in `mined`; whoever changes the text of a question or removes it calls `forget`, and whoever
changes the vectors of all calls `forget_all`, in the same transaction.
"""

import sqlite3
from collections.abc import Iterable

# The first of two ids is the shorter one, of two of one length the lower one. `score` is NULL without a verdict.
_SCHEMA = """
CREATE TABLE mining(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE mined(id TEXT PRIMARY KEY) WITHOUT ROWID;
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


def forget(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Forget the pairs of questions whose text changes or that are removed. Their cluster numbers stay until then.

    A question that was mined before counts as new.
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
    for table in ("mining", "mined", "mined_pairs"):
        connection.execute(f"DELETE FROM {table}")
