"""The commands `evaluate` and `examine`. Light at import."""

import argparse
import json
from typing import Any

from siamese.cli import options as shared
from siamese.config import ENCODER
from siamese.system.outputs import Folder
from siamese.system.program import command_line


def add_commands(command: shared.Command) -> None:
    """Add `evaluate` and `examine`."""
    sub = command("evaluate", evaluate, "Score a model and the baselines on labelled pairs.")
    sub.add_argument("--json", action="store_true", help="print JSON")
    _add_scored(sub)

    sub = command("examine", examine, "Report a model's mistakes on labelled pairs, and what they have in common.")
    sub.add_argument("--against", metavar="ENCODER", help=f"compare with a sentence encoder: {ENCODER}")
    sub.add_argument("--out", default="models/examination", metavar="DIR", help="report folder (default %(default)s)")
    shared.add_force(sub)
    sub.add_argument("--show-text", action="store_true", help="include the questions of the mistakes, not only ids")
    _add_scored(sub)


def _add_scored(sub: argparse.ArgumentParser) -> None:
    """Add the options of both."""
    sub.add_argument("--data", required=True, metavar="PATH", help=f"pairs to score: {shared.FILES}")
    sub.add_argument("--tune-on", metavar="PATH", help="pairs to choose the thresholds on, instead of the model's")
    sub.add_argument("--goal", help="with --tune-on: probability (default), accuracy, f1, or precision=0.95")
    sub.add_argument("--trained-on", metavar="PATH", help="the training pairs, if the model cannot find them")
    shared.add_cosine(sub)
    shared.add_model(sub)
    shared.add_columns(sub)


def _scored(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `evaluate` and `setting` from the options of `_add_scored`."""
    from siamese.pairs import splits

    model, columns = shared.load_model(options.model, options.calibrate_on), shared.column_names(options)
    pairs = splits.to_score(options.data, columns)
    shared.report_faults(pairs, options.data)
    given = {"tuning": options.tune_on, "goal": options.goal, "training": options.trained_on, "cosine": options.cosine}
    return {"model": model, "pairs": pairs, "columns": columns, **given}


def evaluate(options: argparse.Namespace) -> None:
    from siamese.evaluation.evaluate import evaluate

    result = evaluate(**_scored(options))
    print(json.dumps(result.to_dict(), indent=2) if options.json else result)


def examine(options: argparse.Namespace) -> None:
    from pathlib import Path

    from siamese.evaluation.against import ComparedEncoder
    from siamese.evaluation.evaluate import setting
    from siamese.evaluation.examination import examine
    from siamese.report.examination import FIGURES, OUTPUTS, summary, write

    read = (options.data, options.tune_on, options.trained_on, options.model, options.against)
    shared.check_outputs(options, Folder("--out", options.out, (*OUTPUTS, *FIGURES), OUTPUTS), inputs=read)
    given, folder = setting(**_scored(options)), Path(options.out)
    encoder = ComparedEncoder(options.against) if options.against else None
    found = examine(given, options.model, encoder, text=options.show_text)
    write(found, folder, options.model, options.data, command_line())
    print(summary(found, folder))
