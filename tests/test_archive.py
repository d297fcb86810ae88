"""An archive keeps its questions: compared with a dictionary, killed, cut off, interrupted, used by two processes."""

import itertools
import json
import math
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import Command, posix, python
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from siamese import SiameseModel
from siamese.archive import database, ranking
from siamese.archive.changes import Block
from siamese.archive.database import LISTS
from siamese.archive.sqlite import DATABASE
from siamese.archive.store import Archive
from siamese.archive.vectors import HEADER, VECTORS
from siamese.errors import ArchiveError, UserError
from siamese.text.cleaning import clean

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> SiameseModel:
    return SiameseModel.load(tiny_model)


@pytest.fixture
def archive(model: SiameseModel, tiny_model: Path, tmp_path: Path) -> Iterator[Archive]:
    with Archive.build(tmp_path / "archive", model=model, name=str(tiny_model)) as archive:
        yield archive


def again(archive: Archive) -> Archive:
    """Open the same archive, as another process would."""
    return Archive.open(archive._database.folder, archive.model)


def held(archive: Archive) -> dict[str, str]:
    return dict(archive._database.execute("SELECT id, question FROM questions ORDER BY row"))


def vectors(archive: Archive) -> dict[str, bytes]:
    """Return what `vectors.f32` holds for each id."""
    size = 4 * archive.model.dimensions
    content = (archive._database.folder / VECTORS).read_bytes()[HEADER:]
    rows = archive._database.execute("SELECT id, row FROM questions")
    return {id: content[row * size : (row + 1) * size] for id, row in rows}


# Against a dictionary

WORDS = ["luggage", "take", "claim", "ticket", "flight", "airline", "seat", "passport", "qqa", "qqb", "qqc"]
ODD = [
    "", "?!", 'say "hi" OR NOT (a* NEAR b)', "\0nul\0", "O'Brien; DROP TABLE questions --", "Ünïcode 中国 🙂",
    "line\nbreak",
]  # fmt: skip
questions = st.one_of(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join), st.sampled_from(ODD))
ids = st.one_of(st.integers(0, 30).map(str), st.sampled_from(["'", '"; --', "a\nb", "é", "中", "🙂", "%", "\0"]))


def bm25(texts: dict[str, str], question: str) -> dict[str, float]:
    """Score texts by the formula of Robertson and Zaragoza, k1 = 1.2, b = 0.75. No two of WORDS share a stem."""
    counts = {id: Counter(re.findall(r"\w+", text)) for id, text in texts.items()}
    average = sum(sum(words.values()) for words in counts.values()) / max(1, len(counts))
    scores: dict[str, float] = {}
    for word in set(re.findall(r"\w+", question)):
        having = [id for id, words in counts.items() if word in words]
        idf = max(math.log((len(counts) - len(having) + 0.5) / (len(having) + 0.5)), 1e-6)
        for id in having:
            f, length = counts[id][word], sum(counts[id].values())
            scores[id] = scores.get(id, 0) + idf * f * 2.2 / (f + 1.2 * (0.25 + 0.75 * length / average))
    return scores


def whole(texts: dict[str, str], question: str) -> float:
    """Return the sum of the weights of a query's words, those that no text has among them."""
    found = 0.0
    for word in set(re.findall(r"\w+", question)):
        having = sum(word in re.findall(r"\w+", text) for text in texts.values())
        found += max(math.log((len(texts) - having + 0.5) / (having + 0.5)), 1e-6)
    return found or 1.0


