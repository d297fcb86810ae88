"""siamese.mine: from a list, a Series or a DataFrame to pairs, clusters and DataFrames."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import python
from files import QUESTIONS

import siamese
from siamese import SiameseModel
from siamese.errors import DataError, UserError
from siamese.mining.mine import mined_beside
from siamese.mining.questions import Questions
from siamese.mining.settings import Settings

MODEL = SiameseModel.pretrained()


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Return 200 questions with ids, topics and dates: the fifth twice, one blank, one missing."""
    pairs = pd.read_csv(QUESTIONS).drop_duplicates("qid1").head(200)
    frame = pd.DataFrame({
        "topic": [f"topic {i % 7}" for i in range(200)], "question": pairs.question1.to_list(),
        "asked": pd.date_range("2024-01-01", periods=200, tz="UTC"), "id": np.arange(200) * 10,
    }, index=range(1000, 1200))  # fmt: skip
    frame.loc[1004, "question"] = " " + frame.loc[1003, "question"]
    frame.loc[1010, "question"], frame.loc[1011, "question"] = "  ", None
    return frame


@pytest.fixture(scope="module")
def found(frame: pd.DataFrame) -> siamese.Mined:
    return siamese.mine(frame, MODEL, threshold=0.4)


def test_pairs_and_a_frame_with_the_metadata_of_both_questions(frame: pd.DataFrame, found: siamese.Mined) -> None:
    by_id = frame.set_index("id")
    pairs = found.to_frame()
    assert list(pairs) == ["question1", "question2", "similarity", "probability", "id1", "id2",
                           "topic1", "topic2", "asked1", "asked2"]  # fmt: skip
    assert len(pairs) == len(found) == len(found.pairs) > 100
    assert pairs.asked1.dtype == frame.asked.dtype and pairs.id1.dtype == frame.id.dtype
    for end in ("1", "2"):
        own = by_id.loc[pairs["id" + end]]
        for name in ("question", "topic", "asked"):
            assert own[name].to_list() == pairs[name + end].to_list()
    similarity = MODEL.similarity(pairs.question1, pairs.question2)
    np.testing.assert_allclose(pairs.similarity, similarity, atol=1.5e-6)
    np.testing.assert_allclose(pairs.probability, MODEL.probability(similarity), atol=1e-5)
    assert pairs.similarity.is_monotonic_decreasing and pairs.similarity.min() > 0.4
    assert [tuple(pair) for pair in found.pairs] == list(pairs.iloc[:, :6].itertuples(index=False, name=None))
    assert repr(found) == f"Mined({len(pairs):,} pairs of 197 questions, threshold 0.4)"


@pytest.mark.slow
def test_a_higher_threshold_gives_what_mining_gives(frame: pd.DataFrame, found: siamese.Mined) -> None:
    for threshold in (0.4, found.pairs[20].similarity, 0.7, 1.0):
        raised, anew = found.rethreshold(threshold), siamese.mine(frame, MODEL, threshold=threshold)
        assert raised.pairs == anew.pairs and raised.clusters == anew.clusters
        assert raised.threshold == anew.threshold == threshold
    with pytest.raises(UserError, match="threshold 0.3: these pairs are those above 0.4; mine again"):
        found.rethreshold(0.3)


@pytest.mark.slow
def test_clusters_and_their_frame(frame: pd.DataFrame, found: siamese.Mined) -> None:
    rows = [row for cluster in found.clusters for row in cluster]
    clusters = found.clusters_frame()
    assert list(clusters) == ["cluster", "representative", "question", "id", "neighbour", "neighbour_id", "similarity",
                              "topic", "asked"]  # fmt: skip
    assert list(clusters.itertuples(index=False, name=None)) == [
        (*row[:-1], frame.topic.iloc[row.row], frame.asked.iloc[row.row]) for row in rows
    ]
    assert [frame.id.iloc[row.row] for row in rows] == [row.id for row in rows]
    assert all(cluster[0].representative for cluster in found.clusters)
    pairs = {frozenset((pair.id1, pair.id2)) for pair in found.pairs} | {frozenset((30, 40))}
    for cluster in found.clusters:  # complete linkage: every two are a pair
        ids = [row.id for row in cluster if row.id != 40]
        assert all(frozenset((a, b)) in pairs for a in ids for b in ids if a != b)
    (copy,) = [row for row in rows if row.id == 40]
    assert (copy.neighbour_id, copy.similarity, copy.row) == (30, 1.0, 4)
    chained = siamese.mine(frame, MODEL, threshold=0.4, linkage="connected")
    assert len(chained.clusters) < len(found.clusters) and chained.pairs == found.pairs


