"""Compare rules for the weight of words beside similarity in an archive's search, by the share of right first hits.

    python -m reports.archive.legs --part dev MODEL... [--bench ../shared/bench] [--quora ../shared/quora]

Each set becomes an archive of at most MOST questions (QUORA of Quora's) twice: *all* its questions, each query taken
out of its own results, and *one* question of each group, as in a list of frequent questions, with the others as
queries. A first hit is right if it is a known duplicate. Only the weight of words differs, and no verdict corrects the
order. The sets of `--part dev` chose the rule; those of `--part test` were looked at once, at the end.
"""

import argparse
import math
import random
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reports.answers.board import SUPPORT, group_set, pair_set, rows_of
from reports.archive.retrieval import judged
from reports.measured import table
from siamese import SiameseModel
from siamese.archive import words
from siamese.model.similarity import cosine

MOST, QUERIES, QUORA = 1_500, 400, 20_000
SAMPLE = 200  # questions of an archive that say how well similarity and words agree
# By the alphabet, every other set of groups and of pairs; the support archive, which showed the fault, is dev.
SETS = {
    "dev": ("canard_multiple_rewrites", "covid_faq_similarity", "hwu64", "meqsum", "spider_syn", "stackfaq", "support",
            "Quora"),
    "test": ("clinc150", "mediqa_rqe", "paraphrased_squad", "rasa_demo_faq", "text2sql_paraphrases", "Quora"),
}  # fmt: skip
PARTS = {"dev": "validation", "test": "test"}  # of Quora's pairs


@dataclass(frozen=True)
class Asked:
    """A query, and the numbers of the archive's questions that are right and that are not looked at."""

    text: str
    right: frozenset[int]
    apart: frozenset[int]  # itself


Set = tuple[list[str], list[Asked]]  # questions of an archive, and queries


@dataclass(frozen=True)
class Legs:
    """What either leg says for the queries of an archive."""

    n: int
    asked: list[Asked]
    similarity: np.ndarray  # (m, n)
    bm25: np.ndarray  # (m, n)
    whole: np.ndarray  # (m, 1), see `ranking.Words`
    rare: np.ndarray  # (m, n), BM25 of words that at most one in a hundred questions have
    agreement: float  # mean share of the highest similarity that the best by words has, among questions of the archive

    def idf(self) -> float:
        """Return about the BM25 of a word that only one question has."""
        return max(1.0, math.log((self.n - 0.5) / 1.5))


Rule = Callable[[Legs], np.ndarray]  # to what is added to the similarity, (m, n)


def scaled(weight: float) -> Rule:
    """Return the rule of versions before 0.2."""
    return lambda legs: weight * legs.bm25 / legs.idf()


def of_rare_words(weight: float) -> Rule:
    """Return the same rule for the BM25 of rare words."""
    return lambda legs: weight * legs.rare / legs.idf()


def covering(weight: float, power: float = 1) -> Rule:
    """Return that times a power of the share of the query that a question has; with 1 it is that of the search."""
    return lambda legs: weight * legs.bm25 / legs.idf() * np.minimum(1, legs.bm25 / legs.whole) ** power


def agreeing(weight: float, rule: Callable[[float], Rule]) -> Rule:
    """Return a rule whose weight grows from 0 to 1 times with an agreement from 0.7 to 0.9."""
    return lambda legs: rule(weight * min(1, max(0, (legs.agreement - 0.7) / 0.2)))(legs)


def fused(legs: Legs) -> np.ndarray:
    """Return what makes the similarity a sum of reciprocal ranks, 1 / (60 + rank), of both legs."""
    ranks = [np.argsort(np.argsort(-each, axis=1, kind="stable"), axis=1) for each in (legs.similarity, legs.bm25)]
    found: np.ndarray = 1 / (60 + ranks[0]) + np.where(legs.bm25 > 0, 1 / (60 + ranks[1]), 0) - legs.similarity
    return found


