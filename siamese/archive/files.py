"""Read files of questions into an archive, and write what a search finds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from siamese.archive.store import Archive, Block
from siamese.errors import ArchiveError
from siamese.pairs.reading import FilledRows, read_records
from siamese.system.csv_output import writing_csv

QUESTIONS_AT_A_TIME = 16_384
FOUND = ("question_id", "question", "rank", "id", "found", "similarity", "probability", "is_duplicate")


class QuestionFile:
    """The questions and ids of a file, block by block. The file is read twice, first to count its questions.

    Blank questions are left out and counted in `blank`.
    """

    def __init__(
        self, path: str | Path, column: str, id_column: str | None, progress: Callable[[int, int], None]
    ) -> None:
        """Remember what to read.

        Args:
            path: the file.
            column, id_column: names of the columns, as in `read_records`.
            progress: called with the number of questions done and of all.
        """
        self.path, self.columns, self.progress = path, (column, id_column), progress
        self.blank = 0
        self.lines: list[int] = []  # of the current block

    def __iter__(self) -> Iterator[Block]:
        total, done, filled = sum(1 for _ in self._rows()), 0, self._rows()
        rows = iter(filled)
        while block := [record for _, record in islice(rows, QUESTIONS_AT_A_TIME)]:
            self.lines = [record.line for record in block]
            ids = [record.id for record in block if record.id is not None]
            yield [record.question for record in block], ids or None
            done += len(block)
            self.progress(done, total)
        self.blank = filled.blank

    def _rows(self) -> FilledRows:
        records = read_records(self.path, *self.columns)
        return FilledRows(records, f"{self.path}, line", None if self.columns[1] is None else True)

    @contextmanager
    def naming_lines(self) -> Iterator[None]:
        """If the archive refuses a question within the block, name its line in the error."""
        try:
            yield
        except ArchiveError as error:
            raise at_line(error, self.path, self.lines) from None


def at_line(error: ArchiveError, path: str | Path | None, lines: list[int]) -> ArchiveError:
    """Return an error with the line of the row that it is about, if it is about one."""
    if error.position is None or not lines:
        return error
    return ArchiveError(f"{path}, line {lines[error.position]}: {error}")


def search_file(archive: Archive, file: QuestionFile, out: str | Path | None, k: int, legs: str) -> tuple[int, int]:
    """Search for all questions of a file and write the hits as CSV, with the columns FOUND.

    Args:
        archive: the archive to search.
        file: the questions.
        out: the file to write, atomically; None prints the rows.
        k, legs: as in `Archive.search`.

    Returns:
        The number of questions, and how many of them have a duplicate.
    """
    asked = having = 0
    with writing_csv(out, FOUND) as writer:
        for questions, ids in file:
            found = archive.search(questions, k, legs)
            for question, own, hits in zip(questions, ids or [""] * len(questions), found):
                for rank, hit in enumerate(hits, 1):
                    numbers = round(hit.similarity, 6), round(hit.probability, 6), int(hit.is_duplicate)
                    writer.writerow([own, question, rank, hit.id, hit.question, *numbers])
            asked += len(questions)
            having += sum(any(hit.is_duplicate for hit in hits) for hits in found)
    return asked, having
