"""The command `mine`. Light at import."""

import argparse
from typing import TYPE_CHECKING

from siamese.cli import against, mined, review
from siamese.cli import options as shared
from siamese.errors import UserError
from siamese.system.console import say
from siamese.system.csv_output import check_format
from siamese.system.program import joined, program

if TYPE_CHECKING:
    from siamese.model.model import SiameseModel


def add_commands(command: shared.Command) -> None:
    """Add `mine`."""
    sub = command("mine", mine, "Find all duplicates in a file of questions.")
    add = sub.add_argument
    add("file", nargs="?", metavar="QUESTIONS", help=f"{shared.QUESTIONS}; with --engine ray also a folder or glob of "
        "them, at any fsspec address")  # fmt: skip
    add("--out", metavar="PATH", help=f"{shared.OUTPUTS} to write: pairs, most similar first")
    add("--threshold", type=float, metavar="T", help="0 to 1: the similarity alone decides, by this threshold")
    shared.add_cosine(sub)
    add("--removed", metavar="PATH", help="also write the pairs that the verdict removed, in such a file")
    add("--max-pairs", type=int, metavar="N", help="only the N most similar pairs")
    add("--clusters", metavar="PATH", help="also write clusters, in such a file")
    add("--report", metavar="PATH", help="also write a page with the clusters, as HTML")
    add("--decisions", metavar="PATH", help="what people decided, as `review` writes it: pairs that are different are "
        "left out, and clusters honour all decisions")  # fmt: skip
    add("--linkage", choices=("complete", "connected"), default="complete", help="of clusters: complete, every two are "
        "a pair; connected, by chains of pairs (default %(default)s)")  # fmt: skip
    add("--from", dest="mined", metavar="PATH", help="mined pairs, for a higher threshold or for clusters without a "
        "model; QUESTIONS add their copies")  # fmt: skip
    add("--escape-formulas", action=argparse.BooleanOptionalAction, default=True, help="in files for people, that is "
        "clusters and pairs to label, put an apostrophe before what a spreadsheet computes (default yes)")  # fmt: skip
    add("--review", action="store_true", help="then ask a person about the pairs, as the command review does")
    shared.add_question_columns(sub)
    shared.add_keep(sub)
    shared.add_model(sub)
    against.add_options(sub)
    add = sub.add_argument_group("running").add_argument
    add("--memory", type=int, default=2_048, metavar="MB", help="to use at most (default %(default)s)")
    add("--approximate", action="store_true", help="faster above 200,000 questions; finds 99 %% of the pairs or more")
    add("--resume", action="store_true", help="continue a stopped run")
    shared.add_force(sub)
    add("--engine", choices=("process", "ray"), default="process", help="ray: more questions than this machine holds, "
        "on its cores or a cluster, by cells as --approximate, with --memory for each worker")  # fmt: skip
    add("--address", metavar="ADDRESS", help="of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT")
    add = sub.add_argument_group("a threshold from labels").add_argument
    add("--label-sample", type=int, metavar="N", help="write N of the pairs to --out, for a person to label")
    add("--seed", type=int, default=0, help="of that sample and of --approximate (default 0)")
    add("--labels", metavar="PATH", help="that file, once is_duplicate is 1 or 0: print a threshold for --precision")
    add("--precision", type=float, metavar="P", help="wanted share of duplicates above that threshold, such as 0.95")


def mine(options: argparse.Namespace) -> None:
    """Mine questions, or read mined pairs, or choose a threshold from labels."""
    for name, value in (("max-pairs", options.max_pairs), ("label-sample", options.label_sample)):
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: expected a whole number of 1 or more")
    if bool(options.labels) != (options.precision is not None):
        raise UserError("--labels PATH and --precision P go together")
    if options.labels:
        return _threshold(options)
    if not options.out:
        raise UserError("mine needs --out PATH, the CSV to write")
    check_format(options.out, options.clusters, only_csv=options.engine == "ray")
    against.check(options)
    if not options.file and not options.mined and not options.against:
        raise UserError("mine needs a file of questions, or --from PATH with mined pairs")
    if options.keep != "all" and (options.against or not options.file):
        raise UserError("--keep names columns of QUESTIONS that are mined alone; leave it out")
    if options.address and options.engine != "ray":
        raise UserError("--address is that of a Ray cluster; add --engine ray")
    if options.review and (options.label_sample or options.engine == "ray"):
        raise UserError("--review goes with neither --label-sample nor --engine ray; leave it out")
    if options.removed and (options.mined or options.label_sample):
        other = "--from" if options.mined else "--label-sample"
        raise UserError(f"--removed does not go with {other}, where nothing is removed; leave it out")
    if options.against:
        against.mine(options)
    elif options.engine == "ray":
        _on_ray(options)
    elif options.mined:
        from siamese.mining.mined import Mined

        mined.check_outputs(options, [options.file, options.mined, options.decisions])
        given = {name: getattr(options, name) for name in ("threshold", "max_pairs", "linkage", "memory")}
        mined.write(options, Mined.read(options.mined, mined.read(options) if options.file else None, **given))
    else:
        _from_questions(options)
    if options.review:
        review.after_mining(options.out, options.decisions, options.seed)


