"""Files of questions on their way into an archive, and files of what it finds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from siamese.archive.store import Archive, Block
from siamese.errors import ArchiveError, DataError
from siamese.pairs.reading import QuestionRow, read_records
from siamese.system.csv_output import writing_csv

QUESTIONS_AT_A_TIME = 16_384
FOUND = ("question_id", "question", "rank", "id", "found", "similarity", "probability", "is_duplicate")


class QuestionFile:
    """The questions of a file with their ids, block by block. The file is read twice, first to count its rows.

    Blank questions are left out, and counted in `blank`.
    """

    def __init__(
        self, path: str | Path, column: str, id_column: str | None, progress: Callable[[int, int], None]
    ) -> None:
        """
        Args:
            path: the file.
            column, id_column: of the questions and their ids, as in `read_records`.
            progress: called with the number of questions done and of all.
        """
        self.path, self.columns, self.progress = path, (column, id_column), progress
        self.blank = 0
        self.with_ids: bool | None = None
        self.lines: list[int] = []  # of the current block

    def __iter__(self) -> Iterator[Block]:
        total = sum(1 for _ in self._records())
        records, done = self._records(), 0
        while block := list(islice(records, QUESTIONS_AT_A_TIME)):
            self.lines = [record.line for record in block]
            yield [record.question for record in block], self._ids(block)
            done += len(block)
            self.progress(done, total)

    def _records(self) -> Iterator[QuestionRow]:
        self.blank = 0
        for record in read_records(self.path, *self.columns):
            if record.question.strip():
                yield record
            else:
                self.blank += 1

    def _ids(self, block: list[QuestionRow]) -> list[str] | None:
        """The ids of a block; None if the file has none."""
        if self.with_ids is None:  # the first row decides
            self.with_ids = block[0].id is not None or self.columns[1] is not None
        ids = [record.id for record in block if record.id is not None]
        if len(ids) != len(block) * self.with_ids:
            line = next(record.line for record in block if (record.id is None) == self.with_ids)
            problem = f"{'no' if self.with_ids else 'an'} id, unlike the first row; give all rows an id, or none"
            raise DataError(f"{self.path}, line {line}: {problem}")
        return ids if self.with_ids else None

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
    """Search for all questions of a file and write what is found as CSV, with the columns FOUND.

    Args:
        archive: where to search.
        file: the questions.
        out: the file to write, as a whole or not at all; None prints the rows.
        k, legs: as in `Archive.search`.

    Returns:
        How many questions there were, and how many of them have a duplicate.
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
