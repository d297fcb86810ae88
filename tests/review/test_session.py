"""The review of pairs: their order, what is kept of each answer, undo, parts, and merging."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from files import write_csv

from siamese.errors import UserError
from siamese.review.asked import Asked, Part
from siamese.review.decisions import (
    DIFFERENT,
    DUPLICATE,
    SKIP,
    UNDO,
    UNSURE,
    Decision,
    latest,
    open_log,
    read_decisions,
)
from siamese.review.journal import Journal
from siamese.review.merging import merge_files
from siamese.review.order import STAGE, queue
from siamese.review.session import PairReview

COUNT = 40


def pairs_file(folder: Path, count: int = COUNT) -> Path:
    rows = [[f"How old is number {i}?", f"What is the age of number {i}?", 0.99 - i / 100, 0.99 - i / 50]
            for i in range(count)]  # fmt: skip
    return write_csv(folder / "duplicates.csv", rows, "question1,question2,similarity,probability")


@contextmanager
def reviewing(pairs: Path, decisions: Path, part: str = "1/1", seed: int = 0, by: str = "") -> Iterator[PairReview]:
    with open_log(decisions) as log:
        yield PairReview(Asked.read(pairs), Journal(log, by), Part.parse(part), seed)


def ask(review: PairReview, *answers: str) -> list[str]:
    """Answer, and return the first questions that were asked."""
    asked = []
    for answer in answers:
        assert review.task
        asked.append(review.task.question1)
        review.answer(answer)
    return asked


@pytest.fixture()
def pairs(tmp_path: Path) -> Path:
    return pairs_file(tmp_path)


def test_each_answer_is_on_disk_with_its_numbers(pairs: Path, tmp_path: Path) -> None:
    probability = np.array([0.99 - i / 50 for i in range(COUNT)])
    answers = [DUPLICATE, DIFFERENT, UNSURE, SKIP, *[DIFFERENT] * (STAGE - 4)]
    order, value, priority = queue(probability, 3)
    second = queue(probability, 3, order[:STAGE], [1, 0, None, None, *[0] * (STAGE - 4)], 1)
    with reviewing(pairs, tmp_path / "d.csv", seed=3, by="ann") as review:
        for place, answer in enumerate(answers):
            pair = int(order[place])
            assert review.task == (f"How old is number {pair}?", f"What is the age of number {pair}?")
            review.answer(answer)
            assert review.last and review.last.similarity == pytest.approx(0.99 - pair / 100)
            row = read_decisions(tmp_path / "d.csv")[-1]
            assert (row.answer, row.by, row.question1) == (answer, "ann", f"How old is number {pair}?")
            numbers = [0.99 - pair / 100, probability[pair], value[pair], priority[pair]]
            assert [float(cell) for cell in row[3:7]] == pytest.approx(numbers)
            assert re.fullmatch("[0-9a-f]{8}:0", row.stage)
        assert review.progress.done == STAGE and review.progress.total == COUNT
        ask(review, UNSURE)
        last = read_decisions(tmp_path / "d.csv")[-1]
        pair = int(second[0][0])
        assert last.question1 == f"How old is number {pair}?" and last.stage == row.stage[:-1] + "1"
        assert [float(last.value), float(last.priority)] == [second[1][pair], second[2][pair]]
    with reviewing(pairs, tmp_path / "d.csv", seed=3) as review:
        assert review.undo()  # keeps the numbers that it was drawn with
        ask(review, DUPLICATE, DUPLICATE)
        again, after = read_decisions(tmp_path / "d.csv")[-2:]
        assert (again.question1, again[5:7], again.stage) == (last.question1, last[5:7], last.stage)
        assert after.stage == row.stage[:-1] + "2"  # of the second session


def test_undo_also_of_an_earlier_session(pairs: Path, tmp_path: Path) -> None:
    with reviewing(pairs, tmp_path / "d.csv") as review:
        first, second, third = ask(review, DUPLICATE, DIFFERENT, DUPLICATE)
        assert review.undo() and review.task and review.task.question1 == third
        review.answer(UNSURE)
    with reviewing(pairs, tmp_path / "d.csv") as review:
        assert review.undo() and review.undo() and review.task and review.task.question1 == second
    with reviewing(pairs, tmp_path / "d.csv") as review:
        assert review.undo() and review.task and review.task.question1 == first
        assert not review.undo() and review.progress.done == 0
    rows = read_decisions(tmp_path / "d.csv")
    assert [row.answer for row in rows if row.answer == UNDO] == [UNDO] * 4 and latest(rows) == {}


def test_the_next_session_goes_on_and_asks_skipped_pairs_last(tmp_path: Path) -> None:
    pairs = pairs_file(tmp_path, 4)
    with reviewing(pairs, tmp_path / "d.csv") as review:
        asked = ask(review, SKIP, DUPLICATE)
    with reviewing(pairs, tmp_path / "d.csv") as review:
        again = ask(review, *[DIFFERENT] * 3)
        assert review.task is None and again[-1] == asked[0] and len({*asked, *again}) == 4
    with reviewing(pairs, tmp_path / "d.csv") as review:
        assert review.task is None and review.progress.answers == {DIFFERENT: 3, DUPLICATE: 1}
        with pytest.raises(ValueError, match="expected one of"):
            review.answer(DUPLICATE)


def test_parts_have_all_pairs_once_and_each_its_share_of_the_best(pairs: Path, tmp_path: Path) -> None:
    parts, stages = list[str](), set[str]()
    for part in ("1/3", "2/3", "3/3"):
        with reviewing(pairs, tmp_path / f"{part[0]}.csv", part) as review:
            asked = ask(review, *[UNSURE] * review.progress.total)
            assert review.task is None
            assert sum(f"number {i}?" in question for i in range(12) for question in asked) == 4
        parts += asked
        stages |= {d.stage[:8] for d in read_decisions(tmp_path / f"{part[0]}.csv")}
    assert sorted(parts) == sorted(f"How old is number {i}?" for i in range(COUNT)) and len(stages) == 3


def test_what_others_have_answered_is_not_asked(pairs: Path, tmp_path: Path) -> None:
    with reviewing(pairs, tmp_path / "all.csv") as review:
        asked = ask(review, UNSURE, UNSURE)
    with open_log(tmp_path / "d.csv") as log:
        log.append(Decision(asked[0].replace("How old is", "What is the age of"), asked[0], DUPLICATE, by="ben"))
    with reviewing(pairs, tmp_path / "d.csv", by="ann") as review:
        assert review.progress.answers == {DUPLICATE: 1} and asked[0] not in ask(review, *[UNSURE] * (COUNT - 1))
        assert review.task is None


@pytest.mark.parametrize("part", ["2", "0/2", "3/2", "1/0", "a/b", "-1/2"])
def test_wrong_parts(part: str) -> None:
    with pytest.raises(UserError, match="--part .*: expected a part such as 1/2"):
        Part.parse(part)


def test_two_halves_are_joined_and_disagreements_stay_open(pairs: Path, tmp_path: Path) -> None:
    a, b, both = (tmp_path / name for name in ("a.csv", "b.csv", "decisions.csv"))
    with reviewing(pairs, a, "1/2", by="ann") as review:
        first = ask(review, *[DUPLICATE] * 5)
    with reviewing(pairs, b, "2/2", by="ben") as review:
        second = ask(review, *[DIFFERENT] * 3)
    with open_log(b) as log:  # he also looked at one of hers
        log.append(Decision(first[2], first[2].replace("How old is", "What is the age of"), DIFFERENT, by="ben"))
    merged = merge_files([a, b], both)
    (made,) = merged.disagreements
    assert [(Path(name).name, d.answer, d.by) for name, d in made.items()] == [
        ("a.csv", DUPLICATE, "ann"), ("b.csv", DIFFERENT, "ben"),
    ]  # fmt: skip
    rows = [*read_decisions(a), *read_decisions(b)]
    assert read_decisions(both) == [row for row in rows if row.question1 != first[2]]  # with all their numbers
    size = both.stat().st_size
    merge_files([a, b], both)
    assert both.stat().st_size == size  # again adds nothing
    with reviewing(pairs, both) as review:
        assert first[2] in ask(review, *[DUPLICATE] * (COUNT - 7))
    assert not merge_files([a, b], both).disagreements  # it is settled by the later answer
    with reviewing(pairs, b, "2/2", by="ben") as review:
        assert review.undo() and review.undo() and review.task and review.task.question1 == second[2]
        review.answer(DIFFERENT)
    assert [*made] == [str(a), str(b)]


def test_of_two_reviews_of_the_same_pairs_the_longer_one_counts_as_drawn(pairs: Path, tmp_path: Path) -> None:
    for name, answers in (("a", [UNSURE] * 3), ("b", [SKIP, DUPLICATE, *[DIFFERENT] * 4])):
        with reviewing(pairs, tmp_path / f"{name}.csv") as review:
            ask(review, *answers)
    with reviewing(pairs, tmp_path / "a.csv") as review:
        alone = ask(review, DIFFERENT)  # of her own second stage
    merged = merge_files([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "decisions.csv")
    drawn = [d for d in merged.decisions if d.stage]
    assert [d.answer for d in drawn] == [UNSURE, DUPLICATE, *[DIFFERENT] * 4] and not merged.disagreements
    assert {d.question1 for d in merged.decisions} - {d.question1 for d in drawn} <= {*alone}


def test_an_answer_that_contradicts_others_is_named_with_the_chain(tmp_path: Path) -> None:
    rows = [[one, two, 0.9, 0.5] for one, two in (("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"))]
    pairs = write_csv(tmp_path / "duplicates.csv", rows, "question1,question2,similarity,probability")
    answers = {frozenset("ac"): DIFFERENT}
    faults = []
    with reviewing(pairs, tmp_path / "d.csv") as review:
        while review.task:
            review.answer(answers.get(frozenset(review.task), DUPLICATE))
            assert review.last
            faults.append(review.last.fault)
    (fault,) = filter(None, faults)  # named once
    assert "'a' = 'b' = 'c'" in fault or "'c' = 'b' = 'a'" in fault
