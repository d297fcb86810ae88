"""Simulate a review: an oracle answers from the labels, and `adapt` chooses a threshold after each few answers.

    python -m reports.review.simulate --shared ../shared

A run is a set of questions and a seed. It draws three quarters of the set's questions, 1,500 at most, and mines the
pairs of a low cosine, which are the pool. Ways of asking are compared on the same pools: in stages that follow the
answers (`active`), in the order of the first stage alone (`fixed`), and uniformly at random (`random`). The steps
are those of `adapt` without the tower. Writes simulation.csv, from which reports/review/figure.py makes the tables
and the figure.

Pools are kept under models/review, so that only the first run encodes questions.
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from siamese.model.differences import features
from siamese.model.model import SiameseModel
from siamese.model.words import words_of
from siamese.pairs.clusters import connected
from siamese.pairs.pairs import Pairs
from siamese.pairs.reading import read_pairs
from siamese.review.adapt import LOWEST
from siamese.review.folds import folds
from siamese.review.order import STAGE, queue
from siamese.review.steps import THRESHOLD as PLAIN
from siamese.review.steps import WEIGHTS, Pool, better, enough_for_weights, try_step
from siamese.review.threshold import Answered, choose
from siamese.text.keys import identity

CHOSEN_ON = ("canard_multiple_rewrites", "hwu64", "stackfaq", "covid_faq_similarity", "mediqa_rqe", "spider_syn")
HELD_OUT = ("clinc150", "rasa_demo_faq", "text2sql_paraphrases", "paraphrased_squad", "quora", "meqsum")
LOW = 0.6  # cosine from which pairs are mined
MOST_QUESTIONS, MOST_PAIRS = 1_500, 20_000
SEEDS = 5
COUNTS = (20, 40, 60, 80, 100, 150, 200)  # answers
PRECISION, RECALL = 0.9, 0.05  # the goal, and the recall from which an oracle's threshold counts
CACHE = Path("models/review")

Sample = tuple[list[str], list[str], np.ndarray, np.ndarray]  # questions, questions, cosine, duplicate


def grouped(shared: Path, name: str) -> tuple[list[str], np.ndarray]:
    """Return the distinct questions of a set and the group of each, (n,). Pairs join groups by their duplicates."""
    path = shared / "bench" / f"{name}.groups.csv"
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(row["question"], row["group"]) for row in csv.DictReader(file)]
    else:
        pairs = read_pairs(shared / "bench" / f"{name}.csv")
        asked = list(dict.fromkeys((*pairs.question1, *pairs.question2)))
        number = {question: i for i, question in enumerate(asked)}
        same = [i for i in range(len(pairs)) if pairs.labels[i] == 1]
        ends = [np.array([number[side[i]] for i in same]) for side in (pairs.question1, pairs.question2)]
        rows = list(zip(asked, map(str, connected(len(asked), *ends))))
    distinct = {identity(question): (question, group) for question, group in reversed(rows)}
    _, groups = np.unique([group for _, group in distinct.values()], return_inverse=True)
    return [question for question, _ in distinct.values()], groups


def mined(model: SiameseModel, shared: Path, name: str, seed: int) -> Sample:
    """Return the pairs of LOW or more among three quarters of a set's questions, or of Quora's labelled pairs."""
    random = np.random.default_rng(seed)
    if name == "quora":
        pairs = read_pairs(shared / "quora" / "validation.csv")
        drawn = pairs.take(np.sort(random.permutation(len(pairs))[: len(pairs) * 3 // 4]))
        cosine = model.similarity(drawn.question1, drawn.question2)
        kept = np.flatnonzero(cosine >= LOW)
        drawn = drawn.take(kept)
        return list(drawn.question1), list(drawn.question2), cosine[kept], drawn.labels
    questions, groups = grouped(shared, name)
    drawn_ones = np.sort(random.permutation(len(questions))[: min(MOST_QUESTIONS, len(questions) * 3 // 4)])
    vectors = model.encode([questions[i] for i in drawn_ones])
    cosines = vectors @ vectors.T
    first, second = np.nonzero(np.triu(cosines >= LOW, 1))
    cosine = cosines[first, second].astype(np.float64)
    most = np.sort(np.argsort(-cosine, kind="stable")[:MOST_PAIRS])
    first, second = drawn_ones[first[most]], drawn_ones[second[most]]
    one, two = ([questions[i] for i in rows] for rows in (first, second))
    return one, two, cosine[most], (groups[first] == groups[second]).astype(int)


def pool(model: SiameseModel, shared: Path, name: str, seed: int) -> dict[str, np.ndarray]:
    """Return cosine, features, label and the numbers of the questions of a run's pairs, from the cache if it can."""
    path = CACHE / f"{name}-{seed}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        one, two, cosine, label = mined(model, shared, name, seed)
        found = features((words_of(a), words_of(b)) for a, b in zip(one, two))
        number = {question: i for i, question in enumerate(dict.fromkeys((*one, *two)))}
        first, second = (np.array([number[question] for question in side]) for side in (one, two))
        np.savez_compressed(path, cosine=cosine, features=found, label=label, first=first, second=second)
    with np.load(path) as stored:
        return {key: stored[key] for key in stored.files}


