"""Measure what models are worth on questions that are not Quora's, and write the board.

    python -m reports.answers.board MODEL... [--bench ../shared/bench] [--quora ../shared/quora]

Each MODEL is measured on the sets and kept in the JSON file beside those of earlier runs. A model is a folder, the name
of one that comes with the package, a sentence encoder's name, or one of the baselines "majority", "tf-idf" and "bm25".
NAME=MODEL gives it a name of its own.
"""

import argparse
import csv
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from reports.measured import keep, read, table
from siamese import SiameseModel
from siamese.errors import UserError
from siamese.evaluation.evaluate import tfidf_similarity
from siamese.evaluation.metrics import average_precision, roc_auc
from siamese.model.folder import is_model
from siamese.model.packaged import model_folder_of
from siamese.system.files import write_text

MOST = 1_500  # questions of a set of groups, drawn with seed 0: all their pairs are scored
TIMED = 20_000  # questions for the speed
CHECKLIST = "checklist_qqp_mft"
FIRST_EDITION = 18_695  # rows of data/ when the board was begun; those of later editions are a set of their own
DATA, SUPPORT = Path("data/questions.csv"), Path("data/support.csv")
Scores = Callable[[Sequence[str], Sequence[str]], np.ndarray]  # the two sides of n pairs to (n,) scores


@dataclass(frozen=True)
class PairSet:
    """Pairs of questions with their labels."""

    question1: list[str]
    question2: list[str]
    labels: np.ndarray  # (n,) 0 or 1


@dataclass(frozen=True)
class GroupSet:
    """Questions with the group of each; two questions of one group are duplicates."""

    questions: list[str]
    groups: np.ndarray  # (n,)

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return all pairs of rows, i < j, and their labels."""
        i, j = np.triu_indices(len(self.groups), 1)
        return i, j, self.groups[i] == self.groups[j]


def rows_of(path: Path) -> list[dict[str, str]]:
    """Read a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pair_set(rows: Iterable[dict[str, str]]) -> PairSet:
    """Return rows of the columns question1, question2 and is_duplicate as a set."""
    rows = list(rows)
    labels = np.array([int(row["is_duplicate"]) for row in rows])
    return PairSet([row["question1"] for row in rows], [row["question2"] for row in rows], labels)


def group_set(rows: Sequence[dict[str, str]], column: str = "group") -> GroupSet:
    """Return rows of the columns question and `column` as a set, at most MOST of them."""
    chosen = random.Random(0).sample(range(len(rows)), min(MOST, len(rows)))
    return GroupSet([rows[i]["question"] for i in chosen], np.array([rows[i][column] for i in chosen]))


def read_sets(bench: Path, quora: Path | None) -> dict[str, PairSet | GroupSet]:
    """Read all sets by name: those of the board first, then CheckList, the support archive, data/ and Quora."""
    sets: dict[str, PairSet | GroupSet] = {}
    for path in sorted(bench.glob("*.csv")):
        name, rows = path.stem, rows_of(path)
        sets[name] = group_set(rows) if name.endswith(".groups") else pair_set(rows)
    if not sets:
        raise UserError(f"{bench}: no question sets; give their folder with --bench")
    sets["support"] = group_set(rows_of(SUPPORT), "intent")
    tests = [row for row in rows_of(DATA) if row["split"] == "test"]
    sets["data/ test"] = pair_set(row for row in tests if int(row["id"]) < FIRST_EDITION)
    if newer := [row for row in tests if int(row["id"]) >= FIRST_EDITION]:
        sets["data/ test, new rows"] = pair_set(newer)
    if quora:
        sets["Quora validation, unseen"] = pair_set(r for r in rows_of(quora / "validation.csv") if r["unseen"] == "1")
        sets["Quora test, unseen"] = pair_set(r for r in rows_of(quora / "test.csv") if r["unseen"] == "1")
    return sets


def on_board(name: str) -> bool:
    """Return whether a set is one of those whose mean is the board's."""
    return not name.startswith((CHECKLIST, "support", "data/", "Quora"))


