"""Write the verdicts on the pairs of a file."""

import csv
import sys
from contextlib import ExitStack
from pathlib import Path

from siamese.model.model import SiameseModel
from siamese.pairs.pairs import Pairs
from siamese.system.files import replacing


def write_predictions(
    model: SiameseModel,
    pairs: Pairs,
    path: str | Path | None,
    threshold: float | None = None,
    prior: float | None = None,
) -> int:
    """Write question1, question2, similarity, probability, is_duplicate as CSV; how many are duplicates.

    Args:
        model: the detector.
        pairs: n pairs; their labels are not read.
        path: the file, written whole or not at all; None prints the rows.
        threshold, prior: as in `SiameseModel.predict`.
    """
    threshold = model.threshold_for(threshold, prior)
    similarity = model.similarity(pairs.question1, pairs.question2)
    probability = model.probability(similarity, prior)
    with ExitStack() as stack:
        if path:
            file = stack.enter_context(open(stack.enter_context(replacing(path)), "w", encoding="utf-8", newline=""))
        else:
            file = sys.stdout  # type: ignore[assignment]
        # Text is always quoted: Python 3.11 would leave a lone carriage return bare, which ends a row for a reader.
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(["question1", "question2", "similarity", "probability", "is_duplicate"])
        for q1, q2, s, p in zip(pairs.question1, pairs.question2, similarity.tolist(), probability.tolist()):
            writer.writerow([q1, q2, round(s, 6), round(p, 6), int(s > threshold)])
    return int((similarity > threshold).sum())
