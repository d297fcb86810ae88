"""The commands `archive` and `search`. Light at import."""

import argparse
import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from siamese.cli import options as shared
from siamese.cli import records
from siamese.errors import UserError
from siamese.system.csv_output import check_format
from siamese.system.outputs import Folder, Output, table_ending_with

if TYPE_CHECKING:
    from siamese.archive.files import QuestionFile
    from siamese.archive.store import Archive
    from siamese.archive.syncing import Changes, Treatment


def add_commands(command: shared.Command) -> None:
    """Add `archive` and `search`."""
    sub = command("archive", None, "Keep questions with their vectors and words, to search them.")
    actions = sub.add_subparsers(title="actions", required=True, metavar="ACTION")

    sub = command("build", build, "Make an archive of a file's questions.", actions)
    sub.add_argument("file", metavar="PATH", help=shared.QUESTIONS)
    sub.add_argument("--out", required=True, metavar="DIR", help="the archive's folder")
    shared.add_force(sub)
    shared.add_question_columns(sub)
    shared.add_keep(sub)
    shared.add_model(sub)

    sub = command("add", add, "Add a file's questions, all or none.", actions)
    sub.add_argument("file", metavar="PATH", help=shared.QUESTIONS)
    shared.add_archive(sub)
    shared.add_known(sub)
    sub.add_argument("--force", action="store_true",
                     help="with --remove-missing: remove even more than half of the questions")  # fmt: skip
    shared.add_question_columns(sub)

    sub = command("remove", remove, "Remove questions by their ids, all or none.", actions)
    sub.add_argument("ids", nargs="*", metavar="ID")
    sub.add_argument("--file", metavar="PATH", help="ids: .txt with an id a line, or a file with a column")
    sub.add_argument("--id", default="id", dest="id_column", metavar="NAME", help="that column (default id)")
    shared.add_archive(sub)

    sub = command("copy", copy, "Copy an archive, even while it is in use.", actions)
    sub.add_argument("--out", required=True, metavar="DIR", help="the folder of the copy")
    shared.add_force(sub)
    shared.add_archive(sub)

    sub = command(
        "reencode", reencode, "Make an archive's vectors anew with another model; ids and texts stay.", actions
    )
    sub.add_argument("--archive", required=True, metavar="DIR", help="the archive's folder")
    shared.add_model(sub)
    sub.set_defaults(model=None)

    records.add_actions(command, actions)

    sub = command("info", info, "Describe an archive.", actions)
    sub.add_argument("--json", action="store_true", help="print JSON")
    shared.add_archive(sub)

    sub = command("search", search, "Find the questions of an archive that are nearest to a question.")
    sub.add_argument("question", nargs="?", metavar="QUESTION")
    sub.add_argument("--file", metavar="PATH", help=f"many questions instead: {shared.QUESTIONS}")
    sub.add_argument("--out", metavar="PATH", help=f"with --file: {shared.OUTPUTS} to write (default: print CSV)")
    shared.add_force(sub)
    sub.add_argument("-k", type=int, default=10, metavar="N", help="how many (default 10)")
    sub.add_argument("--legs", default="both", choices=["both", "vectors", "words"],
                     help="rank by similarity, by shared words (BM25), or both (default)")  # fmt: skip
    sub.add_argument(
        "--threshold", type=float, metavar="T", help="0 to 1: the similarity alone decides, by this threshold"
    )
    sub.add_argument("--prior", type=float, metavar="P", help="share of duplicates among the hits, such as 0.1; "
                     "adjusts probability and verdict")  # fmt: skip
    shared.add_where(sub)
    sub.add_argument("--json", action="store_true", help="print JSON")
    shared.add_archive(sub)
    shared.add_question_columns(sub)


def build(options: argparse.Namespace) -> None:
    from siamese.archive.store import SEARCH, Archive
    from siamese.pairs.questions import check_columns

    _check_folder(options, options.file)
    model = shared.load_model(options.model, options.calibrate_on)
    keep = shared.kept_columns(options.keep)
    check_columns(options.file, [options.question_column, *(keep or ())])
    with _questions(options, keep) as file:
        archive = Archive.build_blocks(options.out, file, model, options.model, options.force, keep)
    with archive:
        count = len(archive)
    print(f"{options.out}: {count:,} questions, search {SEARCH}{_left_out(file)}")


def _check_folder(options: argparse.Namespace, source: str) -> None:
    from siamese.archive.database import FILES
    from siamese.archive.placing import BUILDING

    # Which of these files are replaced, the archive decides under its lock.
    written = Folder("--out", options.out, (BUILDING, *FILES), dict.fromkeys((BUILDING, *FILES), os.path.exists))
    shared.check_outputs(options, written, inputs=(source, options.model))


def add(options: argparse.Namespace) -> None:
    from siamese.archive.syncing import Treatment

    with shared.open_archive(options) as archive:
        sync(options, archive, Treatment(options.known, options.remove_missing, options.force))


