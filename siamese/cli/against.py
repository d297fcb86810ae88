"""`mine --against`: new questions against those of a file or an archive. Light at import."""

import argparse
import os
from typing import TYPE_CHECKING

from siamese.cli import archive as archives
from siamese.cli import mined
from siamese.cli import options as shared
from siamese.errors import ArchiveError, UserError
from siamese.system.console import say

if TYPE_CHECKING:
    from siamese.archive.store import Archive


def add_options(sub: argparse.ArgumentParser) -> None:
    """Add --against and what belongs to it."""
    sub.add_argument("--against", metavar="OLD", help="pairs of QUESTIONS with those of OLD, an archive or a file, and "
                     "with each other; without QUESTIONS, all pairs of the archive: it remembers those of earlier "
                     "runs, so that only new questions are compared")  # fmt: skip
    sub.add_argument("--add", action="store_true", help="add QUESTIONS to the archive, which then remembers their "
                     "pairs, and keeps the numbers of its clusters")  # fmt: skip
    shared.add_known(sub)


def check(options: argparse.Namespace) -> None:
    """Raise a UserError if options do not go together."""
    if not options.against:
        for name in ("add", "remove_missing"):
            if getattr(options, name):
                raise UserError(f"--{name.replace('_', '-')} needs --against ARCHIVE")
        if options.known != "error":
            raise UserError(f"--known {options.known} needs --against ARCHIVE --add")
        return
    for name, value in (
        ("from", options.mined), ("max-pairs", options.max_pairs), ("label-sample", options.label_sample),
        ("approximate", options.approximate), ("resume", options.resume), ("engine ray", options.engine == "ray"),
    ):  # fmt: skip
        if value:
            raise UserError(f"--{name} does not go with --against; leave it out")
    if (options.known != "error" or options.remove_missing) and not options.add:
        raise UserError("--known and --remove-missing are about adding questions to the archive; give --add too")
    if _is_archive(options.against):
        if options.add and not options.file:
            raise UserError("--add needs a file of questions to add")
    elif options.add or not options.file:
        what = "--add" if options.add else "mine --against without questions"
        raise UserError(f"{what} needs an archive; {options.against} is none, `archive build` makes one")


def _is_archive(path: str) -> bool:
    from siamese.archive.sqlite import DATABASE

    return os.path.isfile(os.path.join(path, DATABASE))


def mine(options: argparse.Namespace) -> None:
    """Mine new questions against old ones."""
    mined.check_outputs(options, [options.file, options.against, options.decisions], lambda: _further(options))
    if not _is_archive(options.against):
        _files(options)
    elif options.file and not options.add:
        _compare(options)
    else:
        _remember(options)


def _further(options: argparse.Namespace) -> list[list[str]]:
    """Return the further columns of the old questions, and these with those of the new ones."""
    keep: list[str] | None = None
    if _is_archive(options.against):
        from contextlib import closing
        from pathlib import Path

        from siamese.archive import tables
        from siamese.archive.database import Database

        with closing(Database(Path(options.against))) as database:
            old = tables.columns(database.facts)
            keep = tables.kept(database.facts) if options.add else None
    else:
        old = mined.further_of(options, options.against, None)
    new = mined.further_of(options, options.file, keep) if options.file else []
    return [old, list(dict.fromkeys([*old, *new]))]


def _files(options: argparse.Namespace) -> None:
    model = shared.load_model(options.model, options.calibrate_on)
    from siamese.mining.against import mine_against
    from siamese.mining.questions import Questions
    from siamese.system.progress import CountBar

    rule = model.rule(options.threshold, cosine=options.cosine)
    settings, new = mined.settings(options, rule), mined.read(options)
    old = Questions.read(options.against, options.question_column, options.id_column, keep=None)
    with CountBar("questions") as encoded, CountBar("comparisons") as joined:
        found = mine_against(new, old, model, settings, rule, None, encoded, joined)
    shared.report_unknown(found.questions.unknown)
    mined.write(options, found)
    mined.say_removed(options, found)


def _open(options: argparse.Namespace) -> "Archive":
    options.archive = options.against
    options.model = None if options.model == shared.default_model() else options.model  # that of the archive
    return shared.open_archive(options)


def _compare(options: argparse.Namespace) -> None:
    """Compare questions with those of an archive, which does not change."""
    from siamese.system.progress import CountBar

    with _open(options) as archive:
        from siamese.mining.against import mine_beside_archive

        rule = archive.model.rule(options.threshold, cosine=options.cosine)
        settings, new = mined.settings(options, rule), mined.read(options)
        with CountBar("questions") as encoded, CountBar("comparisons") as joined:
            found = mine_beside_archive(new, archive.memory, archive.model, settings, rule, encoded, joined)
        shared.report_unknown(found.questions.unknown)
        mined.write(options, found)
        mined.say_removed(options, found)


def _remember(options: argparse.Namespace) -> None:
    """Mine the questions of an archive that were not mined yet, after adding those of a file."""
    from siamese.system.progress import CountBar

    with _open(options) as archive:
        rule, ids = archive.model.rule(options.threshold, cosine=options.cosine), None
        settings = mined.settings(options, rule)
        if options.file:
            from siamese.archive.syncing import Treatment

            try:
                done = archives.sync(options, archive, Treatment(options.known, options.remove_missing))
            except ArchiveError as error:  # --force is about the files here
                raise ArchiveError(str(error).replace("--force (force", "`archive add --force` (force")) from None
            ids = {*done.added, *done.changed, *done.unchanged}
        from siamese.mining.against import mine_unmined  # after encoding, so that a vector does not depend on torch

        with CountBar("comparisons") as joined:
            night = mine_unmined(archive.memory, settings, rule, ids, joined)
        if night.anew:
            say(f"note: {options.against} was mined with another threshold or verdict, so all is compared again")
        print(f"{night.new:,} of {len(night.found.questions):,} different questions were new and compared with all")
        found = mined.write(options, night.found)
        mined.say_removed(options, found)
        night.remember(found if options.clusters or options.report else None)
