"""Rank pairs in parts, by many workers, and write them.

The order of all pairs is cut into ranges by a regular sample of each part (Shi and Schaeffer 1992), so that each worker
sorts one range.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from siamese.mining.found import MILLION, in_order, order_of
from siamese.mining.sharded import store
from siamese.mining.sharded.joins import pairs_of
from siamese.mining.sharded.shards import Job, Summary
from siamese.model.calibration import Calibration
from siamese.system.csv_output import writing_csv


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


def write_range(job: Job, shared: tuple[Calibration, Sequence[str]], part: int, limit: int, ids: bool) -> Summary:
    """Write the pairs of a range as rows of CSV, most similar first, and, if clusters are wanted, as a table.

    Args:
        shared: from similarity to probability; the files of ranked pairs.
        part: the range.
        limit: number of its pairs to write.
        ids: whether the questions have ids.
    """
    calibration, files = shared
    table = store.read_groups([job.at("ranges", file) for file in files], part)
    pairs = pairs_of(table)
    order = order_of(pairs)[:limit]
    table, pairs = table.take(pa.array(order)).combine_chunks(), pairs[order]
    similarity = pairs["millionths"] / MILLION
    probability = np.round(calibration.probability(similarity), 6)
    names = ["question1", "question2", "id1", "id2"][: 4 if ids else 2]
    first, second, *known = (table[name].to_pylist() for name in names)
    with store.writing(f"{job.work}/written/{part:06}.csv") as path, writing_csv(path, ()) as writer:
        writer.writerows(zip(first, second, similarity.tolist(), probability.tolist(), *known))
    if job.linkage:
        store.write_table(job.at("final", f"{part:06}"), table)
    return {"pairs": len(pairs), "last": float(similarity[-1]) if len(pairs) else None}
