"""Join vectors in pieces, by many workers: samples, cells, and the pairs of the cells.

The units of work are like those of siamese.mining.sharded.shards. The rules are those of siamese.mining.cells, whose
`Cells.join` gets the cells of one group instead of all.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch

from siamese.mining import cells
from siamese.mining.exact import TILE, made_ready
from siamese.mining.found import LONG_PAIR, Wanted, in_order
from siamese.mining.sharded import store
from siamese.mining.sharded.shards import Job, Summary

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
    columns = {"millionths": pa.array(pairs["millionths"])}
    for end, name in ((1, "first"), (2, "second")):
        side = table.take(pa.array(pairs[name]))
        columns |= {name: side["number"], f"question{end}": side["question"], f"id{end}": side["id"]}
    return pa.table(columns)


def pairs_of(table: pa.Table) -> np.ndarray:
    """Return the pairs of a table without their texts; found.LONG_PAIR."""
    return np.rec.fromarrays([table[name].to_numpy() for name in LONG_PAIR.names or ()], dtype=LONG_PAIR)
