"""A close look at a model's verdicts: by kinds of pairs, and at the mistakes of which it is most sure. numpy only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.evaluation import evaluate, metrics
from siamese.text.subwords import AnyTokenizer
from siamese.text.words import Words, words_of

if TYPE_CHECKING:
    from siamese.evaluation.setting import Setting

SHOWN = 20  # mistakes that are listed
SURE = 0.8  # the probability of a verdict from which it counts as confident


NEGATIONS = {"no", "not", "never", "none", "nobody", "nothing", "neither", "nor", "without", "cannot", "cant", "dont"}
QUESTION_WORDS = {"what", "how", "why", "when", "where", "who", "whom", "whose", "which"}


# Features of a pair, each the same for (b, a)


def overlap(a: Words, b: Words) -> float:
    """|A ∩ B| / |A ∪ B| of the sets of words (Jaccard); 0 where neither has a word."""
    both = set(a) | set(b)
    return len(set(a) & set(b)) / len(both) if both else 0.0


def same_words(a: Words, b: Words) -> bool:
    """The same words in the same order; only case, spaces or punctuation differ."""
    return a == b


def other_order(a: Words, b: Words) -> bool:
    """The same words, each as often, in another order."""
    return a != b and sorted(a) == sorted(b)


def contained(a: Words, b: Words) -> bool:
    """All words of one question stand in the other too, in their order, among more."""
    short, long = sorted((a, b), key=len)
    rest = iter(long)
    return 0 < len(short) < len(long) and all(word in rest for word in short)


def one_word(a: Words, b: Words) -> bool:
    """One word is exchanged, added or left out; all else is the same."""
    shorter = min(len(a), len(b))
    head = next((i for i in range(shorter) if a[i] != b[i]), shorter)
    tail = next((i for i in range(shorter - head) if a[-1 - i] != b[-1 - i]), shorter - head)
    return max(len(a), len(b)) - head - tail == 1


def only_numbers(a: Words, b: Words) -> bool:
    """Only words with a digit differ, each from the one in its place."""
    return a != b and _without_numbers(a) == _without_numbers(b)


def _without_numbers(words: Words) -> Words:
    return ["0" if any(c.isdigit() for c in word) else word for word in words]


def negation(a: Words, b: Words) -> bool:
    """Just one of the two has a negation: not, no, never, without, don't and the like."""
    return _negated(a) != _negated(b)


def _negated(words: Words) -> bool:
    return any(word in NEGATIONS or word.endswith("n't") for word in words)


def other_first_word(a: Words, b: Words) -> bool:
    """They begin with different words; what and what's count as one."""
    return _first(a) != _first(b)


def other_question_word(a: Words, b: Words) -> bool:
    """They begin with different ones of what, how, why, when, where, who, whom, whose, which."""
    return other_first_word(a, b) and {_first(a), _first(b)} <= QUESTION_WORDS


def _first(words: Words) -> str:
    return words[0].split("'")[0] if words else ""


FEATURES: Mapping[str, Callable[[Words, Words], bool]] = {
    "the same words": same_words,
    "the same words in another order": other_order,
    "one contained in the other": contained,
    "differs by one word": one_word,
    "differs only in numbers": only_numbers,
    "negation on one side": negation,
    "another first word": other_first_word,
    "another question word": other_question_word,
}


@dataclass(frozen=True)
class Described:
    """What n pairs look like."""

    lengths: np.ndarray  # (n, 2) int: words of each question
    overlap: np.ndarray  # (n,) float: of the sets of words, 0 to 1
    unknown: np.ndarray  # (n,) int: words of both questions that the model does not know, by its own cut
    features: dict[str, np.ndarray]  # (n,) bool each


def describe(questions1: Sequence[str], questions2: Sequence[str], tokenizer: AnyTokenizer) -> Described:
    """The features of n pairs."""
    cut = [(words_of(a), words_of(b)) for a, b in zip(questions1, questions2)]
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

Bins = tuple[tuple[str, float], ...]  # the name of each bin and the lowest value in it, ascending

LENGTHS: Bins = (("0–6", 0), ("7–9", 7), ("10–12", 10), ("13–16", 13), ("17–24", 17), ("25+", 25))
UNKNOWN: Bins = (("0", 0), ("1", 1), ("2", 2), ("3+", 3))
OVERLAPS: Bins = (("0–0.2", 0.0), ("0.2–0.4", 0.2), ("0.4–0.6", 0.4), ("0.6–0.8", 0.6), ("0.8–1", 0.8), ("1", 1.0))


@dataclass(frozen=True)
class Verdicts:
    """What a model says of n pairs."""

    labels: np.ndarray  # (n,) 0 or 1
    similarity: np.ndarray  # (n,)
    probability: np.ndarray  # (n,)
    threshold: float  # above it a similarity says duplicate

    def take(self, which: np.ndarray) -> "Verdicts":
        """Those of some pairs; (n,) bool."""
        return Verdicts(self.labels[which], self.similarity[which], self.probability[which], self.threshold)


