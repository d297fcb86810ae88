"""Read files of questions into an archive, and write what a search finds."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from siamese.archive.changes import Block
from siamese.archive.store import Archive
from siamese.errors import ArchiveError
from siamese.model.files import DIFFERS
from siamese.pairs.cells import Refused, needed, text_of
from siamese.pairs.formats import Faults, Row
from siamese.pairs.questions import FilledRows, blocks_of, count_rows, read_records, whole_rows
from siamese.system.csv_output import cells_for, names_beside, writing_csv

QUESTIONS_AT_A_TIME = 16_384
# To the columns of a file.
ADDED = ("rank", "id", "found", "score", "similarity", "probability", "is_duplicate", "fault")
PREFIX = "found_"  # of those that the file has already


@dataclass
class QuestionFile:
    """The questions of a file with ids and further columns, block by block.

    The file is read twice, first to count its questions.
    """

    path: str | Path
    column: str
    id_column: str | None  # as in `read_records`
    progress: Callable[[int, int], None]  # called with the number of questions done and of all
    keep: Collection[str] | None = ()  # further columns; None: all
    blank: int = 0  # questions that are left out
    lines: list[int] = field(default_factory=list)  # of the current block

    def __iter__(self) -> Iterator[Block]:
        total, done, names = 0, 0, dict[str, None]()
        for _, record in self._rows():
            total += 1
            if not record.others.keys() <= names.keys():
                names |= dict.fromkeys(record.others)
        filled, none = self._rows(), dict.fromkeys(names)
        rows = iter(filled)
        while block := [record for _, record in islice(rows, QUESTIONS_AT_A_TIME)]:
            self.lines[:] = [record.line for record in block]
            ids = [record.id for record in block if record.id is not None]
            cells = [record.others for record in block]
            if any(len(row) < len(names) for row in cells):  # JSON may leave out what is missing
                cells = [{**none, **row} for row in cells]
            yield Block([record.question for record in block], ids or None, cells if names else None)
            done += len(block)
            self.progress(done, total)
        self.blank = filled.blank

    def _rows(self) -> FilledRows:
        records = read_records(self.path, self.column, self.id_column, self.keep)
        return FilledRows(records, f"{self.path}, line", None if self.id_column is None else True)


@contextmanager
def naming_lines(path: str | Path | None, lines: list[int]) -> Iterator[None]:
    """If the archive refuses a row of a file within the block, name its line in the error."""
    try:
        yield
    except ArchiveError as error:
        if error.position is None or not lines:
            raise
        raise ArchiveError(f"{path}, line {lines[error.position]}: {error}") from None


def search_file(
    archive: Archive, path: str | Path, out: str | Path | None, column: str, id_column: str | None,
    settings: Mapping[str, Any], progress: Callable[[int, int], None],
) -> tuple[int, Faults]:  # fmt: skip
    """Search for the questions of a file, and write the file again with a row for each hit and the columns ADDED.

    A model with a verdict adds the column DIFFERS before them.

    A question without a hit has one row, and so has a faulty row, with the reason. A question is not its own hit: see
    `ids` of `Archive.search`.

    Args:
        archive: the archive to search.
        path: the file.
        out: the file to write, atomically, whose ending names its format; None prints CSV.
        column, id_column: as in `read_records`.
        settings: further arguments of `Archive.search`.
        progress: called with the number of rows done and of all.

    Returns:
        The number of questions that have a duplicate, and the number of rows, of faulty ones and of questions without
        a known word.

    Raises:
        DataError: the file cannot be read or changes meanwhile, or all its rows (of the first block) are faulty.
    """
    faults, having = Faults(str(path)), 0
    total = count_rows(path, column)

    def query(row: Row) -> tuple[str, str | None]:
        return needed(row.get(column), column), _id_of(row, id_column or "id")

    names, rows = whole_rows(path, [column] if id_column is None else [column, id_column], faults, query)
    blocks = blocks_of(rows, QUESTIONS_AT_A_TIME)
    first = next(blocks, [])
    faults.check_any()  # before anything is printed
    more = [] if archive.model.verdict is None else [DIFFERS]
    with writing_csv(out, names_beside(names, (*more, *ADDED), PREFIX)) as writer:
        for block in chain([first], blocks):
            asked = [query for _, query, _ in block if query]
            questions, ids = [question for question, _ in asked], [id for _, id in asked]
            faults.unknown += int(archive.model.without_a_known_word(questions).sum())
            found = iter(archive.search(questions, ids=ids, **settings))
            for given, one, fault in block:
                kept, hits = cells_for(out, given), next(found) if one else []
                for rank, hit in enumerate(hits, 1):
                    numbers = [round(n, 6) for n in (hit.score, hit.similarity, hit.probability)]
                    cells = rank, hit.id, hit.question, *numbers, int(hit.is_duplicate)
                    differing = ["; ".join(map(str, hit.differences)) for _ in more]
                    writer.writerow([*kept, *differing, *cells, None])
                if not hits:
                    writer.writerow([*kept, *[None] * (len(more) + len(ADDED) - 1), fault or None])
                having += any(hit.is_duplicate for hit in hits)
            progress(faults.rows, total)
    return having, faults


def _id_of(row: Row, column: str) -> str | None:
    """Return the id of a row, or None if it has none that an archive could have."""
    try:
        return text_of(row.get(column), column, whole=True) or None
    except Refused:
        return None
