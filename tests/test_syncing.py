"""An archive follows a file that changes: what is new, changed, unchanged and missing; payloads; single records."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import Command, posix, python

from siamese import SiameseModel
from siamese.archive import payloads, tables
from siamese.archive.changes import Block
from siamese.archive.records import Record
from siamese.archive.store import Archive
from siamese.archive.syncing import Changes, Treatment
from siamese.archive.vectors import HEADER, VECTORS
from siamese.errors import ArchiveError, UserError


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> SiameseModel:
    return SiameseModel.load(tiny_model)


@pytest.fixture
def archive(model: SiameseModel, tiny_model: Path, tmp_path: Path) -> Iterator[Archive]:
    with Archive.build(tmp_path / "archive", model=model, name=str(tiny_model)) as archive:
        yield archive


def content(archive: Archive) -> dict[str, tuple[str, dict[str, Any], bytes, bool]]:
    """Return text, payload and vector of each id, and whether the index of words finds it."""
    size, data = 4 * archive.model.dimensions, (archive._database.folder / VECTORS).read_bytes()[HEADER:]
    rows = dict(archive._database.execute("SELECT id, row FROM questions"))
    by_words = {hit.id for hit in archive.search(["luggage"], 100_000, "words")[0]}
    vectors = {id: data[row * size : (row + 1) * size] for id, row in rows.items()}
    return {r.id: (r.question, r.payload, vectors[r.id], r.id in by_words) for r in archive.records()}


def of(model: SiameseModel, *records: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    """Return the `content` of an archive of these ids, questions and payloads."""
    encoded = model.encode([question for _, question, _ in records])
    return {id: (text, more, vector.tobytes(), "luggage" in text) for (id, text, more), vector in zip(records, encoded)}


def test_what_differs_is_changed(archive: Archive, model: SiameseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({
        "id": ["a", "b", "c", "d"], "question": ["take luggage", "claim luggage", "flight", "ticket"],
        "topic": ["x", "y", "z", None],
    })  # fmt: skip
    assert archive.sync(frame) == Changes(added=["a", "b", "c", "d"])
    state = archive.info() | {"bytes": 0}
    encoded: list[str] = []
    encode = SiameseModel.encode
    monkeypatch.setattr(
        SiameseModel, "encode", lambda self, texts, *_: (encoded.extend(texts), encode(self, texts))[1]
    )  # fmt: skip
    assert archive.sync(frame, remove_missing=True) == Changes(unchanged=["a", "b", "c", "d"])
    assert encoded == [] and archive.info() | {"bytes": 0} == state
    frame = pd.DataFrame({
        "id": ["e", "b", "c", "a"], "question": ["seat luggage", "claim passport", "flight", "take luggage"],
        "topic": ["new", "y", "changed", "x"], "later": [1, 2, None, None],
    })  # fmt: skip
    done = archive.sync(frame, remove_missing=True)
    assert done == Changes(added=["e"], changed=["b", "c"], unchanged=["a"], removed=["d"])
    assert encoded == ["seat luggage", "claim passport"]
    expected = of(
        model, ("a", "take luggage", {"topic": "x"}), ("b", "claim passport", {"topic": "y", "later": 2.0}),
        ("c", "flight", {"topic": "changed"}), ("e", "seat luggage", {"topic": "new", "later": 1.0}),
    )  # fmt: skip
    assert content(archive) == expected
    assert archive.sync(["other", "other"], ["a", "f"], known="skip") == Changes(added=["f"], unchanged=["a"])
    assert archive.sync(["take luggage"], ["a"], [{"topic": ""}]).changed == ["a"]  # what is not named stays
    assert archive.sync(["flight"], ["c"], [{"later": 3}]).changed == ["c"]
    assert archive.record("a") == Record("a", "take luggage", {})
    assert archive.record("c") == Record("c", "flight", {"topic": "changed", "later": 3})


def test_what_was_changed_is_gone_from_the_files(archive: Archive) -> None:
    archive.add(["take sesquipedalian luggage", "flight"], ["a", "b"], [{"by": "somebody"}, {"by": "another"}])
    archive.index("by")
    gone = content(archive)["a"][2]
    archive.sync(["take luggage", "flight"], ["a", "b"], [{"by": None}, {"by": "no one"}])
    files = b"".join(path.read_bytes() for path in archive._database.folder.iterdir())
    for trace in (b"sesquipedal", b"somebody", b"another", gone):
        assert trace not in files
    assert b"no one" in files


def test_what_sync_refuses(archive: Archive) -> None:
    archive.add(["flight", "ticket", "seat"], ["a", "b", "c"])
    before = content(archive)
    for arguments, options, position, message in (
        ((["x"],), {}, None, "no ids, by which known questions are found"),
        ((["x", "y"], ["a"]), {}, None, "2 questions and 1 ids"),
        ((["x"], ["a"]), {"known": "all"}, None, "known 'all': expected one of error, skip, update"),
        ((["x"], ["a"]), {"known": "error", "remove_missing": True}, None, "needs known ids skipped or updated"),
        ((["x"], ["a"]), {"known": "error"}, 0, "the id 'a' is taken: update it, or use another"),
        ((["flight", "x", "y"], ["a", "b", "a"]), {}, 2, "the id 'a' is given twice"),
        ((["x", "y"], ["a", "a"]), {}, 1, "the id 'a' is given twice"),
        ((["flight", "x", "y"], ["a", "d", "d"]), {}, 2, "the id 'd' is taken: update it, or use another"),
        ((["flight", "x"], ["a", "b"], [{}, {"n": b"x"}]), {}, 1, "n is bytes"),
        ((["flight"], ["a"]), {"remove_missing": True}, None, "2 of its 3 questions are missing in what is added"),
        (([], []), {"remove_missing": True}, None, "3 of its 3 questions are missing"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message) as refused:
            archive.sync(*arguments, **options)  # type: ignore[arg-type]
        assert getattr(refused.value, "position", None) == position
    assert content(archive) == before
    with pytest.raises(ArchiveError, match="the id 'a' is given twice"):  # in another block
        archive.sync_blocks([Block(["x"], ["a"]), Block(["y"], ["a"])], Treatment("update"))
    assert content(archive) == before
    assert archive.sync(["flight"], ["a"], remove_missing=True, force=True).removed == ["b", "c"]
    assert list(content(archive)) == ["a"]


def test_payloads(model: SiameseModel, tmp_path: Path) -> None:
    travel = {"topic": "travel", "views": 7, "open": True, "author": None, "note": " ", "tags": ["a", "b"]}
    with Archive.build(
        tmp_path / "a", ["take luggage", "claim luggage"], model, ids=["a", "b"], payloads=[travel, {"topic": "ü"}]
    ) as archive:
        kept = {"topic": "travel", "views": 7, "open": True, "tags": ["a", "b"]}
        archive.add(["flight"], ["c"])
        assert {hit.id: hit.payload for hit in archive.search(["luggage flight"])[0]} == {
            "a": kept, "b": {"topic": "ü"}, "c": {},
        }  # fmt: skip
        with archive._database.reading():
            for where, rows in (
                ({}, [0, 1, 2]), ({"topic": "travel"}, [0]), ({"topic": "ü"}, [1]), ({"topic": None}, [2]),
                ({"views": 7, "open": True}, [0]), ({"views": "7", "open": "true"}, [0]), ({"open": 1}, []),
                ({"topic": "ü", "views": ""}, [1]), ({"views": np.int64(7)}, [0]), ({"views": Decimal(7)}, [0]),
            ):  # fmt: skip
                found = archive._database.rows_where(where)
                assert (found.tolist(), found.dtype) == (rows, np.int64), where
            with pytest.raises(UserError, match="no question of the archive has a column 'author'; kept columns: 'to"):
                archive._database.rows_where({"author": "x"})
            for value, message in (("\ud800", "has half a character"), (["a"], "expected text, a number, a boolean")):
                with pytest.raises(UserError, match=message):
                    archive._database.rows_where({"topic": value})
        archive.remove(["a"])  # the last one moves into its row
        assert archive.search(["claim luggage"], 1)[0][0].payload == {"topic": "ü"}
        with pytest.raises(ArchiveError, match="note is bytes") as refused:
            archive.add(["a", "b"], payloads=[{}, {"note": b"x"}])
        assert refused.value.position == 1
        with pytest.raises(ArchiveError, match="topic is not text: '.ud800' has half a character"):
            archive.add(["a"], payloads=[{"topic": "\ud800"}])
        for name in ("half \ud800", 5):
            with pytest.raises(ArchiveError, match="a column is called .*; expected a text"):
                archive.sync(["take luggage"], ["b"], [{name: 1}])  # type: ignore[dict-item]
        with pytest.raises(ArchiveError, match="views is a number of more than 120 bits"):
            archive.add(["a"], payloads=[{"views": -(10**5000)}])
        with pytest.raises(UserError, match="1 questions and 0 payloads"):
            archive.add(["a"], payloads=[])
    with Archive.build(tmp_path / "b", ["flight"], model, payloads=[travel], keep=["topic", "author"]) as archive:
        archive.add(["ticket"], payloads=[travel])
        assert [hit.payload for hit in archive.search(["flight ticket"])[0]] == [{"topic": "travel"}] * 2
        assert archive.kept() == ["topic", "author"]


def test_an_index_of_a_column_is_used(archive: Archive) -> None:
    archive.add(["flight"], ["a"], [{"o'clock": "7"}])
    archive.index("o'clock")
    archive.index("o'clock")
    data = archive._database
    with data.reading() as meta:
        assert payloads.indexed(data.connection) == ["o'clock"]
        condition, values = payloads.condition(data.connection, {"o'clock": 7}, ["o'clock"])
        sql = f"EXPLAIN QUERY PLAN SELECT row FROM {tables.stored(meta)} WHERE {condition} ORDER BY row"
        assert "USING INDEX by o'clock" in data.execute(sql, values).fetchone()[3]
        assert data.rows_where({"o'clock": 7}).tolist() == [0]
        with pytest.raises(UserError, match="""the column 'a"b': its name cannot be asked for"""):
            payloads.condition(data.connection, {'a"b': 1}, ['a"b'])
    with pytest.raises(UserError, match="has a column 'day'; kept columns: \"o'clock\""):
        archive.index("day")


def test_pages(archive: Archive) -> None:
    archive.add([f"seat {i}" for i in range(5)], list("edcba"), [{"even": i % 2 == 0} for i in range(5)])
    assert [record.id for record in archive.records()] == list("abcde")
    assert [record.id for record in archive.records(after="b", limit=2)] == ["c", "d"]
    assert archive.records({"even": True}, after="a", limit=1) == [Record("c", "seat 2", {"even": True})]
    assert archive.record("none") is None
    with pytest.raises(ArchiveError, match="the id '.ud800'"):
        archive.records(after="\ud800")
    with pytest.raises(UserError, match="limit 0"):
        archive.records(limit=0)
    assert archive.update("a", "seat 9") and not archive.update("a", "seat 9", {"even": True})
    assert archive.update("a", payload={"even": None, "odd": 1})
    assert archive.record("a") == Record("a", "seat 9", {"odd": 1})
    with pytest.raises(ArchiveError, match="no question has the id 'z'"):
        archive.update("z", "x")


ROWS = [("b", 'say "x", 2', {"n": 1, "open": True}), ("a", "flight\nback", {"t": ["x", 1], "n": None, "id": "own"})]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.parquet"])
def test_an_export_makes_the_same_archive(archive: Archive, tmp_path: Path, name: str) -> None:
    if name.endswith(("csv", "tsv")):  # which hold text
        rows = [(id, text, {key: str(value) for key, value in more.items() if value}) for id, text, more in ROWS]
    else:
        rows = ROWS if name.endswith("jsonl") else [(id, text, {**more, "t": [str(id)]}) for id, text, more in ROWS]
    archive.add([text for _, text, _ in rows], [id for id, _, _ in rows], [more for _, _, more in rows])
    assert archive.export(tmp_path / name) == 2
    from siamese.archive.files import QuestionFile

    file = QuestionFile(tmp_path / name, "question", None, lambda *_: None, None)
    with Archive.build_blocks(tmp_path / "again", file, archive.model, archive.name) as again:
        found, expected = again.records(), archive.records()
        assert [record.id for record in found] == ["a", "b"]
        for one, other in zip(found, expected):
            payload = {"payload_id" if key == "id" else key: value for key, value in other.payload.items()}
            assert one == Record(other.id, other.question, payload)


def test_json_may_leave_out_what_is_missing(archive: Archive, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"id": 1, "question": "flight"}\n{"id": 2, "question": "seat", "topic": "x", "n": 1}\n')
    build = ("archive", "build", file, "--out", tmp_path / "new", "--model", archive.name, "--keep")
    assert command(*build, "topic")[::2] == (0, "")  # a later row has it
    assert "line 1: no column 'topik'; it has 'id', 'question', 'topic', 'n'" in command(*build, "topik")[2]
    file.write_text('{"id": 1, "question": "flight", "topic": "y"}\n{"id": 2, "question": "seat"}\n')
    assert command("archive", "add", file, "--archive", tmp_path / "new", "--known", "update")[0] == 0
    with Archive.open(tmp_path / "new") as new:
        assert [record.payload for record in new.records()] == [{"topic": "y"}, {}]


@pytest.mark.slow
def test_commands(tiny_model: Path, tmp_path: Path, command: Command) -> None:
    file, folder = tmp_path / "night.csv", tmp_path / "faq"
    file.write_text("id,question,author,url\n1,take luggage,ann,u1\n2,flight,,u2\n3,seat,bob,u3\n", encoding="utf-8")
    build = ("archive", "build", file, "--out", folder, "--model", tiny_model)
    assert command(*build, "--keep", "autor")[2].startswith(f"error: {file}, line 1: no column 'autor'; it has 'id'")
    assert command(*build, "--keep", "author")[0] == 0
    list_ = ("archive", "list", "--archive", folder)
    assert command(*list_)[1] == "1: take luggage (author=ann)\n2: flight\n3: seat (author=bob)\n"
    assert command(*build)[0] == 0
    assert command(*list_, "--where", "author=")[1] == "2: flight (url=u2)\n"
    page = command(*list_, "--limit", "1", "--after", "1")
    assert page == (0, "2: flight (url=u2)\n", "more follow; go on with --after 2\n")
    assert command(*list_, "--where", "autor=ann")[2] == (
        "error: no question of the archive has a column 'autor'; kept columns: 'author', 'url'\n"
    )
    get = ("archive", "get", "--archive", folder)
    assert json.loads(command(*get, "3", "1", "--json")[1])[0] == {
        "id": "3", "question": "seat", "payload": {"author": "bob", "url": "u3"},
    }  # fmt: skip
    assert command(*get, "9")[2] == f"error: {folder}: no question has the id '9'\n"

    file.write_text("id,question,author,url\n1,take luggage,eve,u1\n4,ticket,,u2\n3,seat,bob,u3\n", encoding="utf-8")
    add = ("archive", "add", file, "--archive", folder)
    assert command(*add)[2] == f"error: {file}, line 2: the id '1' is taken: update it, or use another\n"
    assert command(*add, "--remove-missing")[2].endswith("needs known ids skipped or updated (--known)\n")
    assert command(*add, "--known", "skip")[1] == f"{folder}: 1 added, 0 changed, 2 unchanged, 0 removed, 4 questions\n"
    update = (*add, "--known", "update", "--remove-missing")
    assert command(*update)[1] == f"{folder}: 0 added, 1 changed, 2 unchanged, 1 removed, 3 questions\n"
    file.write_text("id,question,author,url\n3,seat,bob,u3\n", encoding="utf-8")
    assert command(*update)[2].startswith("error: 2 of its 3 questions are missing in what is added, more than half")
    assert command(*update, "--force")[1] == f"{folder}: 0 added, 0 changed, 1 unchanged, 2 removed, 1 questions\n"

    change = ("archive", "update", "--archive", folder, "--id", "3")
    assert command(*change, "--question", "passport", "--set", "url=", "--set", "author=x=y") == (
        0, f"{folder}: 3 changed\n", ""
    )  # fmt: skip
    assert command(*get, "3")[1] == "3: passport (author=x=y)\n"
    for wrong, message in (
        ((), "archive update takes --question TEXT, --set NAME=VALUE, or both"),
        (("--question", " "), "--question is empty; `archive remove` removes a question"),
        (("--set", "author"), "--set 'author': expected NAME=VALUE"),
        (("--set", "a=1", "--set", "a=2"), "--set: two values for 'a'; give one"),
    ):
        assert command(*change, *wrong)[2] == f"error: {message}\n"
    assert command("archive", "index", "author", "--archive", folder)[1] == f"{folder}: indexed author\n"
    export = ("archive", "export", "--archive", folder, "--out", tmp_path / "out.csv")
    assert command(*export)[1] == f"{tmp_path / 'out.csv'}: 1 questions\n"
    assert (tmp_path / "out.csv").read_text("utf-8") == '"id","question","author","url"\n"3","passport","x=y",""\n'
    assert command(*export)[0] == 2 and command(*export, "--force")[0] == 0  # it may be the file of a person


KILLED = """
import itertools, os, random, signal, sys
from test_syncing import *
from siamese.archive import database

