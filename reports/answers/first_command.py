"""Measure what the first command gives: is its model better than always no, TF-IDF and the model it started from?

    python -m reports.answers.first_command [--seeds 1 2 3]

Trains on data/ with each seed, as `python run.py train` does, and compares on the unseen test pairs: all of them, and
those of the first edition alone, which earlier figures are about. A difference has a 95 % interval: pairs are drawn
again by question, so that pairs that share one stay together.
"""

import argparse
from pathlib import Path
from time import process_time

import numpy as np

import siamese
from reports.answers.board import DATA, FIRST_EDITION, rows_of
from reports.measured import machine, table
from siamese import SiameseModel
from siamese.evaluation.evaluate import tfidf_similarity
from siamese.evaluation.metrics import average_precision
from siamese.evaluation.thresholds import choose_threshold
from siamese.pairs import splits
from siamese.pairs.clusters import Clusters
from siamese.pairs.pairs import Pairs
from siamese.system.files import write_text

DRAWS = 1_000


def drawn_by_question(pairs: Pairs, random: np.random.Generator) -> np.ndarray:
    """Return rows of pairs drawn again: each first question as often as it is drawn, with all of its pairs."""
    _, question = np.unique(pairs.question1, return_inverse=True)
    times = np.bincount(random.integers(question.max() + 1, size=question.max() + 1), minlength=question.max() + 1)
    return np.repeat(np.arange(len(question)), times[question])


def against(pairs: Pairs, ours: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> dict[str, str]:
    """Return the gain in accuracy and in average precision over another, with intervals over pairs drawn again.

    Args:
        pairs: n pairs.
        ours, other: scores and verdicts, (n,) each.
    """
    random, y = np.random.default_rng(0), pairs.labels

    def gains(i: np.ndarray) -> tuple[float, float]:
        accuracy = np.mean(ours[1][i] == y[i]) - np.mean(other[1][i] == y[i])
        return float(accuracy), average_precision(y[i], ours[0][i]) - average_precision(y[i], other[0][i])

    drawn = np.array([gains(drawn_by_question(pairs, random)) for _ in range(DRAWS)])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    whole = gains(np.arange(len(y)))
    return {name: f"{whole[k]:+.3f} ({low[k]:+.3f} to {high[k]:+.3f})" for k, name in enumerate(("accuracy", "AP"))}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.answers.first_command", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default="models/answers", metavar="DIR", help="of first-command.md")
    options = parser.parse_args()
    parts = splits.load(splits.Source(str(DATA)))
    assert parts.test is not None
    unseen = np.flatnonzero(Clusters(parts.training).unseen(parts.test))
    ids = np.array([int(row["id"]) for row in rows_of(DATA) if row["split"] == "test"])
    assert len(ids) == len(parts.test)
    old = unseen[ids[unseen] < FIRST_EDITION]
    sets = {name: parts.test.take(which) for name, which in {"first edition": old, "all": unseen}.items()}
    others = {name: opponents(pairs, parts.validation) for name, pairs in sets.items()}
    gained, scored = [], []
    for seed in options.seeds:
        begun = process_time()
        model = siamese.train(DATA, seed=seed)
        seconds = process_time() - begun
        for name, pairs in sets.items():
            ours = judged(model, pairs)
            gains = {other: against(pairs, ours, theirs) for other, theirs in others[name].items()}
            everyone = {**others[name], "ours": ours}
            for what in ("accuracy", "AP"):
                row: dict[str, object] = {"seed": str(seed), "pairs": name, "in": what}
                gained.append(row | {f"above {other}": gain[what] for other, gain in gains.items()})
            scored.append(
                {"seed": str(seed), "pairs": f"{name}, {len(pairs):,}", "CPU seconds of training": seconds}
                | {f"accuracy: {who}": accuracy(said, pairs) for who, (_, said) in everyone.items()}
                | {"AP": average_precision(pairs.labels, ours[0])}
            )
    text = f"{table(scored)}\n\n{table(gained)}"
    write_text(options.out / "first-command.md", f"{machine()}\n\n{text}")
    print(text)


def opponents(pairs: Pairs, validation: Pairs) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the scores and verdicts on pairs of what the first command's model is compared with.

    TF-IDF has the threshold of the highest accuracy on the validation pairs or, with hindsight, on these very pairs.
    """
    y = pairs.labels
    tfidf = tfidf_similarity(pairs.question1, pairs.question2)
    threshold = choose_threshold(validation.labels, tfidf_similarity(validation.question1, validation.question2))
    best = max((tfidf > at for at in np.unique(tfidf)), key=lambda said: accuracy(said, pairs))
    return {
        "always no": (np.zeros(len(y)), np.zeros(len(y))),
        "tf-idf": (tfidf, (tfidf > threshold).astype(int)),
        "tf-idf with hindsight": (tfidf, best.astype(int)),
        "pretrained": judged(SiameseModel.pretrained(), pairs),
    }


def accuracy(said: np.ndarray, pairs: Pairs) -> float:
    """Return the share of the pairs, 0 to 1, for which a verdict is right."""
    return float(np.mean(said == pairs.labels))


def judged(model: SiameseModel, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores by which a model ranks pairs, and its verdicts, (n,) each."""
    rule = model.rule()
    scores = rule.scores(pairs.question1, pairs.question2, model.similarity(pairs.question1, pairs.question2))
    return scores, (scores > rule.threshold).astype(int)


if __name__ == "__main__":
    main()
