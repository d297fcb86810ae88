"""Pairs in parts, as many workers rank them and make clusters of them.

The order of all pairs is cut into ranges by a regular sample of each part (Shi and Schaeffer 1992), so that a worker
sorts one range. Clusters lie within the connected components of all pairs: each range gives a forest that connects as
much as its pairs do, the forests together give the components, and a worker makes the clusters of some of these.
"""

import csv
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from siamese.calibration import Calibration
from siamese.mining import store
from siamese.mining.clusters import clusters, connected
from siamese.mining.found import MILLION, PAIR, in_order
from siamese.mining.joins import pairs_of
from siamese.mining.questions import Questions
from siamese.mining.shards import Job, Summary
from siamese.mining.tables import cluster_rows


def cuts(samples: np.ndarray, ranges: int) -> np.ndarray:
    """Where to cut the order of all pairs into ranges: up to ranges − 1 of the sampled ones; found.LONG_PAIR."""
    if ranges <= 1 or not len(samples):
        return samples[:0]
    return in_order(samples)[np.unique(np.arange(1, ranges) * len(samples) // ranges)]


def _order(pairs: np.ndarray) -> np.ndarray:
    return np.lexsort((pairs["second"], pairs["first"], -pairs["millionths"]))


def range_of(pairs: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Which range each pair is in: the number of cuts up to it; (n,) int."""
    order = _order(np.concatenate((cut, pairs)))  # stable, so a cut comes before the pair that it was made of
    place = np.empty(len(order), np.int64)
    place[order] = np.cumsum(order < len(cut))
    return place[len(cut) :]


def rank(job: Job, cut: np.ndarray, file: str) -> Summary:
    """Send the pairs of a file to their ranges."""
    table = pa.Table.from_batches([store.read_table(job.at("pairs", file))])
    to = range_of(pairs_of(table), cut)
    store.write_groups(job.at("ranges", file), table, to, len(cut) + 1)
    return {"ranges": np.bincount(to, minlength=len(cut) + 1).tolist()}


def write_range(job: Job, calibration: Calibration, files: Sequence[str], part: int, limit: int, ids: bool) -> Summary:
    """Write the pairs of a range as rows of CSV, most similar first, and where clusters are wanted a forest of them.

    Args:
        job: what is wanted.
        calibration: from similarity to probability.
        files: of pairs that were ranked.
        part: which range.
        limit: how many pairs of it are wanted.
        ids: whether the questions have any.
    """
    table = store.read_groups([job.at("ranges", file) for file in files], part)
    pairs = pairs_of(table)
    order = _order(pairs)[:limit]
    table, pairs = table.take(pa.array(order)).combine_chunks(), pairs[order]
    similarity = pairs["millionths"] / MILLION
    columns = [table["question1"].to_pylist(), table["question2"].to_pylist(), similarity.tolist()]
    columns.append(np.round(calibration.probability(similarity), 6).tolist())
    columns += [table["id1"].to_pylist(), table["id2"].to_pylist()] if ids else []
    with (
        store.writing(f"{job.work}/written/{part:06}.csv") as path,
        open(path, "w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerows(zip(*columns))
    if job.linkage:
        store.write_table(job.at("final", f"{part:06}"), table)
        number, root = components(pairs["first"], pairs["second"])
        rows = np.flatnonzero(number != root)
        store.write_table(job.at("forest", f"{part:06}"), pa.table({"number": number[rows], "root": root[rows]}))
    return {"pairs": len(pairs), "last": float(similarity[-1]) if len(pairs) else None}


def components(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The questions that edges connect, ascending, and of each the lowest that it is connected with; (m,) and (m,)."""
    number, ends = np.unique(np.concatenate((first, second)), return_inverse=True)
    edges = np.zeros(len(first), PAIR)
    edges["first"], edges["second"] = ends[: len(first)], ends[len(first) :]
    label = connected(len(number), edges)
    _, lowest, which = np.unique(label, return_index=True, return_inverse=True)
    return number, number[lowest[which]]


def gather(job: Job, shared: tuple[np.ndarray, np.ndarray], source: str, file: str, groups: int) -> Summary:
    """Send pairs, or questions with copies, to the group of their component; alone ones anywhere.

    Args:
        job: what is wanted.
        shared: the questions that have pairs, ascending; the group of each.
        source: the folder that the file is in.
        file: which has a column `first`.
        groups: how many there are.
    """
    table = pa.Table.from_batches([store.read_table(job.at(source, file))])
    first, (number, group) = table["first"].to_numpy(), shared
    place = np.minimum(np.searchsorted(number, first), max(len(number) - 1, 0))
    to = first % groups
    if len(number):
        to = np.where(number[place] == first, group[place], to)
    store.write_groups(job.at(f"{source}-gathered", file), table, to, groups)
    return {"groups": np.bincount(to, minlength=groups).tolist()}


def cluster(job: Job, shared: None, group: int, ranges: Sequence[str], pieces: Sequence[str], ids: bool) -> Summary:
    """Make the clusters of the components of a group.

    Args:
        job: what is wanted.
        group: which.
        ranges, pieces: the names of the files of pairs, most similar first, and of copies.
        ids: whether the questions have any.
    """
    table = store.read_groups([job.at("final-gathered", name) for name in ranges], group)
    copied = store.read_groups([job.at("copied-gathered", name) for name in pieces], group)
    numbers = [column.to_numpy() for column in (table["first"], table["second"], copied["first"])]
    number, place, dense = np.unique(np.concatenate(numbers), return_index=True, return_inverse=True)
    at = pa.array(place)
    columns = ([*table[f"{of}1"].chunks, *table[f"{of}2"].chunks, *copied[of].chunks] for of in ("question", "id"))
    texts, names = (pa.chunked_array(column, pa.large_string()).take(at).to_pylist() for column in columns)
    pairs = np.empty(len(table), PAIR)
    pairs["millionths"] = table["millionths"].to_numpy()
    pairs["first"], pairs["second"] = dense[: len(table)], dense[len(table) : 2 * len(table)]
    copies = [
        (question, id or "") for question, id in zip(dense[2 * len(table) :].tolist(), copied["copy"].to_pylist())
    ]
    questions = Questions(texts, names if ids else [], copies)
    found = clusters(len(number), pairs, job.linkage, questions.copies_of())
    rows: list[list[Any]] = []
    for one, of_one in zip(found, cluster_rows(questions, found)):
        lowest = int(number[min(member.question for member in one.members)])
        rows += [[-len(one.members), lowest, *row] for row in of_one]
    text, whole = pa.large_string(), pa.int64()
    kinds = [whole, whole, whole, *[text] * (4 if ids else 2), pa.float64()]
    made = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(kinds)]
    store.write_table(job.at("clusters", f"{group:06}"), pa.table(made, [f"{i}" for i in range(len(kinds))]))
    return {"clusters": len(found), "members": sum(len(one.members) for one in found)}
