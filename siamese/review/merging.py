"""Join the answers of several people, who may have reviewed parts of one file, or all of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from siamese.review.decisions import (
    DIFFERENT,
    DUPLICATE,
    REPRESENTATIVE,
    UNDO,
    UNSURE,
    Decision,
    latest,
    open_log,
    read_decisions,
)

FIRM = (DUPLICATE, DIFFERENT, REPRESENTATIVE)
Counting = Mapping[frozenset[int], Decision]  # the decisions that count of a file


class Merged(NamedTuple):
    """What several files of decisions say together."""

    decisions: list[Decision]
    disagreements: list[dict[str, Decision]]  # about a pair, by the file's name: duplicate in one, different in another


def merge_files(paths: Sequence[str | Path], out: str | Path) -> Merged:
    """Add the answers of several files to the file `out`, which may hold some already.

    Pairs about which two people disagree are left without an answer in it, so that they are asked about again.

    Raises:
        DataError, UserError: as in `read_decisions` and `open_log`.
    """
    files = {str(path): latest(read_decisions(path)) for path in paths}
    with open_log(out) as log:
        there = latest(log.decisions)
        if not any(Path(path).samefile(out) for path in paths):
            files[str(out)] = there
        merged = merge(files, there)
        rows = [row for row in merged.decisions if not _same(row, there.get(row.about))]
        for made in merged.disagreements:
            one = next(iter(made.values()))
            if one.about in there:
                rows.append(Decision(one.question1, one.question2, UNDO))
        if rows:
            log.append(*rows)
    return merged


def merge(files: Mapping[str, Counting], there: Counting) -> Merged:
    """Join decisions, by the file's name.

    Duplicate and different come before unsure, and unsure before skip. If two people have answered the same draw, only
    the longer list of answers counts as drawn, since each went its own way after the first stage.

    Args:
        files: the decisions that count of each.
        there: those of an earlier merge. A later answer there settles a disagreement.
    """
    longest = _longest(files)
    merged, disagreements = list[Decision](), list[dict[str, Decision]]()
    for about in dict.fromkeys(about for counting in files.values() for about in counting):
        made = {name: counting[about] for name, counting in files.items() if about in counting}
        firm = {name: decision for name, decision in made.items() if decision.answer in FIRM}
        settled = there.get(about)
        if len({decision.answer for decision in firm.values()}) > 1:
            if settled is None or any(d.at >= settled.at for d in firm.values() if d.answer != settled.answer):
                disagreements.append(firm)
                continue
            chosen = settled
        else:
            chosen = min((firm or made).values(), key=lambda decision: decision.answer != UNSURE)
        drawn = (d for name, d in made.items() if d.stage and longest[_draw(d)] == name)
        numbers = next(drawn, Decision("", "", ""))
        merged.append(chosen._replace(value=numbers.value, priority=numbers.priority, stage=numbers.stage))
    return Merged(merged, disagreements)


def _longest(files: Mapping[str, Counting]) -> dict[str, str]:
    """Return, of each draw, the file with the most answers of it."""
    sizes = {name: Counter(_draw(d) for d in counting.values() if d.stage) for name, counting in files.items()}
    draws = dict.fromkeys(draw for found in sizes.values() for draw in found)
    return {draw: max(sizes, key=lambda name: sizes[name][draw]) for draw in draws}


def _draw(decision: Decision) -> str:
    return decision.stage.partition(":")[0]


def _same(row: Decision, there: Decision | None) -> bool:
    return there is not None and row[2:7] == there[2:7] and row.stage == there.stage