class AgainstADictionary(RuleBasedStateMachine):
    model: SiameseModel
    name: str
    folders: Iterator[Path]
    operations = 0

    @initialize()
    def start(self) -> None:
        self.archive = Archive.build(next(self.folders), model=self.model, name=self.name)
        self.texts: dict[str, str] = {}
        self.payloads: dict[str, dict[str, Any]] = {}

    def teardown(self) -> None:
        if hasattr(self, "archive"):
            self.archive.close()

    @rule(texts=st.lists(questions, max_size=5))
    def add(self, texts: list[str]) -> None:
        given = self.archive.add(texts)
        assert not set(given) & set(self.texts) and len(set(given)) == len(texts)
        self.texts.update(zip(given, texts))

    @rule(records=st.lists(st.tuples(ids, questions), min_size=1, max_size=5))
    def add_with_ids(self, records: list[tuple[str, str]]) -> None:
        names, texts = [id for id, _ in records], [text for _, text in records]
        seen = [id in self.texts or id in names[:i] for i, id in enumerate(names)]
        if any(seen):
            with pytest.raises(
                ArchiveError, match=re.escape(f"the id {names[seen.index(True)]!r} is taken")
            ) as refused:
                self.archive.add(texts, names)
            assert refused.value.position == seen.index(True)
        else:
            assert self.archive.add(texts, names) == names
            self.texts.update(records)

    @rule(
        records=st.dictionaries(ids, questions, max_size=5), known=st.sampled_from(["skip", "update"]),
        missing=st.booleans(), more=st.sampled_from([{}, {"n": 1}, {"n": None, "m": "ü"}]),
    )  # fmt: skip
    def sync(self, records: dict[str, str], known: str, missing: bool, more: dict[str, Any]) -> None:
        given = list(records), list(records.values()), [more] * len(records)
        done = self.archive.sync(given[1], given[0], given[2], known=known, remove_missing=missing, force=True)
        kept = {name: value for name, value in more.items() if value is not None}
        before = {id: (text, self.payloads.get(id, {})) for id, text in self.texts.items()}
        after = {id: both for id, both in before.items() if id in records or not missing}
        for id, text in records.items():
            if id not in after or known == "update":
                old = {name: value for name, value in self.payloads.get(id, {}).items() if name not in more}
                after[id] = text, old | kept
        assert sorted(done.added) == sorted(after.keys() - before.keys())
        assert sorted(done.removed) == sorted(before.keys() - after.keys())
        assert sorted(done.changed) == sorted(id for id in after if id in before and after[id] != before[id])
        assert set(done.added + done.changed + done.unchanged) == records.keys()
        self.texts = {id: text for id, (text, _) in after.items()}
        self.payloads = {id: payload for id, (_, payload) in after.items()}

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        some = data.draw(st.lists(st.sampled_from(sorted(self.texts)), max_size=3)) if self.texts else []
        self.archive.remove(some)
        for id in set(some):
            del self.texts[id]
            self.payloads.pop(id, None)

    @rule(id=ids, data=st.data())
    def remove_what_is_not_there(self, id: str, data: st.DataObject) -> None:
        if id not in self.texts:
            before = [data.draw(st.sampled_from(sorted(self.texts)))] if self.texts else []
            with pytest.raises(ArchiveError, match=re.escape(f"no question has the id {id!r}")):
                self.archive.remove([*before, id])

    @rule()
    def open_again(self) -> None:
        self.archive.close()
        self.archive = again(self.archive)

    @rule(question=questions, k=st.integers(1, 12))
    def search(self, question: str, k: int) -> None:
        scored = dict(zip(self.texts, self.model.similarity([question] * len(self.texts), list(self.texts.values()))))
        by_words = bm25({id: text.lower() for id, text in self.texts.items()}, question.lower())
        known = {id for id, text in self.texts.items() if self.model.encode([text]).any()}
        same = {id for id, text in self.texts.items() if clean(text) == clean(question) != ""}  # these come first
        near = {id: scored[id] for id in known} if self.model.encode([question]).any() else dict.fromkeys(same, 1.0)
        plain = set(re.findall(r"\w+", question)) <= set(WORDS)  # of the odd ones FTS5 has its own view
        expected = {"vectors": near}
        if plain and all(set(re.findall(r"\w+", t)) <= set(WORDS) for t in self.texts.values()):
            by_words |= {id: by_words.get(id, 0.0) for id in same & near.keys() - known}
            expected["words"] = by_words
            weight = ranking.WEIGHT / max(1, math.log(max(len(self.texts) - 0.5, 1) / 1.5))
            most = whole({id: text.lower() for id, text in self.texts.items()}, question.lower())
            added = {id: weight * score * min(1, score / most) for id, score in by_words.items()}
            expected["both"] = {id: scored[id] + added.get(id, 0.0) for id in near.keys() | by_words.keys()}
        for legs, found in expected.items():
            scores = {id: score + 100 * (id in same) for id, score in found.items()}
            (hits,) = self.archive.search([question], k, legs)
            assert len({hit.id for hit in hits}) == len(hits) == min(k, len(scores))
            np.testing.assert_allclose([scores[hit.id] for hit in hits], sorted(scores.values())[::-1][:k], atol=1e-6)
            for hit in hits:
                assert (hit.question, abs(hit.similarity - scored[hit.id]) < 1e-6) == (self.texts[hit.id], True)

    @rule()
    def compare(self) -> None:
        assert held(self.archive) == self.texts
        assert len(self.archive) == len(self.texts)
        assert all(self.archive.get(id) == text for id, text in self.texts.items())
        assert {record.id: record.payload for record in self.archive.records()} == {
            id: self.payloads.get(id, {}) for id in self.texts
        }
        assert self.archive.get("nobody") is None
        encoded = self.model.encode(list(self.texts.values()))
        found = vectors(self.archive)
        for id, expected in zip(self.texts, encoded):
            np.testing.assert_allclose(np.frombuffer(found[id], np.float32), expected, atol=1e-6)


