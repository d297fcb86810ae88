"""The command `mine`. Nothing heavy is imported before it runs."""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.cli.options import Command, add_model, load_model
from siamese.errors import UserError
from siamese.system.program import program

if TYPE_CHECKING:
    import numpy as np

    from siamese.mining.questions import Questions
    from siamese.mining.tables import Probability
    from siamese.model.model import SiameseModel

ENGINES = ("process", "ray")
LINKAGES = ("complete", "connected")  # the first is the default; why: reports/archive/mining.md
MEMORY = 2_048  # MB

Ranking = Callable[[], Iterator["np.ndarray"]]  # the pairs, found.PAIR, most similar first, in chunks


def add_commands(command: Command) -> None:
    """Add `mine` to the command line."""
    sub = command("mine", mine, "Find all duplicates in a file of questions.")
    sub.add_argument("file", nargs="?", metavar="QUESTIONS", help=".txt with a question a line, or .csv, .tsv, .jsonl, "
                     ".parquet; with --engine ray also a folder or glob of them, at any fsspec address")  # fmt: skip
    sub.add_argument("--out", metavar="PATH", help="the CSV to write: pairs, most similar first")
    sub.add_argument("--threshold", type=float, metavar="T", help="0 to 1, instead of the model's")
    sub.add_argument("--max-pairs", type=int, metavar="N", help="only the N most similar pairs")
    sub.add_argument("--clusters", metavar="PATH", help="also write clusters, as CSV")
    sub.add_argument("--report", metavar="PATH", help="also write a page with the clusters, as HTML")
    sub.add_argument("--linkage", choices=LINKAGES, default=LINKAGES[0], help="of clusters: complete, every two are a "
                     "pair; connected, by chains of pairs (default %(default)s)")  # fmt: skip
    sub.add_argument("--from", dest="mined", metavar="PATH", help="pairs that were mined before, for a higher "
                     "threshold or for clusters, without a model; QUESTIONS add their exact copies")  # fmt: skip
    sub.add_argument("--question", default="question", dest="question_column", metavar="NAME",
                     help="the file's column of questions (default question)")  # fmt: skip
    sub.add_argument("--id", dest="id_column", metavar="NAME", help="its column of ids (default id, if there is one)")
    add_model(sub)
    group = sub.add_argument_group("running")
    group.add_argument("--memory", type=int, default=MEMORY, metavar="MB", help="to use at most (default %(default)s)")
    group.add_argument("--approximate", action="store_true", help="faster on more than about 200,000 questions, and "
                       "finds 99 %% of the pairs or more; the recall is measured and printed")  # fmt: skip
    group.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    group.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="ray: more questions than this machine "
                       "holds, on its cores or a cluster, by cells as --approximate; --memory is a worker's "
                       "(pip install 'ray[data]')")  # fmt: skip
    group.add_argument("--address", metavar="ADDRESS", help="of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT")
    group = sub.add_argument_group("a threshold from labels")
    group.add_argument("--label-sample", type=int, metavar="N", help="write N of the pairs to --out, for a person to "
                       "label: 1 or 0 in the column is_duplicate")  # fmt: skip
    group.add_argument("--seed", type=int, default=0, help="of that sample and of --approximate (default 0)")
    group.add_argument("--labels", metavar="PATH", help="that file with labels: print the threshold that they show")
    group.add_argument("--precision", type=float, metavar="P", help="with --labels: the share of duplicates that the "
                       "pairs above the threshold shall have, such as 0.95")  # fmt: skip


def mine(options: argparse.Namespace) -> None:
    """One of three: pairs from questions, pairs from pairs, a threshold from labels."""
    for name, value in (("max-pairs", options.max_pairs), ("label-sample", options.label_sample)):
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: expected a whole number of 1 or more")
    if bool(options.labels) != (options.precision is not None):
        raise UserError("--labels PATH and --precision P go together")
    if options.labels:
        return _threshold(options)
    if not options.out:
        raise UserError("mine needs --out PATH, the CSV to write")
    if not options.file and not options.mined:
        raise UserError("mine needs a file of questions, or --from PATH with pairs that were mined before")
    if options.engine == "ray":
        return _on_ray(options)
    if options.address:
        raise UserError("--address is a Ray cluster's; it needs --engine ray")
    if options.mined:
        return _from_pairs(options)
    _from_questions(options)


