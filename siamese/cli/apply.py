"""The command `apply`. Light at import."""

import argparse

from siamese.cli import options as shared
from siamese.errors import UserError
from siamese.system.csv_output import check_format
from siamese.system.outputs import Output, table_ending_with


def add_commands(command: shared.Command) -> None:
    """Add `apply`."""
    sub = command("apply", apply, "Write a file of questions again, with one question of each cluster of duplicates.")
    add = sub.add_argument
    add("file", metavar="QUESTIONS", help=shared.QUESTIONS)
    add("--decisions", metavar="PATH", help="what people decided, as `review` writes it")
    add("--from", dest="mined", metavar="PATH", help="mined pairs; without them, only what people decided counts")
    add("--threshold", type=float, metavar="T", help="only the mined pairs above this similarity")
    add("--linkage", choices=("complete", "connected"), default="complete", help="of clusters, as in `mine` "
        "(default %(default)s)")  # fmt: skip
    add("--keep", default="representative", metavar="RULE", help="the question of a cluster that stays: first, "
        "longest, representative, or newest:COLUMN (default %(default)s)")  # fmt: skip
    add("--out", metavar="PATH", help=f"{shared.OUTPUTS} to write: the rows that stay, with all their columns")
    add("--rows", metavar="PATH", help="also write all rows, with cluster, representative, decision and why")
    shared.add_question_columns(sub)
    shared.add_force(sub)


def apply(options: argparse.Namespace) -> None:
    """Write the rows that stay, and all rows with what became of them."""
    if not options.out and not options.rows:
        raise UserError("apply needs --out PATH for the rows that stay, or --rows PATH for all of them")
    if not options.decisions and not options.mined:
        raise UserError("apply needs --decisions PATH, --from PATH with mined pairs, or both")
    check_format(options.out, options.rows)
    from siamese.mining.mined import Mined
    from siamese.mining.questions import Questions
    from siamese.review import apply as review
    from siamese.review.decisions import read_decisions
    from siamese.review.links import links_of

    shared.check_outputs(
        options, Output("--out", options.out, lambda path: False),
        Output("--rows", options.rows, table_ending_with(review.ADDED, review.PREFIX)),
        inputs=[options.file, options.decisions, options.mined],
    )  # fmt: skip
    questions = Questions.read(options.file, options.question_column, options.id_column, keep=())
    given = {"threshold": options.threshold, "linkage": options.linkage}
    found = Mined.read(options.mined, questions, **given) if options.mined else Mined.without_pairs(questions)
    if options.decisions:
        found = found.decided(links_of(read_decisions(options.decisions), questions))
    values: list[float] = []
    if options.keep.startswith(review.NEWEST):
        column = options.keep.removeprefix(review.NEWEST)
        values = review.ages(review.read_column(options.file, column), column, options.file)
    by_row = review.fates(found, options.keep, values)
    dropped = sum(fate.decision == review.DROP for fate in by_row.values())
    print(f"{len(found.clusters):,} clusters of {len(by_row):,} rows, of which {dropped:,} are dropped")
    for path, every in ((options.out, False), (options.rows, True)):
        if path:
            count = review.write_rows(options.file, options.question_column, by_row, path, every)
            print(f"{count:,} rows {'with what became of them' if every else 'that stay'}: {path}")
