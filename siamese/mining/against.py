"""Mine new questions against old ones: those of a second file, or those of an archive, which remembers the result.

Old questions are not compared with each other again. An archive remembers which of its questions were compared and the
pairs that were found, so that each day's pairs and clusters are those of a run over all of its questions.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from siamese.archive.memory import Memory, Numbered, Result, Snapshot
from siamese.mining.across import Across
from siamese.mining.carried import Both, Payloads
from siamese.mining.found import check_room, in_order, lowest_above
from siamese.mining.kept import CHUNK, Kept
from siamese.mining.mine import Progress, join, quiet, scoring, sortable, vectors_of
from siamese.mining.mined import Mined
from siamese.mining.numbering import numbered
from siamese.mining.questions import Copy, Questions
from siamese.mining.settings import Settings
from siamese.model.model import SiameseModel
from siamese.model.verdict import Rule
from siamese.text.cleaning import clean


class Together(NamedTuple):
    """Old and new questions in one."""

    questions: Questions  # the old ones first
    new: np.ndarray  # (n,) bool, of the distinct questions
    shown: np.ndarray  # (n + copies,) bool, new ones and new copies


def together(old: Questions, new: Questions) -> Together:
    """Return old and new questions as one.

    A new question whose id and text an old one has is that one, and not new. If only one of the two has ids, those of
    the other are None.
    """
    if new.ids and not old.ids:
        old = replace(old, ids=[None] * len(old))
    number = {clean(text): place for place, text in enumerate(old.texts)}
    known = set(zip(old.ids, range(len(old)))) | {(copy.id, copy.question) for copy in old.copies if old.ids}
    found = Questions(list(old.texts), list(old.ids), list(old.copies), rows=old.rows[:])
    count = 1 + max([-1, *old.rows, *(copy.row for copy in old.copies)])  # of old rows
    if old.names or new.names:
        found.further = Both(old.further, new.further, count)
    written = new.written()
    ids = written.ids or [None] * len(written.texts)
    for text, id, row in zip(written.texts, ids, written.rows):
        place = number.setdefault(clean(text), len(found))
        if place == len(found):
            found.texts.append(text)
            found.rows.append(count + row)
            found.ids += [id] if written.ids or old.ids else []
        elif (id, place) not in known:
            found.copies.append(Copy(place, id, count + row, text))
    is_new = np.arange(len(found)) >= len(old)
    copied = np.arange(len(found.copies)) >= len(old.copies)
    return Together(found, is_new, np.concatenate((is_new, copied)))


class Joined(NamedTuple):
    """What comparing new questions with all found: pairs in order, found.PAIR or found.JUDGED."""

    pairs: np.ndarray
    removed: np.ndarray  # by the verdict


def compare(
    questions: Questions, vectors: np.ndarray, across: Across, settings: Settings, rule: Rule, joined: Progress = quiet
) -> Joined:
    """Find all pairs of new questions with all others.

    Args:
        questions: all questions.
        vectors: (n, d) float32, in the order of `across`.
        across: which are new.
        settings: what to find.
        rule: decides on the pairs above its threshold, which is that of the settings.
        joined: called with the number of comparisons done and of all.

    Raises:
        UserError: more pairs than the memory has room for.
    """
    judged = rule.verdict is not None
    at_once = sortable(len(questions), vectors.shape[1], settings.memory, judged)
    questions.unknown = int((~vectors.any(axis=1)).sum())
    with TemporaryDirectory(prefix="siamese-") as folder:
        kept = Kept(Path(folder), {}, False, at_once, None, None, lowest_above(rule.threshold) if judged else None)
        join(vectors, settings, kept, joined, scoring(questions, rule), across)
        check_room(sum(map(len, kept)), at_once)
        none = np.empty(0, kept.kind)
        return Joined(*(np.concatenate([none, *r()]) for r in (kept.ranked, kept.removed if judged else list)))


def mined(questions: Questions, found: Joined, settings: Settings, rule: Rule, **more: Any) -> Mined:
    """Return pairs as the result of mining."""
    pairs, removed = [found.pairs], [found.removed]
    return Mined(
        questions, lambda: iter(pairs), rule.probability, settings, None, lambda: iter(removed),
        rule.verdict is not None, **more,
    )  # fmt: skip


def mine_against(
    new: Questions, old: Questions, model: SiameseModel, settings: Settings, rule: Rule,
    old_vectors: np.ndarray | None = None, encoded: Progress = quiet, joined: Progress = quiet,
) -> Mined:  # fmt: skip
    """Find the pairs of new questions with old ones and with each other.

    Clusters are those of the new questions and of the old ones that they are in pairs with.

    Args:
        new, old: the questions.
        model: encodes them.
        settings, rule: as in `compare`.
        old_vectors: (n, d) float32, of the old ones; None: encode them.
        encoded, joined: called with the number of questions or comparisons done and of all.

    Raises:
        UserError: as in `compare`.
    """
    questions, is_new, shown = together(old, new)
    across, texts = Across.of(is_new), questions.texts
    to_encode = across.order if old_vectors is None else across.order[: across.new]
    vectors = vectors_of([texts[i] for i in to_encode.tolist()], model, encoded)
    if old_vectors is not None:  # the old ones are in their order
        vectors = np.concatenate((vectors, old_vectors))
    found = compare(questions, vectors, across, settings, rule, joined)
    ends = np.unique(np.concatenate((found.pairs["first"], found.pairs["second"])))
    partners = ends[~is_new[ends]]
    place = np.empty(len(questions), np.int64)
    place[across.order] = np.arange(len(questions))
    some = Questions([texts[i] for i in partners.tolist()])
    more = compare(some, vectors[place[partners]], Across.of(np.ones(len(partners), bool)), settings, rule).pairs
    for end in ("first", "second"):
        more[end] = partners[more[end]]
    pairs = in_order(np.concatenate((found.pairs, more)))
    return mined(questions, found._replace(pairs=pairs), settings, rule, _new=shown)


def mine_beside_archive(
    new: Questions, memory: Memory, model: SiameseModel, settings: Settings, rule: Rule,
    encoded: Progress = quiet, joined: Progress = quiet,
) -> Mined:  # fmt: skip
    """Mine new questions against those of an archive as `mine_against` does. The archive does not change.

    A new question takes the place of one with its id and another text.
    """
    given = {id: clean(text) for text, id in zip(*new.written()[:2])}
    with memory.reading() as archive:
        stay = [i for i, id in enumerate(archive.ids) if given.get(id) in (None, clean(archive.texts[i]))]
        old = Questions.numbered([archive.ids[i] for i in stay], [archive.texts[i] for i in stay])
        old.further = _payloads(archive, stay)
        vectors = archive.vectors(np.array(stay, np.int64)[np.array(old.rows, np.int64)])
    return mine_against(new, old, model, settings, rule, vectors, encoded, joined)


class Remembering(NamedTuple):
    """The pairs and clusters of an archive, and how to let it remember them once they are written."""

    found: Mined
    memory: Memory
    changes: int
    result: Result
    next: int  # the first number that no cluster had yet
    new: int  # distinct questions that were not mined before
    anew: bool  # whether it was mined before by another threshold or verdict

    def remember(self, found: Mined | None = None) -> None:
        """Let the archive remember the pairs, and the numbers of the clusters of `found`, if it is given.

        Raises:
            ArchiveError: another process is writing, or mined the archive meanwhile.
        """
        clusters = None
        if found is not None:
            number = {row.id: row.cluster for rows in found.clusters for row in rows}
            clusters = Numbered(number, max([self.next - 1, *number.values()]) + 1)
        self.memory.write(self.result._replace(clusters=clusters), self.changes)


def mine_unmined(
    memory: Memory, settings: Settings, rule: Rule, ids: Collection[str] | None = None, joined: Progress = quiet
) -> Remembering:
    """Mine the questions of an archive that were not mined yet, by the threshold and verdict of `rule`.

    Args:
        memory: of the archive.
        settings, rule: as in `compare`. If the archive was mined by others, it is mined anew.
        ids: of questions; the pairs are those of the ones among them that were not mined yet. None: all pairs.
        joined: called with the number of comparisons done and of all.

    Raises:
        UserError: as in `compare`.
    """
    weights = None if rule.verdict is None else sorted(rule.verdict.weights.items())
    how = {"lowest": lowest_above(settings.threshold), "verdict": str(weights)}
    with memory.reading() as archive:
        before = archive.mined if how.items() <= archive.settings.items() else {}
        questions = Questions.numbered(archive.ids, archive.texts)
        questions.further = _payloads(archive, range(len(archive.ids)))
        is_new = np.array([before.get(id, True) for id in questions.ids], bool)
        across = Across.of(is_new)
        vectors = archive.vectors(np.array(questions.rows, np.int64)[across.order])
        number = {id: place for place, id in enumerate(questions.ids) if not is_new[place]}
        known = _known(archive, number, rule) if before else []
        earlier = archive.clusters()
    found = compare(questions, vectors, across, settings, rule, joined)
    del vectors
    pairs = in_order(np.concatenate([np.array(known, found.pairs.dtype), found.pairs]))
    written = questions.written()
    shown = None if ids is None else np.array([id in ids and id not in before for id in written.ids], bool)
    of_distinct = dict.fromkeys(questions.ids, False)
    result = Result(
        {copy.id: True for copy in questions.copies} | of_distinct, dict(zip(archive.ids, archive.texts)),
        _named(found.pairs, questions.ids),
        {**how, "run": int(archive.settings.get("run", 0)) + 1}, None,
    )  # fmt: skip

    def numbers(clusters: list[list[Any]]) -> list[int]:
        return numbered(clusters, earlier.number, earlier.next)

    whole = mined(questions, found._replace(pairs=pairs), settings, rule, _new=shown, _number=numbers)
    anew = bool(archive.mined) and before != archive.mined
    return Remembering(whole, memory, archive.changes, result, earlier.next, across.new, anew)


def _named(pairs: np.ndarray, ids: list[str]) -> Iterator[tuple[str, str, int, int | None]]:
    """Yield pairs, found.PAIR or found.JUDGED, with the ids of their questions, in the order of these as text."""
    rank = np.empty(len(ids), np.int64)
    rank[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
    pairs = pairs[np.lexsort((rank[pairs["second"]], rank[pairs["first"]]))]
    for start in range(0, len(pairs), CHUNK):
        for millionths, first, second, *score in pairs[start : start + CHUNK].tolist():
            yield ids[first], ids[second], millionths, score[0] if score else None


def _payloads(archive: Snapshot, places: Iterable[int]) -> Payloads | None:
    return Payloads(archive.columns, (archive.payloads[i] for i in places)) if archive.columns else None


def _known(archive: Snapshot, number: dict[str, int], rule: Rule) -> list[tuple[int | None, ...]]:
    """Return the pairs that the archive remembers, of questions that are still distinct, as found.PAIR or JUDGED."""
    return [
        (millionths, number[first], number[second], *([] if rule.verdict is None else [score]))
        for first, second, millionths, score in archive.pairs()
        if first in number and second in number
    ]
