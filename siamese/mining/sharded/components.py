"""Make clusters of pairs in parts, by many workers.

Clusters lie within the connected components of all pairs. Each range of pairs gives a forest that connects as much as
its pairs do, and the forests together give the components. Then each worker makes the clusters of some components:
complete linkage from their pairs; connected ones, which may be large, from one row for each of their questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from siamese.mining.clusters import cluster_order, complete, ends_of
from siamese.mining.found import MILLION, PAIR
from siamese.mining.sharded import store
from siamese.mining.sharded.joins import pairs_of
from siamese.mining.sharded.shards import Job, Summary
from siamese.mining.tables import cluster_names
from siamese.pairs.clusters import connected


@dataclass(frozen=True)
class Components:
    """The connected components of all pairs."""

    number: np.ndarray  # (m,) the questions that have pairs, ascending
    root: np.ndarray  # (m,) the lowest question of the component of each
    group: np.ndarray  # (m,) the group of components that it is in

    def of(self, questions: np.ndarray, groups: int) -> np.ndarray:
        """Return the group of each question; those without pairs may be in any."""
        if not len(self.number):
            return questions % groups
        place = np.minimum(np.searchsorted(self.number, questions), len(self.number) - 1)
        return np.where(self.number[place] == questions, self.group[place], questions % groups)


def components(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the questions that edges connect, ascending, and the lowest question that each is connected with, (m,)."""
    number, ends = np.unique(np.concatenate((first, second)), return_inverse=True)
    return number, number[connected(len(number), ends[: len(first)], ends[len(first) :])]


def forest(job: Job, shared: None, file: str) -> Summary:
    """Write edges that connect as much as the pairs of a range: from each question to the lowest of its component."""
    pairs = pairs_of(store.read_table(job.at("final", file)))
    number, root = components(pairs["first"], pairs["second"])
    rows = np.flatnonzero(number != root)
    store.write_table(job.at("forest", file), pa.table({"number": number[rows], "root": root[rows]}))
    return {}


def gather(job: Job, shared: Components, source: str, file: str, groups: int) -> Summary:
    """Send rows with a question `first`, pairs or copies, to the group of its component."""
    return _send(job, store.read_table(job.at(source, file)), "first", shared, groups, f"{source}-gathered", file)


def _send(job: Job, table: pa.Table, column: str, to: Components, groups: int, folder: str, name: str) -> Summary:
    group = to.of(table[column].to_numpy(), groups)
    store.write_groups(job.at(folder, name), table, group, groups)
    return {"groups": np.bincount(group, minlength=groups).tolist()}


def complete_linkage(job: Job, ranges: Sequence[str], group: int) -> Summary:
    """Reduce the pairs of a group of components to those within clusters by complete linkage."""
    table = store.read_groups([job.at("final-gathered", name) for name in ranges], group)  # most similar first
    pairs = pairs_of(table)
    number, ends = np.unique(np.concatenate((pairs["first"], pairs["second"])), return_inverse=True)
    dense = np.rec.fromarrays([pairs["millionths"], *np.split(ends, 2)], dtype=PAIR)
    lowest = complete(len(number), dense)
    within = np.flatnonzero(lowest[dense["first"]] == lowest[dense["second"]])
    cluster = number[lowest[dense["first"][within]]]
    _write_sides(job, f"{group:06}", table.take(pa.array(within)), cluster, 1)
    return {}


def sides(job: Job, shared: Components, file: str, groups: int) -> Summary:
    """Send the questions of the pairs of a range, with what the pairs say of them, to groups of questions."""
    table = store.read_table(job.at("final", file))
    cluster = shared.root[np.searchsorted(shared.number, table["first"].to_numpy())]
    _write_sides(job, file, table, cluster, groups)
    return {}


