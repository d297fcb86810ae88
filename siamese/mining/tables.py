"""Write and read the CSV files of mining: pairs, clusters, and pairs to label."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, count
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from siamese.errors import DataError
from siamese.mining.clusters import Member
from siamese.mining.columns import PREFIX, FileColumns, both_of, of_both
from siamese.mining.found import JUDGED, MILLION, PAIR, score_of
from siamese.mining.labels import Stratum
from siamese.mining.questions import Copy, Questions
from siamese.model.files import DIFFERS
from siamese.pairs.cells import Refused, is_missing, label_of, needed
from siamese.pairs.formats import open_file
from siamese.system.csv_output import cells_for, names_beside, writing_csv
from siamese.system.outputs import is_for_labels
from siamese.text.cleaning import clean

PAIRS = ["question1", "question2", "similarity", "probability"]
LABELS = ["question1", "question2", "is_duplicate", "similarity", "stratum", "stratum_pairs", "stratum_above"]
IDS = ["id1", "id2"]

OF_THESE = "the pairs that were mined from these questions"

Probability = Callable[[np.ndarray], np.ndarray]  # of scores
Rows = Iterator[tuple[str, Mapping[str, Any]]]  # rows of a file, each after its place for an error


def pair_names(ids: bool, by_verdict: bool = False, further: Sequence[str] = ()) -> list[str]:
    """Return the columns of a file of pairs.

    Args:
        ids: whether the questions have ids.
        by_verdict: whether a verdict orders the pairs, so that the file says what differs.
        further: the further columns of the questions.
    """
    names = PAIRS + (IDS if ids else []) + ([DIFFERS] if by_verdict else [])
    return names_beside(names, of_both(further), PREFIX)


def write_pairs(
    path: str | Path, questions: Questions, ranked: Iterable[np.ndarray], probability: Probability,
    by_verdict: bool = False,
) -> tuple[int, float | None]:  # fmt: skip
    """Write pairs, chunks of found.PAIR or found.JUDGED, as CSV. Return their number and the lowest similarity.

    Copies are numbered as in `Questions.written`.
    """
    written_pairs, lowest = 0, None
    written = questions.written()
    texts = written.texts
    with writing_csv(path, pair_names(bool(questions.ids), by_verdict, questions.names)) as writer:
        for chunk in ranked:
            similarity = chunk["millionths"] / MILLION
            ends = chunk["first"].tolist(), chunk["second"].tolist()
            columns: list[Iterable[Any]] = [map(texts.__getitem__, side) for side in ends]
            columns += [similarity.tolist(), np.round(probability(score_of(chunk) / MILLION), 6).tolist()]
            columns += [map(written.ids.__getitem__, side) for side in ends if written.ids]
            columns += [questions.differs(chunk)] if by_verdict else []
            if (further := questions.further) is None:
                writer.writerows(zip(*columns))
            else:
                for row, *both in zip(zip(*columns), *ends):
                    cells = (further.row(written.rows[end]) for end in both)
                    writer.writerow([*row, *cells_for(path, chain.from_iterable(zip(*cells)))])
            written_pairs += len(chunk)
            least = float(similarity.min())
            lowest = least if lowest is None else min(lowest, least)
    return written_pairs, lowest


def read_pairs(path: str | Path, known: Questions | None) -> tuple[Questions, np.ndarray, dict[int, float]]:
    """Read a file that `write_pairs` wrote.

    Args:
        path: the file.
        known: the questions that were mined; None takes those that the file names, with their copies.

    Returns:
        The questions, the pairs of different ones in the file's order, and the probability of each score, by its
        millionths, with that of copies for a million. The pairs are found.PAIR, or found.JUDGED if a verdict ordered
        them, with the probability as their score.

    Raises:
        DataError: the file is of another kind, or names a question that is not among the known ones, or has
            another text there.
    """
    names, rows = _open(path, PAIRS, "mine")
    by_id, by_verdict = set(IDS) <= set(names), DIFFERS in names
    if known is not None and bool(known.ids) != by_id:
        raise DataError(f"{path}: {'has' if by_id else 'has no'} ids, unlike the questions; expected {OF_THESE}")
    questions = Questions() if known is None else known
    keys = questions.ids if by_id else [text.strip() for text in questions.texts]
    number = {copy.id if by_id else copy.text.strip(): copy.question for copy in questions.copies}
    number |= {key: i for i, key in enumerate(keys)}
    further = both_of(names, pair_names(by_id, by_verdict)) if known is None else []
    pairs: list[tuple[int, ...]] = []
    copies: list[tuple[list[_End], int, Mapping[str, Any]]] = []  # their place and row
    places: list[int] = []  # of each question, the first row that names it
    probabilities: dict[int, float] = {}
    least = MILLION  # score of the row before
    for place, (where, row) in enumerate(rows):
        given = _ends(row, by_id, where)
        millionths, p = round(_number(row, "similarity", where) * MILLION), _number(row, "probability", where)
        score = round(p * MILLION) if by_verdict else millionths
        if score > least:
            how = "probable" if by_verdict else "similar"
            raise DataError(f"{where}: more {how} than the pair before it; expected the most {how} first")
        least = score
        are_copies = millionths == MILLION and clean(given[0].question) == clean(given[1].question)
        if are_copies and not (by_id and given[0].key == given[1].key):
            probabilities[MILLION] = p
            if known is None:
                copies.append((given, place, row if further else {}))
                continue
        ends: list[int] = []
        for side, (name, (key, question)) in enumerate(zip(IDS if by_id else PAIRS, given), 1):
            if key not in number:
                if known is not None:
                    raise DataError(f"{where}: {name} {key!r} is not among the questions; expected {OF_THESE}")
                number[key] = len(number)
                questions.texts.append(question)
                questions.ids += [key] if by_id else []
                places.append(place)
                if further:
                    questions.rows.append(_keep(questions, further, row, side))
            ends.append(number[key])
            if by_id and question != (text := questions.texts[ends[-1]]) and clean(question) != clean(text):
                other = f"{name} {key!r} is {text[:60]!r} among the questions, and {question[:60]!r} here"
                raise DataError(f"{where}: {other}; expected {OF_THESE}")
        if ends[0] == ends[1]:
            if are_copies and not (by_id and given[0].key == given[1].key):  # one of the known copies
                continue
            raise DataError(f"{where}: a question with itself; expected two questions")
        probabilities[score] = p
        pairs.append((millionths, *ends, score) if by_verdict else (millionths, *ends))
    found = np.array(pairs, JUDGED if by_verdict else PAIR)
    for given, place, row in copies:
        of, kept = _add_copy(questions, number, places, given, place, by_id), list[int]()
        for side in (of, 3 - of) if further else ():
            kept.append(_keep(questions, further, row, side))
        if kept:
            if len(questions.rows) < len(questions):
                questions.rows.append(kept[0])
            questions.copies[-1] = questions.copies[-1]._replace(row=kept[1])
    if copies:  # number the questions by the rows again
        order = np.argsort(places, kind="stable")
        new = np.argsort(order, kind="stable")
        questions.texts = [questions.texts[i] for i in order.tolist()]
        questions.ids = [questions.ids[i] for i in order.tolist()] if by_id else []
        questions.rows = array("q", [questions.rows[i] for i in order.tolist()] if further else [])
        questions.copies = [copy._replace(question=int(new[copy.question])) for copy in questions.copies]
        found["first"], found["second"] = new[found["first"]], new[found["second"]]
    return questions, found, probabilities


class _End(NamedTuple):
    key: str  # the id, or without ids the text
    question: str


def _ends(row: Mapping[str, Any], by_id: bool, where: str) -> list[_End]:
    ends = []
    for name, text in zip(IDS if by_id else PAIRS, PAIRS[:2]):
        try:
            question = needed(row[text], text)
            ends.append(_End(needed(row[name], name, whole=True) if by_id else question.strip(), question))
        except Refused as fault:
            raise DataError(f"{where}: {fault}; expected a row that `mine` wrote") from None
    return ends


def _add_copy(
    questions: Questions, number: dict[str, int], places: list[int], given: list[_End], place: int, by_id: bool
) -> int:
    """Add a pair of copies of a file. Of the two, the question is the one that other pairs have, else the first.

    Return which one of the two, 1 or 2, is the question.
    """
    is_first = given[0].key in number or given[1].key not in number
    of, copy = given if is_first else given[::-1]
    if of.key not in number:
        number[of.key] = len(questions)
        questions.texts.append(of.question)
        questions.ids += [of.key] if by_id else []
        places.append(place)
    places[number[of.key]] = min(places[number[of.key]], place)
    number.setdefault(copy.key, number[of.key])
    questions.copies.append(Copy(number[of.key], copy.key if by_id else None, -1, copy.question))
    return 1 if is_first else 2


def _keep(questions: Questions, further: Sequence[str], row: Mapping[str, Any], side: int) -> int:
    """Keep the further cells of the first or second question of a row. Return where they are."""
    place = len(questions.further) if isinstance(questions.further, FileColumns) else 0
    questions.keep(place, {name: row[f"{name}{side}"] for name in further})
    return place


def _open(path: str | Path, names: list[str], command: str) -> tuple[list[str], Rows]:
    """Open a file that a command wrote, check its columns, and return all of them and its rows."""
    file = open_file(path)
    if missing := [name for name in names if name not in file.names]:
        raise DataError(f"{path}, line 1: no column {missing[0]!r}; expected a file that `{command}` wrote")

    def rows() -> Rows:
        for line, row in file.records:
            if isinstance(row, str):
                raise DataError(f"{path}, line {line}: {row}; expected a row that `{command}` wrote")
            yield f"{path}, line {line}", {name: row.get(name) for name in file.names}  # an object may lack some

    return file.names, rows()


def _number(row: Mapping[str, Any], name: str, where: str, high: float = 1) -> float:
    try:
        value = float(str(row[name]).replace(",", "."))  # a decimal comma of a spreadsheet
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value <= high:
        raise DataError(f"{where}: {name} {row[name]!r}; expected a number from 0 to {high:g}")
    return value


class ClusterRow(NamedTuple):
    """A question of a cluster, and the question of the cluster that is most similar to it."""

    cluster: int  # from 1
    representative: int  # 1 for the representative of the cluster, else 0
    question: str
    id: Any  # None without ids
    neighbour: str
    neighbour_id: Any
    similarity: float  # to the neighbour
    row: int  # of the input, from 0


def cluster_names(ids: bool, further: Sequence[str] = ()) -> list[str]:
    """Return the columns of a file of clusters, with or without ids, and with the further columns of the questions."""
    names = [name for name in ClusterRow._fields if name != "row" and (ids or not name.endswith("id"))]
    # A column of labels would look as if a person had filled it in, so that the file were never replaced.
    own = [PREFIX + name if is_for_labels(name) else name for name in further]
    return names + names_beside(ClusterRow._fields, own, PREFIX)[len(ClusterRow._fields) :]


def cluster_rows(
    questions: Questions, clusters: Iterable[list[Member]], numbers: Iterable[int] | None = None
) -> Iterator[list[ClusterRow]]:
    """Yield the rows of each cluster. A copy follows its question, which is its neighbour.

    Args:
        questions: all questions.
        clusters: their members.
        numbers: of the clusters; None: from 1 on.
    """
    texts, copies = questions.texts, questions.copies_of()
    ids, rows = questions.ids or [None] * len(texts), questions.rows or [-1] * len(texts)
    for number, cluster in zip(count(1) if numbers is None else numbers, clusters):
        found = []
        for place, (q, near, similarity) in enumerate(cluster):
            first = int(place == 0)
            found.append(ClusterRow(number, first, texts[q], ids[q], texts[near], ids[near], similarity, rows[q]))
            for copy in copies.get(q, ()):
                found.append(ClusterRow(number, 0, copy.text, copy.id, texts[q], ids[q], 1.0, copy.row))
        yield found


def write_clusters(
    path: str | Path, questions: Questions, clusters: Iterable[list[Member]], escape: bool = True,
    numbers: Iterable[int] | None = None,
) -> None:  # fmt: skip
    """Write clusters as CSV, a row for each question, with its ids if there are any; `escape` as in `csv_writer`."""
    cells_of = attrgetter(*cluster_names(bool(questions.ids)))
    with writing_csv(path, cluster_names(bool(questions.ids), questions.names), escape) as writer:
        if (further := questions.further) is not None:
            rows = (row for rows in cluster_rows(questions, clusters, numbers) for row in rows)
            writer.writerows([*cells_of(row), *cells_for(path, further.row(row.row))] for row in rows)
            return
        writer.writerows(cells_of(row) for rows in cluster_rows(questions, clusters, numbers) for row in rows)


def write_sample(
    path: str | Path, questions: Questions, pairs: np.ndarray, strata: Sequence[int], cut: Sequence[Stratum],
    escape: bool = True,
) -> None:  # fmt: skip
    """Write pairs for a person to label; `strata` is the stratum of each, from 0, and `escape` as in `csv_writer`."""
    written = questions.written()
    texts = written.texts
    with writing_csv(path, LABELS + (IDS if questions.ids else []), escape) as writer:
        for (millionths, first, second), h in zip(pairs.tolist(), strata):
            row = [texts[first], texts[second], "", millionths / MILLION, h + 1, cut[h].pairs, cut[h].above]
            writer.writerow([*row, *written.ids_of(first, second)])


def read_labels(path: str | Path) -> tuple[list[Stratum], list[int], list[int]]:
    """Read a labelled sample. Return its strata, and the labels and the duplicates of each.

    Pairs without a label do not count. The file is in random order, so labelling may stop anywhere.

    Raises:
        DataError: the file is of another kind, a label is not 0 or 1, or a stratum has no label.
    """
    _, rows = _open(path, LABELS, "mine --label-sample")
    cut: dict[int, Stratum] = {}
    labels: dict[int, list[int]] = {}
    for where, row in rows:
        h = int(_number(row, "stratum", where, 1e9))
        stratum = Stratum(int(_number(row, "stratum_pairs", where, 1e18)), _number(row, "stratum_above", where))
        if cut.setdefault(h, stratum) != stratum:
            raise DataError(f"{where}: stratum {h} differs from the rows before; give the file as it was written")
        known = labels.setdefault(h, [])
        if not is_missing(given := row["is_duplicate"]):
            if (label := label_of(given)) is None:
                raise DataError(f"{where}: is_duplicate is {str(given)[:40]!r}; use 1, 0 or nothing")
            known.append(label)
    strata = sorted(cut)
    if not any(labels.values()):
        raise DataError(f"{path}: no pair has a label; write 1 or 0 into the column is_duplicate")
    if strata != list(range(1, len(strata) + 1)):
        raise DataError(f"{path}: strata {strata}, expected all from 1 on; give the whole file")
    if empty := [h for h in strata if not labels[h]]:
        raise DataError(f"{path}: no pair of stratum {empty[0]} has a label; label at least one of them")
    return [cut[h] for h in strata], [len(labels[h]) for h in strata], [sum(labels[h]) for h in strata]
