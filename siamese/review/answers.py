"""Read a person's answers about pairs, from decisions.csv or from the to_label.csv of `mine --label-sample`."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siamese.errors import DataError
from siamese.mining.tables import LABELS
from siamese.pairs.cells import is_missing, label_of
from siamese.pairs.formats import open_file
from siamese.pairs.pairs import Pairs
from siamese.review.decisions import DIFFERENT, DUPLICATE, Decision, latest, read_decisions
from siamese.review.order import weights


@dataclass(frozen=True)
class Answers:
    """Pairs with a person's answer."""

    pairs: Pairs  # m, labelled 1 duplicate or 0 different
    weight: np.ndarray | None  # (m,) number of mined pairs that each stands for; None: not known

    def __len__(self) -> int:
        return len(self.pairs)


def read_answers(path: str | Path) -> Answers:
    """Read the answers duplicate and different of a file; others are left out.

    Raises:
        DataError: there is no such file, it is of neither kind, or a row is none of its kind.
    """
    return _of_sample(path) if {"is_duplicate", "stratum"} <= set(open_file(path).names) else _of_decisions(path)


def _of_decisions(path: str | Path) -> Answers:
    counting = [d for d in latest(read_decisions(path)).values() if d.question2]
    stands = _weights(counting, path)
    kept = [(d, w) for d, w in zip(counting, stands) if d.answer in (DUPLICATE, DIFFERENT)]
    pairs = Pairs.of(
        (d.question1 for d, _ in kept), (d.question2 for d, _ in kept), (int(d.answer == DUPLICATE) for d, _ in kept)
    )
    weight = np.array([w for _, w in kept])
    return Answers(pairs, weight if (weight > 0).any() else None)


def _weights(decisions: list[Decision], path: str | Path) -> np.ndarray:
    """Return the number of pairs that each decision stands for, 0 if it was not drawn; (n,).

    The draws, such as those of two people with halves of a file, are of different pairs.
    """
    draws: dict[str, list[tuple[int, float, float, int]]] = {}
    for i, decision in enumerate(decisions):
        if decision.value and decision.priority:
            draw, _, stage = decision.stage.rpartition(":")
            try:
                row = (i, _number(decision.value), _number(decision.priority), int(stage or 0))
            except ValueError:
                pair = f"{decision.question1[:40]!r} and {decision.question2[:40]!r}"
                lack = f"value, priority or stage of {pair} is no number; leave them as they are"
                raise DataError(f"{path}: {lack}") from None
            draws.setdefault(draw, []).append(row)
    found = np.zeros(len(decisions))
    for rows in draws.values():
        value, priority, number = (np.array([row[k] for row in rows]) for k in (1, 2, 3))
        found[[row[0] for row in rows]] = weights(value, priority, number)
    return found


def _of_sample(path: str | Path) -> Answers:
    file = open_file(path)
    if missing := [name for name in LABELS if name not in file.names]:
        raise DataError(f"{path}, line 1: no column {missing[0]!r}; expected a file of `mine --label-sample`")
    rows: list[tuple[str, str, int, str, float]] = []
    for line, row in file.records:
        where = f"{path}, line {line}"
        if isinstance(row, str):
            raise DataError(f"{where}: {row}")
        if is_missing(given := row["is_duplicate"]):
            continue
        if (label := label_of(given)) is None:
            raise DataError(f"{where}: is_duplicate is {str(given)[:40]!r}; use 1, 0 or nothing")
        try:
            size = _number(str(row["stratum_pairs"]))
        except ValueError:
            lack = f"stratum_pairs is {str(row['stratum_pairs'])[:40]!r}; leave it as it was"
            raise DataError(f"{where}: {lack}") from None
        rows.append((str(row["question1"]), str(row["question2"]), label, str(row["stratum"]), size))
    drawn = Counter(row[3] for row in rows)
    pairs = Pairs.of((r[0] for r in rows), (r[1] for r in rows), (r[2] for r in rows))
    return Answers(pairs, np.array([r[4] / drawn[r[3]] for r in rows]) if rows else None)


def _number(text: str) -> float:
    """Return a number above 0, which a spreadsheet may have given a comma. Raise ValueError if it is none."""
    if not 0 < (number := float(text.replace(",", "."))) < float("inf"):
        raise ValueError(text)
    return number
