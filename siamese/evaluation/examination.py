"""Examine a model's verdicts: scores by kind of pair, and the most confident mistakes. Needs numpy only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from siamese.evaluation.against import Beside, ComparedEncoder
from siamese.evaluation.evaluate import Scored, Setting, evaluate_in, unseen_pairs
from siamese.evaluation.results import Evaluation
from siamese.model.calibration import reliability
from siamese.model.verdict import Verdict
from siamese.text.cleaning import clean
from siamese.text.keys import Words, words_of
from siamese.text.subwords import AnyTokenizer

SHOWN = 20  # mistakes in the list
SURE = 0.8  # a verdict with a higher probability is confident

NEGATIONS = {"no", "not", "never", "none", "nobody", "nothing", "neither", "nor", "without", "cannot", "cant", "dont"}
QUESTION_WORDS = {"what", "how", "why", "when", "where", "who", "whom", "whose", "which"}


# Features of a pair. Each is the same for (a, b) and (b, a).


def overlap(a: Words, b: Words) -> float:
    """Return |A ∩ B| / |A ∪ B| of the sets of words (Jaccard), or 0 if neither question has a word."""
    both = set(a) | set(b)
    return len(set(a) & set(b)) / len(both) if both else 0.0


def _contained(a: Words, b: Words) -> bool:
    """Return whether one question has all words of the other in the same order, and more."""
    short, long = sorted((a, b), key=len)
    rest = iter(long)
    return 0 < len(short) < len(long) and all(word in rest for word in short)


def _one_word(a: Words, b: Words) -> bool:
    """Return whether one word was replaced, inserted or deleted."""
    shorter = min(len(a), len(b))
    head = next((i for i in range(shorter) if a[i] != b[i]), shorter)
    tail = next((i for i in range(shorter - head) if a[-1 - i] != b[-1 - i]), shorter - head)
    return max(len(a), len(b)) - head - tail == 1


def _without_numbers(words: Words) -> Words:
    return ["0" if any(c.isdigit() for c in word) else word for word in words]


def _negated(words: Words) -> bool:
    return any(word in NEGATIONS or word.endswith("n't") for word in words)


def _first(words: Words) -> str:
    """Return the first word; "what's" counts as "what"."""
    return words[0].split("'")[0] if words else ""


FEATURES: Mapping[str, Callable[[Words, Words], bool]] = {
    "the same words": lambda a, b: a == b,  # only case, spaces or punctuation differ
    "the same words in another order": lambda a, b: a != b and sorted(a) == sorted(b),
    "one contained in the other": _contained,
    "differs by one word": _one_word,
    "differs only in numbers": lambda a, b: a != b and _without_numbers(a) == _without_numbers(b),
    "negation on one side": lambda a, b: _negated(a) != _negated(b),
    "another first word": lambda a, b: _first(a) != _first(b),
    "another question word": lambda a, b: _first(a) != _first(b) and {_first(a), _first(b)} <= QUESTION_WORDS,
}


@dataclass(frozen=True)
class Described:
    """Lengths, overlap and features of n pairs."""

    lengths: np.ndarray  # (n, 2) int: words of each question
    overlap: np.ndarray  # (n,) float, 0 to 1
    unknown: np.ndarray  # (n,) int: words of both questions that are not in the vocabulary
    features: dict[str, np.ndarray]  # (n,) bool each


def describe(questions1: Sequence[str], questions2: Sequence[str], tokenizer: AnyTokenizer) -> Described:
    """Return the features of n pairs of questions."""
    cut = [(words_of(clean(a)), words_of(clean(b))) for a, b in zip(questions1, questions2)]
    lengths = np.array([(len(a), len(b)) for a, b in cut], np.int64).reshape(-1, 2)
    shared = np.array([overlap(a, b) for a, b in cut], float)
    unknown = tokenizer.unknown_words(questions1) + tokenizer.unknown_words(questions2)
    features = {name: np.array([holds(a, b) for a, b in cut], bool) for name, holds in FEATURES.items()}
    features |= {
        "a word that the model does not know": unknown > 0,
        "overlap of 0.6 or more": shared >= 0.6,
        "overlap below 0.2": shared < 0.2,
        "a question of 17 words or more": lengths.max(axis=1) >= 17,
        "lengths differ by half or more": 2 * lengths.min(axis=1) <= lengths.max(axis=1),
    }
    return Described(lengths, shared, unknown, features)


# Slices

Bins = tuple[tuple[str, float], ...]  # name and lowest value of each bin, ascending

LENGTHS: Bins = (("0–6", 0), ("7–9", 7), ("10–12", 10), ("13–16", 13), ("17–24", 17), ("25+", 25))
UNKNOWN: Bins = (("0", 0), ("1", 1), ("2", 2), ("3+", 3))
OVERLAPS: Bins = (("0–0.2", 0.0), ("0.2–0.4", 0.2), ("0.4–0.6", 0.4), ("0.6–0.8", 0.6), ("0.8–1", 0.8), ("1", 1.0))


@dataclass(frozen=True)
class Slice:
    """The scores of the pairs in a bin. A metric is None if it is not defined."""

    slice: str  # name of the bin
    pairs: int
    share: float  # of all pairs
    duplicates: float  # their share among these pairs
    accuracy: float | None
    average_precision: float | None
    roc_auc: float | None
    mean_probability: float


def slices(verdicts: Scored, values: np.ndarray, bins: Bins) -> list[Slice]:
    """Score the pairs of each bin that is not empty.

    Args:
        verdicts: on n pairs, with probabilities.
        values: (n,) numbers that assign the pairs to bins.
        bins: each starts at its lowest value and ends below that of the next.
    """
    number = np.searchsorted([low for _, low in bins], values, side="right") - 1
    rows = []
    for i in np.unique(number):
        part = verdicts.take(number == i)
        s, mean, n = part.metrics(), float(np.mean(part.probability)), len(part.labels)  # type: ignore[arg-type]
        ranking = s.average_precision, s.roc_auc
        rows.append(Slice(bins[i][0], n, n / len(values), s.duplicates / n, s.accuracy, *ranking, mean))
    return rows


# Mistakes


def mistakes(labels: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return the indices of the pairs whose probability is on the wrong side of ½, most confident first."""
    wrong = np.flatnonzero(np.where(labels == 1, probability < 0.5, probability > 0.5))
    return wrong[np.argsort(-np.abs(probability[wrong] - 0.5), kind="stable")]