model, chance = SiameseModel.load(sys.argv[1]), random.Random(5)
days = [[
    (str(i), f"how do I take luggage {i} {'again' if (i + day) % 3 == 0 else ''}", {"day": (i + day) % 5})
    for i in range(20) if (i * 7 + day) % 4
] for day in range(4)]
Archive.build("a", model=model, name=sys.argv[1]).close()
archive = Archive.open("a", model)
expected = [of(model, *day) for day in days]

def sync(archive, day):
    ids, texts, more = zip(*days[day])
    blocks = [Block(texts[s], ids[s], more[s]) for s in (slice(0, 8), slice(8, None))]
    return archive.sync_blocks(blocks, Treatment("update", True))

sync(archive, 0)
archive.close()
now, ends = 0, []
for k in range(24):
    fatal, events = chance.randint(1, 600), itertools.count(1)
    def event(*_):
        if next(events) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
    pid = os.fork()
    if pid == 0:
        sync_file = database.sync_file
        database.sync_file = lambda path: (event(), sync_file(path), event())
        archive = Archive.open("a", model)
        archive._database.connection.set_trace_callback(event)  # before each statement
        for day in itertools.count(now + 1):
            sync(archive, day % 4)
            os.write(2, b"done\\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    with Archive.open("a", model) as archive:
        found = {r.id: (r.question, r.payload) for r in archive.records()}
        texts = [{id: one[:2] for id, one in day.items()} for day in expected]
        assert found in texts, k  # as on one of the days, before anything is written again
        now = texts.index(found)
        ends.append(now)
        archive.sync([], [], known="update")  # fills the holes
        assert content(archive) == expected[now]
print(len(set(ends)))
"""


@pytest.mark.ci
@posix
def test_killed_while_it_follows_an_export(tiny_model: Path, tmp_path: Path) -> None:
    done = python("-c", KILLED, tiny_model, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 4  # it was killed on each of the days
    assert 0 < done.stderr.count("done") < 24  # some were killed within a change, others between two
