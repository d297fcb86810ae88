"""Join vectors in pieces, by many workers: samples, cells, the pairs of the cells, and the ranks of all pairs.

The units of work are like those of siamese.mining.sharded.shards. The rules are those of siamese.mining.cells, whose
`Cells.join` gets the cells of one group instead of all. The order of all pairs is cut into ranges by a regular sample
of each part (Shi and Schaeffer 1992), so that each worker sorts one range.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch

from siamese.mining import cells
from siamese.mining.exact import TILE, made_ready
from siamese.mining.found import LONG_PAIR, MILLION, Wanted, in_order, order_of, score_of
from siamese.mining.sharded import store
from siamese.mining.sharded.shards import Job, Summary
from siamese.model.differences import differs
from siamese.model.verdict import Rule
from siamese.system.csv_output import csv_writer, open_csv

A_PAIR = 1_000  # bytes of a pair with its texts, in memory and files together
A_FOUND = 60  # without them
EVERY = 1_024  # pairs, of which one is sampled to cut the order of all into ranges


def pairs_at_once(job: Job) -> int:
    """Return the number of pairs, with their texts, that a worker holds."""
    return max(EVERY, (job.memory << 20) // 4 // A_PAIR)


def vectors_in(address: str) -> np.ndarray:
    """Read the column `vector` of a table, (n, d) float32."""
    return store.matrix(store.read_table(address)["vector"])


def take(job: Job, shared: None, name: str, to: str, places: Sequence[int]) -> Summary:
    """Copy some of the vectors of a piece."""
    vectors = vectors_in(job.at("vectors", name))[np.array(places, int)]
    store.write_table(job.at(to, name), pa.table({"vector": store.lists(vectors)}))
    return {}


def sampled_pairs(
    job: Job, shared: tuple[np.ndarray, np.ndarray, np.ndarray], name: str, start: int, to: str
) -> Summary:
    """Find all pairs of sampled vectors with those of a piece, and the nearest cells of the latter.

    Args:
        shared: m sampled vectors, (m, d) float32; which of all vectors they are, (m,); the centres of the cells,
            (k, d) float32.
        name: of the piece.
        start: the number of its first vector.
        to: the folder to write to.
    """
    sample, numbers, centres = shared
    m = len(sample)
    vectors = made_ready(np.concatenate((sample, vectors_in(job.at("vectors", name)))), job.lowest)
    found = [(np.empty(0, np.int64),) * 2]
    for tile in range(0, m, TILE):
        for i, j in cells.pairs_above(vectors, np.arange(tile, min(tile + TILE, m)), job.lowest, m):
            other = numbers[i] != j - m + start
            found.append((i[other], j[other]))
    i, j = (np.concatenate(column) for column in zip(*found))
    distinct, which = np.unique(j, return_inverse=True)
    most = min(cells.MOST_CELLS, len(centres))
    near = cells.nearest(vectors.rounded[torch.from_numpy(distinct)], torch.tensor(centres), most)
    store.write_table(job.at(to, name), pa.table({"sampled": i, "near": store.lists(near[which])}))
    return {}


def put_into_cells(job: Job, centres: np.ndarray, name: str, p: int, bounds: Sequence[int]) -> Summary:
    """Find the p cells of each vector of a piece, and send it to each group of cells that it is in.

    Args:
        centres: of the cells, (k, d) float32.
        name: of the piece.
        p: cells of a vector.
        bounds: group g has the cells from bounds[g] up to bounds[g + 1].
    """
    table = store.read_table(job.at("vectors", name))
    of = cells.nearest(made_ready(store.matrix(table["vector"]), job.lowest).rounded, torch.tensor(centres), p)
    group = np.searchsorted(np.asarray(bounds), of, side="right") - 1
    group.sort(axis=1)
    rows, column = (np.diff(group, axis=1, prepend=-1) > 0).nonzero()  # each group once
    groups, to = len(bounds) - 1, group[rows, column]
    store.write_groups(job.at("cells", name), table.append_column("cells", store.lists(of)), to, groups, rows)
    return {"name": name, "groups": np.bincount(to, minlength=groups).tolist()}


def join(
    job: Job, names: Sequence[str], group: int, block: int, blocks: Sequence[tuple[int, int]], first: int, stop: int
) -> Summary:
    """Find the pairs of the cells of a group whose first question is in one block.

    Most groups have one block. If there are more, those that follow are joined to this one, one after the other.

    Args:
        names: of all pieces.
        group, block: of the group and the block.
        blocks: of each the pieces whose vectors it has, from and up to which.
        first, stop: the cells of the group.
    """
    room = pairs_at_once(job)

    def score(first: np.ndarray, second: np.ndarray, similarity: np.ndarray) -> np.ndarray:
        assert job.verdict is not None
        texts1, texts2 = (texts["question"].take(pa.array(side)).to_pylist() for side in (first, second))
        return job.verdict.scores(texts1, texts2, similarity)

    wanted = Wanted(job.lowest, job.max_pairs, room * A_PAIR // A_FOUND, score if job.verdict else None)
    files: list[str] = []
    samples: list[tuple[int, ...]] = []
    found: list[np.ndarray] = []

    def write(texts: pa.Table) -> None:
        pairs = np.concatenate(found)
        pairs = pairs[score_of(pairs) >= job.lowest]  # the others are those that the verdict removes
        found.clear()
        for start in range(0, len(pairs) or 1, room):
            part = in_order(pairs[start : start + room])[: job.max_pairs]  # numbers are in the order of the rows
            table = _with_texts(texts, part)
            files.append(f"{group:06}-{block:04}-{len(files):04}")
            store.write_table(job.at("pairs", files[-1]), table)
            samples.extend(pairs_of(table)[EVERY - 1 :: EVERY].tolist())

    def read(start: int, stop: int) -> pa.Table:
        return store.read_groups([job.at("cells", name) for name in names[start:stop]], group)

    own, count = read(*blocks[block]), 0
    for other in range(block, len(blocks)):
        table = own if other == block else pa.concat_tables((own, read(*blocks[other])))
        vectors = made_ready(store.matrix(table["vector"]), job.lowest)
        these = cells.Cells.between(store.matrix(table["cells"]), first, stop)
        texts = table.drop_columns(["vector", "cells"]).combine_chunks()
        del table
        for cell in range(first, stop):
            found.append(these.join(vectors, cell, wanted, None if other == block else len(own)))
            count += len(found[-1])
            if sum(map(len, found)) >= room:
                write(texts)
        if found:
            write(texts)
    return {"files": files, "pairs": count, "samples": samples}


def _with_texts(table: pa.Table, pairs: np.ndarray) -> pa.Table:
    """Return pairs of rows of a table of questions, with the questions' numbers, texts and ids."""
    columns = {"millionths": pa.array(pairs["millionths"]), "score": pa.array(score_of(pairs))}
    for end, name in ((1, "first"), (2, "second")):
        side = table.take(pa.array(pairs[name]))
        columns |= {name: side["number"], f"question{end}": side["question"], f"id{end}": side["id"]}
    return pa.table(columns)