RULES: dict[str, Rule] = {
    "similarity alone": lambda legs: np.zeros(legs.bm25.shape),
    "words alone": lambda legs: 10 * legs.bm25 + 1e-3 * legs.similarity,
    **{f"{weight} · BM25 / idf": scaled(weight) for weight in (0.06, 0.12, 0.24)},
    "reciprocal ranks": fused,
    **{f"{weight} · the same of rare words alone": of_rare_words(weight) for weight in (0.12, 0.24)},
    "0.24 · the same, by agreement": agreeing(0.24, scaled),
    **{f"{weight} · the same · share of the query": covering(weight) for weight in (0.12, 0.18, 0.24, 0.3, 0.36)},
    **{f"{weight} · the same · square of the share": covering(weight, 2) for weight in (0.24, 0.48)},
    "0.36 · the same · share, by agreement": agreeing(0.36, covering),
}  # fmt: skip


def of_groups(rows: list[dict[str, str]], column: str) -> Set:
    """Return questions and queries of a set of groups."""
    found = group_set(rows, column)
    members = defaultdict(set)
    for i, group in enumerate(found.groups.tolist()):
        members[group].add(i)
    others = [frozenset(members[group]) - {i} for i, group in enumerate(found.groups.tolist())]
    return found.questions, [
        Asked(found.questions[i], right, frozenset({i})) for i, right in enumerate(others) if right
    ]


def of_pairs(rows: list[dict[str, str]]) -> Set:
    """Return questions and queries of a set of pairs."""
    found = pair_set(rows)
    order = list(range(len(found.labels)))
    random.Random(0).shuffle(order)
    number: dict[str, int] = {}
    right = defaultdict(set)
    for i in order:
        a, b = (number.setdefault(text, len(number)) for text in (found.question1[i], found.question2[i]))
        if found.labels[i] == 1 and a != b:
            right[a].add(b)
            right[b].add(a)
        if len(number) >= MOST:
            break
    texts = list(number)
    return texts, [Asked(texts[i], frozenset(others), frozenset({i})) for i, others in sorted(right.items())]


def of_quora(data: Path, part: str) -> Set:
    """Return questions and queries with separate answers, see `reports.archive.retrieval`."""
    texts, queries = judged(data, part)
    queries = random.Random(0).sample([query for query in queries if query.relevant - query.cluster], QUERIES)
    kept = set[int]().union(*(query.relevant | {query.number} for query in queries))
    others = [i for i in range(len(texts)) if i not in kept]
    order = sorted(kept.union(random.Random(1).sample(others, max(0, QUORA - len(kept)))))
    place = {number: i for i, number in enumerate(order)}
    asked = []
    for query in queries:
        apart = {place[i] for i in (*query.cluster, query.number) if i in place}
        right = {place[i] for i in query.relevant - query.cluster}
        asked.append(Asked(texts[query.number], frozenset(right), frozenset(apart)))
    return [texts[i] for i in order], asked


def one_of_each(texts: list[str], asked: list[Asked]) -> Set:
    """Return an archive without the duplicates of its questions, which are the queries."""
    groups = [min(query.right | query.apart) for query in asked]
    first: dict[int, int] = {}
    for query, group in zip(asked, groups):
        for i in query.right | query.apart:
            first.setdefault(i, group)
    kept = [i for i in range(len(texts)) if first.get(i, i) == i]
    place = {number: i for i, number in enumerate(kept)}
    found = []
    for query in asked:
        right = frozenset(place[i] for i in query.right if i in place)
        if right and not query.apart & place.keys():
            found.append(Asked(query.text, right, frozenset()))
    return [texts[i] for i in kept], found


def read_sets(part: str, without: list[str], bench: Path, quora: Path) -> Iterator[tuple[str, str, Set]]:
    """Yield name, kind of archive, and its questions and queries."""
    for name in (name for name in SETS[part] if name not in without):
        if name == "Quora":
            yield name, "all", of_quora(quora, PARTS[part])
            continue
        if name == "support":
            found = of_groups(rows_of(SUPPORT), "intent")
        elif (path := bench / f"{name}.groups.csv").exists():
            found = of_groups(rows_of(path), "group")
        else:
            found = of_pairs(rows_of(bench / f"{name}.csv"))
        yield name, "all", found
        yield name, "one", one_of_each(*found)