def _on_ray(options: argparse.Namespace) -> None:
    for name, value in (("from", options.mined), ("report", options.report), ("label-sample", options.label_sample)):
        if value:
            raise UserError(f"--{name} needs no Ray: leave --engine ray out, and give the pairs by --from PATH")
    from siamese.mining.found import lowest_above
    from siamese.mining.mine import Settings
    from siamese.mining.sharded import on_ray, pipeline, stages, store
    from siamese.mining.sharded.shards import Job
    from siamese.model.fingerprint import fingerprint

    shards = pipeline.list_shards(options.file)
    model = load_model(options.model)
    settings = Settings(model.threshold_for(options.threshold), options.max_pairs, True, options.memory, options.seed)
    out, groups = store.absolute(options.out), options.clusters and store.absolute(options.clusters)
    job = Job(f"{out}.unfinished", options.question_column, options.id_column, lowest_above(settings.threshold),
              settings.max_pairs, settings.memory, options.linkage if groups else "")  # fmt: skip
    identity = {"questions": shards, "model": fingerprint(model), "seed": settings.seed, **vars(job)}
    try:
        with store.held(job.work), on_ray.started(options.address, job.memory) as runner, StageBar() as told:
            on_ray.check_reachable(job.work)
            stages.begin(job, identity, options.resume)
            try:
                work = stages.Stages(job, runner, told)
                encoded, copies, blank = pipeline.encode(work, [address for address, _ in shards], model)
                found = pipeline.find(work, encoded, model, settings.seed, out, groups)
            except on_ray.Lost:
                raise
            except UserError:  # going on would fail again
                store.clear(job.work)
                raise
            store.clear(job.work)
    except KeyboardInterrupt:
        print("\nstopped; the same command with --resume goes on", file=sys.stderr)
        raise
    _say_questions(found.questions, copies, blank)
    if found.recall:
        print(f"{found.cells:,} cells, each question in {found.p}: recall {found.recall}")
    _say_pairs(found.pairs, found.last, options.out)
    if groups:
        _say_clusters(found.clusters, found.members, options.linkage, options.clusters)
    if options.threshold is None:
        _note(options, model, found.questions, found.pairs)


class StageBar:
    """Shows how far each stage is."""

    def __init__(self) -> None:
        self.stage, self.bars = "", ExitStack()

    def __call__(self, stage: str, done: int, total: int) -> None:
        from siamese.system.progress import CountBar

        if stage != self.stage:
            self.bars.close()
            self.stage, self.bar = stage, self.bars.enter_context(CountBar(f"units of the stage {stage}"))
        self.bar(done, total)

    def __enter__(self) -> "StageBar":
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.close()


def _from_questions(options: argparse.Namespace) -> None:
    model = load_model(options.model)
    from siamese.mining.mine import Settings
    from siamese.mining.mine import mine as find
    from siamese.system.locking import locked
    from siamese.system.progress import CountBar

    threshold = model.threshold_for(options.threshold)
    settings = Settings(threshold, options.max_pairs, options.approximate, options.memory, options.seed)
    questions = _read(options)
    out = Path(options.out)
    unfinished = out.with_name(f"{out.name}.unfinished")
    try:
        with locked(unfinished), CountBar("questions") as encoded, CountBar("comparisons") as joined:
            mined = find(questions, model, settings, unfinished, options.resume, encoded, joined)
            if mined.recall:
                print(f"approximate: recall {mined.recall}")
            try:
                count = _write(options, questions, mined.ranked, model.probability)
            except UserError:  # the pairs are written, or there is nothing to write
                mined.kept.remove()
                raise
            mined.kept.remove()
        if unfinished.is_dir():  # it was there before this run
            unfinished.rmdir()
    except KeyboardInterrupt:
        print("\nstopped; the same command with --resume goes on", file=sys.stderr)
        raise
    if options.threshold is None and not options.label_sample:
        _note(options, model, len(questions), count)


def _note(options: argparse.Namespace, model: "SiameseModel", n: int, count: int) -> None:
    """That the model's own threshold says little here."""
    print(
        f"note: the threshold {model.threshold:.3f} was chosen on labelled pairs, {model.calibration.prior:.0%} of "
        f"them duplicates. Of the {n * (n - 1) // 2:,} pairs of these questions far fewer are, so it says little "
        f"about how many of the {count:,} above it are right. To find out:\n"
        f"  {program()} mine --from {shlex.quote(options.out)} --label-sample 200 --out to_label.csv",
        file=sys.stderr,
    )


