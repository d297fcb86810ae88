"""Searching: the nearest beside brute force, words, and the command."""

import json
import math
import shutil
import sqlite3
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from files import read_csv
from hypothesis import example, given, settings
from hypothesis import strategies as st

from siamese import SiameseModel
from siamese.archive import ranking, words
from siamese.archive.database import LISTS
from siamese.archive.ranking import Words
from siamese.archive.searching import LEGS
from siamese.archive.store import Archive
from siamese.cli import entry
from siamese.errors import UserError


def some_vectors(n: int, seed: int, blank: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw n vectors around sixteen directions. Return them, and which are 0."""
    random = np.random.default_rng(seed)
    around = random.standard_normal((16, 8)).astype(np.float32)[random.integers(16, size=n)]
    vectors = around + 0.5 * random.standard_normal((n, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    is_blank = random.random(n) < blank
    vectors[is_blank] = 0
    return vectors, is_blank


@given(
    n=st.integers(0, 300), k=st.integers(1, 40), seed=st.integers(0, 99), share=st.sampled_from([0.0, 0.3, 0.99, 1.0]),
    matches=st.sampled_from([0, 5, 200]), most=st.sampled_from([None, 0, 3, 150]),
)  # fmt: skip
def test_the_best_are_those_of_brute_force(
    n: int, k: int, seed: int, share: float, matches: int, most: int | None
) -> None:
    vectors, blank = some_vectors(n, seed, share)
    vectors[n // 2 :] = vectors[: n - n // 2]  # copies
    blank[n // 2 :] = blank[: n - n // 2]
    queries = np.concatenate((vectors[:3], -vectors[:3], some_vectors(3, seed + 1)[0]))
    random = np.random.default_rng(seed)
    rows = np.sort(random.permutation(n)[:matches])
    added = rows, random.uniform(0.01, 0.9, len(rows))
    among = None if most is None else np.sort(random.permutation(n)[:most])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("siamese.archive.ranking.ROWS_AT_A_TIME", 70)
        found = ranking.best(vectors, blank, queries, [added] * len(queries), k, among)
        assert ranking.best(vectors, blank, queries[:0], [], k, among) == []
    assert len(found) == len(queries)
    more = dict(zip(rows.tolist(), added[1]))
    for query, best in zip(queries, found):
        score = {
            row: float(np.dot(vectors[row].astype(float), query)) + more.get(row, 0.0)
            for row in (range(n) if among is None else among.tolist())
            if row in more or not blank[row]
        }
        expected = sorted(score, key=lambda row: (-round(score[row], 5), row))[:k]
        assert best.tolist() == sorted(set(best.tolist())) and set(best.tolist()) <= score.keys()
        assert len(expected) <= len(best) <= k + ranking.SLACK
        scores = sorted((score[row] for row in best.tolist()), reverse=True)
        np.testing.assert_allclose(scores[:k], [score[row] for row in expected], atol=2e-5)


def test_of_more_copies_than_are_wanted_the_first_are_found() -> None:
    copies = np.tile(some_vectors(1, 0)[0], (500, 1))
    copies[1] = -copies[1]
    (found,) = ranking.best(copies, np.zeros(500, bool), copies[:1] * 0.7, [ranking.NO_WORDS[:2]], 5)
    assert found.tolist() == [0, *range(2, 6 + ranking.SLACK)]


def test_the_lists_of_version_0_1_are_ignored_and_then_removed(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    shutil.copytree(archive._database.folder, folder)
    (folder / LISTS).write_bytes(b"any")
    with Archive.open(folder) as old:
        assert ids(old, "luggage", "vectors") == ids(archive, "luggage", "vectors")
        assert (folder / LISTS).exists()
        old.remove(["luggage"])
    assert not (folder / LISTS).exists()


@pytest.fixture(scope="module")
def archive(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    model = SiameseModel.load(tiny_model)
    archive = Archive.build(tmp_path_factory.mktemp("archive") / "a", model=model, name=str(tiny_model))
    archive.add(
        ["Can I take luggage on the flight?", "Error 0x80070057 on the flight", "zzqx 3.11 released",
         "CAFÉS à la carte", "中国的首都", "a_b c-d e.f", *["the flight"] * 50, "🚉"],
        ["luggage", "error", "zzqx", "cafe", "china", "parts", *map(str, range(50)), "train"],
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


@pytest.mark.parametrize("legs", LEGS)
@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("<p>the  flight</p>", "0"), ("\u200bｔｈｅ flight", "0"), ("zzqx 3.11 &#114;eleased", "zzqx"),
        ("中国的首都", "china"), ("<b>中国的首都</b>&nbsp;", "china"), ("🚉", "train"), ("<p>🚉</p>", "train"),
    ],
)  # fmt: skip
def test_the_same_text_comes_first(archive: Archive, legs: str, question: str, found: str) -> None:
    hit = archive.search([question], 1, legs)[0][0]
    assert (hit.id, hit.similarity, hit.is_duplicate) == (found, 1, True) and hit.probability >= 0.5
    assert hit.question == archive.get(found)  # as it was written


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
    rows, scores, _ = asks.scores(question)
    assert asks.words(question) == (["error", "on", "flight", "the"], []) and len(rows) == 52
    monkeypatch.setattr(words, "BUDGET", 3)  # "error" is in one question, "on" in two
    assert asks.words(question) == (["error", "on"], ["flight", "the"])
    fewer, same, _ = asks.scores(question)
    assert fewer.tolist() == [0, 1]
    np.testing.assert_allclose(same, scores[:2], atol=1e-9)  # and scored by all the words
    assert asks.words("the flight") == (["flight"], ["the"])  # one at least
    assert asks.words("nothing_of_this") == ([], [])
    monkeypatch.setattr(words, "MOST_WORDS", 1)
    assert asks.words(question) == (["error"], [])


@settings(max_examples=40)
@example(questions=["a", "\u0301 a", "b \u0301"], query="\u0301 a b", budget=0)  # an accent alone is an empty word
@given(
    questions=st.lists(st.text(st.sampled_from("ab éÉ\u0301ßſ中0_.\0\ud800") | st.characters()), max_size=8),
    query=st.text(st.sampled_from("ab éÉ\u0301ßſ中0_.\0\ud800") | st.characters()),
    budget=st.integers(0, 9),
)
def test_words_in_memory_give_what_sqlite_gives(questions: list[str], query: str, budget: int) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE questions(row INTEGER PRIMARY KEY, question TEXT)")
    stored = [question.encode("utf-8", "replace").decode() for question in (*questions, query[1:], f"{query} a b")]
    connection.executemany("INSERT INTO questions VALUES (?, ?)", enumerate(stored, 2))
    words.create(connection)
    words.add(connection, 0)
    asked, found = words.Words(connection), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "BUDGET", budget)
        for pays in (0, 10**9):
            patch.setattr(words, "QUERIES_PAY", pays)
            asked.forget(2 + len(stored))
            rows, bm25, whole = asked.scores(query)
            found.append((list(rows), list(bm25), whole, asked.words(query)))
            assert (asked._postings is not None) == bool(pays)
    assert found[0] == found[1]
    stems = asked._stems(query)  # piece by piece, and of the whole text
    whole = query.encode("utf-8", "replace").decode()
    connection.execute("INSERT INTO temp.stemmed(stemmed) VALUES ('delete-all')")
    connection.execute("INSERT INTO temp.stemmed(rowid, question) VALUES (0, ?)", (whole,))
    assert stems.keys() == {term for (term,) in connection.execute("SELECT term FROM temp.stemmed_words")} - {None}


def test_both_is_the_weighted_sum(archive: Archive) -> None:
    question = "zzqx flight luggage"
    by_vectors = {hit.id: hit.similarity for hit in archive.search([question], 100, "vectors")[0]}
    words = archive._database.words.scores(question)
    numbers = dict(archive._database.execute("SELECT row, id FROM questions"))
    by_words = {numbers[row]: bm25 for row, bm25 in zip(words.rows, words.bm25)}
    hits = archive.search([question], 100)[0]
    everything = by_vectors.keys() | by_words.keys()
    weight = ranking.WEIGHT / math.log(56.5 / 1.5)  # of 57 questions
    whole = sum(max(1e-6, math.log((57 - count + 0.5) / (count + 0.5))) for count in (1, 52, 1))
    assert words.whole == pytest.approx(whole)
    added = {id: weight * bm25 * min(1, bm25 / whole) for id, bm25 in by_words.items()}
    score = {id: by_vectors.get(id, 0.0) + added.get(id, 0.0) for id in everything}
    assert {hit.id for hit in hits} == set(score)
    assert [hit.score for hit in hits] == pytest.approx(sorted(score.values(), reverse=True), abs=1e-6)
    assert [score[hit.id] for hit in hits] == pytest.approx([hit.score for hit in hits], abs=1e-6)
    for hit in hits:  # verdict and probability are the model's
        expected = archive.model.predict(question, hit.question)
        assert hit.similarity == pytest.approx(expected.similarity, abs=1e-6)
        assert hit.probability == pytest.approx(expected.probability, abs=1e-6)
        assert hit.is_duplicate == expected.is_duplicate
    assert by_vectors.keys() >= {"luggage"} and not by_vectors.keys() & {"china"}  # no known word, no direction


@pytest.mark.parametrize("legs", LEGS)
def test_hits_come_in_the_order_of_their_scores(archive: Archive, legs: str) -> None:
    for query in ("the flight on the error", "the flight", "中国的首都", "zzqx 3.11 &#114;eleased", "luggage"):
        (hits,) = archive.search([query], 60, legs)
        found = [hit.score for hit in hits]
        assert found and found == sorted(found, reverse=True)
        assert archive.search([query], 3, legs)[0] == hits[:3]  # the k best of one order


@pytest.mark.parametrize("legs", LEGS)
def test_a_query_is_not_its_own_hit(archive: Archive, legs: str) -> None:
    with_itself = archive.search(["the flight", "<p>the flight</p>", "the flight", "中国的首都"], 5, legs)
    own = ["3", "0", "luggage", "china"]
    without = archive.search(["the flight", "<p>the flight</p>", "the flight", "中国的首都"], 5, legs, ids=own)
    assert [[hit.id for hit in hits] for hits in with_itself[:3]] == [["0", "1", "2", "3", "4"]] * 3
    assert [[hit.id for hit in hits] for hits in without[:3]] == [
        ["0", "1", "2", "4", "5"], ["1", "2", "3", "4", "5"], ["0", "1", "2", "3", "4"],
    ]  # fmt: skip
    assert with_itself[3][0].id == "china" and not without[3]
    assert archive.search(["the flight"], 5, legs, ids=[None]) == archive.search(["the flight"], 5, legs)
    frame = pd.DataFrame({"id": ["3"], "question": ["the flight"]})
    assert archive.search(frame, 5, legs) == without[:1]


@pytest.mark.parametrize("legs", LEGS)
def test_hits_fit_the_condition(
    tiny_model: Path, tmp_path: Path, legs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = SiameseModel.load(tiny_model)
    texts = [*["the flight on the error"] * 3, "the flight", "error", "🚉", "🚉", *["Error on the flight"] * 40]
    payloads = [{"product": "even" if i % 2 == 0 else "odd", "number": i % 5} for i in range(len(texts))]
    with Archive.build(tmp_path / "a", texts, model, payloads=payloads, name=str(tiny_model)) as archive:
        for query in ("the flight on the error", "🚉"):
            (everything,) = archive.search([query], len(texts), legs)
            for where in ({"product": "odd"}, {"product": "even", "number": 3}, {"product": "none"}):
                (found,) = archive.search([query], 4, legs, where=where)
                fit = [hit for hit in everything if where.items() <= hit.payload.items()]
                assert found == fit[:4]
        with pytest.raises(UserError, match="no question of the archive has a column 'prodact'"):
            archive.search(["a"], where={"prodact": "odd"})
    entry.main(["search", "the flight", "--archive", str(tmp_path / "a"), "--json", "--legs", legs,
                "--where", "product=odd", "--where", "number=3"])  # fmt: skip
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert hits[0]["id"] == "4" and all(hit["payload"] == {"product": "odd", "number": 3} for hit in hits)


def test_threshold_and_prior_change_the_verdict_not_the_order(archive: Archive) -> None:
    (hits,) = archive.search(["the flight on the error"], 4)
    for rule in ({"threshold": 0.001}, {"threshold": 0.999}, {"prior": 0.001}, {"prior": 0.999}):
        (again,) = archive.search(["the flight on the error"], 4, **rule)
        assert [(hit.id, hit.score) for hit in again] == [(hit.id, hit.score) for hit in hits]
        for hit in again:
            said = archive.model.predict("the flight on the error", hit.question, **rule)
            assert (hit.is_duplicate, hit.probability) == (said.is_duplicate, pytest.approx(said.probability, abs=1e-5))


def test_a_word_that_one_question_holds_adds_the_weight_in_archives_of_any_size() -> None:
    for n in (10, 1_000, 1_000_000):
        idf = math.log((n - 1 + 0.5) / (1 + 0.5))  # BM25 of one such word in a question of average length
        found = ranking.word_score(Words(np.arange(2), np.array([idf, idf]), idf), n)
        assert found == pytest.approx(2 * [ranking.WEIGHT])
        half = ranking.word_score(Words(np.arange(1), np.array([idf]), 2 * idf), n)  # of the query's words
        assert half == pytest.approx(ranking.WEIGHT / 2)
    for n in (0, 1, 2):  # no word tells questions apart
        assert ranking.word_score(Words(np.arange(1), np.array([1e-6]), 1e-6), n) == pytest.approx(0, abs=1e-6)


def test_more_than_there_are(archive: Archive) -> None:
    for legs in ("vectors", "both"):
        assert len(archive.search(["flight"], 10**9, legs)[0]) == len(archive.search(["flight"], 56, legs)[0])


def test_an_sqlite_without_full_text_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_SCHEMA", words._SCHEMA.replace("fts5(", "fts99("))
    with pytest.raises(UserError, match=r"this Python's SQLite \(3.*\) is built without FTS5, which archives need"):
        words.create(sqlite3.connect(":memory:"))


def test_what_cannot_be_asked(archive: Archive) -> None:
    with pytest.raises(UserError, match="k 0: expected a whole number of 1 or more"):
        archive.search(["a"], 0)
    with pytest.raises(UserError, match="legs 'arms': expected one of both, vectors, words"):
        archive.search(["a"], 1, "arms")
    with pytest.raises(UserError, match="2 questions and 1 ids; give each question one id, or None"):
        archive.search(["a", "b"], ids=["1"])
    with pytest.raises(UserError, match=r"ids\[1\]: 7: expected a text or None"):
        archive.search(["a", "b"], ids=["\ud800", 7])  # type: ignore[list-item]
    with pytest.raises(UserError, match="threshold 2: expected a number from 0 to 1"):
        archive.search(["a"], threshold=2)
    with pytest.raises(UserError, match="prior 0: expected a share"):
        archive.search(["a"], prior=0)


def test_the_command(archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = archive._database.folder
    entry.main(["search", "error 0x80070057 on flight", "--archive", str(folder), "-k", "2"])
    first, names, best, _ = capsys.readouterr().out.splitlines()
    assert first == "2 of 57 questions, by meaning and words; search exact"
    assert names.split() == ["score", "similarity", "probability", "verdict", "id:", "question"]
    assert best.endswith("error: Error 0x80070057 on the flight")
    entry.main(["search", "error", "--archive", str(folder), "--legs", "words", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert (answer["question"], answer["legs"], answer["search"]) == ("error", "words", "exact")
    (hit,) = answer["hits"]
    assert list(hit) == [
        "id", "question", "score", "similarity", "probability", "is_duplicate", "differences", "payload",
    ]  # fmt: skip
    assert hit["id"] == "error"

    asked, out = tmp_path / "asked.csv", tmp_path / "found.csv"
    asked.write_text('id,question\nq1,"zzqx, again"\nq2,\nq3,the flight\n', encoding="utf-8")
    entry.main(["search", "--file", str(asked), "--archive", str(folder), "-k", "2", "--out", str(out)])
    assert capsys.readouterr().out.startswith("2 questions, ")
    rows = read_csv(out)
    ranks = [("q1", "1"), ("q1", "2"), ("q2", ""), ("q3", "1"), ("q3", "2")]
    assert [(row["id"], row["rank"]) for row in rows] == ranks
    assert (rows[2]["found"], rows[2]["fault"]) == ("", "question is missing or empty")
    assert (rows[0]["question"], rows[0]["found_id"], rows[0]["found"]) == ("zzqx, again", "zzqx", "zzqx 3.11 released")
    entry.main(["search", "--file", str(asked), "--archive", str(folder), "-k", "2"])
    assert capsys.readouterr().out.encode() == out.read_bytes()

    archive_file = tmp_path / "own.csv"
    archive_file.write_text("nr,question\n0,the  flight\n7,the flight\nluggage,the flight\n", encoding="utf-8")
    entry.main(["search", "--file", str(archive_file), "--archive", str(folder), "-k", "1", "--id", "nr", "--force",
                "--out", str(out), "--threshold", "1"])  # fmt: skip
    rows = read_csv(out)
    assert [(row["id"], row["is_duplicate"]) for row in rows] == [("1", "0"), ("0", "0"), ("0", "0")]
    assert float(rows[0]["score"]) == float(rows[0]["similarity"]) == 1

    for asked_for, message in (
        ([], "search takes a question, or --file PATH"),
        (["a", "--file", "b"], "search takes a question, or --file PATH"),
        (["--file", "b.csv", "--json"], "--json is for one question; --file writes a file"),
        (["a", "--out", "b"], "--out goes with --file; the answer for one question is printed"),
        (["a", "-k", "0"], "k 0: expected a whole number of 1 or more"),
    ):
        with pytest.raises(SystemExit):
            entry.main(["search", *asked_for, "--archive", str(folder)])
        assert capsys.readouterr().err == f"error: {message}\n"


def test_a_terminal_gets_no_control_characters(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = SiameseModel.load(tiny_model)
    Archive.build(tmp_path / "a", model=model, name=str(tiny_model)).add(["flight \x1b[2J\nagain"], ["\x07id"])
    entry.main(["search", "flight", "--archive", str(tmp_path / "a")])
    assert capsys.readouterr().out.splitlines()[-1].endswith(" id: flight  [2J again")
