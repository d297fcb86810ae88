"""The commands `predict` and `encode`. Light at import."""

import argparse
import dataclasses
import json
from pathlib import Path

from siamese.cli import options as shared
from siamese.errors import UserError
from siamese.system.csv_output import check_format
from siamese.system.outputs import Output, is_stream, table_ending_with


def add_commands(command: shared.Command) -> None:
    """Add `predict` and `encode`."""
    sub = command("predict", predict, "Say whether two questions are duplicates.")
    sub.add_argument("questions", nargs="*", metavar="QUESTION", help="two questions")
    sub.add_argument("--file", metavar="PATH", help="score all pairs of this file instead")
    sub.add_argument("--out", metavar="PATH", help=f"with --file: {shared.OUTPUTS} to write (default: print CSV)")
    sub.add_argument(
        "--threshold", type=float, metavar="T", help="0 to 1: the similarity alone decides, by this threshold"
    )
    sub.add_argument("--prior", type=float, metavar="P", help="share of duplicates among your pairs, such as 0.01; "
                     "adjusts probability and verdict")  # fmt: skip
    shared.add_cosine(sub)
    sub.add_argument("--json", action="store_true", help="print JSON")
    shared.add_force(sub)
    shared.add_model(sub)
    shared.add_columns(sub)

    sub = command("encode", encode, "Write the vectors of the questions of a file, which may be larger than memory.")
    sub.add_argument("file", metavar="PATH", help=shared.QUESTIONS)
    sub.add_argument(
        "--out", required=True, metavar="PATH", help="the .npy file to write: float32, a row for each question"
    )
    sub.add_argument("--question", default="question", metavar="NAME", help="the column (default question)")
    shared.add_force(sub)
    shared.add_model(sub)


def predict(options: argparse.Namespace) -> None:
    if bool(options.file) == bool(options.questions) or len(options.questions) not in (0, 2):
        raise UserError(f"predict takes two questions, or --file PATH; got {len(options.questions)} question(s)")
    if options.file and options.json:
        raise UserError("--json is for two questions; --file writes a file")
    if options.out and not options.file:
        raise UserError("--out goes with --file; the answer for two questions is printed")
    if options.file:
        return _predict_file(options)
    from siamese.text.cleaning import is_blank

    model = shared.load_model(options.model, options.calibrate_on)
    question1, question2 = options.questions
    prediction = model.predict(question1, question2, options.threshold, options.prior, options.cosine)
    shared.report_unknown(int(model.without_a_known_word(options.questions).sum()))
    empty = is_blank(question1), is_blank(question2)
    if options.json:
        print(json.dumps(dataclasses.asdict(prediction)))
    elif any(empty):
        which = "both questions are" if all(empty) else f"the {'first' if empty[0] else 'second'} question is"
        print(f"no verdict: {which} empty")
    else:
        print(
            f"{'duplicate' if prediction.is_duplicate else 'not duplicate'}: similarity {prediction.similarity:.3f} "
            f"(threshold {prediction.threshold:.3f}), probability {prediction.probability:.2f}"
        )
        if prediction.differences:
            print(f"differs: {'; '.join(map(str, prediction.differences))}")


def _predict_file(options: argparse.Namespace) -> None:
    from siamese.model.files import ADDED, PREFIX, write_predictions

    check_format(options.out)
    written = Output("--out", options.out, table_ending_with(ADDED, PREFIX))
    shared.check_outputs(options, written, inputs=(options.file, options.model))
    model = shared.load_model(options.model, options.calibrate_on)
    columns = shared.column_names(options)
    count, faults = write_predictions(
        model, options.file, options.out, columns, options.threshold, options.prior, options.cosine
    )
    shared.report_unanswered(faults)
    if options.out:
        print(f"{faults.rows - faults.count} pairs, {count} of them duplicates, written to {options.out}")


def encode(options: argparse.Namespace) -> None:
    from siamese.model.files import encode_file, is_ours
    from siamese.system.progress import CountBar

    shared.check_outputs(options, Output("--out", options.out, is_ours), inputs=(options.file, options.model))
    if Path(options.out).suffix.lower() not in (".npy", "") and not is_stream(options.out):
        raise UserError(f"{options.out}: encode writes the format .npy; end the name with it")
    model = shared.load_model(options.model, options.calibrate_on)
    with CountBar("questions") as bar:
        faults = encode_file(model, options.file, options.out, options.question, bar)
    shared.report_unanswered(faults)
    zero = f", {faults.count} of them zero for want of a question" if faults.count else ""
    print(f"{faults.rows} vectors of {model.dimensions} dimensions{zero} written to {options.out}")
