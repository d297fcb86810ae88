"""The actions of `archive` that read or change single questions, and its exports. Light at import."""

import argparse
import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from siamese.cli import options as shared
from siamese.errors import UserError
from siamese.system.csv_output import check_format
from siamese.system.outputs import Output
from siamese.system.program import joined

if TYPE_CHECKING:
    from siamese.archive.database import Database
    from siamese.archive.records import Record


def add_actions(command: shared.Command, actions: Any) -> None:
    """Add `get`, `list`, `export`, `update` and `index`."""
    sub = command("get", get, "Print questions with these ids.", actions)
    sub.add_argument("ids", nargs="+", metavar="ID")
    _add_folder(sub)
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = command("list", list_page, "Print questions in the order of their ids, a page at a time.", actions)
    _add_folder(sub)
    shared.add_where(sub)
    sub.add_argument("--after", metavar="ID", help="begin behind this id, the last one of the page before")
    sub.add_argument("--limit", type=int, default=100, metavar="N", help="the most to print (default 100)")
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = command("export", export, "Write all questions with ids and kept columns to a file.", actions)
    _add_folder(sub)
    sub.add_argument("--out", required=True, metavar="PATH", help=f"{shared.OUTPUTS} to write")
    shared.add_force(sub)

    sub = command("update", update, "Change the text of a question, or kept columns of it.", actions)
    sub.add_argument("--id", required=True, metavar="ID")
    sub.add_argument("--question", metavar="TEXT", help="its new text")
    sub.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a column's new value; may be "
                     "repeated; NAME= removes it")  # fmt: skip
    shared.add_archive(sub)

    sub = command("index", index, "Index kept columns, to make --where fast in a large archive.", actions)
    sub.add_argument("columns", nargs="+", metavar="NAME")
    shared.add_archive(sub)


def _add_folder(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--archive", required=True, metavar="DIR", help="the archive's folder")


def get(options: argparse.Namespace) -> None:
    from siamese.archive.changes import checked_id
    from siamese.archive.records import one

    with _reading(options) as database:
        found = [one(database, checked_id(id)) for id in options.ids]
    if missing := [id for id, record in zip(options.ids, found) if record is None]:
        raise UserError(f"{options.archive}: no question has the id {missing[0]!r}")
    _print([record for record in found if record], options)


def list_page(options: argparse.Namespace) -> None:
    from siamese.archive.records import page

    if options.limit < 1:
        raise UserError(f"--limit {options.limit}: expected a whole number of 1 or more")
    with _reading(options) as database:
        found = page(database, shared.conditions(options.where), options.after, options.limit + 1)
    _print(found[: options.limit], options)
    if len(found) > options.limit:
        shared.say(f"more follow; go on with {joined('--after', found[options.limit - 1].id)}")


def _print(records: list["Record"], options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps([dataclasses.asdict(record) for record in records], indent=2, ensure_ascii=False))
        return
    for record in records:
        more = "; ".join(f"{name}={value}" for name, value in record.payload.items())
        text = f"{record.id}: {record.question}" + (f" ({more})" if more else "")
        print("".join(c if c.isprintable() else " " for c in text))


def export(options: argparse.Namespace) -> None:
    from contextlib import closing
    from pathlib import Path

    from siamese.archive import records
    from siamese.archive.database import Database
    from siamese.system.progress import CountBar

    check_format(options.out)
    written = Output("--out", options.out, lambda path: False)  # it looks like the file that the archive was built from
    shared.check_outputs(options, written, inputs=(options.archive,))
    with closing(Database(Path(options.archive))) as database, CountBar("questions") as bar:
        count = records.export(database, options.out, bar)
    print(f"{options.out}: {count:,} questions")


def update(options: argparse.Namespace) -> None:
    from siamese.text.cleaning import is_blank

    if options.question is None and not options.set:
        raise UserError("archive update takes --question TEXT, --set NAME=VALUE, or both")
    if options.question is not None and is_blank(options.question):
        raise UserError("--question is empty; `archive remove` removes a question")
    payload = shared.conditions(options.set, "--set")
    with shared.open_archive(options) as archive:
        kept = archive.kept()
        if kept is not None and (unkept := [name for name in payload if name not in kept]):
            keeps = ", ".join(map(repr, kept)) or "none"
            raise UserError(f"{options.archive}: does not keep a column {unkept[0]!r}; kept columns: {keeps}")
        changed = archive.update(options.id, options.question, payload)
    print(f"{options.archive}: {options.id} {'changed' if changed else 'unchanged'}")


def index(options: argparse.Namespace) -> None:
    with shared.open_archive(options) as archive:
        for name in options.columns:
            archive.index(name)
    print(f"{options.archive}: indexed {', '.join(options.columns)}")


@contextmanager
def _reading(options: argparse.Namespace) -> Iterator["Database"]:
    """Open the archive, without its model."""
    from contextlib import closing
    from pathlib import Path

    from siamese.archive.database import Database

    with closing(Database(Path(options.archive))) as database, database.reading():
        yield database
