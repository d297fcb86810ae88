"""Mine shards of questions by many workers, stage by stage: to ranked pairs and clusters."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from siamese.errors import DataError, UserError
from siamese.mining import cells, tables
from siamese.mining.clusters import A_LINK
from siamese.mining.exact import TILE, made_ready
from siamese.mining.found import LONG_PAIR, Recall
from siamese.mining.sharded import components, joins, shards, store
from siamese.mining.sharded.shards import Job, Summary
from siamese.mining.sharded.stages import Stages, Unit
from siamese.model.model import SiameseModel
from siamese.model.verdict import Rule
from siamese.system.csv_output import csv_writer, open_csv

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".txt")
A_TEXT = 16  # least bytes of a question in a file, to estimate how many there are
A_DIGEST = 400  # bytes of a text while copies are looked for
LEAST_GROUPS = 16  # of cells, so that a few workers are all busy; with one worker it costs little
A_PAIRS_TEXTS = 300  # bytes of a pair's questions and ids during complete linkage, in addition to A_LINK
A_MEMBER = 600  # bytes of a question of a cluster while its row is made
CHUNK = 4_096  # rows of clusters of each group that are in memory


@dataclass(frozen=True)
class Found:
    """The result of a run."""

    questions: int
    pairs: int
    last: float | None  # the similarity of the last pair
    recall: Recall | None
    cells: int  # number of cells
    p: int  # cells of a question
    copies: int
    blank: int
    unknown: int  # without a word that the model knows
    copied: int = 0  # pairs of copies that were written, among `pairs`
    clusters: int = 0
    members: int = 0  # distinct questions in clusters


@dataclass(frozen=True)
class Encoded:
    """The pieces of questions whose vectors are in the work folder."""

    names: list[str]
    rows: list[int]
    ids: bool
    copied: Sequence[int] = ()  # copies of each piece's questions, which are left out
    blank: int = 0  # left out
    unknown: int = 0  # without a word that the model knows

    @property
    def starts(self) -> np.ndarray:
        """The number of the first question of each piece, then the number of all questions; (pieces + 1,)."""
        return np.cumsum([0, *self.rows])


def list_shards(address: str) -> list[tuple[str, str]]:
    """Return the files of questions at an address, which is a file, a folder or a glob, in order.

    Returns:
        The address of each file, and a text that changes with the file: its size and date or tag.

    Raises:
        DataError: there is no file.
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


def encode(stages: Stages, addresses: Sequence[str], model: SiameseModel) -> Encoded:
    """Read shards, and encode the questions that are neither copies nor blank.

    Raises:
        DataError: a shard cannot be used.
    """
    job = stages.job
    sizes = [files.size(path) for files, path in map(store.connect, addresses)]
    groups = 1 + sum(sizes) // A_TEXT * A_DIGEST // (job.memory << 20)
    units: list[Unit] = [{"shard": i, "address": address, "groups": groups} for i, address in enumerate(addresses)]
    read = stages("read", shards.read_shard, units)
    blank = sum(shard["blank"] for shard in read)
    ids = {shard["ids"] for shard in read if shard["rows"]}
    if len(ids) > 1:
        without = next(shard["address"] for shard in read if shard["rows"] and not shard["ids"])
        raise DataError(f"{without}: no ids, unlike other shards; expected all or none")
    if not ids:
        return Encoded([], [], False, [], blank)
    stages("copies", shards.find_copies, [{"group": group} for group in range(groups)], read)
    pieces = [(shard["shard"], piece) for shard in read for piece in range(shard["pieces"])]
    units = [{"shard": n, "piece": piece, "place": i, "groups": groups} for i, (n, piece) in enumerate(pieces)]
    encoded = stages("encode", shards.encode, units, model, loads=True)
    for folder in ("questions", "texts", "ids", "leaving", "copies"):
        store.remove(f"{job.work}/{folder}")
    names, rows = ([one[key] for one in encoded] for key in ("name", "rows"))
    copied = [one["copies"] for one in encoded]
    return Encoded(names, rows, True in ids, copied, blank, sum(one["unknown"] for one in encoded))


