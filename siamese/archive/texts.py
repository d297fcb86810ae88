"""Read the questions of an archive without its model."""

from contextlib import closing
from pathlib import Path

from siamese.archive.database import Database


def read_texts(folder: str | Path) -> list[str]:
    """Return the questions of an archive, in the order of their rows.

    Raises:
        ArchiveError: there is no archive, or it is damaged.
    """
    with closing(Database(Path(folder))) as database, database.reading():
        return [question for _, _, question, _ in database.all_stored("1 ORDER BY row")]