@pytest.mark.ci
def test_a_thousand_operations_against_a_dictionary(model: SiameseModel, tiny_model: Path, tmp_path: Path) -> None:
    class Machine(AgainstADictionary):
        pass

    Machine.model, Machine.name = model, str(tiny_model)
    Machine.folders = (tmp_path / str(i) for i in itertools.count())
    run_state_machine_as_test(Machine, settings=settings(max_examples=20, stateful_step_count=50))


# From Python


@pytest.mark.slow
def test_an_archive_of_a_data_frame(tiny_model: Path, model: SiameseModel, tmp_path: Path) -> None:
    frame = pd.DataFrame({"question": ["take luggage", "claim luggage"], "id": [7, 8], "topic": "travel"})
    with Archive.build(tmp_path / "a", frame, tiny_model) as archive:
        assert held(archive) == {"7": "take luggage", "8": "claim luggage"}
        assert archive.add(frame.drop(columns="id")) == ["1", "2"]
        assert archive.add(pd.Series(["flight"]), ids=["f"]) == ["f"]
        assert [hit.id for hit in archive.search(pd.Series(["flight"]), 1)[0]] == ["f"]
        with pytest.raises(UserError, match="no column 'question'; it has 'text'"):
            archive.add(pd.DataFrame({"text": ["a"]}))
        for unfit in (["a", None], "one"):
            with pytest.raises(UserError, match="text|one string"):
                archive.add(unfit)  # type: ignore[arg-type]
    assert len(Archive.open(tmp_path / "a")) == 5  # of a model that is found by its name
    with Archive.build(tmp_path / "b", ["take luggage"], model) as archive:
        assert held(archive) == {"1": "take luggage"}
    assert len(Archive.open(tmp_path / "b", model)) == 1
    with pytest.raises(ArchiveError, match="its model was given without a name; give it by --model or to Archive.open"):
        Archive.open(tmp_path / "b")


# Killed, cut off, interrupted

