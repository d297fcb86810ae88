"""What `mine` writes and prints of the pairs and clusters that it found. Light at import."""

import argparse
from collections.abc import Callable, Collection
from functools import cache
from typing import TYPE_CHECKING

from siamese.cli import options as shared
from siamese.errors import UserError
from siamese.system.outputs import Output, beginning_with, table_with, table_with_one_of
from siamese.system.program import joined, program

if TYPE_CHECKING:
    from siamese.mining.mined import Mined
    from siamese.mining.questions import Questions
    from siamese.mining.settings import Settings
    from siamese.model.verdict import Rule


def check_outputs(
    options: argparse.Namespace, inputs: list[str | None], further: Callable[[], list[list[str]]] | None = None
) -> None:
    """Raise a UserError if a file that `mine` writes would replace what a person has, an input or another output.

    Args:
        options: of the command.
        inputs: files that it reads.
        further: returns which further columns an earlier output may have, if it has any; None: those of the file.
    """
    from siamese.mining import report, tables

    kinds = [(ids, verdict) for ids in (False, True) for verdict in (False, True)]
    others = further or (lambda: _further(options))
    some = cache(lambda: [[], *others()])
    pairs = written = table_with_one_of(lambda: (tables.pair_names(*kind, one) for kind in kinds for one in some()))
    clusters = table_with_one_of(lambda: (tables.cluster_names(ids, one) for ids in (False, True) for one in some()))
    if options.label_sample:
        written = table_with(tables.LABELS, [*tables.LABELS, *tables.IDS])
    shared.check_outputs(
        options, Output("--out", options.out, written),
        Output("--clusters", options.clusters, clusters),
        Output("--report", options.report, beginning_with(report.MARK)), Output("--removed", options.removed, pairs),
        inputs=[*inputs, options.model],
    )  # fmt: skip


def _further(options: argparse.Namespace) -> list[list[str]]:
    """Return the further columns that the questions, or the mined pairs without them, have: all, and those kept."""
    from siamese.mining import columns, tables
    from siamese.pairs.formats import open_file

    if options.engine == "ray":
        return []
    if options.file:
        return [further_of(options, options.file, keep) for keep in (None, shared.kept_columns(options.keep))]
    return [columns.both_of(open_file(options.mined).names, tables.pair_names(ids=True, by_verdict=True))]


def further_of(options: argparse.Namespace, path: str, keep: Collection[str] | None) -> list[str]:
    """Return the further columns of a file of questions that are kept; `keep` None: all."""
    from siamese.pairs.questions import check_columns

    own = (options.question_column, options.id_column or "id")
    names = check_columns(path, [options.question_column])
    return [name for name in names if name not in own and (keep is None or name in keep)]


def read(options: argparse.Namespace) -> "Questions":
    """Read the questions to mine, and print how many there are."""
    from siamese.mining.questions import Questions
    from siamese.pairs.questions import check_columns

    keep = shared.kept_columns(options.keep)
    check_columns(options.file, [options.question_column, *(keep or ())])
    questions = Questions.read(options.file, options.question_column, options.id_column, keep)
    say_questions(len(questions), len(questions.copies), questions.blank)
    return questions


def settings(options: argparse.Namespace, rule: "Rule") -> "Settings":
    """Return the settings of mining by a rule. Raise a UserError if --removed has no verdict."""
    from siamese.mining.settings import Settings

    if options.removed and rule.verdict is None:
        raise UserError("--removed is for a verdict, which does not decide here; leave it out")
    approximate = options.approximate or options.engine == "ray"
    return Settings(rule.threshold, options.max_pairs, approximate, options.memory, options.seed, options.linkage)


def write(options: argparse.Namespace, found: "Mined") -> "Mined":
    """Write a sample to label, or pairs, clusters and the page. Return what is left after the decisions."""
    if options.decisions:
        from siamese.review.decisions import read_decisions
        from siamese.review.links import links_of

        found = found.decided(links_of(read_decisions(options.decisions), found.questions))
    if options.label_sample:
        count = found.write_sample(options.out, options.label_sample, options.seed, options.escape_formulas)
        print(
            f"{count:,} of {len(found) - len(found.copies):,} pairs, in random order: {options.out}\n"
            "Fill its column is_duplicate with 1 or 0, from the top, as many rows as you like. Then run\n"
            f"  {program()} mine {joined('--labels', options.out)} --precision 0.95"
        )
        return found
    last = found.write_pairs(options.out)
    say_pairs(options, len(found), len(found.copies), last)
    if options.clusters:
        say_clusters(options, *found.write_clusters(options.clusters, options.escape_formulas))
    if options.report:
        shown, count = found.write_report(options.report)
        which = "all" if shown == count else f"the first {shown:,} of"
        print(f"a page with {which} {count:,} clusters: {options.report}")
    return found


def say_pairs(options: argparse.Namespace, count: int, copies: int, last: float | None) -> None:
    copied = f", {copies:,} of them copies" if copies else ""
    print(f"{count:,} pairs{copied}{'' if last is None else f', down to a similarity of {last}'}: {options.out}")


def say_removed(options: argparse.Namespace, found: "Mined") -> None:
    """Print the number of pairs that the verdict removed, if one decides, and write them if asked to."""
    if not found.by_verdict:
        return
    count = found.write_removed(options.removed) if options.removed else found.count_removed()
    where = f": {options.removed}" if options.removed else "; --removed PATH writes them" if count else ""
    print(f"{count:,} pairs above a similarity of {found.threshold:.3f} removed by the verdict{where}")


def say_clusters(options: argparse.Namespace, count: int, members: int) -> None:
    print(f"{count:,} clusters of {members:,} different questions, {options.linkage} linkage: {options.clusters}")


def say_questions(count: int, copies: int, blank: int) -> None:
    collapsed = f", {copies:,} copies collapsed" if copies else ""
    left_out = f", {blank:,} blank rows left out" if blank else ""
    print(f"{count:,} different questions{collapsed}{left_out}")
