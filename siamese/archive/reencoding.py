"""Make the vectors of an archive anew with another model, from its stored texts; questions and ids stay.

One transaction names the new model and the new file of vectors. Until it is committed the archive is the old one, and
the new file waits under another name.
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from siamese.archive import remembered, vectors
from siamese.archive.database import Database, renew
from siamese.archive.tables import Meta, facts_of
from siamese.archive.vectors import BLOCK, WAITING
from siamese.errors import ArchiveError
from siamese.model.model import SiameseModel


def reencode(
    folder: str | Path, model: SiameseModel, name: str, progress: Callable[[int, int], None] = lambda done, total: None
) -> int:
    """Encode the questions of an archive with another model. A crash at any moment leaves the old archive or the new.

    Processes that have it open get an error at their next call, since their model does not fit any more.

    Args:
        folder: the archive. Its own model is not needed.
        model: the model, whose vectors must fit in memory.
        name: its folder or name, from which `Archive.open` loads it.
        progress: called with the number of encoded questions and the number of all.

    Returns:
        The number of questions.

    Raises:
        ArchiveError: there is no archive, it is damaged, or another process is writing.
        UserError: the model's vectors depend on their batch.
    """
    facts = facts_of(model, name)
    with closing(Database(Path(folder))) as database:
        with database.writing():  # puts away what an earlier process left unfinished
            pass

        def prepare(meta: Meta) -> None:
            with vectors.opened(database.folder, meta) as file:
                if Path(file.name).name == WAITING:
                    raise ArchiveError(f"{folder}: another process is writing; try again")
            data = np.zeros((meta["rows"], model.dimensions), np.float32)
            for first in range(0, len(data), BLOCK):
                _encode(database, model, first, data[first : first + BLOCK])
                progress(min(first + BLOCK, len(data)), len(data))
            meta |= facts
            remembered.forget_all(database.connection)
            # The mark of the database, the beginning of its id, stays, by which its log belongs to it.
            meta["id"] = renew(database.connection, database.folder / WAITING, data, meta["id"])

        with database.writing(prepare) as change:
            count = int(change.meta["questions"])
    return count


def _encode(database: Database, model: SiameseModel, first: int, data: np.ndarray) -> None:
    """Fill rows with the vectors of their questions, and note which of these have no known word."""
    rows, texts = [], []
    for row, _, text, _ in database.all_stored("row >= ? AND row < ? ORDER BY row", (first, first + len(data))):
        rows.append(row)
        texts.append(text)
    found = model.encode(texts)
    vectors.check(found)
    data[np.array(rows, np.int64) - first] = found
    database.connection.executemany("DELETE FROM blank WHERE row = ?", ((row,) for row in rows))
    blank = (row for row, vector in zip(rows, found) if not vector.any())
    database.connection.executemany("INSERT INTO blank VALUES (?, 1)", ((row,) for row in blank))