KILLED = """
import itertools, os, random, signal, sys
from test_archive import *

model, chance = SiameseModel.load(sys.argv[1]), random.Random(3)
fatal, events = 0, itertools.count(1)

def event(*_):
    if next(events) == fatal:
        os.kill(os.getpid(), signal.SIGKILL)

def attempt(start, seconds):
    pid = os.fork()
    if pid == 0:
        # Of the processor's time, so that a busy machine does not let it end first; nothing handles the signal.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        sync = database.sync_file
        database.sync_file = lambda path: (event(), sync(path), event())
        archive = Archive.open("a", model)
        archive._database.connection.set_trace_callback(event)  # before each statement
        for i in itertools.count(start):
            archive.add_blocks([Block(*batch(i, 0)), Block(*batch(i, 1))])
            os.write(2, f"added {i}\\n".encode())
            if i % 3 == 2:
                archive.remove(batch(i - 1, 0)[1])
                os.write(2, f"removed {i - 1}\\n".encode())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def batch(i, half):
    names = [f"{i} {half} {j}" for j in range(5)]
    return [f"how do I take luggage {WORDS[k % 7]} {name}" for k, name in enumerate(names)], names

Archive.build("a", model=model, name=sys.argv[1]).close()
start = 0
for k in range(20):
    fatal, events = (chance.randint(1, 200), itertools.count(1)) if k % 2 else (0, events)
    code = attempt(start, 0.0 if fatal else chance.uniform(0.005, 0.1))
    archive = Archive.open("a", model)
    texts = held(archive)
    count = max((int(id.split()[0]) + 1 for id in texts), default=0)
    for i in range(count):  # whole batches, none left out; of some the first half was removed again
        some = [name in texts for half in (0, 1) for name in batch(i, half)[1]]
        assert some in ([True] * 10, [False] * 5 + [True] * 5), (i, some)
    assert all(text == dict(zip(*reversed(batch(*map(int, id.split()[:2])))))[id] for id, text in texts.items())
    assert len(archive) == len(texts) == len(archive.search(["luggage"], 100_000, "words")[0])
    encoded = model.encode(list(texts.values()))
    stored = vectors(archive)
    assert all(np.allclose(np.frombuffer(stored[id], "f4"), row, atol=1e-6) for id, row in zip(texts, encoded))
    archive.close()
    print(code, count)
    start = count
"""


