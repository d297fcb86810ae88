"""The measurements of retrieval and of mining: what counts as known, and the scores."""

import math
import shutil
import sys
from pathlib import Path

import pytest

from reports.archive import mining, retrieval
from reports.archive.retrieval import Query, bm25_of, judged, measure, scores

HEADER = "question1,question2,is_duplicate\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Training joins flight a, b and c; the test pairs join a to d, d to e, and f to g."""
    training = "flight a,flight b,1\nflight b,flight c,1\nflight a,seat x,0\nflight e,flight h,1\n"
    test = "Flight A?,flight d,1\nflight d,flight e,1\nflight f,flight g,1\nflight f,flight a,0\n"
    for name, pairs in (("train.csv", training), ("test.csv", test)):
        (tmp_path / name).write_text(HEADER + pairs, encoding="utf-8")
    return tmp_path


def test_what_counts_as_known(data: Path) -> None:
    texts, queries = judged(data, "test")
    assert [text[-1] for text in texts] == list("abcxeh?dfg")
    a, b, c, _, e, h, a2, d, f, g = range(10)
    assert queries == [
        Query(a2, {a, b, c}, {a, b, c, d}),  # "Flight A?" is "flight a" by its letters; d is none of training's
        Query(d, set(), {a, b, c, a2, e, h}),  # h, since training joins it to e
        Query(e, {h}, {h, d}),
        Query(f, set(), {g}),
        Query(g, set(), {f}),
    ]


def test_scores_by_hand() -> None:
    # Right at ranks 2 and 4: DCG = 1/log2(3) + 1/log2(5); three relevant: ideal 1 + 1/log2(3) + 1/2.
    ideal = 1 + 1 / math.log2(3) + 0.5
    expected = (1 / math.log2(3) + 1 / math.log2(5)) / ideal, 1 / 2, 2 / 3
    assert scores([5, 1, 6, 2], {1, 2, 3}) == pytest.approx(expected)
    assert scores([], {1}) == pytest.approx((0, 0, 0))
    assert scores([*range(100, 110), 1], {1}) == pytest.approx((0, 0, 1))  # the eleventh
    assert scores([*range(100, 200), 1], {1}) == pytest.approx((0, 0, 0))  # the hundred and first
    assert scores(range(20), set(range(20))) == pytest.approx((1, 1, 1))


def test_the_query_and_what_training_joins_are_taken_out() -> None:
    # The query 0 finds itself, 1 that training joins to it, then 2 that it should find: separately that is the first.
    row = measure(lambda query, k: [0, 1, 2, 3][:k], [Query(0, {1}, {1, 2}), Query(0, {1}, {1})], "name")
    # All: 1 and 2 are right (nDCG 1) and 1 is right (1). Separate: the first query alone, its answer at rank 1.
    assert [value for name, value in row.items() if "@" in name] == [1] * 6


def test_the_command(
    data: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["retrieval", "--data", str(data), "--part", "test", "--model", str(tiny_model)])
    retrieval.main()
    out = capsys.readouterr().out
    assert out.startswith("10 questions, 5 queries, 5 of them with separate answers\n")
    assert [line.split(" | ")[0] for line in out.splitlines()[4:] if line] == [
        "| words",
        "| vectors",
        "| both",
        "| words, a tenth of the queries",
        "| words, without the short cut, a tenth of the queries",
        "| BM25 without stems, a tenth of the queries",
        "| both, a tenth of the queries",
    ]


def test_bm25_by_stems_or_by_words_as_they_stand() -> None:
    questions = ['Old "cars" OR NOT', "my OLD car", "cars", "?!", "a bike"]
    plain, stems = bm25_of(questions, stems=False), bm25_of(questions, stems=True)
    assert list(plain(0)) == [0, 2, 1]  # "cars" is in two of them, as is "old", and one of these is shorter
    assert list(plain(1)) == [1, 0]  # "car" is not "cars"
    assert set(stems(1)) == {0, 1, 2}
    assert plain(3) == {}


def test_mining_is_measured(data: Path, tiny_model: Path) -> None:
    lines = (data / "test.csv").read_text("utf-8").splitlines()
    (data / "test.csv").write_text("\n".join(f"{line},{end}" for line, end in zip(lines, ("unseen", 1, 1, 0, 0))))
    shutil.copy(data / "train.csv", data / "validation.csv")
    every, unseen = mining.quality(data, [str(tiny_model)])
    assert (every["questions"], every["known duplicates"]) == (6, 7)  # those of A?, a, d and e, and f-g
    assert (unseen["questions"], unseen["known duplicates"]) == (3, 3)
    assert len(mining.linkages(data)) == 2 * len(mining.THRESHOLDS)
