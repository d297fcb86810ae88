"""The command `compare`. Light at import."""

import argparse
import dataclasses

from siamese.cli import options as shared
from siamese.experiment.variants import BASE, ONE_SIDED, against_first, parse_all, read_study
from siamese.system.console import note
from siamese.system.outputs import Folder
from siamese.system.program import command_line

MOST = 1_000  # seeds and jobs


def add_commands(command: shared.Command) -> None:
    """Add `compare`."""
    sub = command("compare", compare, "Train variants of the loss with several seeds, and report the differences.")
    shared.add_data(sub)
    sub.add_argument("--test", metavar="PATH", help="pairs to score if --data has no test part")
    sub.add_argument("--study", metavar="PATH", help="TOML file of a study: variants, the recipe that they change, and "
                     "questions (default: rows, columns, or both; reports/losses/study.toml is another)")  # fmt: skip
    sub.add_argument("--losses", nargs="+", metavar="LOSS",
                     help="instead of a study: the reference, then others, such as rows both "
                     "rows,batch_size=64 matrix-softmax,temperature=0.03/0.1 contrastive both+logistic; "
                     "plug-ins as MODULE:CLASS or by their names")  # fmt: skip
    sub.add_argument("--seeds", type=_count, default=5, metavar="N", help="trainings of each variant (default 5)")
    sub.add_argument("--jobs", type=_count, metavar="N", help="trainings at a time (default: one a core)")
    sub.add_argument("--out", default="models/compare", metavar="DIR", help="folder for the report and the finished "
                     "trainings, which the next run keeps (default %(default)s)")  # fmt: skip
    shared.add_force(sub)
    shared.add_recipe(sub, "of all variants", ("epochs", "batch_size", "learning_rate", "precision", "goal"), BASE)


def _count(text: str) -> int:
    if not (text.isdecimal() and len(text) <= len(str(MOST)) and 1 <= int(text) <= MOST):
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number from 1 to {MOST:,}")
    return int(text)


def compare(options: argparse.Namespace) -> None:
    study = against_first(options.losses) if options.losses else read_study(options.study or ONE_SIDED)
    study = dataclasses.replace(study, base=study.base.replace(**shared.changed_fields(options)))
    parse_all(study.losses, study.base)  # checked before anything heavy is loaded
    from pathlib import Path

    from siamese.experiment import comparison, report, verdicts
    from siamese.pairs import splits
    from siamese.system import workers

    source = shared.data_source(options)
    proofs = {**report.OUTPUTS, comparison.UNFINISHED: Path.is_dir}
    written = Folder("--out", options.out, (*proofs, *report.FIGURES), proofs)
    shared.check_outputs(options, written, inputs=(source.data, source.validation, options.test, options.study))
    data = splits.load(source, warn=shared.report_faults)
    if options.test:
        data = dataclasses.replace(data, test=splits.to_score(options.test, source.columns))
    out = Path(options.out)
    with shared.advising():
        compared = comparison.compare(study, data, options.seeds, out, options.jobs or workers.cores())
    report.write(compared, data, out, command_line())
    for warning in verdicts.constant(compared, data.test) if data.test else ():
        note(warning)
    print(f"{report.conclusion(compared)}\n\n{out}/report.md written")