def test_a_list_a_series_and_a_file_give_the_same(frame: pd.DataFrame, found: siamese.Mined, tmp_path: Path) -> None:
    frame[["question"]].to_csv(tmp_path / "q.csv", index=False)
    expected = [pair[:4] for pair in found.pairs]
    texts = frame.question.fillna("").to_list()
    for questions in (texts, iter(texts), frame.question, tmp_path / "q.csv"):
        mined = siamese.mine(questions, MODEL, threshold=0.4)
        assert [pair[:4] for pair in mined.pairs] == expected and mined.pairs[0].id1 is None
        assert "id1" not in mined.to_frame() and "neighbour_id" not in mined.clusters_frame()
    named = siamese.mine(texts, MODEL, threshold=0.4, ids=frame.id)
    assert named.pairs == found.pairs and "topic1" not in named.to_frame()


def test_the_most_similar_and_the_approximate_way(frame: pd.DataFrame, found: siamese.Mined) -> None:
    assert siamese.mine(frame, MODEL, threshold=0.4, max_pairs=7).pairs == found.pairs[:7]
    near = siamese.mine(frame, MODEL, threshold=0.4, approximate=True)
    assert near.recall is not None and near.recall.pairs > 50 and found.recall is None
    assert set(near.pairs) <= set(found.pairs)


@pytest.mark.slow
def test_the_pretrained_model_and_its_threshold_are_the_defaults(tmp_path: Path) -> None:
    questions = ["How can I lose weight?", "How do I lose weight?", "Where is Rome?"]
    found = siamese.mine(questions)
    assert [pair[:2] for pair in found.pairs] == [tuple(questions[:2])] and found.threshold == MODEL.rule().threshold
    MODEL.save(tmp_path / "model")
    assert siamese.mine(questions, tmp_path / "model").pairs == found.pairs
    for nothing in ([], [""], pd.DataFrame({"question": [], "topic": []})):
        empty = siamese.mine(nothing)
        assert empty.pairs == empty.clusters == [] and len(empty.to_frame()) == len(empty.clusters_frame()) == 0


def test_files_are_written_and_read_back(found: siamese.Mined, tmp_path: Path) -> None:
    last = found.write_pairs(tmp_path / "pairs.csv")
    assert last == found.pairs[-1].similarity
    read = siamese.Mined.read(tmp_path / "pairs.csv")
    assert [pair[:3] for pair in read.pairs] == [pair[:3] for pair in found.pairs]
    assert read.pairs[5].probability == pytest.approx(found.pairs[5].probability, abs=1e-6)
    assert found.write_sample(tmp_path / "sample.csv", 30) == 30
    assert found.write_clusters(tmp_path / "clusters.csv")[0] == len(found.clusters)
    assert found.write_report(tmp_path / "page.html")[0] == len(found.clusters)


def test_metadata_that_is_called_as_a_column_of_ours() -> None:
    frame = pd.DataFrame(
        {"question": ["How can I lose weight?", "How do I lose weight?"], "similarity": [5, 6], 7: "x"}
    )
    found = siamese.mine(frame)
    assert list(found.to_frame())[5:] == ["similarity1", "similarity2", "71", "72"]
    assert found.clusters_frame().question_similarity.to_list() == [5, 6]


