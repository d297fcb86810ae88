"""Vectors in pieces, as many workers join them: samples, cells, and the pairs of the cells.

The units of work are like those of siamese.mining.shards; the rules are those of siamese.mining.cells, and the cell
join is its `Cells.join`, which gets the cells of one group in place of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from siamese.mining import cells
from siamese.mining.exact import TILE, cells_above, made_ready
from siamese.mining.found import LONG_PAIR, Wanted, in_order
from siamese.mining.sharded import store
from siamese.mining.sharded.shards import Job, Summary

A_PAIR = 1_000  # bytes that a pair takes with its texts while it is on its way
A_FOUND = 60  # without them
EVERY = 1_024  # pairs, of which one is remembered to cut the order of all into parts


def pairs_at_once(job: Job) -> int:
    """How many pairs, with their texts, a worker holds."""
    return max(EVERY, (job.memory << 20) // 4 // A_PAIR)


@dataclass(frozen=True)
class Sample:
    """Questions whose pairs are all found."""

    vectors: np.ndarray  # (m, d) float32
    numbers: np.ndarray  # (m,) which of all vectors they are
    centres: np.ndarray  # (k, d) float32, of the cells


def take(job: Job, shared: None, name: str, to: str, places: Sequence[int]) -> Summary:
    """Copy some of the vectors of a piece."""
    vectors = store.matrix(store.read_table(job.at("vectors", name))["vector"])
    store.write_table(job.at(to, name), pa.table({"vector": store.lists(vectors[np.array(places, int)])}))
    return {}


def sampled_pairs(job: Job, shared: Sample, name: str, start: int, to: str) -> Summary:
    """All pairs of sampled vectors with those of a piece, with the nearest cells of the latter.

    Args:
        job, shared: what is wanted of which sample.
        name: of the piece.
        start: the number of its first vector.
        to: the folder of what is found.
    """
    m = len(shared.vectors)
    exact = store.matrix(store.read_table(job.at("vectors", name))["vector"])
    vectors = made_ready(np.concatenate((shared.vectors, exact)), job.lowest)
    found, right = [(np.empty(0, np.int64),) * 2], vectors.rounded[m:]
    for tile in range(0, m, TILE):
        left = vectors.rounded[tile : min(tile + TILE, m)]
        for i, j in cells_above(left, right, lambda: vectors.level(job.lowest)):
            i += tile
            enough = (vectors.millionths(i, j + m) >= job.lowest) & (shared.numbers[i] != j + start)
            found.append((i[enough], j[enough]))
    i, j = (np.concatenate(column) for column in zip(*found))
    distinct, which = np.unique(j, return_inverse=True)
    most = min(cells.MOST_CELLS, len(shared.centres))
    near = cells.nearest(right[torch.from_numpy(distinct)], torch.tensor(shared.centres), most)
    store.write_table(job.at(to, name), pa.table({"sampled": i, "near": store.lists(near[which])}))
    return {}


def put_into_cells(job: Job, centres: np.ndarray, name: str, p: int, bounds: Sequence[int]) -> Summary:
    """Find the p cells of each vector of a piece, and send it to each group of cells that it lies in.

    Args:
        job: what is wanted.
        centres: of the cells, (k, d) float32.
        name: of the piece.
        p: cells a vector.
        bounds: group g has the cells from bounds[g] up to bounds[g + 1].
    """
    table = pa.Table.from_batches([store.read_table(job.at("vectors", name))])
    of = cells.nearest(made_ready(store.matrix(table["vector"]), job.lowest).rounded, torch.tensor(centres), p)
    group = np.searchsorted(np.asarray(bounds), of, side="right") - 1
    group.sort(axis=1)
    once = np.ones(group.shape, bool)
    once[:, 1:] = group[:, 1:] > group[:, :-1]
    rows, column = once.nonzero()
    groups = len(bounds) - 1
    to = group[rows, column]
    store.write_groups(job.at("cells", name), table.append_column("cells", store.lists(of)), to, groups, rows)
    return {"name": name, "groups": np.bincount(to, minlength=groups).tolist()}


def join(
    job: Job, names: Sequence[str], group: int, block: int, blocks: Sequence[tuple[int, int]], first: int, stop: int
) -> Summary:
    """The pairs of the cells of a group of which the first question is in one block.

    Mostly a group has one block. Where it has more, those that follow are joined to this one after the other.

    Args:
        job: what is wanted.
        names: of all pieces.
        group, block: which.
        blocks: of each the pieces whose vectors it has, from and up to which.
        first, stop: the cells of the group.
    """
    room = pairs_at_once(job)
    wanted = Wanted(job.lowest, job.max_pairs, room * A_PAIR // A_FOUND)
    files: list[str] = []
    samples: list[tuple[int, ...]] = []
    found: list[np.ndarray] = []

    def write(texts: pa.Table) -> None:
        pairs = np.concatenate(found)
        found.clear()
        for start in range(0, len(pairs) or 1, room):
            part = in_order(pairs[start : start + room])[: job.max_pairs]  # numbers are in the order of the rows
            table = _with_texts(texts, part)
            files.append(f"{group:06}-{block:04}-{len(files):04}")
            store.write_table(job.at("pairs", files[-1]), table)
            samples.extend(pairs_of(table)[EVERY - 1 :: EVERY].tolist())

    own, count = _block(job, group, names, *blocks[block]), 0
    for other in range(block, len(blocks)):
        table = own if other == block else pa.concat_tables((own, _block(job, group, names, *blocks[other])))
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


def _block(job: Job, group: int, names: Sequence[str], start: int, stop: int) -> pa.Table:
    return store.read_groups([job.at("cells", name) for name in names[start:stop]], group)


def _with_texts(table: pa.Table, pairs: np.ndarray) -> pa.Table:
    """Pairs of rows of a table of questions, with the questions' numbers, texts and ids."""
    columns = {"millionths": pa.array(pairs["millionths"])}
    for end, name in ((1, "first"), (2, "second")):
        side = table.take(pa.array(pairs[name]))
        columns |= {name: side["number"], f"question{end}": side["question"], f"id{end}": side["id"]}
    return pa.table(columns)


def pairs_of(table: pa.Table | pa.RecordBatch) -> np.ndarray:
    """The pairs of a table as found.LONG_PAIR, without their texts."""
    pairs = np.empty(len(table), LONG_PAIR)
    for name in LONG_PAIR.names or ():
        pairs[name] = table[name].to_numpy()
    return pairs
