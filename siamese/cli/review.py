"""The command `review`. Light at import."""

import argparse
import sys
from typing import TYPE_CHECKING

from siamese.cli import options as shared
from siamese.errors import UserError
from siamese.system.console import visible
from siamese.system.outputs import Output
from siamese.system.program import joined, program

if TYPE_CHECKING:
    from siamese.review.cluster_session import ClusterReview
    from siamese.review.session import PairReview

DECISIONS = "decisions.csv"


def add_commands(command: shared.Command) -> None:
    """Add `review`."""
    sub = command("review", review, "Ask a person about mined pairs, and keep the answers.")
    sub.add_argument("files", nargs="*", metavar="PAIRS", help="the file of pairs that mine wrote; with --merge, files "
                     "of decisions")  # fmt: skip
    add = sub.add_argument
    add("--decisions", default=DECISIONS, metavar="PATH", help="the file of answers, CSV, which only grows "
        "(default %(default)s)")  # fmt: skip
    add("--clusters", action="store_true", help="ask about clusters: split, merge, choose the representative")
    add("--linkage", choices=("complete", "connected"), default="complete", help="of clusters, as of mine (default "
        "%(default)s)")  # fmt: skip
    add("--terminal", action="store_true", help="ask here instead of on a page")
    add("--port", type=int, default=0, metavar="N", help="of the page, on this machine (default: any free one)")
    add("--part", default="1/1", metavar="K/N", help="only the K-th of N equal parts, for N people")
    add("--by", metavar="NAME", help="who answers, for the file (default: no name)")
    add("--seed", type=int, default=0, help="of the order; that of all parts must be the same (default 0)")
    add = sub.add_argument_group("instead of asking").add_mutually_exclusive_group().add_argument
    add("--merge", action="store_true", help="join the answers of several people, and print where they disagree")
    add("--import", dest="imported", metavar="PATH", help="add the answers of a training file of dedupe, or of tasks "
        "exported by Label Studio, to --decisions")  # fmt: skip
    add("--export", choices=("label-studio", "argilla"), help="write the answers of --decisions for that program, as "
        "JSON, to --out")  # fmt: skip
    add = sub.add_argument_group("with --import and --export").add_argument
    add("--question", default="question", metavar="NAME", help="the field of dedupe's records that has the question "
        "(default %(default)s)")  # fmt: skip
    add("--out", metavar="PATH", help="the JSON file to write")
    shared.add_force(sub)


def review(options: argparse.Namespace) -> None:
    """Review pairs on a page or in the terminal; or join, import or export answers."""
    if bool(options.export) != bool(options.out):
        raise UserError("--export PROGRAM and --out PATH go together")
    if options.imported or options.export:
        if options.files:
            raise UserError(f"{options.files[0]}: --import and --export take no file of pairs; leave it out")
        return _import(options) if options.imported else _export(options)
    if not options.files:
        raise UserError("review needs PAIRS, the file that mine wrote")
    if options.merge:
        return _merge(options)
    if len(options.files) > 1:
        raise UserError("review takes one file of pairs; --merge joins files of decisions")
    if options.seed < 0:
        raise UserError(f"--seed {options.seed}: expected 0 or more")
    from siamese.review.asked import Asked, Part
    from siamese.review.cluster_session import ClusterReview
    from siamese.review.decisions import open_log
    from siamese.review.journal import Journal
    from siamese.review.session import PairReview

    if not options.terminal:
        import siamese.review.page  # noqa: F401  # a missing library is reported before the file of answers is made
    part = Part.parse(options.part)
    asked = Asked.read(options.files[0])
    with open_log(options.decisions) as log:
        journal = Journal(log, options.by or "")
        session: PairReview | ClusterReview
        if options.clusters:
            session = ClusterReview(asked, journal, part, options.linkage)
        else:
            session = PairReview(asked, journal, part, options.seed)
        try:
            if options.terminal:
                _in_terminal(session, str(part))
            else:
                _on_page(session, str(part), options.port)
        finally:
            answers = sorted(session.progress.answers.items())
            told = ", ".join(f"{count:,} {answer}" for answer, count in answers) or "no answers yet"
            print(f"{told}: {options.decisions}")


def after_mining(pairs: str, decisions: str | None, seed: int) -> None:
    """Review pairs that were just mined, on a page."""
    options = {"decisions": decisions or DECISIONS, "by": None, "part": "1/1", "port": 0, "seed": seed}
    switches = dict.fromkeys(("merge", "imported", "export", "out", "clusters", "terminal"), False)
    review(argparse.Namespace(files=[pairs], **options, **switches))


def _in_terminal(session: "PairReview | ClusterReview", part: str) -> None:
    from siamese.review import terminal
    from siamese.review.session import PairReview

    # What it shows is made safe there; `console.Output` would spell out how it clears the screen.
    screen = terminal.Screen(getattr(sys.stdout, "stream", sys.stdout) if sys.stdout.isatty() else sys.stdout)
    if isinstance(session, PairReview):
        with terminal.keys(sys.stdin) as ask:
            terminal.review_pairs(session, part, screen, ask)
    else:
        terminal.review_clusters(session, part, screen, sys.stdin.readline)


def _on_page(session: "PairReview | ClusterReview", part: str, port: int) -> None:
    import secrets

    from siamese.review.page import make_app
    from siamese.service.connections import listen, make_server, run_until_stopped
    from siamese.service.limits import LIMITS

    listening = listen("127.0.0.1", port)
    token = secrets.token_urlsafe(32)

    def finish() -> None:
        server.should_exit = True

    app = make_app(session, token, finish, part)
    server = make_server(app, LIMITS)
    # No browser is started: other users could read its command line, and the token in it.
    print(f"open http://127.0.0.1:{listening.getsockname()[1]}/#{token} to answer, until Ctrl-C", flush=True)
    run_until_stopped(server, app, listening)


def _merge(options: argparse.Namespace) -> None:
    from siamese.review.merging import merge_files

    found = merge_files(options.files, options.decisions)
    for made in found.disagreements:
        said = ", ".join(f"{path}{d.by and f' ({d.by})'}: {d.answer}" for path, d in made.items())
        one = next(iter(made.values()))
        print(visible(f"disagreement: {said}\n  {one.question1}\n  {one.question2}"))
    count = len(found.disagreements)
    print(f"{len(found.decisions):,} decisions, {count:,} disagreements: {options.decisions}")
    if count:
        asking = f"{program()} review PAIRS {joined('--decisions', options.decisions)}"
        print(f"Pairs about which people disagree have no answer there. To ask about them first:\n  {asking}")


def _import(options: argparse.Namespace) -> None:
    from siamese.review.decisions import open_log
    from siamese.review.interchange import append_labels, import_labels

    labels = import_labels(options.imported, options.question)  # a faulty file leaves no file of decisions behind
    with open_log(options.decisions) as log:
        added, unfit = append_labels(log, labels)
    left_out = f", {unfit:,} about two equal questions left out" if unfit else ""
    print(f"{added:,} of {len(labels):,} answers were new{left_out}: {options.decisions}")


def _export(options: argparse.Namespace) -> None:
    from siamese.review.decisions import read_decisions
    from siamese.review.interchange import export_labels

    shared.check_outputs(options, Output("--out", options.out, lambda path: False), inputs=[options.decisions])
    count = export_labels(read_decisions(options.decisions), options.export, options.out)
    print(f"{count:,} answers for {options.export}: {options.out}")
