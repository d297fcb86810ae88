"""Score a model and the baselines on labelled pairs."""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from siamese.errors import DataError, UserError
from siamese.evaluation.metrics import Scores, all_scores
from siamese.evaluation.results import Compared, Evaluation
from siamese.evaluation.thresholds import choose_threshold, tune
from siamese.model.calibration import calibrate
from siamese.model.model import SiameseModel
from siamese.model.similarity import check_threshold
from siamese.model.verdict import Rule
from siamese.pairs import splits
from siamese.pairs.clusters import Clusters, shared_pairs
from siamese.pairs.pairs import Columns, Pairs
from siamese.pairs.reading import QUORA, PairsLike, name_of
from siamese.system.optional import optional
from siamese.text.keys import identity

Scorer = Callable[[Sequence[str], Sequence[str]], np.ndarray]  # from questions 1 and 2 of n pairs to (n,) scores


@dataclass(frozen=True)
class Scored:
    """Scores of n pairs, and the threshold above which they mean duplicates."""

    labels: np.ndarray  # (n,) 0 or 1
    scores: np.ndarray  # (n,)
    threshold: float | None  # None: no verdicts, because there are no pairs to choose it on
    probability: np.ndarray | None = None  # (n,) of being duplicates, if the scorer gives one
    shown: float | None = None  # threshold to report, of the similarity, if the scores are not similarities

    def take(self, which: np.ndarray) -> "Scored":
        """Return the scores of some of the pairs; (n,) bool."""
        probability = None if self.probability is None else self.probability[which]
        return replace(self, labels=self.labels[which], scores=self.scores[which], probability=probability)

    def metrics(self) -> Scores:
        """Return every metric."""
        found = all_scores(self.labels, self.scores, self.threshold, self.probability)
        return found if self.shown is None else replace(found, threshold=self.shown)


@dataclass(frozen=True)
class Setting:
    """A model, the pairs to score, and the pairs that the model was made from."""

    model: SiameseModel
    pairs: Pairs
    training: Pairs | None = None  # that the model was trained on; None: unknown
    tuning: Pairs | None = None  # that thresholds are chosen on; None: unknown
    threshold: float | None = None  # of the similarity, which then decides alone; None: as the model judges
    cosine: bool = False  # whether the similarity decides alone

    @cached_property
    def rule(self) -> Rule:
        """The rule by which the pairs are judged."""
        return self.model.rule(self.threshold, cosine=self.cosine)

    @cached_property
    def similarity(self) -> np.ndarray:
        """The similarities of the pairs, (n,)."""
        return self.model.similarity(self.pairs.question1, self.pairs.question2)

    @cached_property
    def scored(self) -> Scored:
        """The model's scores of the pairs: the similarities, corrected if a verdict decides."""
        return self._scored(self.rule)

    @property
    def plain(self) -> Scored | None:
        """The similarities as scores, if they do not decide alone."""
        return None if self.rule.verdict is None else self._scored(self.model.rule(cosine=True))

    def _scored(self, rule: Rule) -> Scored:
        scores = rule.scores(self.pairs.question1, self.pairs.question2, self.similarity)
        shown = None if rule.verdict is None else self.model.threshold
        return Scored(self.pairs.labels, scores, rule.threshold, rule.probability(scores), shown)

    @cached_property
    def clusters(self) -> Clusters | None:
        """Clusters of duplicates among the training pairs, in which questions alike are one; None: unknown."""
        return None if self.training is None else Clusters(self.training)


def evaluate(
    model: SiameseModel, pairs: PairsLike, *, threshold: float | None = None, tuning: PairsLike | None = None,
    goal: str | None = None, training: PairsLike | None = None, columns: Columns = QUORA, cosine: bool = False,
) -> Evaluation:  # fmt: skip
    """Score a model and the baselines on labelled pairs.

    Args:
        model: the detector. It is not changed.
        pairs: the pairs to score: a DataFrame with the columns question1, question2 and is_duplicate, a file, or
            `Pairs`. If they have a part "test" in a column `split`, only that part.
        threshold: 0 to 1, of the similarity, which then decides alone.
        tuning: pairs to choose thresholds and fit probabilities on, for the model and the baselines; their part
            "validation" if there is one. None: the model keeps its own, and the baselines use the model's validation
            pairs if their file is still there.
        goal: of the threshold chosen on `tuning`: "probability" (default), "accuracy", "f1" or "precision=0.95".
        training: the pairs that the model was trained on; their part "train" if there is one. They decide which pairs
            are unseen, and make the look-up baseline. None: the model's training pairs if their file is still there.
        columns: the names of the columns.
        cosine: whether the similarity decides alone, even if the model has a verdict.

    Returns:
        The scores on all pairs, with those of each baseline in `baselines`. `unseen` has the same for the pairs that
        share no question with the training pairs.

    Raises:
        UserError: pairs cannot be used, some pairs to score are in `tuning` too, or the goal is unknown.

    Warns:
        UserWarning: some pairs to score were used to make the model.
    """
    given = {"tuning": tuning, "goal": goal, "training": training, "columns": columns, "cosine": cosine}
    return evaluate_in(setting(model, pairs, threshold=threshold, **given))  # type: ignore[arg-type]