def _from_pairs(options: argparse.Namespace) -> None:
    import numpy as np

    from siamese.mining import tables
    from siamese.mining.found import MILLION, lowest_above
    from siamese.model.similarity import check_threshold

    known = _read(options) if options.file else None
    questions, pairs, probabilities = tables.read_pairs(options.mined, known)
    if options.threshold is not None:
        lowest = lowest_above(check_threshold(options.threshold))
        if len(pairs) and lowest < pairs["millionths"][-1]:
            print(f"note: {options.mined} has no pair below {pairs['millionths'][-1] / MILLION}; for those, mine the "
                  "questions again", file=sys.stderr)  # fmt: skip
        pairs = pairs[pairs["millionths"] >= lowest]
    pairs = pairs[: options.max_pairs]

    def probability(similarities: np.ndarray) -> np.ndarray:
        return np.array([probabilities[round(s * MILLION)] for s in similarities.tolist()])

    _write(options, questions, lambda: iter([pairs] if len(pairs) else []), probability)


def _read(options: argparse.Namespace) -> "Questions":
    from siamese.mining.questions import Questions

    questions = Questions.read(options.file, options.question_column, options.id_column)
    _say_questions(len(questions), len(questions.copies), questions.blank)
    return questions


def _say_questions(count: int, copies: int, blank: int) -> None:
    more = [f"{copies:,} exact copies collapsed"] if copies else []
    more += [f"{blank:,} blank ones left out"] if blank else []
    print(f"{count:,} different questions{''.join(f', {text}' for text in more)}")


def _say_pairs(count: int, last: float | None, out: str) -> None:
    print(f"{count:,} pairs{'' if last is None else f', down to a similarity of {last}'}: {out}")


def _say_clusters(count: int, members: int, linkage: str, out: str) -> None:
    print(f"{count:,} clusters of {members:,} different questions, {linkage} linkage: {out}")


def _write(options: argparse.Namespace, questions: "Questions", ranked: Ranking, probability: "Probability") -> int:
    """Write what the options ask for; the number of pairs."""
    if options.label_sample:
        return _write_sample(options, questions, ranked)
    import numpy as np

    from siamese.mining import tables
    from siamese.mining.clusters import A_LINK, clusters
    from siamese.mining.found import PAIR

    count, last = tables.write_pairs(options.out, questions, ranked(), probability)
    _say_pairs(count, last, options.out)
    if not options.clusters and not options.report:
        return count
    if options.linkage == "complete" and count * A_LINK > options.memory << 20:
        raise UserError(
            f"--memory {options.memory}: too little for clusters of {count:,} pairs by complete linkage; give "
            f"{count * A_LINK >> 20}, or --linkage connected, or a higher threshold: mine --from {options.out}"
        )
    pairs = np.concatenate([np.empty(0, PAIR), *ranked()])
    found = clusters(len(questions), pairs, options.linkage, questions.copies_of())
    members = sum(len(cluster.members) for cluster in found)
    if options.clusters:
        tables.write_clusters(options.clusters, questions, found)
        _say_clusters(len(found), members, options.linkage, options.clusters)
    if options.report:
        from siamese.mining import report

        shown = report.write(options.report, questions, found, options.linkage, last)
        which = "all" if shown == len(found) else f"the first {shown:,} of"
        print(f"a page with {which} {len(found):,} clusters: {options.report}")
    return count


def _write_sample(options: argparse.Namespace, questions: "Questions", ranked: Ranking) -> int:
    import numpy as np

    from siamese.mining import labels, tables
    from siamese.mining.found import MILLION, PAIR

    counts = np.zeros(MILLION + 1, np.int64)  # pairs of each similarity
    for chunk in ranked():
        counts += np.bincount(chunk["millionths"], minlength=MILLION + 1)
    values = np.flatnonzero(counts)[::-1]
    if not len(values):
        raise UserError("no pair is above the threshold, so there is nothing to label; a lower --threshold finds some")
    cut = labels.strata(counts[values], values, options.label_sample)
    drawn = labels.draw(cut, options.label_sample, options.seed)
    ranks, start = np.array([rank for rank, _ in drawn]), 0
    pairs = np.empty(len(drawn), PAIR)
    for chunk in ranked():
        here = (ranks >= start) & (ranks < start + len(chunk))
        pairs[here] = chunk[ranks[here] - start]
        start += len(chunk)
    tables.write_sample(options.out, questions, pairs, [h for _, h in drawn], cut)
    print(
        f"{len(pairs):,} of {start:,} pairs, in random order: {options.out}\n"
        "Fill its column is_duplicate with 1 or 0, all of it or from the top as far as you like; then\n"
        f"  {program()} mine --labels {shlex.quote(options.out)} --precision 0.95"
    )
    return start


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
