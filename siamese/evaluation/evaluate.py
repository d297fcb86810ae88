"""How good a detector is: its scores on labelled pairs, beside those of the baselines."""

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
        model: the detector; it stays as it is.
        pairs: the pairs to score: a DataFrame with the columns question1, question2 and is_duplicate, a file, or
            `Pairs`. If they have a column `split` with a part "test", that part alone.
        threshold: of the model's verdicts, 0 to 1, instead of its own.
        tuning: pairs to choose the thresholds on, the model's too, and to fit the probabilities; their part
            "validation", if there is one. None: the model's own, and for the baselines its validation pairs, if it
            remembers a file that is still there.
        goal: of the threshold that `tuning` chooses: "probability" (default), "accuracy", "f1" or "precision=0.95".
        training: the pairs that the model was trained on; their part "train", if there is one. They say which of the
            scored pairs are unseen, and give the look-up baseline. None: those that the model remembers.
        columns: the names of the columns.

    Returns:
        The scores over all pairs; under `baselines` those of each baseline; under `unseen` all of this again over the
        pairs of which neither question was trained on.

    Raises:
        UserError: pairs that cannot be used, pairs to score that are in `tuning` too, or an unknown goal.

    Warns:
        UserWarning: pairs to score were used to make the model.
    """
    given = setting(model, pairs, threshold=threshold, tuning=tuning, goal=goal, training=training, columns=columns)
    return evaluate_in(given)


def evaluate_in(setting: Setting, others: Mapping[str, Scorer] | None = None) -> Evaluation:
    """Score a model, the baselines, and perhaps other scorers by name, as `evaluate` does."""
    model, pairs = setting.model, setting.pairs
    clusters = Clusters(setting.training) if setting.training is not None else None
    similarity = model.similarity(pairs.question1, pairs.question2)
    threshold = model.threshold if setting.threshold is None else setting.threshold
    ours, rows = Scored(pairs.labels, similarity, threshold, model.probability(similarity)), {}
    if setting.threshold is None and model.config.threshold is not None and "chosen_threshold" in model.facts:
        # A preset with a published threshold: beside it, the one that its validation pairs would choose.
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
    """Find the pairs of which neither question was trained on.

    Args:
        pairs: n pairs.
        clusters: of the training pairs, if these are known.

    Returns:
        (n,) bool, or None if nobody knows; and how unseen pairs were found, or why they were not.
    """
    if pairs.unseen is not None:
        return pairs.unseen, "the file's column 'unseen'"
    if clusters is not None:
        return clusters.unseen(pairs), "the training pairs"
    return None, "unknown: no column 'unseen', and the training pairs are not at hand; give them by --trained-on PATH"