def pairs_of(table: pa.Table) -> np.ndarray:
    """Return the pairs of a table without their texts; found.LONG_PAIR."""
    return np.rec.fromarrays([table[name].to_numpy() for name in LONG_PAIR.names or ()], dtype=LONG_PAIR)


def cuts(samples: np.ndarray, ranges: int) -> np.ndarray:
    """Return where to cut the order of all pairs into ranges: at up to ranges − 1 of the samples; found.LONG_PAIR."""
    if ranges <= 1 or not len(samples):
        return samples[:0]
    return in_order(samples)[np.unique(np.arange(1, ranges) * len(samples) // ranges)]


def range_of(pairs: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Return the range of each pair, which is the number of cuts up to it; (n,) int."""
    order = order_of(np.concatenate((cut, pairs)))  # stable, so a cut comes before the pair that it was sampled from
    place = np.empty(len(order), np.int64)
    place[order] = np.cumsum(order < len(cut))
    return place[len(cut) :]


def rank(job: Job, cut: np.ndarray, file: str) -> Summary:
    """Send the pairs of a file to their ranges."""
    table = store.read_table(job.at("pairs", file))
    to = range_of(pairs_of(table), cut)
    store.write_groups(job.at("ranges", file), table, to, len(cut) + 1)
    return {"ranges": np.bincount(to, minlength=len(cut) + 1).tolist()}


def write_copies(job: Job, rule: Rule, name: str, limit: int, ids: bool) -> Summary:
    """Write the first `limit` copies of a piece's questions as rows of CSV, each with its question."""
    table = store.read_table(job.at("copied", name)).slice(0, limit)
    columns = [table[column].to_pylist() for column in ("question", "text", "id", "copy")[: 4 if ids else 2]]
    probability = round(float(rule.probability(1.0)), 6)
    columns[2:2] = [[1.0] * len(table), [probability] * len(table)]
    columns += [[""] * len(table)] if job.verdict else []
    with store.writing(f"{job.work}/written/copies-{name}.csv") as path, open_csv(path) as target:
        csv_writer(target).writerows(zip(*columns))
    return {"name": name, "pairs": len(table), "last": 1.0}


def write_range(job: Job, shared: tuple[Rule, Sequence[str]], part: int, limit: int, ids: bool) -> Summary:
    """Write the pairs of a range as rows of CSV, most similar first, and, if clusters are wanted, as a table.

    Args:
        shared: from scores to probability; the files of ranked pairs.
        part: the range.
        limit: number of its pairs to write.
        ids: whether the questions have ids.
    """
    rule, files = shared
    table = store.read_groups([job.at("ranges", file) for file in files], part)
    pairs = pairs_of(table)
    order = order_of(pairs)[:limit]
    table, pairs = table.take(pa.array(order)).combine_chunks(), pairs[order]
    similarity = pairs["millionths"] / MILLION
    probability = np.round(rule.probability(pairs["score"] / MILLION), 6)
    names = ["question1", "question2", "id1", "id2"][: 4 if ids else 2]
    first, second, *known = (table[name].to_pylist() for name in names)
    known += [map(differs, first, second)] if job.verdict else []
    with store.writing(f"{job.work}/written/{part:06}.csv") as path, open_csv(path) as target:
        csv_writer(target).writerows(zip(first, second, similarity.tolist(), probability.tolist(), *known))
    if job.linkage:
        store.write_table(job.at("final", f"{part:06}"), table)
    return {"pairs": len(pairs), "last": float(similarity.min()) if len(pairs) else None}