@dataclass(frozen=True)
class Mistake:
    """A pair whose probability is on the wrong side of one half."""

    id: str
    unseen: bool | None  # None: unknown
    label: int
    similarity: float
    probability: float
    overlap: float
    words: list[int]  # in each question
    unknown: int  # words that are not in the vocabulary
    features: list[str]
    question1: str | None  # None: left out of the report
    question2: str | None


@dataclass(frozen=True)
class Shares:
    """Frequency of a feature among mistakes and among correct verdicts; None if there are none."""

    wrong: float | None
    right: float | None
    ratio: float | None  # wrong / right; None if it is not defined


@dataclass(frozen=True)
class Common:
    """Features of the confident verdicts of one kind."""

    wrong: int  # mistakes
    right: int  # correct verdicts
    features: dict[str, Shares]


def in_common(features: Mapping[str, np.ndarray], labels: np.ndarray, probability: np.ndarray) -> dict[str, Common]:
    """Compare confident mistakes with correct verdicts of the same confidence, feature by feature.

    A verdict is confident if its probability is above SURE (called duplicate) or below 1 − SURE (called different).
    The two kinds are kept apart, because their features differ whether the verdicts are right or wrong.

    Args:
        features: (n,) bool each.
        labels: (n,) 0 or 1.
        probability: (n,) of being duplicates.

    Returns:
        The frequencies by verdict: "duplicate" and "different".
    """
    found = {}
    for said, sure, truth in (("duplicate", probability > SURE, 1), ("different", probability < 1 - SURE, 0)):
        wrong, right = sure & (labels != truth), sure & (labels == truth)
        shares = {}
        for name, has in features.items():
            a, b = (float(has[which].mean()) if which.any() else None for which in (wrong, right))
            shares[name] = Shares(a, b, ratio=a / b if a is not None and b else None)
        found[said] = Common(int(wrong.sum()), int(right.sum()), shares)
    return found