def choose_cells(stages: Stages, encoded: Encoded, seed: int) -> tuple[np.ndarray, int, Recall]:
    """Choose cells as `cells.make_cells` does.

    Returns:
        The centres of the cells, (k, d) float32; how many cells a vector belongs to; the recall.

    Raises:
        UserError: cells.MOST_CELLS cells of a vector are not enough.
    """
    job, n = stages.job, int(encoded.starts[-1])
    chosen, done = f"{job.work}/chosen.json", job.at("centres")
    if store.exists(done):
        known = store.read_json(chosen)
        return joins.vectors_in(done), known["p"], Recall(**known["recall"])
    count = cells.cells_for(n)
    x = made_ready(_take(stages, encoded, cells.learned_on(n, count, seed), "learned-on"), job.lowest).rounded.float()
    centres = cells.learn(x, count).numpy()
    del x
    order, found, start, most = np.random.default_rng(seed).permutation(n), [], 0, min(cells.MOST_CELLS, len(centres))
    stop = min(cells.SAMPLE, n)
    while True:
        name = f"sample-{start}"
        sample = _take(stages, encoded, order[start:stop], name)
        units = [
            {"name": piece, "start": int(first), "to": f"near-{start}"}
            for piece, first in zip(encoded.names, encoded.starts)
        ]
        stages(f"near-{start}", joins.sampled_pairs, units, (sample, order[start:stop], centres))
        near1 = cells.nearest(made_ready(sample, job.lowest).rounded, torch.from_numpy(centres), most)
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
    store.write_json(chosen, {"p": p, "recall": vars(recall)})
    store.write_table(done, pa.table({"vector": store.lists(centres)}))
    return centres, p, recall


def _take(stages: Stages, encoded: Encoded, numbers: np.ndarray, name: str) -> np.ndarray:
    """Return some of all vectors, in the order of `numbers`; (m, d) float32."""
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], encoded.starts)
    units = [
        {"name": piece, "to": name, "places": (numbers[order[low:high]] - start).tolist()}
        for piece, start, low, high in zip(encoded.names, encoded.starts, bounds, bounds[1:])
    ]
    stages(f"take-{name}", joins.take, units)
    parts = np.concatenate([joins.vectors_in(stages.job.at(name, piece)) for piece in encoded.names])
    vectors = np.empty_like(parts)
    vectors[order] = parts
    return vectors


