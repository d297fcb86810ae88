"""Measure mining by many workers on Ray.

    python -m reports.scale.mining recall growth faiss paper

Each part prints its figures and keeps them in mining.json; growth also draws growth.png. "faiss" needs
`pip install faiss-cpu`. "paper" is computed from what recall and growth have measured.
"""

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from reports.archive.mining import SIZES as QUESTIONS
from reports.archive.mining import THRESHOLD, mine, texts
from reports.measured import keep, read
from siamese import SiameseModel
from siamese.mining import cells, exact
from siamese.mining.found import Wanted, lowest_above
from siamese.mining.sharded import pipeline, store
from siamese.mining.sharded.on_ray import started
from siamese.mining.sharded.shards import Job, Summary, name_of
from siamese.mining.sharded.stages import Results, Runner, Stages, Unit, Work

SIZES = (312_500, 625_000, 1_250_000, 2_500_000, 5_000_000)
SHARDS = 8  # that the shared questions are cut into
WORKERS = 2

Figures = dict[str, Any]


class Watch:
    """A runner that records seconds, bytes written and the peak memory of a worker for each stage."""

    def __init__(self, run: Runner) -> None:
        self.run, self.stages, self.stage = run, dict[str, Figures](), ""

    def told(self, stage: str, done: int, total: int) -> None:
        """Begin a stage when `Stages` reports its first unit."""
        if stage != self.stage:
            self.end()
            self.stage, self.began, self.own = stage, time.perf_counter(), time.process_time()
            self.stages[stage] = {"units": total, "core seconds": 0.0, "megabytes": 0.0, "bytes": 0}

    def end(self) -> dict[str, Figures]:
        """End the last stage, and return the figures of all stages."""
        if self.stage:
            own = time.process_time() - self.own
            self.stages[self.stage] |= {"seconds": time.perf_counter() - self.began, "driver's core seconds": own}
            self.stage = ""
        return self.stages

    def __call__(self, function: Work, shared: Any, units: Sequence[Unit], loads: bool) -> Results:
        for i, found in self.run(partial(_watched, function), shared, units, loads):
            figures = self.stages[self.stage]
            figures["core seconds"] += found["seconds"]
            figures["bytes"] += found["bytes"]
            figures["megabytes"] = max(figures["megabytes"], found["megabytes"])
            yield i, found["summary"]