def sync(options: argparse.Namespace, archive: "Archive", how: "Treatment") -> "Changes":
    """Add a file's questions, and print how many."""
    with _questions(options, archive.kept()) as file:
        done, count = archive.sync_blocks(file, how), len(archive)
    others = {"changed": done.changed, "unchanged": done.unchanged, "removed": done.removed}
    shown = "".join(f", {len(ids):,} {name}" for name, ids in others.items()) if options.known != "error" else ""
    print(f"{options.archive}: {len(done.added):,} added{shown}, {count:,} questions{_left_out(file)}")
    return done


def remove(options: argparse.Namespace) -> None:
    if bool(options.ids) == bool(options.file):
        raise UserError("archive remove takes ids, or --file PATH")
    from siamese.archive.files import naming_lines
    from siamese.pairs.questions import read_records

    lines, ids = [], options.ids
    if options.file:
        records = list(read_records(options.file, options.id_column))  # whose questions are the ids
        lines, ids = [record.line for record in records], [record.question for record in records]
    with shared.open_archive(options) as archive, naming_lines(options.file, lines):
        archive.remove(ids)
        print(f"{options.archive}: {len(archive):,} questions left")


def copy(options: argparse.Namespace) -> None:
    _check_folder(options, options.archive)
    with shared.open_archive(options) as archive:
        archive.copy(options.out, force=options.force)
        print(f"{options.out}: {len(archive):,} questions")


def reencode(options: argparse.Namespace) -> None:
    if not options.model:
        raise UserError(
            f"archive reencode needs --model NAME; that of other commands would be {shared.default_model()}"
        )
    from siamese.archive.reencoding import reencode
    from siamese.system.progress import CountBar

    model = shared.load_model(options.model, options.calibrate_on)
    with CountBar("questions") as bar:
        count = reencode(options.archive, model, options.model, bar)
    print(f"{options.archive}: {count:,} questions, encoded with {options.model}")


def info(options: argparse.Namespace) -> None:
    with shared.open_archive(options) as archive:
        found = archive.info()
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        value = ", ".join(value) or "none" if isinstance(value, list) else value
        print(f"{name.replace('_', ' '):<21} {value:,}" if isinstance(value, int) else f"{name:<21} {value}")


def search(options: argparse.Namespace) -> None:
    if (options.question is None) == (options.file is None):
        raise UserError("search takes a question, or --file PATH")
    if options.file and options.json:
        raise UserError("--json is for one question; --file writes a file")
    if options.out and not options.file:
        raise UserError("--out goes with --file; the answer for one question is printed")
    from siamese.archive.files import ADDED, PREFIX

    check_format(options.out)
    written = Output("--out", options.out, table_ending_with(ADDED, PREFIX))
    shared.check_outputs(options, written, inputs=(options.file, options.archive, options.model))
    with shared.open_archive(options) as archive:
        _search(archive, options)


def _search(archive: "Archive", options: argparse.Namespace) -> None:
    from siamese.archive.store import SEARCH
    from siamese.system.progress import CountBar

    settings: dict[str, Any] = {name: getattr(options, name) for name in ("k", "legs", "threshold", "prior")}
    settings["where"] = shared.conditions(options.where)
    if options.file:
        from siamese.archive.files import search_file

        with CountBar("questions") as bar:
            having, faults = search_file(
                archive, options.file, options.out, options.question_column, options.id_column, settings, bar
            )
        shared.report_unanswered(faults)
        if options.out:
            asked = faults.rows - faults.count
            found = f"{asked:,} questions, {having:,} of them with a duplicate, written to {options.out}"
            print(f"{found}; search {SEARCH}")
        return
    shared.report_unknown(int(archive.model.without_a_known_word([options.question]).sum()))
    hits = archive.search([options.question], **settings)[0]
    if options.json:
        answer = {"question": options.question, "legs": options.legs, "search": SEARCH}
        print(json.dumps(answer | {"hits": [dataclasses.asdict(hit) for hit in hits]}, indent=2, ensure_ascii=False))
        return
    print(f"{len(hits)} of {len(archive):,} questions, by {_LEGS[options.legs]}; search {SEARCH}")
    print(f"{'score':>5}  similarity  probability  verdict        id: question")
    for hit in hits:
        verdict = "duplicate" if hit.is_duplicate else "not duplicate"
        text = "".join(c if c.isprintable() else " " for c in f"{hit.id}: {hit.question}")
        differing = f" (differs: {'; '.join(map(str, hit.differences))})" if hit.differences else ""
        print(f"{hit.score:5.3f}  {hit.similarity:10.3f}  {hit.probability:11.2f}  {verdict:<13}  {text}{differing}")


_LEGS = {"both": "meaning and words", "vectors": "meaning", "words": "words"}


@contextmanager
def _questions(options: argparse.Namespace, keep: list[str] | None) -> Iterator["QuestionFile"]:
    """Open the file of questions, with a progress bar; an error within the block names the line."""
    from siamese.archive.files import QuestionFile, naming_lines
    from siamese.system.progress import CountBar

    with CountBar("questions") as bar:
        file = QuestionFile(options.file, options.question_column, options.id_column, bar, keep)
        with naming_lines(options.file, file.lines):
            yield file


def _left_out(file: "QuestionFile") -> str:
    return f"; {file.blank:,} blank rows left out" if file.blank else ""
