"""How well an archive finds known duplicates: by words, by vectors, by both, and beside a sentence encoder.

The archive holds the distinct texts of the training pairs and of the pairs that are evaluated; the queries are the
distinct texts of the evaluated duplicates, each taken out of its own results. Two answers count:

- *all*: relevant are the questions of the query's training cluster (connected components of the training pairs'
  duplicates, texts compared by letters and digits), those that evaluated pairs call its duplicates, and their clusters.
- *separate*: the query's own training cluster is taken out of results and relevant ones, so that what is left to find
  is not joined to the query by training pairs; queries without anything left are not counted.

    python -m reports.archive.retrieval --data ../shared/quora --part test
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

import numpy as np

from siamese import SiameseModel
from siamese.archive import nearest, ranking, words
from siamese.archive.store import Archive
from siamese.config import PRETRAINED
from siamese.pairs.clusters import Clusters
from siamese.pairs.reading import read_pairs
from siamese.system.progress import CountBar
from siamese.text.keys import key

DEPTH = 100  # results that are looked at
EVERY = 10  # of the queries one in so many is answered by all words too, which takes long
ALL_WORDS = "words, without the short cut, a tenth of the queries"
PLAIN = "BM25 of all words as they stand, a tenth of the queries"
BOTH_TOO = "both, a tenth of the queries"
ENCODER_WEIGHT = 0.01  # of BM25 beside an encoder's similarity, chosen on validation pairs for all-MiniLM-L6-v2

Rank = Callable[[int, int], Sequence[int]]  # a query and how many to the numbers of the questions found, best first


@dataclass(frozen=True)
class Query:
    """A question of the archive, by its number, and what it should find."""

    number: int
    cluster: set[int]  # joined to it by training pairs
    relevant: set[int]  # known duplicates, those in the cluster too


def judged(data: Path, part: str) -> tuple[list[str], list[Query]]:
    """The questions of the archive, and the queries."""
    training, evaluated = read_pairs(data / "train.csv"), read_pairs(data / f"{part}.csv")
    sides = [(a, b) for pairs in (training, evaluated) for a, b in zip(pairs.question1, pairs.question2)]
    texts = list(dict.fromkeys(text for pair in sides for text in pair))
    number, keys = {text: i for i, text in enumerate(texts)}, [key(text) for text in texts]
    clusters = Clusters(training).of(texts).tolist()
    # What the training pairs do not have is joined to its copies alone.
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
    """nDCG@10, the reciprocal rank among the first 10, and recall@100; (3,).

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


def measure(rank: Rank, queries: list[Query], name: str) -> str:
    """A row of the table: the scores of all and of separate answers, and the time of a query."""
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
    cells = [f"{value:.3f}" for part in (separate, everything) for value in np.mean(part, axis=0)]
    return f"| {name} | {' | '.join(cells)} | {1000 * seconds / len(queries):.0f} ms |"


def legs_of(archive: Archive, texts: list[str]) -> dict[str, Rank]:
    """The ways that an archive is searched, and BM25 without the short cut of its words."""

    def by(legs: str) -> Rank:
        return lambda query, k: [int(hit.id) for hit in archive.search([texts[query]], k, legs)[0]]

    def all_words(query: int, k: int) -> list[int]:
        budget, words.BUDGET = words.BUDGET, len(texts) * words.MOST_WORDS
        try:
            return by("words")(query, k)  # type: ignore[return-value]
        finally:
            words.BUDGET = budget

    legs = {name: by(name) for name in ("words", "vectors", "both")}
    return {**legs, ALL_WORDS: all_words, PLAIN: plain_bm25(texts), BOTH_TOO: legs["both"]}


def plain_bm25(texts: list[str]) -> Rank:
    """BM25 as SQLite has it out of the box: all words, in lower case, without stems."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE plain USING fts5(question, tokenize='unicode61')")
    connection.executemany("INSERT INTO plain (rowid, question) VALUES (?, ?)", enumerate(texts))

    def rank(query: int, k: int) -> list[int]:
        asked = " OR ".join(f'"{word}"' for word in dict.fromkeys(re.findall(r"\w+", texts[query].lower())))
        if not asked:
            return []
        found = "SELECT rowid FROM plain WHERE plain MATCH ? ORDER BY rank LIMIT ?"
        return [row for (row,) in connection.execute(found, (asked, k))]

    return rank


def encoder_ranks(archive: Archive, texts: list[str], name: str, queries: list[Query]) -> dict[str, Rank]:
    """A sentence encoder's vectors alone, and with the words of the archive."""
    from siamese.training import teacher

    vectors = teacher.vectors(name, texts, CountBar("questions")).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    most = DEPTH + 1 + max(len(query.cluster) for query in queries)
    numbers = [query.number for query in queries]
    near = dict(zip(numbers, nearest.exact(vectors, np.zeros(len(texts), bool), vectors[numbers], most)[1]))

    def with_words(query: int, k: int) -> list[int]:
        with archive._database.reading():
            rows, bm25 = ranking.join(near[query][:k], *archive._database.words.scores(texts[query]), k)
        score = vectors[rows] @ vectors[query] + ENCODER_WEIGHT * bm25
        return rows[np.argsort(-score, kind="stable")].tolist()

    return {name: lambda query, k: near[query][:k].tolist(), f"{name} and words": with_words}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how well the archive finds known duplicates.")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="train.csv, validation.csv, test.csv")
    parser.add_argument("--part", default="validation", choices=["validation", "test"], help="the pairs evaluated")
    parser.add_argument("--model", default=PRETRAINED, metavar="DIR", help="(default %(default)s)")
    parser.add_argument("--encoder", metavar="NAME", help="a sentence encoder beside it, as of train --teacher")
    options = parser.parse_args()
    texts, queries = judged(options.data, options.part)
    separate = sum(bool(query.relevant - query.cluster) for query in queries)
    print(
        f"{len(texts):,} questions, {len(queries):,} queries, {separate:,} of them with separate answers\n", flush=True
    )
    print(
        "| | nDCG@10 | MRR@10 | recall@100 | nDCG@10 | MRR@10 | recall@100 | time |\n|---|--:|--:|--:|--:|--:|--:|--:|"
    )
    with tempfile.TemporaryDirectory() as folder:
        ids = [str(i) for i in range(len(texts))]
        model = SiameseModel.load(options.model)
        with Archive.build(Path(folder) / "archive", model, options.model, [(texts, ids)]) as archive:
            ranks = legs_of(archive, texts)
            if options.encoder:
                ranks = encoder_ranks(archive, texts, options.encoder, queries) | ranks
            for name, rank in ranks.items():
                print(measure(rank, queries[:: EVERY if name in (ALL_WORDS, PLAIN, BOTH_TOO) else 1], name), flush=True)


if __name__ == "__main__":
    main()