def setting(
    model: SiameseModel, pairs: PairsLike, *, threshold: float | None = None, tuning: PairsLike | None = None,
    goal: str | None = None, training: PairsLike | None = None, columns: Columns = QUORA, cosine: bool = False,
) -> Setting:  # fmt: skip
    """Load the pairs, and tune the model if there are pairs to tune on. The arguments are those of `evaluate`."""
    if goal and tuning is None:
        raise UserError("--goal needs --tune-on PATH, the pairs to choose a threshold on")
    scored = splits.to_score(pairs, columns)
    if not np.isin(scored.labels, (0, 1)).all():
        raise DataError(f"{name_of(pairs)}: labels other than 0 and 1 cannot be scored")
    known = splits.recall(model.facts)
    learned, tuned = (known.training, known.validation) if known else (None, None)
    if training is not None:
        learned = splits.to_learn(training, columns)
    if tuning is not None:
        tuned = splits.to_tune(tuning, columns)
        if count := shared_pairs(scored, tuned):
            raise UserError(f"{name_of(tuning)}: {count} of its pairs are among those to score; "
                            "choose the threshold on other pairs, or the scores will be too good")  # fmt: skip
        model = copy.copy(model)
        similarity = model.similarity(tuned.question1, tuned.question2)
        if reason := tune(model, tuned, similarity, goal or "probability"):
            warnings.warn(f"{name_of(tuning)}: {reason}; the model keeps its own", stacklevel=3)
        if model.verdict is None and threshold is None:
            threshold = model.threshold
    for used, purpose in ((learned, "train"), (tuned if tuning is None else None, "choose the threshold")):
        if used is not None and (count := shared_pairs(scored, used)):
            message = f"{count} of the {len(scored)} pairs were used to {purpose}; the scores are too good"
            warnings.warn(message, stacklevel=3)
    return Setting(model, scored, learned, tuned, None if threshold is None else check_threshold(threshold), cosine)


def evaluate_in(setting: Setting, others: Mapping[str, Scorer] | None = None) -> Evaluation:
    """Score the model, the baselines, and other scorers by name."""
    model, pairs, ours = setting.model, setting.pairs, setting.scored
    rows = {}
    if setting.threshold is None and model.config.threshold is not None and "chosen_threshold" in model.facts:
        # A preset with a published threshold: compare it with the one chosen on the validation pairs.
        chosen = model.facts["chosen_threshold"]
        rows["the same, threshold from validation"] = Scored(pairs.labels, ours.scores, chosen)
    if plain := setting.plain:
        rows["the similarity alone"] = plain
    rows |= baselines(setting, others or {})

    def over(which: np.ndarray) -> Compared:
        majority = float(max(np.bincount(pairs.labels[which], minlength=2)) / which.sum())
        scores = {name: row.take(which).metrics() for name, row in rows.items()}
        return Compared(**vars(ours.take(which).metrics()), majority=majority, baselines=scores)

    unseen, how = unseen_pairs(pairs, setting.clusters)
    part = over(unseen) if unseen is not None and unseen.any() else None
    judge = "verdict" if setting.rule.verdict else "similarity"
    return Evaluation(**vars(over(np.ones(len(pairs), bool))), unseen=part, unseen_from=how, judged_by=judge)


def baselines(setting: Setting, others: Mapping[str, Scorer]) -> dict[str, Scored]:
    """Score the pairs with every baseline, and with other scorers by name.

    Without pairs to tune on there are no verdicts and no probabilities, and without training pairs no look-up.
    """
    pairs, tuning = setting.pairs, setting.tuning

    def row(score: Scorer, threshold: float | None = None) -> Scored:
        scores = score(pairs.question1, pairs.question2)
        if tuning is None:
            return Scored(pairs.labels, scores, threshold)
        tuned = score(tuning.question1, tuning.question2)
        chosen = choose_threshold(tuning.labels, tuned) if threshold is None else threshold
        return Scored(pairs.labels, scores, chosen, calibrate(tuning.labels, tuned).probability(scores))

    scorers: dict[str, Scorer] = {"tf-idf": tfidf_similarity}
    if setting.model.plugin is None:  # which may have no table of word vectors
        scorers["mean of embeddings"] = setting.model.embedding_similarity
    scorers |= others
    rows = {name: row(scorer) for name, scorer in scorers.items()}
    if setting.training is not None:
        clusters = Clusters(setting.training, node=identity)
        rows["look-up in training clusters"] = row(lambda *sides: clusters.linked(*sides).astype(float), 0.5)
    return rows


def tfidf_similarity(questions1: Sequence[str], questions2: Sequence[str]) -> np.ndarray:
    """Return the cosine of the TF-IDF vectors of each pair, (n,); the weights are fitted on these questions."""
    text = optional("sklearn.feature_extraction.text", "evaluate")
    vectorizer = text.TfidfVectorizer(token_pattern=r"\w+")
    try:
        vectors = vectorizer.fit_transform([*questions1, *questions2])
    except ValueError:  # no question has a word
        return np.zeros(len(questions1))
    n = len(questions1)
    return np.asarray(vectors[:n].multiply(vectors[n:]).sum(axis=1)).ravel()


def unseen_pairs(pairs: Pairs, clusters: Clusters | None) -> tuple[np.ndarray | None, str]:
    """Find the pairs that share no question with the training pairs, whose clusters are given if they are known.

    Return (n,) bool or None, and how unseen pairs were found, or why they were not.
    """
    if pairs.unseen is not None:
        return pairs.unseen, "the file's column 'unseen'"
    if clusters is not None:
        return clusters.unseen(pairs), "the training pairs"
    return None, "unknown: no column 'unseen', and the training pairs are unknown; give them with --trained-on PATH"
