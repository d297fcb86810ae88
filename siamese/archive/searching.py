"""Find the best questions of an archive for a query, and say how each compares with it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from siamese.archive import ranking
from siamese.archive.database import Database
from siamese.archive.equal import equal_to, without_a_known_word
from siamese.archive.payloads import parse
from siamese.archive.sqlite import DATABASE
from siamese.errors import ArchiveError, UserError
from siamese.model.differences import Difference, differences
from siamese.model.similarity import cosine
from siamese.model.verdict import Rule, Verdict
from siamese.text.cleaning import clean

LEGS = ("both", "vectors", "words")
JUDGED = 10  # of the best, or k if that is more, that the verdict puts in order


@dataclass(frozen=True)
class Hit:
    """A question of the archive that a search found, and how it compares with the query."""

    id: str
    question: str
    # What orders the hits: the similarity ("vectors"), BM25 ("words") or their weighted sum ("both"), less what the
    # verdict takes from the similarity (not from BM25). The highest of all for the query's own text.
    score: float
    similarity: float  # cosine, -1 to 1
    probability: float  # of being duplicates, for the share of duplicates in the model's validation pairs or a prior
    is_duplicate: bool
    differences: tuple[Difference, ...] = ()  # of what a vector blurs, if the model has a verdict
    payload: dict[str, Any] = field(default_factory=dict)  # the further columns of the question


class Query(NamedTuple):
    """A question to search for."""

    question: str
    id: str | None  # a question of the archive with this id and the same text is the query itself


@dataclass(frozen=True)
class How:
    """How to search."""

    k: int  # hits
    legs: str  # one of LEGS
    rule: Rule

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UserError(f"k {self.k}: expected a whole number of 1 or more")
        if self.legs not in LEGS:
            raise UserError(f"legs {self.legs!r}: expected one of {', '.join(LEGS)}")


def hits(
    data: Database, verdict: Verdict | None, asked: Sequence[Query], vectors: np.ndarray, how: How, n: int
) -> list[list[Hit]]:
    """Return the hits of each query, best first.

    Args:
        data: the archive, within `reading`.
        verdict: the model's.
        asked: m queries.
        vectors: (m, d), theirs.
        how: k, legs and rule.
        n: questions in the archive.
    """
    k = min(how.k, max(n, 1))
    texts, known = [clean(query.question) for query in asked], np.flatnonzero(vectors.any(axis=1))  # others: length 0
    own = [_own(data, query, text) for query, text in zip(asked, texts)]
    candidates = max(k, JUDGED) if how.legs == "vectors" else max(k, ranking.CANDIDATES)
    candidates += any(row is not None for row in own)
    unknown = np.delete(np.arange(len(texts)), known).tolist()
    equal = without_a_known_word(data, {texts[i] for i in unknown} - {""})
    near = [np.array(equal.get(text, ()), np.int64) for text in texts]
    if how.legs != "words":
        for i, rows in zip(known, ranking.nearest(data.vectors, data.blank, vectors[known], candidates)):
            near[i] = rows
    found = []
    for query, text, vector, rows, itself in zip(asked, texts, vectors, near, own):
        bm25 = np.zeros(len(rows))
        if how.legs != "vectors":
            rows, bm25 = ranking.join(rows, *data.words.scores(text), candidates)
        if itself is not None:
            rows, bm25 = rows[rows != itself], bm25[rows != itself]
        similarity = cosine(np.vstack((vector, data.vectors[rows])), [0] * len(rows), 1 + np.arange(len(rows)))
        same = equal_to(data, text, rows, similarity)
        similarity[same] = 1
        score = {"vectors": similarity, "words": bm25, "both": ranking.combined(similarity, bm25, n)}[how.legs]
        score[same] = score.max(initial=-np.inf)
        best = np.lexsort((rows, ~same, -score))[: max(k, JUDGED)]
        rows, similarity, score, same = rows[best], similarity[best], score[best], same[best]
        stored = [_stored(data, row) for row in rows.tolist()]
        judged = similarity
        if verdict is not None:
            judged = verdict.scores([query.question] * len(best), [other for _, other, _ in stored], similarity)
            if how.legs != "words":
                score = score - np.where(same, 0, similarity - judged)
        best = np.lexsort((rows, ~same, -score))[:k]
        judged = judged if how.rule.verdict else similarity
        probability, duplicate = how.rule.probability(judged), judged > how.rule.threshold
        numbers = (each[best].tolist() for each in (score, similarity, probability, duplicate))
        ordered = [stored[i] for i in best.tolist()]
        differing = [differences(query.question, other) if verdict else () for _, other, _ in ordered]
        more = [parse(payload) for _, _, payload in ordered]
        found.append([Hit(id, other, *rest) for (id, other, _), *rest in zip(ordered, *numbers, differing, more)])
    return found


def _own(data: Database, query: Query, text: str) -> int | None:
    """Return the row of the question that is the query itself, if the archive has it."""
    try:
        found = data.stored("id", query.id) if query.id else None
    except UnicodeEncodeError:  # no id of an archive
        return None
    return found[0] if found and clean(found[2]) == text else None


def _stored(data: Database, row: int) -> tuple[str, str, str]:
    """Return the id, the text and the payload of a row."""
    if (found := data.stored("row", row)) is None:
        raise ArchiveError(f"{data.folder / DATABASE}: damaged: row {row} has no text; restore a copy")
    return found[1:]