def _from_questions(options: argparse.Namespace) -> None:
    mined.check_outputs(options, [options.file, options.decisions])
    model = shared.load_model(options.model, options.calibrate_on)
    from siamese.mining.mine import mined_beside
    from siamese.system.progress import CountBar

    rule = model.rule(options.threshold, cosine=options.cosine)
    settings, questions = mined.settings(options, rule), mined.read(options)
    with (
        shared.advising("--resume"),
        CountBar("questions") as encoded,
        CountBar("comparisons") as joined,
    ):
        progress = (encoded, joined)
        with mined_beside(options.out, questions, model, settings, options.resume, *progress, rule) as found:
            shared.report_unknown(questions.unknown)
            if found.recall:
                print(f"approximate: recall {found.recall}")
            left = mined.write(options, found)
            if not options.label_sample:
                mined.say_removed(options, found)
    if options.threshold is None and not options.label_sample:
        _note(options, model, len(questions), len(left) - len(left.copies))


def _on_ray(options: argparse.Namespace) -> None:
    for name, value in (
        ("from", options.mined), ("report", options.report), ("label-sample", options.label_sample),
        ("removed", options.removed), ("decisions", options.decisions), ("keep", options.keep != "all"),
    ):  # fmt: skip
        if value:
            raise UserError(f"--{name} does not go with --engine ray; run it on the mined pairs, with --from PATH")
    if options.encoding or options.delimiter:  # the processes of Ray would not know of them
        raise UserError("--encoding and --delimiter do not go with --engine ray; give it UTF-8 and commas")
    from siamese.mining.sharded import store
    from siamese.mining.sharded.on_ray import mine_shards
    from siamese.mining.sharded.pipeline import list_shards
    from siamese.system.progress import CountBar

    shards = list_shards(options.file)
    mined.check_outputs(options, [path for path, _ in shards])
    for path in (options.out, options.clusters):
        if path and "://" in path and not (options.force or options.resume) and store.exists(path):
            raise UserError(f"{path}: exists; choose another name, or replace it with --force")
    model = shared.load_model(options.model, options.calibrate_on)
    rule = model.rule(options.threshold, cosine=options.cosine)
    with shared.advising("--resume"), CountBar("units of work") as bar:
        found = mine_shards(
            shards, model, mined.settings(options, rule), options.out, options.clusters, column=options.question_column,
            id_column=options.id_column, address=options.address, resume=options.resume, escape=options.escape_formulas,
            progress=lambda stage, done, total: bar(done, total, stage), rule=rule,
        )  # fmt: skip
    mined.say_questions(found.questions, found.copies, found.blank)
    shared.report_unknown(found.unknown)
    if found.recall:
        print(f"{found.cells:,} cells, each question in {found.p}: recall {found.recall}")
    mined.say_pairs(options, found.pairs, found.copied, found.last)
    if options.clusters:
        mined.say_clusters(options, found.clusters, found.members)
    if options.threshold is None:
        _note(options, model, found.questions, found.pairs - found.copied)


def _threshold(options: argparse.Namespace) -> None:
    from siamese.mining import labels, tables

    found = labels.estimates(*tables.read_labels(options.labels))
    print("threshold      pairs  labels  precision  95 % interval")
    for e in found:
        print(f"{e.threshold:9.6f} {e.pairs:10,} {e.labels:7,} {e.precision:10.3f}  {e.low:.3f} to {e.high:.3f}")
    chosen = labels.choose(found, options.precision)
    print(
        f"\nthreshold {chosen.threshold}: of the {chosen.pairs:,} pairs above it {chosen.precision:.1%} are duplicates "
        f"(95 % interval {chosen.low:.1%} to {chosen.high:.1%})\n"
        f"  {program()} mine --from DUPLICATES --threshold {chosen.threshold} --out surer.csv"
    )


def _note(options: argparse.Namespace, model: "SiameseModel", questions: int, pairs: int) -> None:
    """Warn that the model's own threshold says little about these questions, and say how to find a better one."""
    rule = model.rule(cosine=options.cosine)
    how = f"was chosen on labelled pairs, {rule.calibration.prior:.0%} of them duplicates"
    how = how if "chosen_threshold" in model.facts else "was not fitted"
    say(
        f"note: the threshold {rule.threshold:.3f} {how}. Of the {questions * (questions - 1) // 2:,} pairs of these "
        f"questions far fewer are, so it says little about how many of the {pairs:,} above it are right. To find out:\n"
        f"  {program()} mine {joined('--from', options.out)} --label-sample 200 --out to_label.csv"
    )
