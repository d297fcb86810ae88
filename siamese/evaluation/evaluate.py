"""Score a model on labelled pairs, and the baselines with it."""

from collections.abc import Mapping

import numpy as np

from siamese.evaluation.baselines import Scored, Scorer, baselines
from siamese.evaluation.results import Compared, Evaluation
from siamese.evaluation.setting import Setting, setting
from siamese.model.model import SiameseModel
from siamese.pairs.clusters import Clusters
from siamese.pairs.frames import PairsLike
from siamese.pairs.pairs import Columns, Pairs
from siamese.pairs.reading import QUORA


def evaluate(
    model: SiameseModel,
    pairs: PairsLike,
    *,
    threshold: float | None = None,
    tuning: PairsLike | None = None,
    goal: str | None = None,
    training: PairsLike | None = None,
    columns: Columns = QUORA,
) -> Evaluation:
    """Score a model and the baselines on labelled pairs.

    Args:
        model: the detector; it is not changed.
        pairs: the pairs to score: a DataFrame with the columns question1, question2 and is_duplicate, a file, or
            `Pairs`. If they have a part "test" in a column `split`, only that part.
        threshold: of the model's verdicts, 0 to 1, instead of its own.
        tuning: pairs to choose the thresholds and fit the probabilities on, of the model and of the baselines; their
            part "validation" if there is one. None: the model keeps its own, and the baselines use the model's
            validation pairs if their file is still there.
        goal: of the threshold chosen on `tuning`: "probability" (default), "accuracy", "f1" or "precision=0.95".
        training: the pairs that the model was trained on; their part "train" if there is one. They decide which pairs
            are unseen, and make the look-up baseline. None: the model's training pairs if their file is still there.
        columns: the names of the columns.

    Returns:
        The scores on all pairs; in `baselines` those of each baseline; in `unseen` the same for the pairs that share
        no question with the training pairs.

    Raises:
        UserError: pairs cannot be used, some pairs to score are in `tuning` too, or the goal is unknown.

    Warns:
        UserWarning: some pairs to score were used to make the model.
    """
    given = setting(model, pairs, threshold=threshold, tuning=tuning, goal=goal, training=training, columns=columns)
    return evaluate_in(given)


def evaluate_in(setting: Setting, others: Mapping[str, Scorer] | None = None) -> Evaluation:
    """Score the model, the baselines, and other scorers by name."""
    model, pairs = setting.model, setting.pairs
    clusters = Clusters(setting.training) if setting.training is not None else None
    similarity = model.similarity(pairs.question1, pairs.question2)
    threshold = model.threshold if setting.threshold is None else setting.threshold
    ours, rows = Scored(pairs.labels, similarity, threshold, model.probability(similarity)), {}
    if setting.threshold is None and model.config.threshold is not None and "chosen_threshold" in model.facts:
        # A preset with a published threshold: compare it with the one chosen on the validation pairs.
        chosen = model.facts["chosen_threshold"]
        rows["the same, threshold from validation"] = Scored(pairs.labels, similarity, chosen)
    rows |= baselines(model, pairs, setting.tuning, clusters, others or {})

    def over(which: np.ndarray) -> Compared:
        majority = float(max(np.bincount(pairs.labels[which], minlength=2)) / which.sum())
        scores = {name: row.metrics(which) for name, row in rows.items()}
        return Compared(**vars(ours.metrics(which)), majority=majority, baselines=scores)

    unseen, how = unseen_pairs(pairs, clusters)
    part = over(unseen) if unseen is not None and unseen.any() else None
    return Evaluation(**vars(over(np.ones(len(pairs), bool))), unseen=part, unseen_from=how)


def unseen_pairs(pairs: Pairs, clusters: Clusters | None) -> tuple[np.ndarray | None, str]:
    """Find the pairs that share no question with the training pairs.

    Args:
        pairs: n pairs.
        clusters: of the training pairs; None: unknown.

    Returns:
        (n,) bool or None, and how unseen pairs were found, or why they were not.
    """
    if pairs.unseen is not None:
        return pairs.unseen, "the file's column 'unseen'"
    if clusters is not None:
        return clusters.unseen(pairs), "the training pairs"
    return None, "unknown: no column 'unseen', and the training pairs are not at hand; give them by --trained-on PATH"
