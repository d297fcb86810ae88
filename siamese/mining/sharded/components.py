"""Clusters of pairs in parts, as many workers make them.

Clusters lie within the connected components of all pairs. Each range of pairs gives a forest that connects as much as
its pairs do, and the forests together give the components. Then a worker makes the clusters of some components: by
complete linkage from their pairs; connected ones, which may be large, from a row for each of their questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from siamese.mining.clusters import complete
from siamese.mining.found import MILLION, PAIR
from siamese.mining.sharded import store
from siamese.mining.sharded.joins import pairs_of
from siamese.mining.sharded.shards import Job, Summary
from siamese.pairs.clusters import connected


@dataclass(frozen=True)
class Components:
    """The connected components of all pairs."""

    number: np.ndarray  # (m,) the questions that have pairs, ascending
    root: np.ndarray  # (m,) the lowest question of the component of each
    group: np.ndarray  # (m,) which group of components it is in

    def of(self, questions: np.ndarray, groups: int) -> np.ndarray:
        """The group of questions; alone ones may be anywhere."""
        if not len(self.number):
            return questions % groups
        place = np.minimum(np.searchsorted(self.number, questions), len(self.number) - 1)
        return np.where(self.number[place] == questions, self.group[place], questions % groups)


def components(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The questions that edges connect, ascending, and of each the lowest that it is connected with; (m,) and (m,)."""
    number, ends = np.unique(np.concatenate((first, second)), return_inverse=True)
    return number, number[connected(len(number), ends[: len(first)], ends[len(first) :])]


def forest(job: Job, shared: None, file: str) -> Summary:
    """What connects as much as the pairs of a range do: an edge from each question to the lowest of its component."""
    pairs = pairs_of(store.read_table(job.at("final", file)))
    number, root = components(pairs["first"], pairs["second"])
    rows = np.flatnonzero(number != root)
    store.write_table(job.at("forest", file), pa.table({"number": number[rows], "root": root[rows]}))
    return {}


def gather(job: Job, shared: Components, source: str, file: str, groups: int) -> Summary:
    """Send rows with a question `first`, pairs or copies, to the group of its component."""
    table = pa.Table.from_batches([store.read_table(job.at(source, file))])
    to = shared.of(table["first"].to_numpy(), groups)
    store.write_groups(job.at(f"{source}-gathered", file), table, to, groups)
    return {"groups": np.bincount(to, minlength=groups).tolist()}


def complete_linkage(job: Job, ranges: Sequence[str], group: int) -> Summary:
    """Cut the pairs of a group of components down to those within clusters by complete linkage."""
    table = store.read_groups([job.at("final-gathered", name) for name in ranges], group)  # most similar first
    pairs = pairs_of(table)
    number, ends = np.unique(np.concatenate((pairs["first"], pairs["second"])), return_inverse=True)
    dense = np.zeros(len(pairs), PAIR)
    dense["first"], dense["second"] = ends[: len(pairs)], ends[len(pairs) :]
    label = complete(len(number), dense)
    within = np.flatnonzero(label[dense["first"]] == label[dense["second"]])
    lowest = np.full(len(number), len(number))
    np.minimum.at(lowest, label, np.arange(len(number)))
    cluster = number[lowest[label[dense["first"][within]]]]
    _write_sides(job, f"{group:06}", table.take(pa.array(within)), cluster, 1)
    return {}


def sides(job: Job, shared: Components, file: str, groups: int) -> Summary:
    """Send the questions of the pairs of a range, with what these say of them, to groups of questions."""
    table = pa.Table.from_batches([store.read_table(job.at("final", file))])
    first = table["first"].to_numpy()
    cluster = shared.root[np.searchsorted(shared.number, first)]
    _write_sides(job, file, table, cluster, groups)
    return {}