def adapted(
    data: dict[str, np.ndarray], weights: np.ndarray, asked: np.ndarray, refit: bool
) -> tuple[str, np.ndarray | None]:
    """Return the step that `adapt` takes after these answers, and which pairs it calls duplicates; None: no threshold.

    It is what siamese.review.adapt does, on the arrays of the pool; without `refit` the weights stay.
    """
    duplicate, cosine = data["label"][asked], data["cosine"]
    kept = cosine >= np.quantile(cosine[asked], LOWEST)  # as it mines
    kept[asked] = True
    answered = Answered(np.cumsum(kept)[asked] - 1, duplicate)
    seen, step = Pool(cosine[kept], data["features"][kept], answered, weights), PLAIN
    score = seen.score(weights)
    if refit and enough_for_weights(duplicate):
        one, two = ([f"question {n}" for n in data[side][asked]] for side in ("first", "second"))
        cut = list(folds(Pairs.of(one, two, duplicate.tolist()), 0))
        plain, refitted = (try_step(name, cut, lambda fit: seen) for name in (PLAIN, WEIGHTS))
        if plain is not None and better(refitted, plain):
            step, score = WEIGHTS, seen.score(seen.refitted())
    choice, _ = choose(score, answered, PRECISION)
    if choice is None:
        return step, None
    called = np.zeros(len(kept), bool)
    called[kept] = score > choice.threshold
    return step, called


def active(probability: np.ndarray, label: np.ndarray, seed: int, most: int) -> np.ndarray:
    """Return the pairs in the order in which stages ask about them."""
    asked: list[int] = []
    for stage in range(-(-most // STAGE)):
        asked += queue(probability, seed, asked, label[asked].tolist(), stage)[0][:STAGE].tolist()
    return np.array(asked)


def fixed(probability: np.ndarray, label: np.ndarray, seed: int, most: int) -> np.ndarray:
    """Return the pairs in the order of the first stage alone."""
    return queue(probability, seed)[0][:most]


def uniform(probability: np.ndarray, label: np.ndarray, seed: int, most: int) -> np.ndarray:
    """Return pairs drawn uniformly."""
    return np.random.default_rng(seed).permutation(len(label))[:most]


WAYS: dict[str, Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]] = {
    "active": active, "fixed": fixed, "random": uniform,
}  # fmt: skip


def oracle(label: np.ndarray, score: np.ndarray) -> float:
    """Return the highest recall of the pool's duplicates that a threshold of the score reaches with PRECISION."""
    order = np.argsort(-score, kind="stable")
    hits, ends = np.cumsum(label[order]), np.append(np.diff(score[order]) != 0, True)
    reached = ends & (hits / np.arange(1, len(label) + 1) >= PRECISION)
    return float(hits[reached].max() / max(label.sum(), 1)) if reached.any() else 0.0


def run(
    data: dict[str, np.ndarray], model: SiameseModel, way: str, seed: int, counts: Sequence[int]
) -> list[dict[str, object]]:
    """Return what each number of answers leads to, in one way of asking."""
    assert model.verdict is not None
    weights, label = np.array(list(model.verdict.weights.values())), data["label"]
    probability = model.probability(data["cosine"])  # as `mine --threshold` writes it
    order, rows = WAYS[way](probability, label, seed, max(counts)), []
    for count in counts:
        if count <= len(label):
            step, called = adapted(data, weights, order[:count], way != "fixed")
            hits = 0 if called is None else int(label[called].sum())
            pairs = 0 if called is None else int(called.sum())
            rows.append({"way": way, "answers": count, "step": step, "pairs": pairs, "hits": hits})
    return rows


def main() -> None:
    """Simulate all runs, and write them."""
    parser = argparse.ArgumentParser(description="Simulate reviews with an oracle.")
    parser.add_argument("--shared", default="../shared", type=Path)
    parser.add_argument("--out", default="reports/review/simulation.csv", type=Path)
    parser.add_argument("--sets", nargs="*", default=CHOSEN_ON + HELD_OUT)
    options = parser.parse_args()
    model, found = SiameseModel.pretrained(), []
    assert model.verdict is not None
    for name in options.sets:
        for seed in range(SEEDS):
            data = pool(model, options.shared, name, seed)
            weights = np.array(list(model.verdict.weights.values()))
            best = oracle(data["label"], data["cosine"] - (data["features"] * weights).sum(axis=1))
            about = {"set": name, "seed": seed, "pool": len(data["label"]), "duplicates": int(data["label"].sum())}
            for way in WAYS:
                for row in run(data, model, way, seed, COUNTS):
                    found.append(about | {"oracle": round(best, 4)} | row)
        print(name, flush=True)
    with options.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    main()
