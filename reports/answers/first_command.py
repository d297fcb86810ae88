"""Measure what the first command gives: is its model better than always no, TF-IDF and the model it started from?

    python -m reports.answers.first_command [--seeds 1 2 3]

Trains on data/ with each seed, as `python run.py train` does, and compares on the unseen test pairs. A difference has
a 95 % interval: pairs are drawn again by question, so that pairs that share one stay together.
"""

import argparse
from pathlib import Path
from time import perf_counter

import numpy as np

import siamese
from reports.answers.board import DATA
from reports.measured import machine, table
from siamese import SiameseModel
from siamese.evaluation.evaluate import tfidf_similarity
from siamese.evaluation.metrics import average_precision
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
    pairs = parts.test.take(np.flatnonzero(Clusters(parts.training).unseen(parts.test)))
    y = pairs.labels
    tfidf = tfidf_similarity(pairs.question1, pairs.question2)
    # with the best threshold for these very pairs
    best = max((tfidf > at for at in np.unique(tfidf)), key=lambda said: float(np.mean(said == y)))
    others = {
        "always no": (np.zeros(len(y)), np.zeros(len(y))),
        "tf-idf": (tfidf, best.astype(int)),
        "pretrained": judged(SiameseModel.pretrained(), pairs),
    }
    rows = []
    for seed in options.seeds:
        begun = perf_counter()
        model = siamese.train(DATA, start_from="pretrained", seed=seed)
        seconds = perf_counter() - begun
        ours = judged(model, pairs)
        accuracy, ap = float(np.mean(ours[1] == y)), average_precision(y, ours[0])
        row: dict[str, object] = {"seed": str(seed)}
        gains = {name: against(pairs, ours, other) for name, other in others.items()}
        row |= {f"{what} above {name}": gain[what] for name, gain in gains.items() for what in gain}
        rows.append(row | {"seconds": seconds, "accuracy": accuracy, "AP": ap})
    write_text(options.out / "first-command.md", f"{machine()}\n\n{table(rows)}")
    print(table(rows))


def judged(model: SiameseModel, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores by which a model ranks pairs, and its verdicts, (n,) each."""
    rule = model.rule()
    scores = rule.scores(pairs.question1, pairs.question2, model.similarity(pairs.question1, pairs.question2))
    return scores, (scores > rule.threshold).astype(int)


if __name__ == "__main__":
    main()
