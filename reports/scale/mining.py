"""Measures mining on Ray: `python -m reports.scale.mining recall growth faiss paper`.

Each part prints its figures and keeps them in reports/scale/mining.json; growth also draws growth.png there. `paper` is
computed from what the others measured.
"""

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from reports.archive.mining import THRESHOLD, texts
from reports.measured import machine
from siamese import SiameseModel
from siamese.mining import cells, exact
from siamese.mining.found import PAIR, Wanted, lowest_above
from siamese.mining.sharded import store
from siamese.mining.sharded.on_ray import started
from siamese.mining.sharded.pipeline import Encoded
from siamese.mining.sharded.shards import Job, Summary, name_of
from siamese.mining.sharded.stages import Runner, Stages, Unit
from siamese.system.files import write_text

SIZES = (312_500, 625_000, 1_250_000, 2_500_000, 5_000_000)
SHARDS = 8  # that the shared questions are cut into
WORKERS = 2

Figures = dict[str, Any]


class Measured:
    """A runner that notes of each stage its seconds, the bytes written, and the most memory of a worker in a unit."""

    def __init__(self, run: Runner) -> None:
        self.run, self.stages, self.stage = run, dict[str, Figures](), ""
        self.folders: dict[str, int] = {}

    def told(self, stage: str, done: int, total: int) -> None:
        """What `Stages` tells."""
        if stage != self.stage:
            self._end()
            self.stage, self.began, self.own = stage, time.perf_counter(), time.process_time()
            self.stages[stage] = {"units": total, "core seconds": 0.0, "megabytes": 0.0, "bytes": 0}

    def _end(self) -> None:
        if self.stage:
            own = time.process_time() - self.own
            self.stages[self.stage] |= {"seconds": time.perf_counter() - self.began, "driver's core seconds": own}

    def end(self) -> dict[str, Figures]:
        """The figures of all stages."""
        self._end()
        return self.stages

    def __call__(
        self, function: Callable[[Any, Unit], Summary], shared: Any, units: Sequence[Unit], loads: bool
    ) -> Iterator[tuple[int, Summary]]:
        for i, found in self.run(_Watched(function), shared, units, loads):
            plots = self.stages[self.stage]
            plots["core seconds"] += found["seconds"]
            plots["bytes"] += found["bytes"]
            plots["megabytes"] = max(plots["megabytes"], found["megabytes"])
            yield i, found["summary"]


class _Watched:
    """A unit of work, and what it took."""

    def __init__(self, function: Callable[[Any, Unit], Summary]) -> None:
        self.function = function

    def __call__(self, shared: Any, unit: Unit) -> Summary:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        began, before = time.process_time(), _written()
        summary = self.function(shared, unit)
        seconds = time.process_time() - began  # of a core, whoever else uses it
        peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        megabytes = int(peak.split()[1]) / 1024
        return {"summary": summary, "seconds": seconds, "megabytes": megabytes, "bytes": _written() - before}


def _written() -> int:
    """The bytes that this process has written so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


def generate(job: Job, known: np.ndarray, piece: int, count: int) -> Summary:
    """A piece of generated vectors: the first pieces are the encoded questions, others such vectors moved.

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
    """The vectors of all distinct shared questions."""
    return SiameseModel.pretrained().encode(list(texts(shared, None)))