def measure(sets: dict[str, PairSet | GroupSet], score: Scores) -> dict[str, float]:
    """Return the average precision on each set, the AUC on CheckList, and the mean over the board's sets."""
    found: dict[str, float] = {}
    for name, each in sets.items():
        if isinstance(each, GroupSet):
            i, j, labels = each.pairs()
            scores = _all_pairs(each.questions, score)[i, j]
            if name == "support":
                found |= mining(labels, scores)
        else:
            labels, scores = each.labels, score(each.question1, each.question2)
        found[name] = roc_auc(labels, scores) if name == CHECKLIST else average_precision(labels, scores)
    of_board = [value for name, value in found.items() if on_board(name)]
    return {"mean": float(np.mean(of_board)), **found} if of_board else found


def mining(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Return the precision of the 50 highest pairs, and the largest recall at a precision of 0.7 or more."""
    right = np.cumsum(labels[np.argsort(-scores, kind="stable")])
    precise = np.flatnonzero(right / np.arange(1, len(right) + 1) >= 0.7)
    recall = right[precise[-1]] / right[-1] if len(precise) else 0.0
    return {"support, precision of 50": right[49] / 50, "support, recall at 0.7": recall}


def _all_pairs(questions: list[str], score: Scores) -> np.ndarray:
    """Return (n, n) scores of all pairs."""
    if isinstance(score, ByVectors):
        vectors = score.encode(questions)
        return vectors @ vectors.T
    i, j = np.triu_indices(len(questions), 1)
    scores = np.zeros((len(questions), len(questions)))
    scores[i, j] = score([questions[k] for k in i], [questions[k] for k in j])
    return scores


class ByVectors:
    """The cosine of a model's vectors."""

    def __init__(self, encode: Callable[[Sequence[str]], np.ndarray]) -> None:
        self.encode = encode

    def __call__(self, questions1: Sequence[str], questions2: Sequence[str]) -> np.ndarray:
        """Return the cosine of each pair, (n,)."""
        index = {question: row for row, question in enumerate(dict.fromkeys([*questions1, *questions2]))}
        vectors = self.encode(list(index))
        one, two = ([index[question] for question in side] for side in (questions1, questions2))
        return np.einsum("nd,nd->n", vectors[one], vectors[two])


def majority(questions1: Sequence[str], questions2: Sequence[str]) -> np.ndarray:
    """Score all pairs alike."""
    return np.zeros(len(questions1))


def bm25(questions1: Sequence[str], questions2: Sequence[str], k: float = 1.2, b: float = 0.75) -> np.ndarray:
    """Return BM25 of question 2 for question 1 plus the other way round, (n,); the archive is all questions given."""
    from sklearn.feature_extraction.text import CountVectorizer

    index = {question: row for row, question in enumerate(dict.fromkeys([*questions1, *questions2]))}
    counts = CountVectorizer(token_pattern=r"\w+").fit_transform(list(index)).astype(float)
    idf = np.log1p((len(index) - (n := np.diff(counts.tocsc().indptr)) + 0.5) / (n + 0.5))
    length = np.asarray(counts.sum(axis=1)).ravel()
    weights = counts.copy()
    row = np.repeat(np.arange(len(index)), np.diff(counts.indptr))
    weights.data *= (k + 1) / (counts.data + k * (1 - b + b * length[row] / length.mean())) * idf[counts.indices]
    one, two = ([index[question] for question in side] for side in (questions1, questions2))
    total = counts[one].multiply(weights[two]) + counts[two].multiply(weights[one])
    return np.asarray(total.sum(axis=1)).ravel()


BASELINES: dict[str, Scores] = {"majority": majority, "tf-idf": tfidf_similarity, "bm25": bm25}


def scores_of(name: str) -> tuple[Scores, dict[str, Any]]:
    """Return how a model or a baseline scores pairs, and its size and speed if it has vectors."""
    if name in BASELINES:
        return BASELINES[name], {}
    model = SiameseModel.load(name)
    return ByVectors(model.encode), {"dimension": model.dimensions, "MB": size(name, model), "encode": model.encode}


def size(name: str, model: SiameseModel) -> float:
    """Return the megabytes of a model folder, or of an encoder's weights."""
    folder = model_folder_of(name)
    if is_model(folder):
        return sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    return sum(weight.nbytes for weight in model.weights.values()) / 1e6


def speed(encode: Callable[[Sequence[str]], np.ndarray], questions: Sequence[str]) -> float:
    """Return questions a second: the median of three runs over at most TIMED questions, fewer for slow encoders."""
    few = list(questions[:200])
    begun = perf_counter()
    encode(few)
    most = int(min(TIMED, max(200, 5 * len(few) / (perf_counter() - begun))))
    times = []
    for _ in range(3):
        begun = perf_counter()
        encode(list(questions[:most]))
        times.append(perf_counter() - begun)
    return min(most, len(questions)) / float(np.median(times))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.answers.board", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help="to measure; without one, the table is written again")
    add("--bench", type=Path, default="../shared/bench", metavar="DIR", help="the sets (%(default)s)")
    add("--quora", type=Path, default="../shared/quora", metavar="DIR", help="Quora's pairs (%(default)s)")
    add("--out", type=Path, default="models/answers", metavar="DIR", help="of board.json, board.md and board.png")
    add("--only", metavar="SET", help="measure this set, none of the twelve, and leave the other figures as they are")
    options = parser.parse_args()
    try:
        if options.models:
            sets = read_sets(options.bench, options.quora if options.quora.is_dir() else None)
            if options.only and (options.only not in sets or on_board(options.only)):
                other = ", ".join(name for name in sets if not on_board(name))
                raise UserError(f"--only {options.only}: use one of {other}")
            timed = [row["question1"] for row in rows_of(options.quora / "test.csv")] if options.quora.is_dir() else []
        for argument in options.models:
            name, _, model = argument.rpartition("=")
            score, facts = scores_of(model)
            if options.only:
                earlier = read(options.out / "board.json").get(name or model, {}).get("found", {})
                found = measure({options.only: sets[options.only]}, score)
                keep(options.out / "board.json", name or model, {**earlier, **found})
                print(f"{name or model}: {options.only} {found[options.only]:.3f}")
                continue
            found = measure(sets, score)
            if (encode := facts.pop("encode", None)) and timed:
                facts["questions a second"] = speed(encode, timed)
            keep(options.out / "board.json", name or model, {**facts, **found})
            print(f"{name or model}: mean {found['mean']:.3f}")
        write(options.out)
    except UserError as error:
        sys.exit(f"error: {error}")


def write(out: Path) -> None:
    """Write the table and the picture of all models that were measured."""
    figures = {name: part["found"] for name, part in read(out / "board.json").items()}
    if not figures:
        raise UserError(f"{out / 'board.json'}: nothing measured yet; name a model")
    sets = dict.fromkeys(key for found in figures.values() for key in found)
    rows = [{"": key, **{name: _three(found.get(key)) for name, found in figures.items()}} for key in sets]
    write_text(out / "board.md", table(rows))
    timed = {name: found for name, found in figures.items() if "questions a second" in found}
    _picture(timed, out / "board.png")


def _three(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value > 1 else f"{value:.3f}"


def _picture(figures: dict[str, dict[str, float]], path: Path) -> None:
    """Draw quality against speed."""
    from siamese.report.plots import figure

    with figure(path, 6, 4) as ((axes,),):
        for name, found in figures.items():
            axes.scatter(found["questions a second"], found["mean"])
            axes.annotate(name, (found["questions a second"], found["mean"]), xytext=(4, 4), textcoords="offset points")
        axes.margins(0.25)  # for the names
        axes.set(xscale="log", xlabel="questions encoded a second", ylabel="mean average precision over twelve sets")


if __name__ == "__main__":
    main()
