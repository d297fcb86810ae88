"""The commands `archive` and `search`: options, files in blocks, and what is printed. Light at import."""

import argparse
import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from siamese.cli.options import Command, add_model, default_model, load_model
from siamese.errors import ArchiveError, DataError, UserError

if TYPE_CHECKING:
    from siamese.archive.store import Archive, Block
    from siamese.pairs.questions import QuestionRow

QUESTIONS = ".txt with a question a line, or .csv, .tsv, .jsonl, .parquet"
BLOCK = 16_384  # questions that are held at a time


def add_commands(command: Command) -> None:
    """Add `archive` and `search` to the command line."""
    sub = command("archive", None, "Keep questions with their vectors and words, to be searched.")
    actions = sub.add_subparsers(title="actions", required=True, metavar="ACTION")

    sub = command("build", build, "Make an archive of a file's questions.", actions)
    sub.add_argument("file", metavar="PATH", help=QUESTIONS)
    sub.add_argument("--out", required=True, metavar="DIR", help="the archive's folder")
    _add_columns(sub)
    add_model(sub)

    sub = command("add", add, "Add a file's questions, all or none.", actions)
    sub.add_argument("file", metavar="PATH", help=QUESTIONS)
    _add_archive(sub)
    _add_columns(sub)

    sub = command("remove", remove, "Remove questions by their ids, all or none.", actions)
    sub.add_argument("ids", nargs="*", metavar="ID")
    sub.add_argument("--file", metavar="PATH", help="ids: .txt with an id a line, or a file with a column")
    sub.add_argument("--id", default="id", dest="id_column", metavar="NAME", help="that column (default id)")
    _add_archive(sub)

    sub = command("info", info, "Say what is in an archive.", actions)
    sub.add_argument("--json", action="store_true", help="print JSON")
    _add_archive(sub)

    sub = command("search", search, "Find the questions of an archive that are nearest to a question.")
    sub.add_argument("question", nargs="?", metavar="QUESTION")
    sub.add_argument("--file", metavar="PATH", help=f"many questions instead: {QUESTIONS}")
    sub.add_argument("--out", metavar="PATH", help="with --file: the CSV to write (default: print it)")
    sub.add_argument("-k", type=int, default=10, metavar="N", help="how many (default 10)")
    sub.add_argument("--legs", default="both", choices=["both", "vectors", "words"],
                     help="rank by similarity, by shared words (BM25), or both (default)")  # fmt: skip
    sub.add_argument("--json", action="store_true", help="print JSON")
    _add_archive(sub)
    _add_columns(sub)