@pytest.mark.parametrize(
    ("questions", "options", "message"),
    [
        (["a", 5], {}, "the questions, row 1: question is not text but int: 5"),
        (pd.Series(["a", 5], ["x", "y"]), {}, "the questions, row y: question is not text but int: 5"),
        (pd.DataFrame({"text": ["a"]}), {}, "no column 'question'; it has 'text'"),
        (pd.DataFrame({"question": ["a", "b"], "id": [1, 1]}), {}, "the questions, row 1: the id 1 was another"),
        (["a", "b"], {"ids": [1]}, "2 questions and 1 ids"),
        (["a", "b"], {"ids": [1, None]}, "row 1: no id, unlike other rows"),
        (["a"], {"linkage": "single"}, "linkage 'single': give one of complete, connected"),
        (["a"], {"threshold": 2}, "threshold 2: expected a number from 0 to 1"),
        (["a"], {"memory": 5}, "--memory 5: 1 questions of 256"),
        ("nowhere.csv", {}, "nowhere.csv: no such file"),
    ],
)
def test_what_cannot_be_mined(questions: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((UserError, DataError), match=message):
        siamese.mine(questions, **options)


def test_more_pairs_than_memory_has_room_for(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamese.mining.mine.sortable", lambda *_: 50)
    with pytest.raises(UserError, match="more than 50 pairs at a time are too many"):
        siamese.mine(frame, MODEL, threshold=0.4)
    assert len(siamese.mine(frame, MODEL, threshold=0.4, max_pairs=50).pairs) == 50


@pytest.mark.slow
def test_numpy_finds_what_torch_finds(found: siamese.Mined, frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "q.csv", index=False)
    code = (
        "import sys\n"
        "for name in ('torch', 'scipy', 'pandas', 'pyarrow', 'sklearn'): sys.modules[name] = None\n"
        "import siamese\n"
        "for linkage in ('complete', 'connected'):\n"
        "    found = siamese.mine(sys.argv[1], threshold=0.4, linkage=linkage)\n"
        "    print(len(found.pairs), len(found.clusters))\n"
        "print(found.pairs[0].similarity)\n"
        "found.to_frame()\n"
    )
    done = python("-c", code, tmp_path / "q.csv")
    sizes, chained, first = done.stdout.splitlines()
    assert sizes == f"{len(found)} {len(found.clusters)}" and float(first) == found.pairs[0].similarity
    assert int(chained.split()[1]) < len(found.clusters)
    assert "to_frame needs pandas: pip install" in done.stderr


def test_rows_of_one_id_are_one_question() -> None:
    questions = Questions.of(["a", "b", "a", "a", "a"], ["1", "2", "1", "3", "1"])
    assert (questions.texts, questions.ids, questions.copies) == (["a", "b"], ["1", "2"], [(0, "3", 3, "a")])


def test_a_run_that_memory_has_no_room_for_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamese.mining.mine.sortable", lambda *sizes: 2)
    monkeypatch.setattr("siamese.mining.exact.PART", 1)
    questions = Questions.of([f"{i} How are you?" for i in range(9)])
    mined = mined_beside(tmp_path / "out.csv", questions, MODEL, Settings(0.1))
    with pytest.raises(UserError, match="more than 2 pairs at a time are too many for --memory"), mined:
        pass
    assert not list(tmp_path.iterdir())


def test_texts_that_are_equal_once_clean_are_copies() -> None:
    asked = [
        "<p>Is it on?</p>",
        "Is it on?",
        "Is  it on?\u200b",
        "🚉",
        "<b>🚉</b>",
        "C#",
        "C",
        "<p></p>",
        "Is it &lt;on?",
    ]
    questions = Questions.of(asked)
    assert questions.texts == ["<p>Is it on?</p>", "🚉", "C#", "C", "Is it &lt;on?"]  # as they were written
    assert [copy.text for copy in questions.copies] == ["Is it on?", "Is  it on?\u200b", "<b>🚉</b>"]
    assert ([(copy.question, copy.row) for copy in questions.copies], questions.blank) == ([(0, 1), (0, 2), (1, 4)], 1)


@pytest.mark.parametrize("ids", [["b", "a", "d", "c", "e"], None])
def test_copies_are_pairs_of_similarity_1(ids: list[str] | None, tmp_path: Path) -> None:
    texts = ["How do I lose weight?", "how can I lose weight", " How do I lose weight? ", "Rome?", "Rome?"]
    found = siamese.mine(texts, MODEL, ids=ids, threshold=0.5)
    shown = [(pair.question1, pair.question2, pair.similarity) for pair in found.pairs]
    assert shown[:2] == [(texts[0], texts[2], 1.0), (texts[3], texts[4], 1.0)]
    assert [pair[:2] for pair in shown[2:]] == [(texts[0], texts[1])] and len(found) == 3
    assert found.copies == found.pairs[:2] == found.rethreshold(0.999).pairs
    assert found.copies[0].probability == MODEL.probability(1.0)
    found.write_pairs(tmp_path / "pairs.csv")
    for questions in (None, Questions.of(texts, ids)):
        read = siamese.Mined.read(tmp_path / "pairs.csv", questions)
        read.write_pairs(tmp_path / "again.csv")
        assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "pairs.csv").read_bytes()
        sizes = [len(rows) for rows in read.clusters]
        assert sizes == [len(rows) for rows in found.clusters] and sum(sizes) == 5
    assert read.write_sample(tmp_path / "sample.csv", 10) == 1  # nobody needs to label copies
    for most in (1, 2, 3):
        fewer = siamese.mine(texts, MODEL, ids=ids, threshold=0.5, max_pairs=most)
        assert fewer.pairs == found.pairs[:most]
        assert siamese.Mined.read(tmp_path / "pairs.csv", max_pairs=most).pairs[-1][:3] == fewer.pairs[-1][:3]