def ask(model: SiameseModel, texts: list[str], asked: list[Asked]) -> Legs:
    """Ask both legs of an archive the queries."""
    asked = random.Random(0).sample(asked, min(QUERIES, len(asked)))
    index, n = index_of(texts), len(texts)
    vectors, every = model.encode(texts), np.arange(n)
    queries = model.encode([query.text for query in asked])
    similarity, bm25, rare = (np.zeros((len(asked), n), np.float32) for _ in range(3))
    whole = np.ones((len(asked), 1))
    for i, query in enumerate(asked):
        found = index.scores(query.text)
        bm25[i, found.rows], whole[i] = found.bm25, found.whole
        similarity[i] = cosine(np.vstack((queries[i], vectors)), np.zeros(n, int), 1 + every)
        stems = [stem for stem in index._stems(query.text) if 0 < index._count(stem) <= max(1, n // 100)]
        if index._postings is not None and stems:
            rows, found_rare = index._postings.scores(stems, [])
            rare[i, rows] = found_rare
    shares = []
    for i in random.Random(0).sample(range(n), min(SAMPLE, n)):
        near = cosine(vectors, np.full(n, i), every)
        near[i], by_words = -1, index.scores(texts[i])
        best = by_words.bm25 * (by_words.rows != i)
        if best.any():
            shares.append(max(0, near[by_words.rows[best.argmax()]]) / max(near.max(), 0.01))
    return Legs(n, asked, similarity, bm25, whole, rare, float(np.mean(shares)))


def index_of(texts: list[str]) -> words.Words:
    """Return the words of an archive of these questions."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE questions(row INTEGER PRIMARY KEY, question TEXT)")
    connection.executemany("INSERT INTO questions VALUES (?, ?)", enumerate(texts))
    words.create(connection)
    words.add(connection, 0)
    index = words.Words(connection)
    index.forget(len(texts))
    while index._postings is None:  # in memory, once it is asked often enough
        index.scores(texts[0])
    return index


def first_hits(legs: Legs, added: np.ndarray) -> float:
    """Return the share of queries whose first hit is right."""
    right = 0
    for query, row in zip(legs.asked, legs.similarity + added):
        row[list(query.apart)] = -np.inf
        right += int(row.argmax()) in query.right
    return right / len(legs.asked)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.archive.legs", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--part", required=True, choices=list(SETS), help="the sets")
    parser.add_argument("--without", nargs="*", default=[], metavar="SET", help="sets to leave out")
    parser.add_argument("--bench", type=Path, default="../shared/bench", metavar="DIR", help="(default %(default)s)")
    parser.add_argument("--quora", type=Path, default="../shared/quora", metavar="DIR", help="(default %(default)s)")
    options = parser.parse_args()
    means: dict[str, dict[str, float]] = {name: {} for name in RULES}
    for model_name in options.models:
        model, rows = SiameseModel.load(model_name), []
        for name, kind, (texts, asked) in read_sets(options.part, options.without, options.bench, options.quora):
            legs = ask(model, texts, asked)
            found = {rule: first_hits(legs, added(legs)) for rule, added in RULES.items()}
            about = {"": f"{name}, {kind}", "questions": legs.n, "queries": len(legs.asked)}
            rows.append({**about, **found, "agreement": legs.agreement})
        print(f"{model_name}\n\n{table(rows)}\n", flush=True)
        for kind in ("all", "one"):
            of_kind = [row for row in rows if str(row[""]).endswith(kind)]
            for rule, mean in means.items():
                mean[f"{model_name}, {kind}"] = float(np.mean([row[rule] for row in of_kind]))
    print(table([{"": rule, **mean, "mean": float(np.mean(list(mean.values())))} for rule, mean in means.items()]))


if __name__ == "__main__":
    main()