def _write_sides(job: Job, file: str, table: pa.Table, cluster: np.ndarray, groups: int) -> None:
    """Write a row for each question of pairs, most similar first, with its nearest and the sum of its similarities."""
    pairs = pairs_of(table)
    number, neighbour, place, total = ends_of(pairs)
    columns: dict[str, Any] = {
        "cluster": cluster[place // 2], "number": number, "neighbour": neighbour,
        "nearest": pairs["millionths"][place // 2].astype(np.int64), "total": total,
    }  # fmt: skip
    for name in ("question", "id"):
        column = pa.chunked_array([*table[f"{name}1"].chunks, *table[f"{name}2"].chunks], pa.large_string())
        columns[name] = column.take(pa.array(place // 2 + place % 2 * len(pairs)))
    store.write_groups(job.at("sides", file), pa.table(columns), number % groups, groups)


def members(job: Job, shared: tuple[Components, Sequence[str]], side: int, groups: int) -> Summary:
    """Merge what ranges say of a group of questions, and send these to the groups of their components."""
    all_components, ranges = shared
    table = store.read_groups([job.at("sides", name) for name in ranges], side)  # nearest first
    number, place, which = np.unique(table["number"].to_numpy(), return_index=True, return_inverse=True)
    total = np.bincount(which, table["total"].to_numpy(), len(number)).astype(np.int64)
    one_each = table.take(pa.array(place))
    one_each = one_each.set_column(table.column_names.index("total"), "total", pa.array(total))
    return _send(job, one_each, "number", all_components, groups, "members", f"{side:06}")


def cluster(job: Job, shared: tuple[Sequence[str], Sequence[str]], group: int, ids: bool) -> Summary:
    """Write the clusters of a group of components, as rows in the order of the file of all clusters.

    Args:
        shared: the files of copies; those of `members`, or none, in which case `complete_linkage` wrote one.
        group: of components.
        ids: whether the questions have ids.
    """
    pieces, files = shared
    if files:
        table = store.read_groups([job.at("members", name) for name in files], group)
    else:
        table = store.read_table(job.at("sides", f"{group:06}"))
    copied = store.read_groups([job.at("copied-gathered", name) for name in pieces], group)
    first = copied["first"].to_numpy()
    alone = np.flatnonzero(~np.isin(first, table["number"].to_numpy()) & (np.diff(first, prepend=-1) != 0))
    if len(alone):  # questions without pairs, but with copies
        own, them = first[alone], copied.take(pa.array(alone))
        more = pa.table({
            "cluster": own, "number": own, "neighbour": own, "nearest": np.full(len(alone), MILLION),
            "total": np.zeros(len(alone), np.int64), "question": them["question"], "id": them["id"],
        })  # fmt: skip
        table = pa.concat_tables([table, more.select(table.column_names)])
    root, number, neighbour, nearest, total = (
        table[name].to_numpy() for name in ("cluster", "number", "neighbour", "nearest", "total")
    )
    order, is_first, sizes = cluster_order(root, number, nearest, total)
    place = np.empty(len(number), np.int64)  # of each question among all rows except copies
    place[order] = np.arange(len(number))
    by_number = np.argsort(number)

    def row_of(questions: np.ndarray) -> np.ndarray:
        return by_number[np.searchsorted(number[by_number], questions)] if len(questions) else questions

    of_copy = row_of(first)
    rows = np.concatenate((np.arange(len(number)), of_copy))
    others = np.concatenate((row_of(neighbour), of_copy))
    is_copy = np.arange(len(rows)) >= len(number)
    order = np.lexsort((np.arange(len(rows)), place[rows]))  # copies follow their question, in their order
    rows, others, is_copy = rows[order], others[order], is_copy[order]
    texts = table["question"]
    all_ids = pa.chunked_array([*table["id"].chunks, *copied["copy"].chunks], pa.large_string())
    all_texts = pa.chunked_array([*texts.chunks, *copied["text"].chunks], pa.large_string())
    of_row = pa.array(np.where(is_copy, order, rows))
    columns = {
        "size": -sizes[rows], "cluster": root[rows], "representative": (is_first[rows] & ~is_copy).astype(np.int64),
        "question": all_texts.take(of_row), "id": all_ids.take(of_row),
        "neighbour": texts.take(pa.array(others)), "neighbour_id": table["id"].take(pa.array(others)),
        "similarity": np.where(is_copy, 1.0, nearest[rows] / MILLION),
    }  # fmt: skip
    store.write_table(job.at("clusters", f"{group:06}"), pa.table(columns).select(["size", *cluster_names(ids)]))
    return {"clusters": int(is_first.sum()), "members": len(number)}