def _add_archive(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--archive", required=True, metavar="DIR", help="the archive's folder")
    sub.add_argument("--model", metavar="DIR", help="where the archive's model is now, if it was moved")


def _add_columns(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--question", default="question", dest="question_column", metavar="NAME",
                     help="the file's column of questions (default question)")  # fmt: skip
    sub.add_argument("--id", dest="id_column", metavar="NAME", help="its column of ids (default id, if there is one)")


def build(options: argparse.Namespace) -> None:
    model = load_model(options.model)
    from siamese.archive.store import SEARCH, Archive

    blocks = Blocks(options)
    with blocks.naming_lines():
        archive = Archive.build(options.out, model, options.model or default_model(), blocks)
    print(f"{options.out}: {len(archive):,} questions, search {SEARCH}{blocks.left_out()}")


def add(options: argparse.Namespace) -> None:
    archive, blocks = _open(options), Blocks(options)
    with blocks.naming_lines():
        count = archive.add_blocks(blocks)
    print(f"{options.archive}: {count:,} added, {len(archive):,} questions{blocks.left_out()}")


def remove(options: argparse.Namespace) -> None:
    if bool(options.ids) == bool(options.file):
        raise UserError("archive remove takes ids, or --file PATH")
    from siamese.pairs.questions import read_records

    archive, lines, ids = _open(options), [], options.ids
    if options.file:
        records = list(read_records(options.file, options.id_column))  # ids stand in the place of the questions
        lines, ids = [record.line for record in records], [record.question for record in records]
    try:
        archive.remove(ids)
    except ArchiveError as error:
        raise at_line(error, options.file, lines) from None
    print(f"{options.archive}: {len(archive):,} questions left")


def info(options: argparse.Namespace) -> None:
    found = _open(options).info()
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        print(f"{name.replace('_', ' '):<21} {value:,}" if isinstance(value, int) else f"{name:<21} {value}")


def search(options: argparse.Namespace) -> None:
    if (options.question is None) == (options.file is None):
        raise UserError("search takes a question, or --file PATH")
    if options.file and options.json:
        raise UserError("--json is for one question; --file writes CSV")
    if options.out and not options.file:
        raise UserError("--out goes with --file; one question is answered on the screen")
    from siamese.archive.store import SEARCH

    archive = _open(options)
    if options.file:
        return _search_file(archive, options)
    hits = archive.search([options.question], options.k, options.legs)[0]
    if options.json:
        answer = {"question": options.question, "legs": options.legs, "search": SEARCH}
        print(json.dumps(answer | {"hits": [dataclasses.asdict(hit) for hit in hits]}, indent=2, ensure_ascii=False))
        return
    print(f"{len(hits)} of {len(archive):,} questions, by {_LEGS[options.legs]}; search {SEARCH}")
    print("similarity  probability  verdict        id: question")
    for hit in hits:
        verdict = "duplicate" if hit.is_duplicate else "not duplicate"
        text = "".join(letter if letter.isprintable() else " " for letter in f"{hit.id}: {hit.question}")
        print(f"{hit.similarity:10.3f}  {hit.probability:11.2f}  {verdict:<13}  {text}")


_LEGS = {"both": "meaning and words", "vectors": "meaning", "words": "words"}


def _search_file(archive: "Archive", options: argparse.Namespace) -> None:
    from siamese.archive.store import SEARCH
    from siamese.system.csv_output import writing_csv

    blocks, asked, verdicts = Blocks(options), 0, 0
    names = ["question_id", "question", "rank", "id", "found", "similarity", "probability", "is_duplicate"]
    with writing_csv(options.out, names) as writer:
        for questions, ids in blocks:
            found = archive.search(questions, options.k, options.legs)
            for question, own, hits in zip(questions, ids or [""] * len(questions), found):
                for rank, hit in enumerate(hits, 1):
                    numbers = round(hit.similarity, 6), round(hit.probability, 6), int(hit.is_duplicate)
                    writer.writerow([own, question, rank, hit.id, hit.question, *numbers])
            asked += len(questions)
            verdicts += sum(any(hit.is_duplicate for hit in hits) for hits in found)
    if options.out:
        print(
            f"{asked:,} questions, {verdicts:,} of them with a duplicate, written to {options.out}; "
            f"search {SEARCH}{blocks.left_out()}"
        )


def _open(options: argparse.Namespace) -> "Archive":
    from siamese.archive.store import Archive

    return Archive.open(options.archive, load_model(options.model) if options.model else None)


class Blocks:
    """The questions of a file with their ids, in blocks; a bar shows how far it is. The file is read twice, to count.

    Empty questions are left out, and counted.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.path, self.columns = options.file, (options.question_column, options.id_column)
        self.empty = 0
        self.with_ids: bool | None = None
        self.lines: list[int] = []  # of the block under way

    def __iter__(self) -> Iterator["Block"]:
        from siamese.system.progress import CountBar

        total = sum(1 for _ in self._records())
        records, done = self._records(), 0
        with CountBar("questions") as bar:
            while block := list(islice(records, BLOCK)):
                self.lines = [record.line for record in block]
                yield [record.question for record in block], self._ids(block)
                done += len(block)
                bar(done, total)

    def _records(self) -> Iterator["QuestionRow"]:
        from siamese.pairs.questions import read_records

        self.empty = 0
        for record in read_records(self.path, *self.columns):
            if record.question.strip():
                yield record
            else:
                self.empty += 1

    def _ids(self, block: list["QuestionRow"]) -> list[str] | None:
        """The ids of a block; None where the file has none."""
        if self.with_ids is None:  # the first row decides
            self.with_ids = block[0].id is not None or self.columns[1] is not None
        ids = [record.id for record in block if record.id is not None]
        if len(ids) != len(block) * self.with_ids:
            line = next(record.line for record in block if (record.id is None) == self.with_ids)
            raise DataError(
                f"{self.path}, line {line}: {'no' if self.with_ids else 'an'} id; expected one in all rows or in none"
            )
        return ids if self.with_ids else None

    @contextmanager
    def naming_lines(self) -> Iterator[None]:
        """An error of the archive's about one of the questions says where it stands."""
        try:
            yield
        except ArchiveError as error:
            raise at_line(error, self.path, self.lines) from None

    def left_out(self) -> str:
        return f"; {self.empty:,} empty rows left out" if self.empty else ""


def at_line(error: ArchiveError, path: str, lines: list[int]) -> ArchiveError:
    """The error with the line of the row that it is about, where it is about one."""
    return (
        error if error.position is None or not lines else ArchiveError(f"{path}, line {lines[error.position]}: {error}")
    )
