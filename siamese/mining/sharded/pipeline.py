"""Mining by many workers: from shards of questions to ranked pairs and clusters, stage by stage."""

import heapq
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from siamese.errors import DataError, UserError
from siamese.mining import cells, tables
from siamese.mining.clusters import A_LINK
from siamese.mining.exact import TILE, made_ready
from siamese.mining.found import LONG_PAIR
from siamese.mining.sharded import components, joins, ranks, shards, store
from siamese.mining.sharded.shards import Job, Summary
from siamese.mining.sharded.stages import Stages, Unit
from siamese.model.model import SiameseModel

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".txt")
A_TEXT = 16  # bytes of a file, at least, that a question takes, to guess how many there are
A_DIGEST = 400  # bytes that a text takes while copies are looked for
LEAST_GROUPS = 16  # of cells, so that a few workers have all something to do, and little is lost with one
A_PAIRS_TEXTS = 300  # bytes a pair for its two questions and ids during complete linkage, beside A_LINK
A_MEMBER = 600  # bytes that a question of a cluster takes while its row is made
CHUNK = 4_096  # rows of clusters that are held of each group


@dataclass(frozen=True)
class Found:
    """What was found."""

    questions: int
    pairs: int
    last: float | None  # the similarity of the last pair
    recall: cells.Recall | None
    cells: int  # how many there are
    p: int  # cells a question
    clusters: int = 0
    members: int = 0  # different questions in clusters
    copies: int = 0
    blank: int = 0


@dataclass(frozen=True)
class Encoded:
    """The pieces of work, their questions with vectors in the work folder."""

    names: list[str]
    rows: list[int]
    ids: bool

    @property
    def starts(self) -> np.ndarray:
        """The number of the first question of each piece, and how many there are in all; (pieces + 1,)."""
        return np.cumsum([0, *self.rows])


def list_shards(address: str) -> list[tuple[str, str]]:
    """The files of questions at an address, a file, a folder or a glob, in order; and what tells whether one changed.

    Raises:
        DataError: there is none.
    """
    files, path = store.connect(address)
    found = [path] if files.exists(path) else files.glob(path)
    found = [name for one in found for name in (files.find(one) if files.isdir(one) else [one])]
    found = sorted(name for name in found if name.lower().endswith(FORMATS) and "/." not in name)
    if not found:
        raise DataError(f"{address}: no questions there; expected a file, folder or glob of {', '.join(FORMATS)}")
    shown = []
    for name in found:
        info = files.info(name)
        changed = info.get("ETag") or info.get("mtime") or info.get("LastModified") or info.get("created")
        shown.append((files.unstrip_protocol(name).removeprefix("file://"), f"{info['size']} {changed}"))
    return shown


def encode(stages: Stages, addresses: Sequence[str], model: SiameseModel) -> tuple[Encoded, int, int]:
    """Read shards, drop copies and encode the others; then how many copies and blank questions there were.

    Raises:
        DataError: a shard that cannot be used.
    """
    job = stages.job
    sizes = [files.size(path) for files, path in map(store.connect, addresses)]
    groups = 1 + sum(sizes) // A_TEXT * A_DIGEST // (job.memory << 20)
    read = stages("read", shards.read_shard, [
        {"shard": i, "address": address, "groups": groups} for i, address in enumerate(addresses)
    ])  # fmt: skip
    ids = {shard["ids"] for shard in read if shard["rows"]}
    if len(ids) > 1:
        without = next(shard["address"] for shard in read if shard["rows"] and not shard["ids"])
        raise DataError(f"{without}: no ids, unlike other shards; expected all or none")
    if not any(shard["rows"] for shard in read):
        return Encoded([], [], False), 0, sum(shard["blank"] for shard in read)
    copies = stages("copies", shards.find_copies, [{"group": group} for group in range(groups)], read)
    pieces = [(shard["shard"], piece) for shard in read for piece in range(shard["pieces"])]
    encoded = stages("encode", shards.encode, [
        {"shard": shard, "piece": piece, "place": i, "groups": groups} for i, (shard, piece) in enumerate(pieces)
    ], model, loads=True)  # fmt: skip
    for folder in ("questions", "texts", "ids", "leaving", "copies"):
        store.remove(f"{job.work}/{folder}")
    result = Encoded([one["name"] for one in encoded], [one["rows"] for one in encoded], True in ids)
    return result, sum(one["copies"] for one in copies), sum(shard["blank"] for shard in read)


