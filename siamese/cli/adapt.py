"""The command `adapt`. Light at import."""

import argparse
from typing import TYPE_CHECKING

from siamese.cli import options as shared
from siamese.errors import UserError
from siamese.system.console import say

if TYPE_CHECKING:
    from siamese.review.adapt import Adapted
    from siamese.review.threshold import Choice


def add_commands(command: shared.Command) -> None:
    """Add `adapt`."""
    sub = command("adapt", adapt, "Make a model that suits a person's answers about mined pairs.")
    add = sub.add_argument
    add("--labels", required=True, metavar="PATH", help="the answers, 30 or more: the decisions.csv of `review`, or "
        "the to_label.csv of `mine --label-sample`")  # fmt: skip
    add("--out", required=True, metavar="DIR", help="the new model's folder")
    add("--questions", metavar="PATH", help=f"the questions that were mined, so that all their pairs count: "
        f"{shared.QUESTIONS}")  # fmt: skip
    add("--archive", metavar="DIR", help="the same, from an archive")
    add("--precision", type=float, default=0.9, metavar="P",
        help="wanted share of duplicates above the threshold (default %(default)s)")  # fmt: skip
    add("--seed", type=int, default=0, help="of the cross-validation (default 0)")
    shared.add_force(sub)
    shared.add_question_columns(sub)
    shared.add_model(sub)


def adapt(options: argparse.Namespace) -> None:
    """Adapt a model to answers, and print what each step gained."""
    if options.questions and options.archive:
        raise UserError("--questions and --archive: give one of the two")
    if options.seed < 0:
        raise UserError(f"--seed {options.seed}: expected 0 or more")
    from siamese.model import folder

    inputs = [options.labels, options.questions, options.archive, options.model]
    shared.check_outputs(options, folder.output(options.out), inputs=inputs)
    model = shared.load_model(options.model, options.calibrate_on)
    from siamese.review.adapt import adapt
    from siamese.review.answers import read_answers

    answers, questions = read_answers(options.labels), _questions(options)
    found = adapt(model, answers, options.precision, questions, options.seed, say)
    _print(found, int(answers.pairs.labels.sum()), len(answers))
    if found.model is None:
        print("nothing was gained, so nothing was changed, and no model was written")
        return
    found.model.save(options.out, force=options.force)
    print(f"the adapted model: {options.out}")


def _questions(options: argparse.Namespace) -> list[str] | None:
    if options.archive:
        from siamese.archive.texts import read_texts

        return read_texts(options.archive)
    if options.questions:
        from siamese.mining.questions import Questions

        return Questions.read(options.questions, options.question_column, options.id_column, keep=()).texts
    return None


def _print(found: "Adapted", duplicates: int, count: int) -> None:
    print(
        f"{count:,} answers, {duplicates:,} of them duplicate; {found.share:.1%} of {found.pool:,} mined pairs are\n\n"
        f"{'step':<28} {'log loss, held out':>18}   gain"
    )
    for before, tried in zip([None, *found.tried], found.tried):
        gain = "" if before is None else "{:+.3f} ± {:.3f}".format(*tried.gain(before))
        print(f"{tried.step:<28} {tried.mean:18.3f}   {gain}{'   taken' if tried.step == found.step else ''}".rstrip())
    for note in found.notes:
        print(note)
    print(f"\nthreshold {found.choice.threshold:.6f}: {_about(found.choice)}")
    print(f"before: {_about(found.before)}" if found.before else "before: no pair above the threshold")


def _about(choice: "Choice") -> str:
    return (
        f"of {choice.pairs:,.0f} pairs above it {choice.precision:.1%} are duplicates (95 % interval {choice.low:.1%} "
        f"to {choice.high:.1%}, {choice.answers:,} answers), {choice.share:.0%} of all duplicates"
    )
