"""The review of pairs: their order, what is kept of each answer, undo, parts, and merging."""

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
from siamese.review.order import queue
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
    order, value, priority = queue(probability, 3)
    with reviewing(pairs, tmp_path / "d.csv", seed=3, by="ann") as review:
        for place, answer in enumerate((DUPLICATE, DIFFERENT, UNSURE, SKIP)):
            pair = int(order[place])
            assert review.task == (f"How old is number {pair}?", f"What is the age of number {pair}?")
            review.answer(answer)
            assert review.last and review.last.similarity == pytest.approx(0.99 - pair / 100)
            row = read_decisions(tmp_path / "d.csv")[-1]
            assert (row.answer, row.by, row.question1) == (answer, "ann", f"How old is number {pair}?")
            numbers = [0.99 - pair / 100, probability[pair], value[pair], priority[pair]]
            assert [float(cell) for cell in row[3:7]] == pytest.approx(numbers)
        assert review.progress.done == 4 and review.progress.total == COUNT


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


def test_parts_share_the_first_pairs(pairs: Path, tmp_path: Path) -> None:
    with reviewing(pairs, tmp_path / "all.csv") as review:
        whole = ask(review, *[UNSURE] * COUNT)
    parts = []
    for part in ("1/3", "2/3", "3/3"):
        with reviewing(pairs, tmp_path / f"{part[0]}.csv", part) as review:
            parts.append(ask(review, *[UNSURE] * review.progress.total))
            assert review.task is None
    assert [whole[i::3] for i in range(3)] == parts


def test_what_others_have_answered_counts_as_drawn_once_it_is_reached(pairs: Path, tmp_path: Path) -> None:
    """A decision without a priority, such as about a cluster, gets the one that its pair has in the order."""
    asked = Asked.read(pairs)
    order, _, priority = queue(asked.probability, 0)
    second = int(order[1])
    with open_log(tmp_path / "d.csv") as log:
        log.append(Decision(asked.texts[2 * second], asked.texts[2 * second + 1], DUPLICATE, by="ben", at="then"))
    with reviewing(pairs, tmp_path / "d.csv", by="ann") as review:
        assert read_decisions(tmp_path / "d.csv")[-1].priority == ""
        ask(review, DIFFERENT)
        row = read_decisions(tmp_path / "d.csv")[-1]
        assert (row.answer, row.by, row.at) == (DUPLICATE, "ben", "then")
        assert float(row.priority) == priority[second]
        assert review.undo() and review.progress.answers == {DUPLICATE: 1}  # what was not answered here stays
    with reviewing(pairs, tmp_path / "d.csv", seed=1) as review:  # another draw
        assert all(row.priority == "" for row in latest(read_decisions(tmp_path / "d.csv")).values())


@pytest.mark.parametrize("part", ["2", "0/2", "3/2", "1/0", "a/b", "-1/2"])
def test_wrong_parts(part: str) -> None:
    with pytest.raises(UserError, match="--part .*: expected a part such as 1/2"):
        Part.parse(part)


def test_two_halves_are_one_sample_and_disagreements_stay_open(pairs: Path, tmp_path: Path) -> None:
    with reviewing(pairs, tmp_path / "a.csv", "1/2", by="ann") as review:
        first = ask(review, *[DUPLICATE] * 10)
    with reviewing(pairs, tmp_path / "b.csv", "2/2", by="ben") as review:
        second = ask(review, *[DIFFERENT] * 4)
    with open_log(tmp_path / "b.csv") as log:  # he also looked at one of hers
        log.append(Decision(first[2], first[2].replace("How old is", "What is the age of"), DIFFERENT, by="ben"))
    merged = merge_files([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "decisions.csv")
    (made,) = merged.disagreements
    assert [(Path(name).name, d.answer, d.by) for name, d in made.items()] == [
        ("a.csv", DUPLICATE, "ann"), ("b.csv", DIFFERENT, "ben"),
    ]  # fmt: skip
    found = latest(read_decisions(tmp_path / "decisions.csv"))
    drawn = {d.question1 for d in found.values() if d.priority}
    with reviewing(pairs, tmp_path / "all.csv") as review:
        whole = ask(review, *[UNSURE] * COUNT)
    assert len(found) == 13 and drawn == {*whole[:8]} - {first[2]} == {*first[:4], *second} - {first[2]}
    size = (tmp_path / "decisions.csv").stat().st_size
    merge_files([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "decisions.csv")
    assert (tmp_path / "decisions.csv").stat().st_size == size  # again adds nothing
    with reviewing(pairs, tmp_path / "decisions.csv") as review:
        assert review.task and review.task.question1 == first[2]
        review.answer(DUPLICATE)
        assert review.task.question1 == whole[9]  # the 10th: ann answered the 9th, which is drawn now
    with reviewing(pairs, tmp_path / "b.csv", "2/2") as review:
        ask(review, *[DIFFERENT] * 6)
    merge_files([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "decisions.csv")
    assert sum(bool(d.priority) for d in latest(read_decisions(tmp_path / "decisions.csv")).values()) == 19


def test_a_shorter_review_of_the_same_pairs_takes_nothing_from_a_longer_one(pairs: Path, tmp_path: Path) -> None:
    for name, answers in (("a", [UNSURE] * 3), ("b", [SKIP, DUPLICATE, *[DIFFERENT] * 4])):
        with reviewing(pairs, tmp_path / f"{name}.csv") as review:
            ask(review, *answers)
    merged = merge_files([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "decisions.csv")
    assert [d.answer for d in merged.decisions] == [UNSURE, DUPLICATE, *[DIFFERENT] * 4]
    assert all(d.priority for d in merged.decisions) and not merged.disagreements
