"""The command `mine`. Nothing heavy is imported before it runs."""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.errors import UserError
from siamese.options import add_model, load_model

if TYPE_CHECKING:
    import numpy as np

    from siamese.mining.questions import Questions
    from siamese.mining.tables import Probability

LINKAGES = ("complete", "connected")  # the first is the default; why: reports/archive/mining.md
MEMORY = 2_048  # MB


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    sub = command("mine", mine, "Find all duplicates in a file of questions.")
    sub.add_argument("file", nargs="?", metavar="QUESTIONS",
                     help="the questions: .csv, .tsv, .jsonl, .parquet, or .txt with a question a line")  # fmt: skip
    sub.add_argument("--out", metavar="PATH", help="the CSV to write: pairs, most similar first")
    sub.add_argument("--threshold", type=float, metavar="T", help="0 to 1, instead of the model's")
    sub.add_argument("--max-pairs", type=int, metavar="N", help="only the N most similar pairs")
    sub.add_argument("--clusters", metavar="PATH", help="also write clusters, as CSV")
    sub.add_argument("--report", metavar="PATH", help="also write a page with the clusters, as HTML")
    sub.add_argument("--linkage", choices=LINKAGES, default=LINKAGES[0], help="how clusters are made: complete: every "
                     "two are a pair; connected: chains of pairs (default %(default)s)")  # fmt: skip
    sub.add_argument("--from", dest="mined", metavar="PATH", help="pairs that were mined before, to raise the threshold "
                     "or to make clusters, without a model; QUESTIONS, if given, add their exact copies")  # fmt: skip
    sub.add_argument("--question", default="question", metavar="NAME", help="the column (default question)")
    sub.add_argument("--id", metavar="NAME", help="the column of ids (default id, where there is one)")
    add_model(sub)
    group = sub.add_argument_group("running")
    group.add_argument("--memory", type=int, default=MEMORY, metavar="MB", help="that may be used (default %(default)s)")
    group.add_argument("--approximate", action="store_true", help="faster, and finds 99 %% of the pairs or more; "
                       "the recall is measured and printed")  # fmt: skip
    group.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    group = sub.add_argument_group("a threshold from labels")
    group.add_argument("--label-sample", type=int, metavar="N", help="write N of the pairs for a person to label, "
                       "instead of all; fill the column is_duplicate with 1 and 0")  # fmt: skip
    group.add_argument("--seed", type=int, default=0, help="of that sample and of --approximate (default 0)")
    group.add_argument("--labels", metavar="PATH", help="such a file with labels: prints the threshold that they show")
    group.add_argument("--precision", type=float, metavar="P", help="with --labels: the share of duplicates that the "
                       "pairs above the threshold shall have, such as 0.95")  # fmt: skip


def mine(options: argparse.Namespace) -> None:
    _check(options)
    if options.labels:
        return _threshold(options)
    if options.mined:
        return _from_pairs(options)
    from siamese import mining
    from siamese.locking import locked
    from siamese.mining.mine import Settings
    from siamese.mining.mine import mine as find
    from siamese.mining.questions import Questions
    from siamese.progress import CountBar

    model = load_model(options.model)
    threshold = model.threshold_for(options.threshold)
    settings = Settings(threshold, options.max_pairs, options.approximate, options.memory, options.seed)
    questions = Questions.read(options.file, options.question, options.id)
    print(_collapsed(questions))
    out = Path(options.out)
    with locked(out.with_name(out.name + ".unfinished")) ...
