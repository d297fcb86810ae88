"""The CSV files of mining: pairs, clusters, and pairs to label; written, and read back."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from siamese.errors import DataError
from siamese.mining.clusters import Cluster
from siamese.mining.found import MILLION, PAIR
from siamese.mining.labels import Stratum
from siamese.mining.questions import Questions
from siamese.pairs.formats import open_file
from siamese.pairs.reading import label_of
from siamese.system.csv_output import writing_csv

PAIRS = ["question1", "question2", "similarity", "probability"]
LABELS = ["question1", "question2", "is_duplicate", "similarity", "stratum", "stratum_pairs", "stratum_above"]

OF_THESE = "the pairs that were mined from these questions"

Probability = Callable[[np.ndarray], np.ndarray]  # of similarities


def header(ids: bool) -> bytes:
    """The first line of a file of pairs."""
    return (",".join(f'"{name}"' for name in [*PAIRS, *(["id1", "id2"] if ids else [])]) + "\n").encode()


def write_pairs(
    path: str | Path, questions: Questions, ranked: Iterable[np.ndarray], probability: Probability
) -> tuple[int, float | None]:
    """Write pairs (chunks of found.PAIR) as CSV; how many, and the similarity of the last."""
    count, last = 0, None
    texts, ids = questions.texts, questions.ids
    with writing_csv(path, [*PAIRS, *(["id1", "id2"] if ids else [])]) as writer:
        for chunk in ranked:
            similarity = chunk["millionths"] / MILLION
            columns = (chunk["first"], chunk["second"], similarity, np.round(probability(similarity), 6))
            for first, second, s, p in zip(*(column.tolist() for column in columns)):
                writer.writerow([texts[first], texts[second], s, p, *([ids[first], ids[second]] if ids else [])])
            count, last = count + len(chunk), float(similarity[-1])
    return count, last


def read_pairs(path: str | Path, known: Questions | None) -> tuple[Questions, np.ndarray, dict[int, float]]:
    """Read what `write_pairs` wrote.

    Args:
        path: the file.
        known: the questions that it was made of; None: those that it names.

    Returns:
        The questions, the pairs as found.PAIR in the file's order, and the
        probability of each similarity, by its millionths.

    Raises:
        DataError: a file of another kind, or one that names a question that is not among the known ones.
    """
    file = open_file(path)
    if missing := [name for name in PAIRS if name not in file.names]:
        raise DataError(f"{path}, line 1: no column {missing[0]!r}; expected a file that `mine` wrote")
    by_id = "id1" in file.names and "id2" in file.names
    if known is not None and bool(known.ids) != by_id:
        raise DataError(f"{path}: {'has' if by_id else 'has no'} ids, unlike the questions; expected {OF_THESE}")
    names = ("id1", "id2") if by_id else ("question1", "question2")
    questions = Questions() if known is None else known
    keys = questions.ids if by_id else [text.strip() for text in questions.texts]
    number = {key: i for i, key in enumerate(keys)}
    pairs: list[tuple[int, ...]] = []
    probabilities = {}
    for line, row in file.records:
        where = f"{path}, line {line}"
        if isinstance(row, str):
            raise DataError(f"{where}: {row}; expected a row that `mine` wrote")
        ends = []
        for name, text in zip(names, ("question1", "question2")):
            key = str(row[name]) if by_id else str(row[name]).strip()
            if key not in number:
                if known is not None:
                    raise DataError(f"{where}: {name} {key!r} is not among the questions; expected {OF_THESE}")
                number[key] = len(number)
                questions.texts.append(str(row[text]))
                questions.ids += [key] if by_id else []
            ends.append(number[key])
        if ends[0] == ends[1]:
            raise DataError(f"{where}: a question with itself; expected two questions")
        millionths = round(_number(row, "similarity", where) * MILLION)
        probabilities[millionths] = _number(row, "probability", where)
        if pairs and millionths > pairs[-1][0]:
            raise DataError(f"{where}: more similar than the pair before it; expected the most similar first")
        pairs.append((millionths, *ends))
    return questions, np.array(pairs, PAIR), probabilities


def _number(row: Mapping[str, Any], name: str, where: str, high: float = 1) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value <= high:
        raise DataError(f"{where}: {name} {row[name]!r}; expected a number from 0 to {high:g}")
    return value


class ClusterRow(NamedTuple):
    """A question of a cluster, and the question of the cluster that is most similar to it."""

    cluster: int  # its number, from 1
    representative: int  # 1 for the question that stands for the cluster, else 0
    question: str
    id: Any  # None without ids
    neighbour: str
    neighbour_id: Any
    similarity: float  # to the neighbour
    row: int  # of the input, from 0


def cluster_rows(questions: Questions, clusters: Iterable[Cluster]) -> Iterator[list[ClusterRow]]:
    """Return the rows of each cluster; an exact copy follows the question that it is a copy of, its neighbour."""
    texts, copies = questions.texts, questions.copies_of()
    ids, rows = questions.ids or [None] * len(texts), questions.rows or [-1] * len(texts)
    for number, cluster in enumerate(clusters, 1):
        found = []
        for place, (q, near, similarity) in enumerate(cluster.members):
            first = int(place == 0)
            found.append(ClusterRow(number, first, texts[q], ids[q], texts[near], ids[near], similarity, rows[q]))
            for copy in copies.get(q, ()):
                found.append(ClusterRow(number, 0, texts[q], copy.id, texts[q], ids[q], 1.0, copy.row))
        yield found


def write_clusters(path: str | Path, questions: Questions, clusters: Iterable[Cluster]) -> None:
    """Write clusters as CSV, a row for each question, with its ids if there are any."""
    columns = [ClusterRow._fields.index(name) for name in _cluster_columns(bool(questions.ids))]
    found = cluster_rows(questions, clusters)
    write_cluster_rows(path, ([row[i] for i in columns] for rows in found for row in rows), bool(questions.ids))


def write_cluster_rows(path: str | Path, rows: Iterable[Sequence[Any]], ids: bool) -> None:
    """Write the cells of the rows of clusters as CSV, with the names of the columns before them."""
    with writing_csv(path, _cluster_columns(ids)) as writer:
        writer.writerows(rows)


def _cluster_columns(ids: bool) -> list[str]:
    return [name for name in ClusterRow._fields if name != "row" and (ids or not name.endswith("id"))]


def write_sample(
    path: str | Path, questions: Questions, pairs: np.ndarray, strata: Sequence[int], cut: Sequence[Stratum]
) -> None:
    """Write pairs for a person to label; `strata` is the stratum of each, from 0."""
    texts, ids = questions.texts, questions.ids
    with writing_csv(path, [*LABELS, *(["id1", "id2"] if ids else [])]) as writer:
        for (millionths, first, second), h in zip(pairs.tolist(), strata):
            row = [texts[first], texts[second], "", millionths / MILLION, h + 1, cut[h].pairs, cut[h].above]
            writer.writerow([*row, *([ids[first], ids[second]] if ids else [])])


def read_labels(path: str | Path) -> tuple[list[Stratum], list[int], list[int]]:
    """Read a file of pairs that a person has labelled: the strata, and of each the labels and the duplicates.

    Pairs without a label do not count: the file's order is random, so that one may stop anywhere.

    Raises:
        DataError: a file of another kind, a label that is none, or a stratum without a label.
    """
    file = open_file(path)
    if missing := [name for name in LABELS if name not in file.names]:
        raise DataError(f"{path}, line 1: no column {missing[0]!r}; expected a file that `mine --label-sample` wrote")
    cut: dict[int, Stratum] = {}
    counts: dict[int, list[int]] = {}
    for line, row in file.records:
        where = f"{path}, line {line}"
        if isinstance(row, str):
            raise DataError(f"{where}: {row}; expected a row that `mine --label-sample` wrote")
        h = int(_number(row, "stratum", where, 1e9))
        stratum = Stratum(int(_number(row, "stratum_pairs", where, 1e18)), _number(row, "stratum_above", where))
        if cut.setdefault(h, stratum) != stratum:
            raise DataError(f"{where}: stratum {h} is not as in the rows before; expected the file as it was written")
        given = str(row["is_duplicate"] if row["is_duplicate"] is not None else "").strip()
        label = label_of(given) if given else None
        if given and label is None:
            raise DataError(f"{where}: is_duplicate {given!r}; expected 1, 0 or nothing")
        labelled = counts.setdefault(h, [0, 0])
        if label is not None:
            labelled[0] += 1
            labelled[1] += label
    strata = sorted(cut)
    if not any(counts[h][0] for h in strata):
        raise DataError(f"{path}: no pair has a label; expected 1 or 0 in the column is_duplicate")
    if strata != list(range(1, len(strata) + 1)):
        raise DataError(f"{path}: strata {strata}; expected all from 1 on, so give the whole file")
    for h in strata:
        if counts[h][0] == 0:
            raise DataError(f"{path}: no pair of stratum {h} has a label; label one of them at least")
    return [cut[h] for h in strata], [counts[h][0] for h in strata], [counts[h][1] for h in strata]