def slices(verdicts: Verdicts, values: np.ndarray, bins: Bins) -> list[dict[str, Any]]:
    """The scores of the pairs in each bin of a value; bins without a pair are left out.

    Args:
        verdicts: of n pairs.
        values: (n,) what decides on the bin of a pair.
        bins: from their lowest value up to the next one's.

    Returns:
        By bin: its name (`slice`), `pairs`, their share of all (`share`), `duplicates` (the share of duplicates
        among them), `accuracy`, `average_precision` and `roc_auc` (None where not defined), `mean_probability`.
    """
    number = np.searchsorted([low for _, low in bins], values, side="right") - 1
    rows = []
    for i, (name, _) in enumerate(bins):
        if not (number == i).any():
            continue
        part = verdicts.take(number == i)
        scores = metrics.all_scores(part.labels, part.similarity, part.threshold)
        rows.append(
            {
                "slice": name,
                "pairs": scores["pairs"],
                "share": scores["pairs"] / len(values),
                "duplicates": scores["duplicates"] / scores["pairs"],
                **{metric: scores[metric] for metric in ("accuracy", "average_precision", "roc_auc")},
                "mean_probability": float(part.probability.mean()),
            }
        )
    return rows


# Mistakes


def mistakes(labels: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The numbers of the pairs with their probability on the wrong side of ½, the furthest from it first."""
    wrong = np.flatnonzero(np.where(labels == 1, probability < 0.5, probability > 0.5))
    return wrong[np.argsort(-np.abs(probability[wrong] - 0.5), kind="stable")]


def in_common(features: Mapping[str, np.ndarray], labels: np.ndarray, probability: np.ndarray) -> dict[str, Any]:
    """How often each feature occurs among confident mistakes, and among correct verdicts of the same confidence.

    Confident are the pairs called duplicates with a probability above SURE, and
    those called different with one below 1 − SURE. The two are kept apart: they
    differ in most features whether right or wrong.

    Args:
        features: (n,) bool each.
        labels: (n,) 0 or 1.
        probability: (n,) of being duplicates.

    Returns:
        By what was said, "duplicate" or "different": the number of mistakes
        (`wrong`) and of correct verdicts (`right`), and under `features` by name the
        share of both that have it, and the ratio of the shares (None where it would divide by 0).
    """
    found = {}
    for said, sure, truth in (("duplicate", probability > SURE, 1), ("different", probability < 1 - SURE, 0)):
        wrong, right = sure & (labels != truth), sure & (labels == truth)
        shares = {}
        for name, has in features.items():
            among = [float(has[which].mean()) if which.any() else None for which in (wrong, right)]
            ratio = among[0] / among[1] if among[0] is not None and among[1] else None
            shares[name] = {"wrong": among[0], "right": among[1], "ratio": ratio}
        found[said] = {"wrong": int(wrong.sum()), "right": int(right.sum()), "features": shares}
    return found


# All of it


def examine(
    setting: "Setting", others: Mapping[str, evaluate.Scorer] | None = None, *, text: bool = False
) -> tuple[dict[str, Any], Verdicts]:
    """Everything that the report says of a model's verdicts, as JSON; and the verdicts, for figures.

    Args:
        setting: the model, the pairs and what the model was made from.
        others: more scorers to set beside it, by name.
        text: whether the mistakes come with their questions.

    Returns:
        `scores` as `evaluation.evaluate`; `slices` by what they are of, then by
        "unseen" and "all"; the most confident `mistakes`; what confident mistakes have `in_common`.
    """
    from siamese.pairs.clusters import Clusters

    model, pairs = setting.model, setting.pairs
    scores = evaluate.evaluate(
        model, pairs, threshold=setting.threshold, tuning=setting.tuning, training=setting.training, others=others
    )
    similarity = model.similarity(pairs.question1, pairs.question2)
    verdicts = Verdicts(pairs.labels, similarity, model.probability(similarity), scores["threshold"])
    described = describe(pairs.question1, pairs.question2, model.tokenizer)
    clusters = Clusters(setting.training) if setting.training is not None else None
    unseen, _ = evaluate.unseen_pairs(pairs, clusters)
    parts = {"unseen": unseen, "all": np.ones(len(pairs), bool)}
    values = {
        "length": (described.lengths.max(axis=1), LENGTHS),
        "unknown words": (described.unknown, UNKNOWN),
        "overlap": (described.overlap, OVERLAPS),
    }
    wrong = mistakes(verdicts.labels, verdicts.probability)
    found: dict[str, Any] = {
        "scores": scores,
        "slices": {
            what: {
                part: slices(verdicts.take(which), value[which], bins)
                for part, which in parts.items()
                if which is not None and which.any()
            }
            for what, (value, bins) in values.items()
        },
        "wrong": len(wrong),
        "mistakes": [],
        "in_common": in_common(described.features, verdicts.labels, verdicts.probability),
    }
    for i in wrong[:SHOWN].tolist():
        row = {
            "id": pairs.id[i] if pairs.id is not None else str(i + 1),
            "unseen": None if unseen is None else bool(unseen[i]),
            "label": int(pairs.labels[i]),
            "similarity": float(similarity[i]),
            "probability": float(verdicts.probability[i]),
            "overlap": float(described.overlap[i]),
            "words": described.lengths[i].tolist(),
            "unknown": int(described.unknown[i]),
            "features": [name for name, has in described.features.items() if has[i]],
        }
        found["mistakes"].append(
            row | ({"question1": pairs.question1[i], "question2": pairs.question2[i]} if text else {})
        )
    return found, verdicts