# Everything together


@dataclass(frozen=True)
class Examination:
    """The content of the report on a model's verdicts."""

    scores: Evaluation
    slices: dict[str, dict[str, list[Slice]]]  # by property, then by "unseen" and "all"
    wrong: int  # number of mistakes
    mistakes: list[Mistake]  # the most confident ones
    in_common: dict[str, Common]
    reliability: np.ndarray  # (15, 3), for the figure
    encoder: Beside | None  # speed and size of a sentence encoder, if the model was compared with one
    verdict: Verdict | None = None  # of the model, if it decides

    def to_dict(self) -> dict[str, Any]:
        """Return the content of examination.json: everything except the verdicts on single pairs."""
        found = {name: value for name, value in asdict(self).items() if name not in ("scores", "reliability")}
        for row in found["mistakes"]:
            if row["question1"] is None:
                del row["question1"], row["question2"]
        for name in ("encoder", "verdict"):
            if found[name] is None:
                del found[name]
        return {"scores": self.scores.to_dict(), **found}


def examine(
    setting: Setting, folder: str, encoder: ComparedEncoder | None = None, *, text: bool = False
) -> Examination:
    """Examine a model's verdicts on labelled pairs.

    Args:
        setting: the model, the pairs to score, and the pairs that the model was made from.
        folder: the model folder, whose size is compared with the encoder's.
        encoder: a sentence encoder to compare with.
        text: whether to include the questions of the mistakes.
    """
    pairs, verdicts = setting.pairs, setting.scored
    assert verdicts.probability is not None
    probability = verdicts.probability
    described = describe(pairs.question1, pairs.question2, setting.model.tokenizer)
    unseen, _ = unseen_pairs(pairs, setting.clusters)
    parts = {"all": np.ones(len(pairs), bool)}
    if unseen is not None and unseen.any():
        parts = {"unseen": unseen, **parts}
    values = {
        "length": (described.lengths.max(axis=1), LENGTHS),
        "unknown words": (described.unknown, UNKNOWN),
        "overlap": (described.overlap, OVERLAPS),
    }
    wrong = mistakes(pairs.labels, probability)
    return Examination(
        scores=evaluate_in(setting, {encoder.name: encoder.similarity} if encoder else {}),
        slices={
            what: {part: slices(verdicts.take(which), value[which], bins) for part, which in parts.items()}
            for what, (value, bins) in values.items()
        },
        wrong=len(wrong),
        mistakes=[
            Mistake(
                id=pairs.id[i] if pairs.id is not None else str(i + 1),
                unseen=None if unseen is None else bool(unseen[i]),
                label=int(pairs.labels[i]),
                similarity=float(setting.similarity[i]),
                probability=float(probability[i]),
                overlap=float(described.overlap[i]),
                words=described.lengths[i].tolist(),
                unknown=int(described.unknown[i]),
                features=[name for name, has in described.features.items() if has[i]],
                question1=pairs.question1[i] if text else None,
                question2=pairs.question2[i] if text else None,
            )
            for i in wrong[:SHOWN].tolist()
        ],
        in_common=in_common(described.features, pairs.labels, probability),
        reliability=reliability(pairs.labels, probability),
        encoder=encoder.beside(setting, folder) if encoder else None,
        verdict=setting.rule.verdict,
    )
