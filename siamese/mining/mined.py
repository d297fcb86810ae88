"""The result of mining: pairs and clusters, as Python objects, DataFrames and files. Needs numpy, not torch."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.errors import UserError
from siamese.mining import labels, report, tables
from siamese.mining.across import clusters_with_new, pairs_with_new
from siamese.mining.clusters import A_LINK, LINKAGES, Links, Member, among, find_clusters
from siamese.mining.columns import PREFIX, of_both
from siamese.mining.found import JUDGED, MILLION, PAIR, Recall, in_order, lowest_above, pairs_of_copies, score_of
from siamese.mining.pair import Pair
from siamese.mining.questions import Questions
from siamese.mining.settings import MEMORY, Settings
from siamese.mining.tables import ClusterRow, Probability
from siamese.model.similarity import check_threshold
from siamese.system.csv_output import names_beside
from siamese.system.optional import optional

if TYPE_CHECKING:
    import pandas

Ranking = Callable[[], Iterator[np.ndarray]]  # yields pairs, found.PAIR or found.JUDGED, best first, in chunks
Numbering = Callable[[list[list[Any]]], list[int]]  # from the ids of the questions of clusters to their numbers


@dataclass(repr=False, eq=False)
class Mined:
    """The pairs of questions above a threshold, and their clusters: the result of `siamese.mine`.

    >>> found = siamese.mine(questions)
    >>> found.pairs[0].question1, found.clusters[0]
    >>> surer = found.rethreshold(0.9).to_frame()
    """

    questions: Questions  # the distinct ones
    _ranked: Ranking
    _probability: Probability
    settings: Settings  # the threshold of the pairs, the linkage of the clusters, and the memory for them
    recall: Recall | None = None  # of an approximate search, the share of the pairs that it found
    _removed: Ranking = lambda: iter([])
    by_verdict: bool = False  # whether a verdict orders the pairs, and has removed some
    _links: Links | None = None  # decisions that the clusters honour
    _new: np.ndarray | None = None  # (n + copies,) bool: only pairs with one of these, which is their question1
    _number: Numbering | None = None  # of all clusters; None: from 1 on, and only those with a new question

    def __post_init__(self) -> None:
        self.threshold, self.linkage = self.settings.threshold, self.settings.linkage
        self._kind = JUDGED if self.by_verdict else PAIR

    @classmethod
    def read(
        cls, path: str | Path, questions: Questions | None = None, *, threshold: float | None = None,
        max_pairs: int | None = None, linkage: str = LINKAGES[0], memory: int = MEMORY,
    ) -> "Mined":  # fmt: skip
        """Read a file of pairs that `write_pairs` or the command `mine` wrote.

        Args:
            path: the file.
            questions: those that were mined, for their copies; None takes those that the file names.
            threshold: 0 to 1, keeps the pairs above it; None keeps all.
            max_pairs: keep only this many, the most similar ones.
            linkage, memory: of the clusters, as in `Settings`.

        Raises:
            DataError: the file is of another kind, or names a question that is not among `questions`.

        Warns:
            UserWarning: the file has no pairs between the threshold and its least similar pair.
        """
        questions, pairs, probabilities = tables.read_pairs(path, questions)
        least = int(pairs["millionths"].min()) if len(pairs) else MILLION
        if threshold is None:
            threshold = max(least - 1, 0) / MILLION
        elif (lowest := lowest_above(check_threshold(threshold))) < least and len(pairs):
            warnings.warn(f"{path} has no pair below {least / MILLION}; mine the questions again", stacklevel=2)
        else:
            pairs = pairs[pairs["millionths"] >= lowest]
        probabilities.setdefault(MILLION, 1.0)  # of copies, which older files lack

        def probability(similarities: np.ndarray) -> np.ndarray:
            return np.array([probabilities[round(s * MILLION)] for s in similarities.tolist()])

        settings = Settings(threshold, max_pairs, memory=memory, linkage=linkage)
        ranked = [pairs] if len(pairs) else []
        return cls(questions, lambda: iter(ranked), probability, settings, by_verdict=pairs.dtype == JUDGED)

    @classmethod
    def without_pairs(cls, questions: Questions) -> "Mined":
        """Return no pairs of these questions, for clusters of copies and of what people decided."""
        return cls(questions, lambda: iter([]), lambda similarities: similarities, Settings(1.0))

    def __len__(self) -> int:
        """The number of pairs, those of copies included."""
        return self._count

    def __repr__(self) -> str:
        return f"Mined({len(self):,} pairs of {len(self.questions):,} questions, threshold {self.threshold:g})"

    @cached_property
    def _count(self) -> int:
        return sum(map(len, self._rows()))

    @cached_property
    def _copied(self) -> np.ndarray:
        """The pairs of copies, which come first, found.PAIR or found.JUDGED; numbered as in `Questions.written`."""
        first = [copy.question for copy in self.questions.copies]
        pairs = pairs_of_copies(first, len(self.questions), self._kind)
        return self._wanted(pairs)[: self.settings.max_pairs]

    def _wanted(self, pairs: np.ndarray) -> np.ndarray:
        return pairs if self._new is None else pairs_with_new(pairs, self._new)

    def _different(self) -> Iterator[np.ndarray]:
        """Yield the pairs of different questions, as many as the copies leave."""
        most = self.settings.max_pairs
        left = None if most is None else most - len(self._copied)
        for chunk in self._ranked():
            if not len(chunk := chunk[:left]):
                return
            left = None if left is None else left - len(chunk)
            yield chunk

    def _rows(self) -> Iterator[np.ndarray]:
        """Yield all pairs, best first."""
        if len(self._copied):
            yield self._copied
        for chunk in self._different():
            if len(chunk := self._wanted(chunk)):
                yield chunk

    @cached_property
    def _all(self) -> np.ndarray:
        return np.concatenate([np.empty(0, self._kind), *self._rows()])

    @cached_property
    def _array(self) -> np.ndarray:
        """All pairs of different questions, found.PAIR or found.JUDGED; those of old ones too."""
        return np.concatenate([np.empty(0, self._kind), *self._different()])

    @cached_property
    def _clusters(self) -> list[list[Member]]:
        pairs = len(self._array)
        if self.linkage == "complete" and (need := pairs * A_LINK) > self.settings.memory << 20:
            raise UserError(
                f"--memory {self.settings.memory}: clusters of {pairs:,} pairs by complete linkage need "
                f"{need >> 20} (MB); give more, --linkage connected, or a higher threshold"
            )
        copied = (copy.question for copy in self.questions.copies)
        found = find_clusters(len(self.questions), self._array, self.linkage, copied, self._links)
        return found if self._new is None or self._number else clusters_with_new(found, self._new, self.questions)

    @cached_property
    def numbers(self) -> list[int]:
        """The number of each cluster."""
        if self._number is None:
            return list(range(1, len(self._clusters) + 1))
        return self._number([[row.id for row in rows] for rows in tables.cluster_rows(self.questions, self._clusters)])

    @cached_property
    def pairs(self) -> list[Pair]:
        """The pairs, most similar first, or with a verdict the surest first; before them those of `copies`."""
        return self._pairs(self._all)

    @cached_property
    def copies(self) -> list[Pair]:
        """The pairs of a question and a later copy of it, with similarity 1, whatever the threshold."""
        return self._pairs(self._copied)

    @cached_property
    def removed(self) -> list[Pair]:
        """The pairs above the threshold that the verdict removed, in the same order; none if they were read."""
        return self._pairs(self._wanted(np.concatenate([np.empty(0, JUDGED), *self._removed()])))

    def _pairs(self, pairs: np.ndarray) -> list[Pair]:
        texts, ids, _ = self.questions.written()
        ids = ids or [None] * len(texts)
        columns = (column.tolist() for column in self._columns(pairs))
        return [Pair(texts[i], texts[j], s, p, ids[i], ids[j]) for i, j, s, p in zip(*columns)]

    @cached_property
    def clusters(self) -> list[list[ClusterRow]]:
        """The clusters, largest first, each as the rows of its questions, the representative first.

        Copies are in the cluster of their question, and make one even if it has no other.

        Raises:
            UserError: complete linkage of so many pairs takes more memory than allowed.
        """
        return list(tables.cluster_rows(self.questions, self._clusters, self.numbers))

    def rethreshold(self, threshold: float) -> "Mined":
        """Return the pairs above a higher threshold, 0 to 1, without comparing the questions again.

        Raises:
            UserError: the threshold is lower than that of these pairs.
        """
        if check_threshold(threshold) < self.threshold:
            raise UserError(f"threshold {threshold}: these pairs are those above {self.threshold:g}; mine again")
        lowest = lowest_above(threshold)

        def above() -> Iterator[np.ndarray]:
            for chunk in self._different():
                if len(chunk := chunk[chunk["millionths"] >= lowest]):
                    yield chunk
                elif not self.by_verdict:  # those that follow are less similar
                    return

        settings = replace(self.settings, threshold=threshold)
        return replace(self, _ranked=above, settings=settings)

    def decided(self, links: Links) -> "Mined":
        """Return the pairs without those that people call different, in clusters that honour all their decisions."""
        count = len(self.questions)

        def kept() -> Iterator[np.ndarray]:
            for chunk in self._different():
                if len(chunk := chunk[~among(chunk, links.apart, count)]):
                    yield chunk

        return replace(self, _ranked=kept, _links=links)

    def partners(self) -> dict[str, str]:
        """Return, for each question that people joined to others, one of these."""
        pairs, texts = () if self._links is None else self._links.together[["first", "second"]], self.questions.texts
        found: dict[str, str] = {}
        for first, second in pairs:
            found.setdefault(texts[first], texts[second])
            found.setdefault(texts[second], texts[first])
        return found

    def to_frame(self) -> "pandas.DataFrame":
        """Return the pairs as a DataFrame, in the order of `pairs`.

        Returns:
            Columns question1, question2, similarity, probability; id1 and id2 if there are ids; differs if a verdict
            decided; and c1 and c2 for each further column c of what was mined, prefixed with "question_" if one of the
            former has its name.
        """
        pairs = np.concatenate([self._copied, self._wanted(self._array)])
        first, second, similarity, probability = self._columns(pairs)
        written = self.questions.written()
        texts, ids = np.array(written.texts, object), np.array(written.ids, object)
        columns: dict[str, Any] = {"question1": texts[first], "question2": texts[second]}
        columns |= {"similarity": similarity, "probability": probability}
        if len(ids):
            columns |= {"id1": ids[first].tolist(), "id2": ids[second].tolist()}
        if self.by_verdict:
            columns["differs"] = self.questions.differs(pairs)
        if (further := self.questions.further) is not None:
            rows = np.array(written.rows, np.int64)
            cells = [further.column(name, rows[which]) for name in further.names for which in (first, second)]
            columns |= zip(names_beside([*columns], of_both(further.names), PREFIX)[len(columns) :], cells)
        return optional("pandas", "to_frame").DataFrame(columns)

    def clusters_frame(self) -> "pandas.DataFrame":
        """Return the clusters as a DataFrame, a row for each question.

        Returns:
            The columns of `tables.ClusterRow` (without ids if there are none), and each further column of what was
            mined, prefixed with "question_" if one of the former has its name.
        """
        found = [row for rows in self.clusters for row in rows]
        frame = optional("pandas", "clusters_frame").DataFrame(found, columns=ClusterRow._fields)
        rows = frame.pop("row").to_numpy(np.int64)
        if not self.questions.ids:
            frame = frame.drop(columns=["id", "neighbour_id"])
        if (further := self.questions.further) is None:
            return frame
        names = tables.cluster_names(bool(self.questions.ids), further.names)[len(frame.columns) :]
        return frame.assign(**{name: further.column(own, rows) for name, own in zip(names, further.names)})

    def write_pairs(self, path: str | Path) -> float | None:
        """Write the pairs as CSV, in the order of `pairs`. Return the lowest similarity, or None without pairs."""
        self._count, last = tables.write_pairs(path, self.questions, self._rows(), self._probability, self.by_verdict)
        return last

    def write_removed(self, path: str | Path) -> int:
        """Write the pairs that the verdict removed, as `write_pairs` does. Return their number."""
        removed = map(self._wanted, self._removed())
        return tables.write_pairs(path, self.questions, removed, self._probability, self.by_verdict)[0]

    def count_removed(self) -> int:
        """Return the number of pairs that the verdict removed."""
        return sum(len(self._wanted(chunk)) for chunk in self._removed())

    def write_clusters(self, path: str | Path, escape: bool = True) -> tuple[int, int]:
        """Write the clusters as CSV, a row for each question. Return the numbers of clusters and distinct questions.

        `escape` puts an apostrophe before a text that a spreadsheet would take for a formula.
        """
        tables.write_clusters(path, self.questions, self._clusters, escape, self.numbers)
        return len(self._clusters), sum(map(len, self._clusters))

    def write_report(self, path: str | Path) -> tuple[int, int]:
        """Write a page with the first clusters. Return how many it shows, and how many there are."""
        lowest = int(self._array["millionths"].min()) / MILLION if len(self._array) else None
        shown = report.write(path, self.questions, self._clusters, self.linkage, lowest, self.by_verdict, self.numbers)
        return shown, len(self._clusters)

    def write_sample(self, path: str | Path, size: int, seed: int = 0, escape: bool = True) -> int:
        """Write a sample of the pairs, without copies, for a person to label, by similarity and in random order.

        Args:
            path: the CSV to write.
            size: pairs to draw; if there are fewer, all are written.
            seed: of the draw.

        Returns:
            The number of pairs written.

        Raises:
            UserError: there are no pairs.
        """
        counts = np.zeros(MILLION + 1, np.int64)  # pairs of each similarity
        for chunk in self._different():
            counts += np.bincount(chunk["millionths"], minlength=MILLION + 1)
        self._count, values = int(counts.sum()) + len(self._copied), np.flatnonzero(counts)[::-1]
        if not len(values):
            raise UserError("no pair is above the threshold, so there is nothing to label; give a lower threshold")
        strata = labels.strata(counts[values], values, size)
        drawn = labels.draw(strata, size, seed)
        ranks, start = np.array([rank for rank, _ in drawn]), 0
        pairs = np.empty(len(drawn), PAIR)
        for chunk in self._similar_first():
            here = (ranks >= start) & (ranks < start + len(chunk))
            pairs[here] = chunk[ranks[here] - start]
            start += len(chunk)
        tables.write_sample(path, self.questions, pairs, [h for _, h in drawn], strata, escape)
        return len(pairs)

    def _similar_first(self) -> Iterator[np.ndarray]:
        """Yield the pairs as PAIR, most similar first."""
        if not self.by_verdict:
            return self._different()
        return iter([in_order(self._array[list(PAIR.names or ())].astype(PAIR))])

    def _columns(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the first and second question, similarity and probability of each pair, (n,) each."""
        similarity, score = pairs["millionths"] / MILLION, score_of(pairs) / MILLION
        return pairs["first"], pairs["second"], similarity, self._probability(score)
