"""Write the verdicts on the pairs of a file."""

from pathlib import Path

from siamese.model.model import SiameseModel
from siamese.pairs.pairs import Pairs
from siamese.system.csv_output import writing_csv


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
    with writing_csv(path, ["question1", "question2", "similarity", "probability", "is_duplicate"]) as writer:
        for q1, q2, s, p in zip(pairs.question1, pairs.question2, similarity.tolist(), probability.tolist()):
            writer.writerow([q1, q2, round(s, 6), round(p, 6), int(s > threshold)])
    return int((similarity > threshold).sum())
