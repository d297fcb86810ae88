"""Turn clusters and decisions into a person's own file again, with one question of each cluster kept."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from siamese.errors import DataError, UserError
from siamese.mining.mined import Mined
from siamese.mining.tables import ClusterRow
from siamese.pairs.cells import is_missing, text_of
from siamese.pairs.formats import Faults
from siamese.pairs.questions import whole_rows
from siamese.system.csv_output import cells_for, names_beside, writing_csv

ADDED = ("cluster", "representative", "decision", "why")
PREFIX = "review_"  # of an added column whose name is taken
KEEP, DROP = "keep", "drop"
RULES = ("first", "longest", "representative")  # and newest:COLUMN
NEWEST = "newest:"


class Fate(NamedTuple):
    """What becomes of a row of the file."""

    cluster: int | None  # from 1; None if it has no duplicate
    representative: int | None  # 1 for the representative of its cluster, else 0
    decision: str  # KEEP or DROP
    why: str


ALONE = Fate(None, None, KEEP, "no duplicate")
BLANK = Fate(None, None, KEEP, "no question")


def fates(found: Mined, rule: str, values: Sequence[float] = ()) -> dict[int, Fate]:
    """Return what becomes of each row that has a duplicate.

    Args:
        found: the clusters, of questions that were read from a file.
        rule: which question of a cluster is kept: one of RULES, or NEWEST and the name of a column.
        values: the `ages` of that column, of each row.

    Raises:
        UserError: another rule.
    """
    if rule not in RULES and not rule.startswith(NEWEST):
        raise UserError(f"--keep {rule}: give one of {', '.join(RULES)}, or {NEWEST}COLUMN")
    decided = found.partners()
    by_row: dict[int, Fate] = {}
    for cluster in found.clusters:
        kept = _kept(cluster, rule, values)
        for member in cluster:
            if member is kept:
                why = f"the {rule.replace(':', ' by ')} of {len(cluster)}"
            elif member.question in decided:
                why = f"decided to be a duplicate of {decided[member.question]!r}"
            elif member.similarity == 1:
                why = f"a copy of {member.neighbour!r}"
            else:
                why = f"similarity {member.similarity:.3f} to {member.neighbour!r}"
            decision = KEEP if member is kept else DROP
            by_row[member.row] = Fate(member.cluster, member.representative, decision, why)
    return by_row


def _kept(cluster: Sequence[ClusterRow], rule: str, values: Sequence[float]) -> ClusterRow:
    if rule == "representative":
        return cluster[0]
    in_order = sorted(cluster, key=lambda member: member.row)
    if rule == "first":
        return in_order[0]
    if rule == "longest":
        return max(in_order, key=lambda member: len(member.question))
    return max(in_order, key=lambda member: values[member.row])


def ages(values: Sequence[Any], column: str, path: str | Path) -> list[float]:
    """Return the values of a column as numbers that grow with time; a missing one is the oldest.

    Raises:
        DataError: a value is neither a number nor a date as in ISO 8601, or the column has both.
    """
    found, kinds = [], set()
    for row, value in enumerate(values, 1):
        if is_missing(value):
            found.append(-float("inf"))
            continue
        try:
            found.append(float(value))
            kinds.add("numbers")
        except (TypeError, ValueError):
            try:
                moment = datetime.fromisoformat(str(value).strip())
            except ValueError:
                problem = f"{column} is {str(value)[:40]!r}; expected a number, or a date such as 2026-01-31"
                raise DataError(f"{path}, row {row}: {problem}") from None
            found.append((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
            kinds.add("dates")
    if len(kinds) == 2:
        raise DataError(f"{path}: column {column} has numbers and dates; expected one of them")
    return found


def read_column(path: str | Path, column: str) -> list[Any]:
    """Return the values of a column of a file, one for each row."""
    _, rows = whole_rows(path, [column], Faults(str(path)), lambda row: row.get(column))
    return [value for _, value, _ in rows]


def write_rows(path: str | Path, column: str, by_row: Mapping[int, Fate], out: str | Path, every: bool) -> int:
    """Write rows of a file again, in its order. Return their number.

    Args:
        path: the file.
        column: of the questions.
        by_row: what becomes of rows, from 0; all others stay.
        out: the file to write, atomically, whose ending names its format.
        every: write all rows, with the columns ADDED; else those that are kept, as they are.
    """
    names, rows = whole_rows(
        path, [column], Faults(str(path)), lambda row: text_of(row.get(column), column, whole=True)
    )
    count = 0
    with writing_csv(out, names_beside(names, ADDED if every else (), PREFIX)) as writer:
        for row, (cells, question, _) in enumerate(rows):
            fate = by_row.get(row, ALONE if question else BLANK)
            if every or fate.decision == KEEP:
                writer.writerow([*cells_for(out, cells), *(fate if every else ())])
                count += 1
    return count
