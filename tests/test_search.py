"""Searching: the nearest beside brute force, exactly and among lists; words; and the command."""

import json
import math
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from commands import python
from files import read_csv
from hypothesis import given
from hypothesis import strategies as st

from siamese import SiameseModel
from siamese.archive import nearest, ranking, words
from siamese.archive.database import LISTS
from siamese.archive.nearest import Lists, exact
from siamese.archive.store import Archive
from siamese.cli import entry
from siamese.errors import ArchiveError, UserError


def some_vectors(n: int, seed: int, blank: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """n vectors around sixteen directions, and which are 0."""
    random = np.random.default_rng(seed)
    around = random.standard_normal((16, 8)).astype(np.float32)[random.integers(16, size=n)]
    vectors = around + 0.5 * random.standard_normal((n, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    is_blank = random.random(n) < blank
    vectors[is_blank] = 0
    return vectors, is_blank


def brute(vectors: np.ndarray, blank: np.ndarray, query: np.ndarray, k: int) -> list[float]:
    return sorted((float(np.dot(row.astype(float), query)) for row, b in zip(vectors, blank) if not b), reverse=True)[
        :k
    ]


# The nearest


@given(
    n=st.integers(0, 300), k=st.integers(1, 40), seed=st.integers(0, 99), share=st.sampled_from([0.0, 0.3, 0.99, 1.0])
)
def test_exact_is_brute_force(n: int, k: int, seed: int, share: float) -> None:
    vectors, blank = some_vectors(n, seed, share)
    queries = np.concatenate((vectors[:3], -vectors[:3], some_vectors(3, seed + 1)[0]))
    similarities, rows = exact(vectors, blank, queries, k)
    for query, found, where in zip(queries, similarities, rows):
        there = where >= 0
        np.testing.assert_allclose(found[there], brute(vectors, blank, query, k), atol=1e-6)
        assert len(set(where[there])) == there.sum() and not blank[where[there]].any()
        np.testing.assert_allclose(found[there], vectors[where[there]] @ query, atol=1e-6)
        assert there[: there.sum()].all()  # none comes last


def test_lists_reach_their_recall_and_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, blank = some_vectors(5_000, 1, 0.01)
    monkeypatch.setattr(nearest, "WORTH", 0.5)
    lists = Lists.make(vectors, blank)
    assert sorted(lists.rows) == list(range(5_000)) and lists.starts[-1] == 5_000
    assert lists.recall >= 0.99
    assert 1 <= lists.probes <= len(lists.centres) / 2
    queries = vectors[np.flatnonzero(~blank)[:200]] + 0.1 * np.random.default_rng(2).standard_normal(
        (200, 8), np.float32
    )
    found = lists.nearest(vectors, blank, queries, 10)[0]
    near = np.mean([f >= brute(vectors, blank, query, 10)[-1] - 1e-5 for f, query in zip(found, queries)])
    assert near == pytest.approx(lists.recall, abs=0.02)  # of questions that it was not measured on
    monkeypatch.setattr(nearest, "RECALL", 0.5)
    assert 1 <= Lists.make(vectors, blank).probes < lists.probes
    monkeypatch.setattr(nearest, "RECALL", 1.01)  # not to be had
    assert Lists.make(vectors, blank).probes == 0
    everything = Lists(lists.centres, lists.rows, lists.starts, len(lists.centres), 1.0)
    np.testing.assert_array_equal(
        everything.nearest(vectors, blank, queries, 10)[1], exact(vectors, blank, queries, 10)[1]
    )


def test_rows_after_the_lists_are_all_looked_at() -> None:
    vectors, blank = some_vectors(3_000, 3, 0.05)
    lists = Lists.make(vectors[:2_800], blank[:2_800])
    rows = 2_800 + np.flatnonzero(~blank[2_800:])
    assert (lists.nearest(vectors, blank, vectors[rows], 1)[1][:, 0] == rows).all()
    assert lists.cover(3_080) and not lists.cover(3_081)  # a tenth of 2,800 more


def test_an_archive_past_the_limit(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "MOST_EXACT", 400)
    monkeypatch.setattr(nearest, "WORTH", 1.0)
    model, folder = SiameseModel.load(tiny_model), tmp_path / "a"
    letters = ["flight", "luggage", "ticket", "seat", "passport", "claim", "airline", "trip", "bank", "power", "name"]
    texts = [f"{a} {b} {c}" for a in letters for b in letters for c in letters]
    with Archive.build(folder, model, str(tiny_model), [(texts[:400], None)]) as archive:
        assert archive.method() == archive.info()["search"] == "exact" and not (folder / LISTS).exists()
        archive.add(texts[400:1_000])
        made = (folder / LISTS).stat().st_mtime_ns
        assert archive.method().startswith("approximate, recall@10 ")
        assert float(archive.method().split()[2]) >= 0.99
        second = Archive.open(folder)
        assert second.method() == archive.method()
        second.add(texts[1_000:1_050])  # fewer than a tenth more
        assert (folder / LISTS).stat().st_mtime_ns == made
        for k in (1_049, 5):  # the last is found behind the lists, and gone when it is removed
            assert archive.search([texts[k]], 1, "vectors")[0][0].similarity == pytest.approx(1, abs=1e-6)
            same = [hit.id for hit in archive.search([texts[k]], 1_100, "vectors")[0] if hit.question == texts[k]]
            assert same == [str(k + 1)]
            second.remove(same)
            assert not [hit for hit in archive.search([texts[k]], 1_100, "vectors")[0] if hit.question == texts[k]]
        second.add(texts[1_050:])
        assert (folder / LISTS).stat().st_mtime_ns > made
    with Archive.build(tmp_path / "b", model, str(tiny_model), [(texts, None)]) as archive:
        assert archive.method().startswith("approximate")
    monkeypatch.setattr(nearest, "WORTH", 0.0)  # so few lists are never enough
    with Archive.build(tmp_path / "c", model, str(tiny_model), [(texts[:1_000], None)]) as archive:
        assert archive.method() == "exact"
        made = (tmp_path / "c" / LISTS).stat().st_mtime_ns
        archive.add(texts[1_000:1_050])  # and that is found out once
        assert (tmp_path / "c" / LISTS).stat().st_mtime_ns == made
    whole = (folder / LISTS).read_bytes()
    for damaged in (whole[:-100], b"", whole.replace(b"rows.npy", b"raws.npy")):
        (folder / LISTS).write_bytes(damaged)
        with pytest.raises(ArchiveError, match="lists.npz: damaged .*; without it the search is exact"):
            Archive.open(folder).search(["flight"])
    (folder / LISTS).unlink()
    assert Archive.open(folder).method() == "exact"


# Words, and both


@pytest.fixture(scope="module")
def archive(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    model = SiameseModel.load(tiny_model)
    archive = Archive.create(tmp_path_factory.mktemp("archive") / "a", model, str(tiny_model))
    archive.add(
        ["Can I take luggage on the flight?", "Error 0x80070057 on the flight", "zzqx 3.11 released",
         "CAFÉS à la carte", "中国的首都", "a_b c-d e.f", *["the flight"] * 50],
        ["luggage", "error", "zzqx", "cafe", "china", "parts", *map(str, range(50))],
    )  # fmt: skip
    return archive


def ids(archive: Archive, question: str, legs: str = "words", k: int = 3) -> list[str]:
    return [hit.id for hit in archive.search([question], k, legs)[0]]


@pytest.mark.parametrize(
    ("question", "found"),
    [("0X80070057", "error"), ("what is ZZQX", "zzqx"), ("cafe", "cafe"), ("releasing", "zzqx"),
     ("中国的首都", "china"), ("b, f", "parts"), ('luggages" OR "x', "luggage"), ("luggage NOT take", "luggage"),
     ("question:luggage*", "luggage"),
     ("^luggage -take", "luggage"), ("NEAR(luggage take, 2)", "luggage"), ("{luggage}", "luggage"),
     ("\0luggage\0", "luggage"), ("\ud800 luggage", "luggage")],
)  # fmt: skip
def test_words_find(archive: Archive, question: str, found: str) -> None:
    assert ids(archive, question)[0] == found


@given(question=st.text())
def test_no_question_breaks_the_words(archive: Archive, question: str) -> None:
    for hit in archive.search([question], 60, "words")[0]:
        assert hit.question == archive.get(hit.id)


def test_no_word_no_hit(archive: Archive) -> None:
    for question in ("", " ", "?!", '"', "\0", "nothing_of_this", "首都"):  # a run of letters is one word
        assert archive.search([question], 5, "words") == [[]]
    assert archive.search([], 5) == []


def test_a_question_of_a_hundred_thousand_words(archive: Archive) -> None:
    for question in (
        " ".join(map(str, range(100_000))) + " luggage",
        "luggage " * 100_000,
        '"' * 100_000,
        "x" * 1_000_000,
    ):
        began = time.process_time()
        archive._database.words.scores(question)
        assert time.process_time() - began < 1


def test_only_questions_with_a_rare_word_are_looked_at(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    asks, question = archive._database.words, "the flight on the error"
    rows, scores = asks.scores(question)
    assert asks.words(question) == (["error", "on", "flight", "the"], []) and len(rows) == 52
    monkeypatch.setattr(words, "BUDGET", 3)  # "error" is in one question, "on" in two
    assert asks.words(question) == (["error", "on"], ["flight", "the"])
    fewer, same = asks.scores(question)
    assert fewer.tolist() == [0, 1]
    np.testing.assert_allclose(same, scores[:2], atol=1e-9)  # and scored by all the words
    assert asks.words("the flight") == (["flight"], ["the"])  # one at least
    assert asks.words("nothing_of_this") == ([], [])
    monkeypatch.setattr(words, "MOST_WORDS", 1)
    assert asks.words(question) == (["error"], [])


def test_both_is_the_weighted_sum(archive: Archive) -> None:
    question = "zzqx flight luggage"
    by_vectors = {hit.id: hit.similarity for hit in archive.search([question], 100, "vectors")[0]}
    rows, bm25 = archive._database.words.scores(question)
    numbers = dict(archive._database.execute("SELECT row, id FROM questions"))
    by_words = {numbers[row]: score for row, score in zip(rows, bm25)}
    hits = archive.search([question], 100)[0]
    everything = by_vectors.keys() | by_words.keys()
    weight = 0.24 / math.log(55.5 / 1.5)  # of 56 questions
    score = {id: by_vectors.get(id, 0.0) + weight * by_words.get(id, 0.0) for id in everything}
    assert {hit.id for hit in hits} == set(score)
    assert [score[hit.id] for hit in hits] == pytest.approx(sorted(score.values(), reverse=True), abs=1e-6)
    for hit in hits:  # verdict and probability are the model's
        expected = archive.model.predict(question, hit.question)
        assert hit.similarity == pytest.approx(expected.similarity, abs=1e-6)
        assert hit.probability == pytest.approx(expected.probability, abs=1e-6)
        assert hit.is_duplicate == expected.is_duplicate
    assert by_vectors.keys() >= {"luggage"} and not by_vectors.keys() & {"china"}  # no known word, no direction


def test_a_word_that_one_question_holds_adds_the_weight_in_archives_of_any_size() -> None:
    for n in (10, 1_000, 1_000_000):
        idf = math.log((n - 1 + 0.5) / (1 + 0.5))  # BM25 of one such word in a question of average length
        assert ranking.combined(np.array([0.5, 0.5]), np.array([0.0, idf]), n) == pytest.approx([0.5, 0.74])
    for n in (0, 1, 2):  # no word tells questions apart
        assert ranking.combined(np.array([0.5]), np.array([1e-6]), n) == pytest.approx(0.5)


def test_join() -> None:
    # Rows 5 and 9 are near; of 2, 5 and 7, which share a word, the two with the highest BM25 come in.
    rows, bm25 = ranking.join(np.array([9, 5]), np.array([2, 5, 7]), np.array([1.0, 0.5, 3.0]), 2)
    assert rows.tolist() == [2, 5, 7, 9] and bm25.tolist() == [1.0, 0.5, 3.0, 0.0]
    rows, bm25 = ranking.join(np.array([9, 5]), np.zeros(0, int), np.zeros(0), 2)
    assert rows.tolist() == [5, 9] and bm25.tolist() == [0.0, 0.0]


def test_more_than_there_are(archive: Archive) -> None:
    for legs in ("vectors", "both"):
        assert len(archive.search(["flight"], 10**9, legs)[0]) == len(archive.search(["flight"], 56, legs)[0])


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; sys.modules['faiss'] = None; from siamese.cli import main; main()"
    done = python("-c", code, "archive", "info", "--archive", tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: archives and search need faiss: pip install faiss-cpu\n")
    monkeypatch.setattr(words, "_SCHEMA", words._SCHEMA.replace("fts5(", "fts99("))
    with pytest.raises(UserError, match=r"this Python's SQLite \(3.*\) is built without FTS5, which archives need"):
        words.create(sqlite3.connect(":memory:"))


def test_what_cannot_be_asked(archive: Archive) -> None:
    with pytest.raises(UserError, match="k 0: expected a whole number of 1 or more"):
        archive.search(["a"], 0)
    with pytest.raises(UserError, match="legs 'arms': expected one of both, vectors, words"):
        archive.search(["a"], 1, "arms")


# As it is typed


def test_the_command(archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = archive._database.folder
    entry.main(["search", "error 0x80070057 on flight", "--archive", str(folder), "-k", "2"])
    first, names, best, _ = capsys.readouterr().out.splitlines()
    assert first == "2 of 56 questions, by meaning and words; search exact"
    assert names.split() == ["similarity", "probability", "verdict", "id:", "question"]
    assert best.endswith("error: Error 0x80070057 on the flight")
    entry.main(["search", "error", "--archive", str(folder), "--legs", "words", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert (answer["question"], answer["legs"], answer["search"]) == ("error", "words", "exact")
    (hit,) = answer["hits"]
    assert set(hit) == {"id", "question", "similarity", "probability", "is_duplicate"} and hit["id"] == "error"

    asked, out = tmp_path / "asked.csv", tmp_path / "found.csv"
    asked.write_text('id,question\nq1,"zzqx, again"\nq2,\nq3,the flight\n', encoding="utf-8")
    entry.main(["search", "--file", str(asked), "--archive", str(folder), "-k", "2", "--out", str(out)])
    assert capsys.readouterr().out.startswith("2 questions, ")
    rows = read_csv(out)
    assert [(row["question_id"], row["rank"]) for row in rows] == [("q1", "1"), ("q1", "2"), ("q3", "1"), ("q3", "2")]
    assert (rows[0]["question"], rows[0]["id"], rows[0]["found"]) == ("zzqx, again", "zzqx", "zzqx 3.11 released")
    entry.main(["search", "--file", str(asked), "--archive", str(folder), "-k", "2"])
    assert capsys.readouterr().out.encode() == out.read_bytes()

    for asked_for, message in (
        ([], "search takes a question, or --file PATH"),
        (["a", "--file", "b"], "search takes a question, or --file PATH"),
        (["--file", "b.csv", "--json"], "--json is for one question; --file writes CSV"),
        (["a", "--out", "b"], "--out goes with --file; one question is answered on the screen"),
        (["a", "-k", "0"], "k 0: expected a whole number of 1 or more"),
    ):
        with pytest.raises(SystemExit):
            entry.main(["search", *asked_for, "--archive", str(folder)])
        assert capsys.readouterr().err == f"error: {message}\n"


def test_a_terminal_gets_no_control_characters(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = SiameseModel.load(tiny_model)
    Archive.create(tmp_path / "a", model, str(tiny_model)).add(["flight \x1b[2J\nagain"], ["\x07id"])
    entry.main(["search", "flight", "--archive", str(tmp_path / "a")])
    assert capsys.readouterr().out.splitlines()[-1].endswith(" id: flight  [2J again")