@pytest.mark.ci
@posix
def test_killed_at_twenty_random_points(tiny_model: Path, tmp_path: Path) -> None:
    done = python("-c", KILLED, tiny_model, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ends = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert [code for code, _ in ends] == [-signal.SIGPROF, -signal.SIGKILL] * 10
    assert ends[-1][1] > 20  # it came on between the kills
    # What was reported as done is there: each run began after the last batch that was found.
    reported = [int(line.split()[1]) for line in done.stderr.splitlines() if line.startswith("added")]
    assert len(set(reported)) == len(reported)


def test_vectors_are_on_the_disk_before_the_database_says_so(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sync = database.sync_file
    monkeypatch.setattr(database, "sync_file", lambda path: (calls.append(f"sync {path.stat().st_size}"), sync(path)))
    archive._database.connection.set_trace_callback(calls.append)
    archive.add(["how do I take luggage"] * 3)
    assert calls.index(f"sync {HEADER + 3 * 4 * 16}") < calls.index("COMMIT")
    # Nothing of the table is committed before: one BEGIN, one COMMIT.
    assert [call for call in calls if call in ("BEGIN IMMEDIATE", "COMMIT")][:2] == ["BEGIN IMMEDIATE", "COMMIT"]
    assert archive._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_what_a_crash_left_behind_the_rows_is_written_over(archive: Archive) -> None:
    archive.add(["take luggage"], ["a"])
    path = archive._database.folder / VECTORS
    path.write_bytes(path.read_bytes() + b"\x7f" * 200)
    archive.add(["claim luggage"], ["b"])
    assert vectors(archive)["b"] == archive.model.encode(["claim luggage"]).tobytes()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_the_old_archive(archive: Archive, stop: type[BaseException], tmp_path: Path) -> None:
    archive.add(["take luggage"], ["a"])

    def blocks() -> Iterator[Any]:
        yield Block(["claim luggage"], ["b"])
        raise stop

    with pytest.raises(stop):
        archive.add_blocks(blocks())
    assert held(archive) == held(again(archive)) == {"a": "take luggage"}
    assert [hit.id for hit in archive.search(["claim luggage"])[0]] == ["a"]
    with pytest.raises(stop):
        Archive.build_blocks(tmp_path / "new", blocks(), archive.model, archive.name)
    assert not (tmp_path / "new").exists()
    archive.add(["flight"], ["c"])
    assert vectors(archive)["c"] == archive.model.encode(["flight"]).tobytes()


def test_what_a_killed_build_left_is_put_away(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    (folder / ".building").mkdir(parents=True)
    (folder / ".building" / DATABASE).write_bytes(b"half")
    (folder / VECTORS).write_bytes(b"of a build that was killed between its two renames")
    (folder / LISTS).write_bytes(b"of an archive that somebody removed")
    with pytest.raises(ArchiveError, match="no archive there"):
        Archive.open(folder)
    with Archive.build(folder, ["flight"], archive.model, ids=["a"], name=archive.name) as built:
        assert vectors(built)["a"] == archive.model.encode(["flight"]).tobytes()
    assert {path.name for path in folder.iterdir()} == {DATABASE, VECTORS}


@posix
@pytest.mark.parametrize("name", [VECTORS, DATABASE])
def test_a_full_disk(archive: Archive, name: str) -> None:
    import resource

    archive.add(["take luggage"], ["a"])
    # The vectors grow to more than the limit, or stay small beside a long text.
    many = (["flight"] * 4_000, "vectors.f32") if name == VECTORS else (["x" * 600_000], "archive.sqlite")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises((OSError, ArchiveError)) as full:
            archive.add(many[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert many[1] in str(full.value)
    assert held(archive) == held(again(archive)) == {"a": "take luggage"}
    archive.add(["claim luggage"], ["b"])
    assert vectors(archive)["b"] == archive.model.encode(["claim luggage"]).tobytes()


# Two at a time


@pytest.mark.slow
def test_one_writer_and_readers(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.add(["take luggage", "claim luggage"], ["a", "b"])
    monkeypatch.setattr(database, "PATIENCE", 0.0)
    second = again(archive)

    def found() -> set[str]:
        both = {hit.id for hit in second.search(["luggage"])[0]}
        assert both == {hit.id for hit in second.search(["luggage"], legs="words")[0]}
        return both

    def blocks() -> Iterator[Any]:
        assert found() == {"a", "b"}
        yield Block(["my luggage"], ["c"])
        assert found() == {"a", "b"}  # nothing yet
        assert second.get("c") is None and len(second) == 2
        for change in (lambda: second.add(["x"]), lambda: second.remove(["a"])):
            with pytest.raises(ArchiveError, match="archive: another process is writing to it; wait for its end"):
                change()

    archive.add_blocks(blocks())
    assert found() == {"a", "b", "c"}  # without being opened again
    second.remove(["a"])
    assert {hit.id for hit in archive.search(["luggage"])[0]} == found() == {"b", "c"}


# What it refuses


def test_removed_is_gone_from_the_files(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.add(["take luggage sesquipedalian", "claim luggage", "take luggage"], ["verbose", "b", "c"])
    gone = vectors(archive)["verbose"]

    def files() -> bytes:
        return b"".join(path.read_bytes() for path in archive._database.folder.iterdir())

    for trace in (b"sesquipedalian", b"verbose", gone):
        assert trace in files()
    archive.remove(["verbose"])
    for trace in (b"sesquipedalian", b"sesquipedal", b"verbose", gone):
        assert trace not in files()
    # Killed before the vector is wiped: the next change does it.
    gone = vectors(archive)["b"]
    with monkeypatch.context() as patch:
        patch.setattr(database.Database, "fill", lambda *_: None)
        archive.remove(["b"])
    assert gone in files()
    assert [hit.id for hit in archive.search(["claim luggage"])[0]] == ["c"]
    archive.add(["flight"])
    assert gone not in files()


def test_another_model_is_refused(archive: Archive, tiny_model: Path) -> None:
    folder, other = archive._database.folder, SiameseModel.load(tiny_model)
    other.threshold = 0.123  # decides no vector
    assert Archive.open(folder, other).model.threshold == 0.123
    other.weights = {name: weight.copy() for name, weight in other.weights.items()}
    other.weights["lstm.bias_ih_l0"][0] += 1e-3
    with pytest.raises(ArchiveError, match="made with another model"):
        Archive.open(folder, other)
    assert Archive.open(folder).name == str(tiny_model)  # found by the name that is remembered


def test_a_model_that_averages_the_padding_is_refused(archive: Archive, tmp_path: Path) -> None:
    import dataclasses

    config = archive.model.config.replace(padding="longest")
    with pytest.raises(UserError, match="averages the padding"):
        Archive.build(tmp_path / "new", model=dataclasses.replace(archive.model, config=config), name="course")


def test_ids_and_questions_that_are_none(archive: Archive) -> None:
    for texts, names, message in (
        (["a"], [""], "the id '': expected a text that is not empty"),
        (["a"], [5], "the id 5: expected a text"),
        (["a"], ["\ud800"], "the id '.ud800': expected a text"),
        (["\ud800 luggage"], None, "has half a character"),
        (["a", "b"], ["a"], "2 questions and 1 ids"),
    ):
        with pytest.raises(UserError, match=message):
            archive.add(texts, names)  # type: ignore[arg-type]
    assert held(archive) == {} and archive.get("a") is None


def test_numbers_pass_over_ids_that_are_there(archive: Archive) -> None:
    archive.add(["a", "b"], ["2", "x"])
    assert archive.add(["c", "d"]) == ["1", "3"]
    archive.remove(["3"])
    assert archive.add(["e"]) == ["4"]  # whoever remembers 3 finds nothing, and nothing else


def test_damaged_archives(archive: Archive, tmp_path: Path) -> None:
    archive.add(["take luggage"] * 100)
    folder = archive._database.folder
    archive.close()
    whole = (folder / VECTORS).read_bytes()
    (folder / VECTORS).write_bytes(whole[:1_000])
    with pytest.raises(ArchiveError, match=r"vectors.f32: .*; expected 100 vectors"):
        Archive.open(folder, archive.model).search(["luggage"])
    (folder / DATABASE).write_bytes(b"not a database" * 1_000)
    with pytest.raises(ArchiveError, match=r"archive.sqlite: file is not a database"):
        Archive.open(folder, archive.model)
    (folder / DATABASE).unlink()
    sqlite3.connect(folder / DATABASE).execute("CREATE TABLE other(x)")
    with pytest.raises(ArchiveError, match=r"archive.sqlite: no such table: meta"):
        Archive.open(folder, archive.model)
    with pytest.raises(ArchiveError, match="no archive there"):
        Archive.open(tmp_path / "nowhere")


# As it is typed


@pytest.mark.slow
def test_commands(tiny_model: Path, tmp_path: Path, command: Command) -> None:
    first, folder = tmp_path / "first.csv", tmp_path / "faq"
    first.write_text('key,text\na,How do I take luggage?\n"b ""x""","",\n', encoding="utf-8")
    build = ("archive", "build", first, "--out", folder, "--model", tiny_model, "--question", "text", "--id", "key")
    assert (
        command(*build)[2]
        == f"error: {first}, line 3: 3 fields, expected 2; every row is needed, so mend or remove it\n"
    )
    assert not folder.exists()
    first.write_text('key,text\na,How do I take luggage?\n"b ""x""",\nc,"Two\nlines"\n', encoding="utf-8")
    assert command(*build)[:2] == (0, f"{folder}: 2 questions, search exact; 1 blank rows left out\n")
    assert command(*build)[0] == 0  # as it was built: it can be built again

    more = tmp_path / "more.jsonl"
    more.write_text('{"id": 7, "question": "flight"}\n\n{"id": "c", "question": "ticket"}\n', encoding="utf-8")
    add = ("archive", "add", more, "--archive", folder)
    assert command(*add) == (2, "", f"error: {more}, line 3: the id 'c' is taken: update it, or use another\n")
    more.write_text('{"id": 7, "question": "flight"}\n{"question": "ticket"}\n', encoding="utf-8")
    assert command(*add) == (
        2,
        "",
        f"error: {more}, line 2: no id, unlike other rows; give all questions an id, or none\n",
    )
    more.write_text('{"id": 7, "question": "flight"}\n{"id": "7", "question": "ticket"}\n', encoding="utf-8")
    assert command(*add) == (2, "", f"error: {more}, line 2: the id '7' is taken: update it, or use another\n")
    more.write_text('{"id": 7, "question": "flight"}\n{"id": "\\ud800", "question": "ticket"}\n', encoding="utf-8")
    assert command(*add)[2].startswith(f"error: {more}, line 2: id is not text: '\\ud800' has half a character")
    more.write_text('{"id": 7, "question": "\\ud800"}\n', encoding="utf-8")
    assert command(*add)[2].startswith(f"error: {more}, line 1: question is not text: '\\ud800' has half a character")
    more.write_text('{"id": 7, "question": "flight"}\n{"id": "8", "question": "ticket"}\n', encoding="utf-8")
    assert command(*add) == (0, f"{folder}: 2 added, 4 questions\n", "")
    code, _, err = command(*build)
    assert code == 2 and "changed since it was built; `archive add` adds to it, --force replaces it" in err
    lines = tmp_path / "lines.txt"
    lines.write_text("seat\n\npassport\n", encoding="utf-8")
    assert command(*add[:2], lines, *add[3:]) == (0, f"{folder}: 2 added, 6 questions; 1 blank rows left out\n", "")

    remove = ("archive", "remove", "--archive", folder)
    assert command(*remove, "7", "none")[2] == "error: no question has the id 'none'\n"
    gone = tmp_path / "gone.txt"
    gone.write_text("7\nnone\n", encoding="utf-8")
    assert command(*remove, "--file", gone)[2] == f"error: {gone}, line 2: no question has the id 'none'\n"
    gone.write_text("7\n1\n", encoding="utf-8")
    assert command(*remove, "--file", gone) == (0, f"{folder}: 4 questions left\n", "")
    assert command(*remove)[2] == "error: archive remove takes ids, or --file PATH\n"

    code, out, _ = command("archive", "info", "--archive", folder, "--json")
    found = json.loads(out)
    assert (found["questions"], found["rows"], found["search"], found["model"]) == (4, 4, "exact", str(tiny_model))
    assert found["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert re.search(r"^questions +4$", command("archive", "info", "--archive", folder)[1], re.MULTILINE)


@pytest.mark.slow
def test_a_file_in_blocks(tiny_model: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamese.archive.files.QUESTIONS_AT_A_TIME", 3)
    names = [f"n{i}" for i in range(8)]
    frame = pd.DataFrame({"id": names, "question": [f"luggage {i}" for i in range(8)]})
    frame.to_parquet(tmp_path / "q.parquet")
    build = ("archive", "build", tmp_path / "q.parquet", "--model", tiny_model, "--out")
    assert command(*build, tmp_path / "a")[0] == 0
    with Archive.open(tmp_path / "a") as archive:
        assert list(held(archive)) == names
    frame.loc[5, "id"] = "n1"  # of an earlier block
    frame.to_parquet(tmp_path / "q.parquet")
    assert (
        command(*build, tmp_path / "b")[2]
        == f"error: {tmp_path / 'q.parquet'}, line 6: the id 'n1' is taken: update it, "
        "or use another\n"
    )
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_neither_command_loads_torch(archive: Archive) -> None:
    archive.add(["How do I take luggage?"])
    code = (
        "import sys; from siamese import cli; cli.main(sys.argv[1:]); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'sklearn', 'scipy')))"
    )
    done = python("-c", code, "search", "luggage", "--archive", archive._database.folder)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
