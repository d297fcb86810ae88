"""Read the questions of an archive without its model."""

from contextlib import closing
from pathlib import Path

from siamese.archive.database import Database
from siamese.archive.sqlite import DATABASE
from siamese.errors import ArchiveError


def read_texts(folder: str | Path) -> list[str]:
    """Return the questions of an archive, in the order of their rows.

    Raises:
        ArchiveError: there is no archive, or it is damaged.
    """
    with closing(Database(Path(folder))) as database, database.reading():
        rows = database.execute("SELECT question, crc IS crc(row, id, question) FROM questions ORDER BY row").fetchall()
    if not all(right for _, right in rows):
        raise ArchiveError(f"{Path(folder) / DATABASE}: damaged: a text has another checksum; restore a copy")
    return [text for text, _ in rows]