def _watched(function: Work, shared: Any, unit: Unit) -> Summary:
    """Do a unit of work, and return also what it took."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    began, before = time.process_time(), _of_process("io", "wchar")
    summary = function(shared, unit)
    return {
        "summary": summary,
        "seconds": time.process_time() - began,  # of a core, so that other programs hardly matter
        "megabytes": _of_process("status", "VmHWM") / 1024,
        "bytes": _of_process("io", "wchar") - before,
    }


def _of_process(file: str, name: str) -> int:
    """Return a number that Linux keeps of this process."""
    lines = Path(f"/proc/self/{file}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def generate(job: Job, known: np.ndarray, piece: int, count: int) -> Summary:
    """Write a piece of generated vectors: first the encoded questions, then such vectors moved.

    They are moved in a random direction, to a cosine of 0.64 to 0.96.
    """
    number = piece * job.piece + np.arange(min(job.piece, count - piece * job.piece))
    random = np.random.default_rng(piece)
    way = random.normal(size=(len(number), known.shape[1])).astype(np.float32)
    way *= (random.uniform(0.3, 1.2, (len(number), 1)) / np.linalg.norm(way, axis=1, keepdims=True)).astype(np.float32)
    vectors = known[random.integers(len(known), size=len(number))] + way
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    own = number < len(known)
    vectors[own] = known[number[own]]
    text = pa.array([f"a generated question as long as those on Quora, number {i}" for i in number], pa.large_string())
    none = pa.nulls(len(number), pa.large_string())
    table = pa.table({"number": number, "question": text, "id": none, "vector": store.lists(vectors)})
    store.write_table(job.at("vectors", name_of(0, piece)), table)
    return {"name": name_of(0, piece), "rows": len(number)}


def known_vectors(shared: Path) -> np.ndarray:
    """Return the vectors of all distinct shared questions."""
    return SiameseModel.pretrained().encode(list(texts(shared, None)))


def growth(shared: Path, sizes: Sequence[int], memory: int) -> list[Figures]:
    """Mine generated vectors by two workers, and return seconds and peak memory of each stage by their number."""
    model, known, rows = SiameseModel.pretrained(), known_vectors(shared), []
    none = pa.table({"first": pa.array([], pa.int64())} | {
        name: pa.array([], pa.large_string()) for name in ("question", "id", "copy")
    })  # fmt: skip
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder, started(None, memory, WORKERS) as run:
            stages, watch = stages_in(folder, memory, run, "connected")
            pieces = [{"piece": i, "count": count} for i in range(-(-count // stages.job.piece))]
            made = stages("generate", generate, pieces, known)
            for one in made:
                store.write_table(stages.job.at("copied", one["name"]), none)
            encoded = pipeline.Encoded([one["name"] for one in made], [one["rows"] for one in made], False)
            began = time.perf_counter()
            found = pipeline.find(
                stages, encoded, model.rule(THRESHOLD), 0, f"{folder}/out.csv", f"{folder}/clusters.csv"
            )
            row = {
                "vectors": count, "seconds": time.perf_counter() - began, "load": os.getloadavg()[0],
                "cells": found.cells, "p": found.p, "pairs": found.pairs, "recall": str(found.recall),
                "clusters": found.clusters, "stages": watch.end(),
            }  # fmt: skip
        rows.append(row)
        print(json.dumps(row), file=sys.stderr)
    return rows


def stages_in(folder: str, memory: int, run: Runner, linkage: str) -> tuple[Stages, Watch]:
    """Return the stages of a run in a folder, and the runner that records them."""
    job, watch = Job(f"{folder}/work", "question", None, lowest_above(THRESHOLD), None, memory, linkage), Watch(run)
    return Stages(job, watch, watch.told), watch


def recall(shared: Path, count: int, memory: int) -> Figures:
    """Return how many of the exact pairs of shared questions two workers find, and what that took."""
    model, questions = SiameseModel.pretrained(), list(texts(shared, count))
    with tempfile.TemporaryDirectory() as folder, started(None, memory, WORKERS) as run:
        for i, part in enumerate(np.array_split(np.array(questions, object), SHARDS)):
            with open(f"{folder}/all-{i}.csv", "w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([["question"], *([text] for text in part)])
        stages, watch = stages_in(folder, memory, run, "complete")
        shards = [address for address, _ in pipeline.list_shards(f"{folder}/all-*.csv")]
        began = time.perf_counter()
        encoded = pipeline.encode(stages, shards, model)
        found = pipeline.find(stages, encoded, model.rule(THRESHOLD), 0, f"{folder}/ray.csv", f"{folder}/clusters.csv")
        seconds = time.perf_counter() - began
        by_ray = _pairs(Path(folder) / "ray.csv")
        mine(questions, Path(folder))
        by_all = _pairs(Path(folder) / "found.csv")
        mine(questions, Path(folder), "--approximate")
        by_one = _pairs(Path(folder) / "found.csv")
    both = by_all.keys() & by_ray.keys()
    return {
        "questions": len(questions), "seconds": seconds, "load": os.getloadavg()[0], "exact pairs": len(by_all),
        "pairs": len(by_ray), "recall": len(both) / len(by_all), "as measured in the run": str(found.recall),
        "not among the exact": len(by_ray) - len(both), "not as --approximate": len(by_ray.keys() ^ by_one.keys()),
        "largest difference": max(abs(by_all[pair] - by_ray[pair]) for pair in both),
        "stages": {name: watch.stages[name] for name in ("read", "copies", "encode")},
    }  # fmt: skip


def _pairs(path: Path) -> dict[frozenset[str], float]:
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {frozenset((row["question1"], row["question2"])): float(row["similarity"]) for row in rows}


def faiss_way(shared: Path, sizes: Sequence[int]) -> list[Figures]:
    """Compare our cell join with a range search in a faiss index of as many lists, in seconds of a core."""
    import faiss

    known, rows, lowest = known_vectors(shared), [], lowest_above(THRESHOLD)
    for count in sizes:
        vectors = known[np.random.default_rng(0).permutation(len(known))[:count]]
        clock = [time.process_time()]
        ready = exact.made_ready(vectors, lowest)
        made, _ = cells.make_cells(ready, lowest, 0)
        clock.append(time.process_time())
        pairs = _keys(np.concatenate([made.join(ready, cell, Wanted(lowest)) for cell in range(len(made))]))
        clock.append(time.process_time())
        index: Any = faiss.index_factory(vectors.shape[1], f"IVF{len(made)},Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[: len(made) * cells.LEARNED_ON])
        index.add(vectors)
        clock.append(time.process_time())
        choosing, joining, indexing = np.diff(clock).tolist()
        all_pairs = _keys(exact.join_rows(ready, 0, count, Wanted(lowest)))
        searches = []
        for index.nprobe in (4, 8, 16):
            began = time.process_time()
            limits, _, second = index.range_search(vectors, lowest / 1e6 - 1e-6)
            seconds = time.process_time() - began
            first = np.repeat(np.arange(count), (limits[1:] - limits[:-1]).astype(int))
            found = np.minimum(first, second) << 32 | np.maximum(first, second)
            searches.append({"probes": index.nprobe, "seconds": seconds, "results": len(first),
                             "recall": len(np.intersect1d(found, all_pairs)) / len(all_pairs)})  # fmt: skip
        rows.append({
            "vectors": count, "cells": len(made), "p": made.of.shape[1], "choosing": choosing, "joining": joining,
            "pairs": len(pairs), "recall": len(np.intersect1d(pairs, all_pairs)) / len(all_pairs),
            "faiss made": indexing, "faiss": searches,
        })  # fmt: skip
        print(json.dumps(rows[-1]), file=sys.stderr)
    return rows


def _keys(pairs: np.ndarray) -> np.ndarray:
    return pairs["first"].astype(np.int64) << 32 | pairs["second"]


BILLION = 1_000_000_000
POWERS = {"cells": 0, "join": 2}  # exponent of p in the part of the stage that grows as n^1.5
PRICE = 0.05  # dollars a core hour, about what large clouds charge for a general-purpose machine


def projected(figures: Figures, n: int) -> Figures:
    """Return the core hours of each stage for n questions, from those that were measured, and their price.

    With √n cells, the products of n vectors with the centres grow as n^1.5. If each vector is in p cells, the products
    within cells grow as p² n^1.5. The rest of these two stages grows as p n, every other stage as n. The shares of the
    two terms are fitted to the measured sizes by least squares of the relative error. p is the largest that was chosen,
    and a question has as many pairs as at the largest size.
    """
    from scipy.optimize import nnls

    rows = figures["growth"]
    sizes, p = (np.array([row[name] for row in rows], float) for name in ("vectors", "p"))
    most = p.max()
    hours, own = {}, 0.0
    for stage in rows[-1]["stages"]:
        if stage == "generate":
            continue
        seconds = np.array([row["stages"][stage]["core seconds"] for row in rows])
        own += rows[-1]["stages"][stage]["driver's core seconds"] / sizes[-1] * n / 3600
        if stage in POWERS:
            terms = np.stack((p * sizes, p ** POWERS[stage] * sizes**1.5), axis=1) / seconds[:, None]
            linear, steep = nnls(terms, np.ones(len(rows)))[0]
            hours[stage] = (linear * most * n + steep * most ** POWERS[stage] * n**1.5) / 3600
        else:
            hours[stage] = seconds[-1] / sizes[-1] * n / 3600
    encoded = figures["recall"]
    for stage in ("read", "copies", "encode"):
        hours[stage] = encoded["stages"][stage]["core seconds"] / encoded["questions"] * n / 3600
    total = sum(hours.values()) + own
    sent = rows[-1]["stages"]["cells"]["bytes"] / sizes[-1] / p[-1] * most * n
    return {
        "questions": n, "p": int(most), "in all": total,
        "core hours": {stage: round(value, 1) for stage, value in hours.items()},
        "of the first process": own, "hours on 256 cores": total / 256, "dollars": total * PRICE,
        "terabytes sent to cells": sent / 1e12,
    }  # fmt: skip


def draw(rows: Sequence[Figures], path: Path) -> None:
    """Draw core seconds and memory by the number of vectors, on logarithmic axes."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    from siamese.report.plots import LINE, figure

    work = [{name: one for name, one in row["stages"].items() if name != "generate"} for row in rows]
    seconds = [sum(one["core seconds"] + one["driver's core seconds"] for one in stages.values()) for stages in work]
    memory = [max(one["megabytes"] for one in stages.values()) for stages in work]
    x = np.array([row["vectors"] for row in rows])
    panels = {"core seconds of all stages": np.array(seconds), "MB of a worker at most": np.array(memory)}
    with figure(path, 9, 3.6, 1, 2) as (panes,):
        for axes, (name, y) in zip(panes, panels.items()):
            axes.loglog(x, y, color=LINE, marker="o")
            axes.loglog(x, y[-1] * x / x[-1], color="grey", linestyle=":", label="in proportion")
            axes.set(title=name, xlabel="vectors")
            axes.set_xticks(x, [f"{size:,}" for size in x])
            axes.minorticks_off()
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.grid(alpha=0.3)
            axes.legend()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.scale.mining", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("parts", nargs="+", choices=["recall", "growth", "faiss", "paper"])
    parser.add_argument("--shared", default="../shared/quora", type=Path, metavar="DIR", help="Quora's pairs")
    parser.add_argument("--out", default="models/ray-mining", type=Path, metavar="DIR", help="(default %(default)s)")
    parser.add_argument("--memory", default=2_048, type=int, metavar="MB", help="of a worker (default %(default)s)")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="N", help="questions or vectors, for every part")
    options = parser.parse_args()
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "passive"
    )  # as the command line does; it must be set before torch is loaded
    path, shared, sizes = options.out / "mining.json", options.shared, options.sizes
    measures: dict[str, Callable[[], Any]] = {
        "recall": lambda: recall(shared, max(sizes or QUESTIONS[2:3]), options.memory),
        "growth": lambda: growth(shared, sizes or SIZES, options.memory),
        "faiss": lambda: faiss_way(shared, sizes or QUESTIONS[1:3]),
        "paper": lambda: projected({part: one["found"] for part, one in read(path).items()}, BILLION),
    }
    for part in options.parts:
        found = measures[part]()
        keep(path, part, found)
        print(json.dumps({part: found}, indent=1, ensure_ascii=False))
        if part == "growth":
            draw(found, options.out / "growth.png")


if __name__ == "__main__":
    main()