def join(stages: Stages, encoded: Encoded, centres: np.ndarray, p: int) -> list[Summary]:
    """Put all vectors into their p nearest cells and join these. Return the summaries of the joins."""
    job, n = stages.job, int(encoded.starts[-1])
    groups = min(len(centres), max(LEAST_GROUPS, -(-n * p * 2 // job.block)))
    bounds = (np.arange(groups + 1) * len(centres) // groups).tolist()
    units: list[Unit] = [{"name": name, "p": p, "bounds": bounds} for name in encoded.names]
    put = stages("cells", joins.put_into_cells, units, centres)
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
    stages: Stages, joined: Sequence[Summary], rule: Rule, encoded: Encoded, out: str
) -> tuple[int, int, float | None, int]:
    """Write all pairs as CSV, copies and then the highest score first.

    Returns:
        The number of copies and of other pairs, the lowest similarity, and the number of ranges.
    """
    job = stages.job
    files = [name for one in joined for name in one["files"]]
    samples = [tuple(pair) for one in joined for pair in one["samples"]]
    ranges = -(-sum(one["pairs"] for one in joined) // joins.pairs_at_once(job))
    cut = joins.cuts(np.array(samples, LONG_PAIR), ranges)
    ranked = stages("rank", joins.rank, [{"file": name} for name in files], cut)
    left = job.max_pairs
    units: list[Unit] = []
    for name, count in zip(encoded.names, encoded.copied):
        limit = count if left is None else min(count, left)
        left = None if left is None else left - limit
        units.append({"name": name, "limit": limit, "ids": encoded.ids})
    copied = stages("write-copies", joins.write_copies, [unit for unit in units if unit["limit"]], rule)
    first = [f"{job.work}/written/copies-{one['name']}.csv" for one in copied]
    units = []
    for part, count in enumerate(np.sum([one["ranges"] for one in ranked], axis=0).tolist() if ranked else []):
        limit = count if left is None else min(count, left)
        left = None if left is None else left - limit
        if units and count and not limit:  # the first range is there even if copies leave it no pair
            break
        units.append({"part": part, "limit": limit, "ids": encoded.ids})
    written = stages("write", joins.write_range, units, (rule, files))
    with store.writing(out) as path, open_csv(path) as target:
        csv_writer(target, tables.pair_names(encoded.ids, job.verdict is not None))
        target.flush()
        for address in [*first, *(f"{job.work}/written/{unit['part']:06}.csv" for unit in units)]:
            with store.local_copy(address) as copy, open(copy, "rb") as source:
                shutil.copyfileobj(source, target.buffer)
    last = [one["last"] for one in (*copied, *written) if one["pairs"]]
    count, more = (sum(one["pairs"] for one in part) for part in (copied, written))
    return count, more, min(last) if last else None, len(units)


def write_clusters(stages: Stages, encoded: Encoded, parts: int, out: str, escape: bool) -> tuple[int, int]:
    """Write the clusters of all pairs as CSV. Return the numbers of clusters and of their questions.

    Raises:
        UserError: a component is too large for a worker's memory.
    """
    job, names = stages.job, [f"{part:06}" for part in range(parts)]
    stages("forest", components.forest, [{"file": name} for name in names])
    forests = [store.read_table(job.at("forest", name)) for name in names]
    edges = [
        np.concatenate([np.empty(0, np.int64), *(f[end].to_numpy() for f in forests)]) for end in ("number", "root")
    ]
    number, root = components.components(*edges)
    complete = job.linkage == "complete"
    a_row = A_LINK + A_PAIRS_TEXTS if complete else A_MEMBER
    rows = parts * joins.pairs_at_once(job) if complete else len(number)
    groups = -(-2 * max(rows, 1) // ((job.memory << 20) // a_row)) if names else 0
    # Each group has consecutive components with about equally many questions.
    order = np.argsort(root, kind="stable")
    group = np.empty(len(root), np.int64)
    group[order] = np.searchsorted(root[order], root[order]) * groups // max(len(root), 1)
    shared = components.Components(number, root, group)

    def gather(stage: str, source: str, files: Sequence[str]) -> list[Summary]:
        units = [{"source": source, "file": name, "groups": groups} for name in files]
        return stages(stage, components.gather, units, shared)

    gather("gather-copies", "copied", encoded.names)
    if complete:
        _check_room(job, gather("gather", "final", names), a_row, "pairs")
        stages("link", components.complete_linkage, [{"group": i} for i in range(groups)], names)
    else:
        stages("sides", components.sides, [{"file": name, "groups": parts} for name in names], shared)
        units = [{"side": i, "groups": groups} for i in range(parts)]
        _check_room(job, stages("members", components.members, units, (shared, names)), a_row, "questions")
    units = [{"group": i, "ids": encoded.ids} for i in range(groups)]
    made = stages("cluster", components.cluster, units, (encoded.names, [] if complete else names))
    cluster_of = itemgetter(0, 1)
    ordered = merge(*(_rows(job.at("clusters", f"{i:06}")) for i in range(groups)), key=cluster_of)
    with store.writing(out) as path, open_csv(path) as target:
        writer = csv_writer(target, tables.cluster_names(encoded.ids), escape=escape)
        for i, (_, same) in enumerate(groupby(ordered, cluster_of), 1):
            writer.writerows([i, *row[2:]] for row in same)
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
    """Yield the rows of the clusters of a group: first the two values that order clusters, then those to write."""
    with store.local_copy(address) as path, pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).get_batch(0)
        for start in range(0, len(table), CHUNK):
            yield from map(list, zip(*(column.to_pylist() for column in table.slice(start, CHUNK).columns)))


def find(
    stages: Stages, encoded: Encoded, rule: Rule, seed: int, out: str, clusters_out: str | None,
    escape: bool = True,
) -> Found:  # fmt: skip
    """Find and write all pairs of the encoded questions, except for the few that the cells lose."""
    n, recall, count, p = int(encoded.starts[-1]), None, 0, 0
    joined: list[Summary] = []
    if n:
        centres, p, recall = choose_cells(stages, encoded, seed)
        count = len(centres)
        joined = join(stages, encoded, centres, p)
    copied, pairs, last, parts = write_pairs(stages, joined, rule, encoded, out)
    made = write_clusters(stages, encoded, parts, clusters_out, escape) if clusters_out else (0, 0)
    copies = sum(encoded.copied)
    return Found(n, copied + pairs, last, recall, count, p, copies, encoded.blank, encoded.unknown, copied, *made)