def growth(shared: Path, sizes: Sequence[int], memory: int) -> list[Figures]:
    """Mining generated vectors by two workers, by their number; seconds and peak memory of each stage."""
    model, known, rows = SiameseModel.pretrained(), known_vectors(shared), []
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder, started(None, memory, WORKERS) as run:
            job = Job(f"{folder}/work", "question", None, lowest_above(THRESHOLD), None, memory, "connected")
            watched = Measured(run)
            stages = Stages(job, watched, watched.told)
            pieces = [{"piece": i, "count": count} for i in range(-(-count // job.piece))]
            made = stages("generate", generate, pieces, known)
            for one in made:  # no copies among them
                columns = {name: pa.array([], pa.large_string()) for name in ("question", "id", "copy")}
                store.write_table(
                    job.at("copied", one["name"]), pa.table({"first": pa.array([], pa.int64()), **columns})
                )
            encoded = Encoded([one["name"] for one in made], [one["rows"] for one in made], False)
            began = time.perf_counter()
            found = run.find(stages, encoded, model, 0, f"{folder}/out.csv", f"{folder}/clusters.csv")
            row = {
                "vectors": count, "seconds": time.perf_counter() - began, "load": os.getloadavg()[0],
                "cells": found.cells, "p": found.p, "pairs": found.pairs, "recall": str(found.recall),
                "clusters": found.clusters, "stages": watched.end(),
            }  # fmt: skip
        rows.append(row)
        print(json.dumps(row), file=sys.stderr)
    return rows


def recall(shared: Path, memory: int) -> Figures:
    """Of all shared questions, the exact pairs that two workers find, and what that took."""
    from siamese.cli.entry import main

    model = SiameseModel.pretrained()
    with tempfile.TemporaryDirectory() as folder, started(None, memory, WORKERS) as run:
        questions = list(texts(shared, None))
        step = -(-len(questions) // SHARDS)
        for i in range(SHARDS):
            with open(f"{folder}/all-{i}.csv", "w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([["question"], *([text] for text in questions[i * step : (i + 1) * step])])
        Path(f"{folder}/all.txt").write_text("".join(f"{text}\n" for text in questions), encoding="utf-8")
        job = Job(f"{folder}/work", "question", None, lowest_above(THRESHOLD), None, memory, "complete")
        watched = Measured(run)
        stages = Stages(job, watched, watched.told)
        shards = [address for address, _ in run.list_shards(f"{folder}/all-*.csv")]
        began = time.perf_counter()
        encoded, _, _ = run.encode(stages, shards, model)
        found = run.find(stages, encoded, model, 0, f"{folder}/ray.csv", f"{folder}/clusters.csv")
        seconds = time.perf_counter() - began
        same = ["mine", f"{folder}/all.txt", "--model", "pretrained", "--threshold", str(THRESHOLD)]
        main([*same, "--out", f"{folder}/exact.csv"])
        main([*same, "--approximate", "--out", f"{folder}/one.csv"])
        by_ray, by_all, by_one = (_rows(Path(folder) / f"{name}.csv") for name in ("ray", "exact", "one"))
    both = by_all.keys() & by_ray.keys()
    return {
        "questions": len(questions), "seconds": seconds, "load": os.getloadavg()[0], "exact pairs": len(by_all),
        "pairs": len(by_ray), "recall": len(both) / len(by_all), "as measured in the run": str(found.recall),
        "not among the exact": len(by_ray) - len(both), "not as --approximate": len(by_ray.keys() ^ by_one.keys()),
        "largest difference": max(abs(by_all[pair] - by_ray[pair]) for pair in both),
        "stages": {name: watched.stages[name] for name in ("read", "copies", "encode")},
    }  # fmt: skip


def _rows(path: Path) -> dict[tuple[str, str], float]:
    with open(path, encoding="utf-8", newline="") as file:
        return {tuple(sorted((a, b))): float(s) for a, b, s, *_ in list(csv.reader(file))[1:]}  # type: ignore[misc]


def faiss_way(shared: Path, sizes: Sequence[int]) -> list[Figures]:
    """Our cell join beside faiss's own: an IVF index of as many cells, searched for all its vectors within a range.

    In seconds of a core, whoever else uses the machine.
    """
    import faiss
    import torch

    known, rows = known_vectors(shared), []
    for count in sizes:
        vectors = known[np.random.default_rng(0).permutation(len(known))[:count]]
        lowest = lowest_above(THRESHOLD)
        began = time.process_time()
        ready = exact.made_ready(vectors, lowest)
        made, _ = cells.make_cells(ready, lowest, 0)
        chosen = time.process_time()
        pairs = np.concatenate([made.join(ready, cell, Wanted(lowest)) for cell in range(len(made))])
        row: Figures = {
            "vectors": count, "cells": len(made), "p": made.of.shape[1], "choosing": chosen - began,
            "joining": time.process_time() - chosen, "pairs": len(pairs), "faiss": [],
        }  # fmt: skip
        all_pairs = exact.join_rows(ready, 0, count, Wanted(lowest))
        row["recall"] = len(np.intersect1d(_keys(pairs), _keys(all_pairs))) / len(all_pairs)
        began = time.process_time()
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], len(made), faiss.METRIC_INNER_PRODUCT
        )
        index.train(vectors[: len(made) * cells.LEARNED_ON])
        index.add(vectors)
        row["faiss made"] = time.process_time() - began
        for probes in (4, 8, 16):
            index.nprobe = probes
            began = time.process_time()
            limits, _, other = index.range_search(vectors, lowest / 1e6 - 1e-6)
            seconds = time.process_time() - began
            first = np.repeat(np.arange(count), (limits[1:] - limits[:-1]).astype(int))
            both = np.zeros(len(first), PAIR)
            both["first"], both["second"] = np.minimum(first, other), np.maximum(first, other)
            keys = np.unique(_keys(both[first != other]))
            row["faiss"].append({
                "probes": probes, "seconds": seconds, "results": len(first),
                "recall": len(np.intersect1d(keys, _keys(all_pairs))) / len(all_pairs),
            })  # fmt: skip
        row["threads"] = torch.get_num_threads()
        rows.append(row)
        print(json.dumps(row), file=sys.stderr)
    return rows


def _keys(pairs: np.ndarray) -> np.ndarray:
    return pairs["first"].astype(np.int64) << 32 | pairs["second"]


BILLION = 1_000_000_000
POWERS = {"cells": 0, "join": 2}  # of p, where the stage grows as n^1.5
PRICE = 0.05  # dollars a core hour: what a general-purpose machine costs by the hour at the large clouds, about


def projected(figures: Figures, n: int) -> Figures:
    """Core hours of each stage for n questions, from those that were measured, and their price.

    With √n cells, products of n vectors with the centres grow as n^1.5, and those within cells, where a vector is in p
    of them, as p² n^1.5. The rest of these two stages grows as p n, all other stages as n. The shares of the two are
    fitted to the measured sizes, by least squares of the relative error; p is taken to be the largest that was chosen,
    and the pairs a question as many as of the largest size.
    """
    from scipy.optimize import nnls

    rows = figures["growth"]["found"]
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
    read = figures["recall"]["found"]
    for stage in ("read", "copies", "encode"):
        hours[stage] = read["stages"][stage]["core seconds"] / read["questions"] * n / 3600
    total = sum(hours.values()) + own
    sent = rows[-1]["stages"]["cells"]["bytes"] / sizes[-1] / p[-1] * most * n
    return {
        "questions": n, "p": int(most), "in all": total,
        "core hours": {stage: round(value, 1) for stage, value in hours.items()},
        "of the first process": own, "hours on 256 cores": total / 256, "dollars": total * PRICE,
        "terabytes sent to cells": sent / 1e12,
    }  # fmt: skip


def draw(rows: Sequence[Figures], path: Path) -> None:
    """Core seconds and memory by the number of vectors."""
    from siamese.report import plots

    work = [{name: one for name, one in row["stages"].items() if name != "generate"} for row in rows]
    seconds = [sum(one["core seconds"] + one["driver's core seconds"] for one in stages.values()) for stages in work]
    memory = [max(one["megabytes"] for one in stages.values()) for stages in work]
    names = ("vectors", "core seconds of all stages", "MB of a worker at most")
    plots.growth(np.array([row["vectors"] for row in rows]), np.array(seconds), np.array(memory), names, path)


def main() -> None:
    """Measure the parts that are named."""
    parser = argparse.ArgumentParser(prog="python -m reports.scale.mining", description=__doc__)
    parser.add_argument("parts", nargs="+", choices=["recall", "growth", "faiss", "paper"])
    parser.add_argument("--shared", default="../shared/quora", type=Path, metavar="DIR", help="Quora's pairs")
    parser.add_argument("--out", default="models/ray-mining", type=Path, metavar="DIR")
    parser.add_argument("--memory", default=2_048, type=int, metavar="MB", help="of a worker (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line does, before torch is loaded
    path = options.out / "mining.json"
    measures: dict[str, Callable[[], Any]] = {
        "recall": lambda: recall(options.shared, options.memory),
        "growth": lambda: growth(options.shared, (10_000, 20_000) if options.quick else SIZES, options.memory),
        "faiss": lambda: faiss_way(options.shared, (20_000,) if options.quick else (100_000, 262_819)),
    }
    for part in options.parts:
        plots = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        found: Any = projected(plots, BILLION) if part == "paper" else measures[part]()
        plots[part] = {"machine": machine(), "found": found}
        write_text(path, json.dumps(plots, indent=2, ensure_ascii=False) + "\n")
        print(json.dumps(plots[part], indent=2, ensure_ascii=False))
        if part == "growth":
            draw(found, options.out / "growth.png")


if __name__ == "__main__":
    main()
