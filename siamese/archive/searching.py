"""Find the best questions of an archive for a query, and say how each compares with it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from siamese.archive import ranking
from siamese.archive.columns import ids_of, texts_of
from siamese.archive.database import Database
from siamese.archive.payloads import parse
from siamese.archive.ranking import NO_WORDS, Words
from siamese.archive.sqlite import DATABASE
from siamese.errors import ArchiveError, UserError
from siamese.model.differences import Difference, Found, features_of, found_between, shown
from siamese.model.similarity import may_be_same
from siamese.model.verdict import Rule, Verdict
from siamese.model.words import words_of
from siamese.pairs.tables import Frame
from siamese.text.cleaning import clean

LEGS = ("both", "vectors", "words")
JUDGED = 10  # of the best, or k if that is more, that the verdict puts in order
CHARACTERS = 1 << 25  # of questions and payloads that are remembered


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


def queries_of(questions: Iterable[str] | Frame, ids: Iterable[str | None] | None) -> list[Query]:
    """Return queries with their ids."""
    given, stored = texts_of(questions), ids_of(questions)
    own: list[str | None] = [None] * len(given) if stored is None else list(stored)
    if ids is not None:
        own = list(ids)
    if len(own) != len(given):
        raise UserError(f"{len(given)} questions and {len(own)} ids; give each question one id, or None")
    for position, id in enumerate(own):
        if not (id is None or isinstance(id, str)):
            raise UserError(f"ids[{position}]: {id!r}: expected a text or None")
    return list(map(Query, given, own))


@dataclass(frozen=True)
class How:
    """How to search."""

    k: int  # hits
    legs: str  # one of LEGS
    rule: Rule
    where: Mapping[str, Any]  # of the payloads of hits

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UserError(f"k {self.k}: expected a whole number of 1 or more")
        if self.legs not in LEGS:
            raise UserError(f"legs {self.legs!r}: expected one of {', '.join(LEGS)}")


class Searcher:
    """Searches of an archive, which remember the questions that they read until the archive changes."""

    def __init__(self, data: Database, verdict: Verdict | None) -> None:
        """Search an archive whose model has this verdict."""
        self.data, self.verdict = data, verdict
        self._state: object = None
        self._stored: dict[int, tuple[str, str, str]] = {}
        self._characters = 0

    def hits(self, asked: Sequence[Query], vectors: np.ndarray, how: How) -> list[list[Hit]]:
        """Return the hits of each query, best first.

        Args:
            asked: m queries.
            vectors: (m, d), theirs.
            how: k, legs, rule and condition.
        """
        with self.data.reading(with_vectors=True) as meta:
            if self._state != (state := (meta.get("id"), meta["changes"])):
                self._state, self._stored, self._characters = state, {}, 0
            among = self.data.rows_where(how.where) if how.where else None
            texts, n = [clean(query.question) for query in asked], meta["questions"]
            own = [self._own(query, text) for query, text in zip(asked, texts)]
            k = max(min(how.k, n), JUDGED)
            candidates = self._candidates(texts, vectors, how, among, k + any(row is not None for row in own), n)
            return [
                self._hits(query, text, vector, itself, words, how, n)
                for query, text, vector, itself, words in zip(asked, texts, vectors, own, candidates)
            ]

    def _candidates(
        self, texts: Sequence[str], vectors: np.ndarray, how: How, among: np.ndarray | None, k: int, n: int
    ) -> list[Words]:
        """Return for each query the rows among which the k best are, and their BM25."""
        data = self.data
        words = [NO_WORDS if how.legs == "vectors" else data.words.scores(text) for text in texts]
        known = np.any(vectors, axis=1)  # the others have length 0
        unknown = {text for text, has in zip(texts, known) if text and not has}
        equal = self._without_a_known_word(unknown) if unknown else {}
        if how.legs == "words":
            known[:] = False
        added = [(each.rows, ranking.word_score(each, n)) for each, has in zip(words, known) if has]
        near = iter(ranking.best(data.vectors, data.blank, vectors[known], added, k, among))
        found = []
        for text, has, (rows, bm25, whole) in zip(texts, known.tolist(), words):
            if has:
                best = next(near)
            else:
                if among is not None:
                    fits = np.isin(rows, among)
                    rows, bm25 = rows[fits], bm25[fits]
                best = np.union1d(rows[ranking.largest(bm25, k)], equal.get(text, np.zeros(0, np.int64)))
                if among is not None:
                    best = np.intersect1d(best, among)
            found.append(Words(best, _bm25_of(best, rows, bm25), whole))
        return found

    def _hits(
        self, query: Query, text: str, vector: np.ndarray, own: int | None, words: Words, how: How, n: int
    ) -> list[Hit]:
        if own is not None:
            others = words.rows != own
            words = words._replace(rows=words.rows[others], bm25=words.bm25[others])
        rows = words.rows
        similarity = ranking.cosines(vector, self.data.vectors[rows])
        same = self._same(text, rows, similarity)
        similarity[same] = 1
        score = words.bm25.copy() if how.legs == "words" else similarity + ranking.word_score(words, n)
        score[same] = score.max(initial=-np.inf)
        best = np.lexsort((rows, ~same, -score))[: max(how.k, JUDGED)]
        rows, similarity, score, same = rows[best], similarity[best], score[best], same[best]
        stored, judged = self._read(rows.tolist()), similarity
        differing: list[list[Found]] = [[]] * len(rows)
        if self.verdict is not None:
            one = words_of(query.question)
            differing = [found_between(one, words_of(other)) for _, other, _ in stored]
            judged = self.verdict.corrected(similarity, features_of(differing))
            if how.legs != "words":
                score = score - np.where(same, 0, similarity - judged)
        if how.rule.verdict is None:
            judged = similarity
        probability, duplicate = how.rule.probability(judged).tolist(), (judged > how.rule.threshold).tolist()
        order, found = np.lexsort((rows, ~same, -score))[: how.k].tolist(), []
        scores, similarities = score.tolist(), similarity.tolist()
        for i in order:
            id, other, payload = stored[i]
            numbers = scores[i], similarities[i], probability[i], duplicate[i]
            found.append(Hit(id, other, *numbers, shown(differing[i]), parse(payload)))
        return found

    def _own(self, query: Query, text: str) -> int | None:
        """Return the row of the question that is the query itself, if the archive has it."""
        try:
            found = self.data.stored("id", query.id) if query.id else None
        except UnicodeEncodeError:  # no id of an archive
            return None
        return found[0] if found and clean(found[2]) == text else None

    def _same(self, text: str, rows: np.ndarray, similarity: np.ndarray) -> np.ndarray:
        """Return which of the rows have this clean text, (n,) bool; `similarity` (n,) spares reading most of them."""
        found = may_be_same(similarity)
        if found.any():
            places = np.flatnonzero(found).tolist()
            for place, (_, other, _) in zip(places, self._read(rows[places].tolist())):
                found[place] = bool(text) and clean(other) == text
        return found

    def _without_a_known_word(self, texts: set[str]) -> dict[str, np.ndarray]:
        """Return the rows of the questions without a known word that have one of these clean texts, by text.

        Their vector is 0, so that a search by vectors does not find them.
        """
        found: dict[str, list[int]] = {}
        for row, question in self.data.execute(
            "SELECT row, question FROM blank JOIN questions USING (row) ORDER BY row"
        ):
            if (text := clean(question)) in texts:
                found.setdefault(text, []).append(row)
        return {text: np.array(rows, np.int64) for text, rows in found.items()}

    def _read(self, rows: list[int]) -> list[tuple[str, str, str]]:
        """Return id, text and payload of rows."""
        known = self._stored
        if self._characters > CHARACTERS:
            known.clear()
            self._characters = 0
        for row in rows:
            if row not in known:
                if (found := self.data.stored("row", row)) is None:
                    folder = self.data.folder
                    raise ArchiveError(f"{folder / DATABASE}: damaged: row {row} has no text; restore a copy")
                known[row] = found[1:]
                self._characters += sum(map(len, found[1:]))
        return [known[row] for row in rows]


def _bm25_of(rows: np.ndarray, having: np.ndarray, bm25: np.ndarray) -> np.ndarray:
    """Return the BM25 of rows, 0 for those that are not among `having`, which is ascending."""
    if not len(having):
        return np.zeros(len(rows))
    place = np.minimum(np.searchsorted(having, rows), len(having) - 1)
    return np.where(having[place] == rows, bm25[place], 0.0)