def choose_cells(stages: Stages, encoded: Encoded, seed: int) -> tuple[np.ndarray, int, cells.Recall]:
    """The centres of cells, (k, d) float32, how many a vector belongs to, and the recall; as `cells.make_cells` does.

    Raises:
        UserError: cells.MOST_CELLS cells a vector are not enough.
    """
    job, n = stages.job, int(encoded.starts[-1])
    chosen = f"{job.work}/chosen.npy", f"{job.work}/chosen.json"
    if store.exists(chosen[1]):
        with store.local_copy(chosen[0]) as path:
            centres = np.load(path, allow_pickle=False)
        known = store.read_json(chosen[1])
        return centres, known["p"], cells.Recall(**known["recall"])
    count = cells.cells_for(n)
    x = made_ready(_take(stages, encoded, cells.learned_on(n, count, seed), "learned-on"), job.lowest).rounded.float()
    centres = cells.learn(x, count).numpy()
    del x
    order, found, start, most = np.random.default_rng(seed).permutation(n), [], 0, min(cells.MOST_CELLS, len(centres))
    stop = min(cells.SAMPLE, n)
    while True:
        name = f"sample-{start}"
        sample = joins.Sample(_take(stages, encoded, order[start:stop], name), order[start:stop], centres)
        stages(f"near-{start}", joins.sampled_pairs, [
            {"name": piece, "start": int(first), "to": f"near-{start}"}
            for piece, first in zip(encoded.names, encoded.starts)
        ], sample)  # fmt: skip
        near1 = cells.nearest(made_ready(sample.vectors, job.lowest).rounded, torch.from_numpy(centres), most)
        for piece in encoded.names:
            table = store.read_table(job.at(f"near-{start}", piece))
            place = table["sampled"].to_numpy()
            found.append((place + start, cells.cells_needed(near1[place], store.matrix(table["near"]))))
        places, needed = (np.concatenate(column) for column in zip(*found))
        having = np.unique(places)
        for sampled in range(start + TILE, stop + 1, TILE):
            if cells.sampled_enough(sampled, int(np.searchsorted(having, sampled)), n):
                stop = n  # as many as one process would have taken
                places, needed = places[places < sampled], needed[places < sampled]
                break
        if stop == n:
            break
        start, stop = stop, min(2 * stop, n)
    p, recall = cells.choose(order[places], needed, n, most, seed)
    with store.writing(chosen[0]) as path, open(path, "wb") as file:
        np.save(file, centres, allow_pickle=False)
    store.write_json(chosen[1], {"p": p, "recall": vars(recall)})
    return centres, p, recall


def _take(stages: Stages, encoded: Encoded, numbers: np.ndarray, name: str) -> np.ndarray:
    """Some of all vectors, in the order in which they are asked for; (m, d) float32."""
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], encoded.starts)
    units = [
        {"name": piece, "to": name, "places": (numbers[order[low:high]] - start).tolist()}
        for piece, start, low, high in zip(encoded.names, encoded.starts, bounds, bounds[1:])
    ]
    stages(f"take-{name}", joins.take, units)
    parts = [store.matrix(store.read_table(stages.job.at(name, piece))["vector"]) for piece in encoded.names]
    vectors = np.empty((len(numbers), parts[0].shape[1]), np.float32)
    vectors[order] = np.concatenate(parts)
    return vectors