def _write_sides(job: Job, file: str, table: pa.Table, cluster: np.ndarray, groups: int) -> None:
    """A row for each question of pairs, most similar first: its nearest, and the sum of its similarities."""
    pairs, texts = pairs_of(table), {}
    both = np.stack((pairs["first"], pairs["second"]), axis=1).ravel()
    number, place, which = np.unique(both, return_index=True, return_inverse=True)
    at = pa.array(place // 2 + place % 2 * len(pairs))
    for name in ("question", "id"):
        column = pa.chunked_array([*table[f"{name}1"].chunks, *table[f"{name}2"].chunks], pa.large_string())
        texts[name] = column.take(at)
    total = np.bincount(which, np.repeat(pairs["millionths"], 2), len(number)).astype(np.int64)
    columns = {"cluster": cluster[place // 2], "number": number, "neighbour": both[place ^ 1],
               "nearest": pairs["millionths"][place // 2].astype(np.int64), "total": total}  # fmt: skip
    store.write_groups(job.at("sides", file), pa.table(columns | texts), number % groups, groups)


def members(job: Job, shared: tuple[Components, Sequence[str]], side: int, groups: int) -> Summary:
    """Put together what ranges say of a group of questions, and send these to the groups of their components."""
    all_components, ranges = shared
    table = store.read_groups([job.at("sides", name) for name in ranges], side)  # nearest first
    number, place, which = np.unique(table["number"].to_numpy(), return_index=True, return_inverse=True)
    total = np.bincount(which, table["total"].to_numpy(), len(number)).astype(np.int64)
    one_each = table.take(pa.array(place)).drop_columns(["total"]).append_column("total", pa.array(total))
    to = all_components.of(number, groups)
    store.write_groups(job.at("members", f"{side:06}"), one_each.select(table.column_names), to, groups)
    return {"groups": np.bincount(to, minlength=groups).tolist()}


def cluster(job: Job, shared: tuple[Sequence[str], Sequence[str]], group: int, ids: bool) -> Summary:
    """Write the clusters of a group of components, as rows in the order of the file of all clusters.

    Args:
        job: what is wanted.
        shared: the files of copies; those of `members`, where there are any, else `complete_linkage` has written one.
        group: which.
        ids: whether the questions have any.
    """
    pieces, files = shared
    if files:
        table = store.read_groups([job.at("members", name) for name in files], group)
    else:
        table = store.read_groups([job.at("sides", f"{group:06}")], 0)
    copied = store.read_groups([job.at("copied-gathered", name) for name in pieces], group)
    number, first = table["number"].to_numpy(), copied["first"].to_numpy()
    alone = np.flatnonzero(~np.isin(first, number) & np.append(True, first[1:] != first[:-1])[: len(first)])
    if len(alone):  # a question without pairs, but with copies
        own = pa.array(first[alone])
        nothing, whole = pa.array(np.zeros(len(alone), np.int64)), pa.array(np.full(len(alone), MILLION))
        them = copied.take(pa.array(alone))
        columns = {"cluster": own, "number": own, "neighbour": own, "nearest": whole, "total": nothing}
        more = pa.table(columns | {"question": them["question"], "id": them["id"]})
        table = pa.concat_tables([table, more.select(table.column_names)])
    root, number, neighbour, nearest, total = (
        table[name].to_numpy() for name in ("cluster", "number", "neighbour", "nearest", "total")
    )
    _, of, sizes = np.unique(root, return_inverse=True, return_counts=True)
    # The representative of a cluster is the first of those whose similarities add up to the most.
    order = np.lexsort((number, -total, root))
    is_first = np.zeros(len(number), bool)
    is_first[order] = np.append(True, root[order][1:] != root[order][:-1])[: len(number)]
    order = np.lexsort((number, -nearest, ~is_first, root, -sizes[of]))
    place = np.empty(len(number), np.int64)  # of each question among all rows but those of copies
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
    columns = {
        "size": -sizes[of][rows], "cluster": root[rows], "representative": (is_first[rows] & ~is_copy).astype(np.int64),
        "question": table["question"].take(pa.array(rows)),
    }  # fmt: skip
    if ids:
        names = pa.chunked_array([*table["id"].chunks, *copied["copy"].chunks], pa.large_string())
        columns["id"] = names.take(pa.array(np.where(is_copy, order, rows)))
    columns["neighbour"] = table["question"].take(pa.array(others))
    if ids:
        columns["neighbour_id"] = table["id"].take(pa.array(others))
    columns["similarity"] = np.where(is_copy, 1.0, nearest[rows] / MILLION)
    store.write_table(job.at("clusters", f"{group:06}"), pa.table(columns))
    return {"clusters": len(sizes), "members": len(number)}