def join(stages: Stages, encoded: Encoded, centres: np.ndarray, p: int) -> list[Summary]:
    """Put all vectors into their p nearest cells and join these; the summaries of the joins."""
    job, n = stages.job, int(encoded.starts[-1])
    groups = min(len(centres), max(LEAST_GROUPS, -(-n * p * 2 // job.block)))
    bounds = (np.arange(groups + 1) * len(centres) // groups).tolist()
    put = stages(
        "cells", joins.put_into_cells, [{"name": name, "p": p, "bounds": bounds} for name in encoded.names], centres
    )
    units = []
    for group in range(groups):
        blocks, rows = [[0, 0]], 0
        for i, piece in enumerate(put):
            if rows and rows + piece["groups"][group] > job.block:
                blocks.append([i, i])
                rows = 0
            blocks[-1][1] = i + 1
            rows += piece["groups"][group]
        cells_of = {"first": bounds[group], "stop": bounds[group + 1]}
        units += [{"group": group, "block": i, "blocks": blocks, **cells_of} for i in range(len(blocks))]
    joined = stages("join", joins.join, units, encoded.names)
    store.remove(f"{job.work}/cells")
    store.remove(f"{job.work}/vectors")
    return joined


def write_pairs(
    stages: Stages, joined: Sequence[Summary], model: SiameseModel, ids: bool, out: str
) -> tuple[int, float | None, int]:
    """Write all pairs as CSV, most similar first; how many, the similarity of the last, and of how many parts."""
    job = stages.job
    files = [name for one in joined for name in one["files"]]
    samples = [tuple(pair) for one in joined for pair in one["samples"]]
    ranges = -(-sum(one["pairs"] for one in joined) // joins.pairs_at_once(job))
    cut = ranks.cuts(np.array(samples, LONG_PAIR), ranges)
    ranked = stages("rank", ranks.rank, [{"file": name} for name in files], cut)
    left = job.max_pairs
    units: list[Unit] = []
    for part, count in enumerate(np.sum([one["ranges"] for one in ranked], axis=0).tolist() if ranked else []):
        limit = count if left is None else min(count, left)
        left = None if left is None else left - limit
        if count and not limit:
            break
        units.append({"part": part, "limit": limit, "ids": ids})
    written = stages("write", ranks.write_range, units, (model.calibration, files))
    with store.writing(out) as path, open(path, "wb") as target:
        target.write(tables.header(ids))
        for unit in units:
            files_there, source = store.connect(f"{job.work}/written/{unit['part']:06}.csv")
            with files_there.open(source, "rb") as opened:
                shutil.copyfileobj(opened, target)
    last = [one["last"] for one in written if one["pairs"]]
    return sum(one["pairs"] for one in written), last[-1] if last else None, len(units)


def write_clusters(stages: Stages, encoded: Encoded, parts: int, out: str) -> tuple[int, int]:
    """Write the clusters of all pairs as CSV; how many, and of how many questions.

    Raises:
        UserError: a component is too large for a worker's memory.
    """
    job, names = stages.job, [f"{part:06}" for part in range(parts)]
    if not names:  # no questions
        with store.writing(out) as path:
            tables.write_cluster_rows(path, (), encoded.ids)
        return 0, 0
    stages("forest", components.forest, [{"file": name} for name in names])
    forests = [store.read_table(job.at("forest", name)) for name in names]
    edges = [
        np.concatenate([np.empty(0, np.int64), *(f[end].to_numpy() for f in forests)]) for end in ("number", "root")
    ]
    number, root = components.components(*edges)
    if job.linkage == "complete":
        a_row, rows = A_LINK + A_PAIRS_TEXTS, parts * joins.pairs_at_once(job)
    else:
        a_row, rows = A_MEMBER, len(number)
    room = (job.memory << 20) // a_row
    groups = -(-2 * max(rows, 1) // room)
    # Components that lie one after the other, of about as many questions in each group.
    order = np.argsort(root, kind="stable")
    group = np.empty(len(root), np.int64)
    group[order] = np.searchsorted(root[order], root[order]) * groups // max(len(root), 1)
    shared = components.Components(number, root, group)
    stages("gather-copies", components.gather, [
        {"source": "copied", "file": name, "groups": groups} for name in encoded.names
    ], shared)  # fmt: skip
    if job.linkage == "complete":
        sent = stages("gather", components.gather, [
            {"source": "final", "file": name, "groups": groups} for name in names
        ], shared)  # fmt: skip
        _check_room(job, sent, a_row, "pairs")
        stages("link", components.complete_linkage, [{"group": i} for i in range(groups)], names)
    else:
        stages("sides", components.sides, [{"file": name, "groups": parts} for name in names], shared)
        sent = stages("members", components.members, [
            {"side": i, "groups": groups} for i in range(parts)
        ], (shared, names))  # fmt: skip
        _check_room(job, sent, a_row, "questions")
    made = stages("cluster", components.cluster, [{"group": i, "ids": encoded.ids} for i in range(groups)],
                  (encoded.names, names if job.linkage == "connected" else []))  # fmt: skip
    ordered = heapq.merge(*(_rows(job.at("clusters", f"{i:06}")) for i in range(len(made))), key=lambda row: row[:2])
    with store.writing(out) as path:
        tables.write_cluster_rows(path, _numbered(ordered), encoded.ids)
    return sum(one["clusters"] for one in made), sum(one["members"] for one in made)


def _check_room(job: Job, sent: Sequence[Summary], a_row: int, rows: str) -> None:
    most = int(np.sum([one["groups"] for one in sent], axis=0).max()) if sent else 0
    if most * a_row > job.memory << 20:
        raise UserError(
            f"--memory {job.memory}: too little for clusters of {most:,} {rows} that chains join; give "
            f"{(most * a_row >> 20) + 1}, or a higher --threshold"
            + (", or --linkage connected" if job.linkage == "complete" else "")
        )


def _rows(address: str) -> Iterator[list[Any]]:
    """The rows of the clusters of a group: what orders the clusters, then what is written."""
    with store.local_copy(address) as path, pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).get_batch(0)
        for start in range(0, len(table), CHUNK):
            yield from map(list, zip(*(column.to_pylist() for column in table.slice(start, CHUNK).columns)))


def _numbered(rows: Iterator[list[Any]]) -> Iterator[list[Any]]:
    number, last = 0, None
    for size, lowest, *row in rows:
        number += (size, lowest) != last
        last = size, lowest
        yield [number, *row]


def find(stages: Stages, encoded: Encoded, model: SiameseModel, seed: int, out: str, clusters_out: str | None) -> Found:
    """Find all pairs of questions whose vectors are in the work folder, but for the few that the cells lose."""
    n, recall, count, p = int(encoded.starts[-1]), None, 0, 0
    joined: list[Summary] = []
    if n:
        centres, p, recall = choose_cells(stages, encoded, seed)
        count = len(centres)
        joined = join(stages, encoded, centres, p)
    pairs, last, parts = write_pairs(stages, joined, model, encoded.ids, out)
    made = write_clusters(stages, encoded, parts, clusters_out) if clusters_out else (0, 0)
    return Found(n, pairs, last, recall, count, p, *made)
