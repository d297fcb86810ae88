"""An archive behind the service: searched, read, listed and changed, and who may change it."""

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from siamese import SiameseModel
from siamese.archive.store import Archive
from siamese.service.app import make_app
from siamese.service.limits import Limits
from siamese.service.messages import Defaults

MODEL = SiameseModel.pretrained()
TOKEN = "žeton 1"  # not ASCII, since tokens are compared as bytes
WRITER = httpx.Headers([(b"Authorization", b"Bearer " + TOKEN.encode())])
PAIR = {"question1": "How can I lose weight quickly?", "question2": "What is the fastest way to lose weight?"}


def client(archive: Path | None = None, token: str | None = TOKEN, **limits: Any) -> TestClient:
    return TestClient(make_app(MODEL, archive, token, limits=Limits(**limits)), "http://localhost")


def new_archive(folder: Path) -> Path:
    Archive.build(folder, model=MODEL, name="pretrained").close()
    return folder


@pytest.fixture()
def writing(memory: Path) -> Iterator[TestClient]:
    with client(new_archive(memory / "archive")) as one:
        one.headers = WRITER
        yield one


def test_added_questions_are_found_until_removed(writing: TestClient) -> None:
    questions = ["How do I reset my password?", "Where is my invoice?"]
    answer = writing.post("/questions", json={"questions": questions, "ids": ["a/b ?", "2"]})
    assert (answer.status_code, answer.json()) == (201, {"ids": ["a/b ?", "2"]})
    found = writing.post("/search", json={"questions": ["reset my password", "my invoice"], "k": 1}).json()
    assert [[hit["id"] for hit in hits] for hits in found["hits"]] == [["a/b ?"], ["2"]]
    expected = MODEL.predict("reset my password", questions[0])
    hit = found["hits"][0][0]
    assert hit["question"] == questions[0]
    assert hit["similarity"] == pytest.approx(expected.similarity, abs=1e-6)
    assert hit["is_duplicate"] == expected.is_duplicate
    assert (found["threshold"], found["search"]) == (MODEL.threshold, "exact")
    assert [writing.delete("/questions/a%2Fb%20%3F").status_code for _ in range(2)] == [204, 404]
    found = writing.post("/search", json={"questions": ["reset my password"]}).json()
    assert [hit["id"] for hit in found["hits"][0]] == ["2"]


@pytest.mark.slow
def test_an_existing_id_is_a_conflict_and_nothing_is_added(writing: TestClient) -> None:
    assert writing.post("/questions", json={"questions": ["one"], "ids": ["1"]}).status_code == 201
    answer = writing.post("/questions", json={"questions": ["two", "three"], "ids": ["2", "1"]})
    assert (answer.status_code, answer.json()["detail"]) == (409, "the id '1' is taken: update it, or use another")
    assert writing.get("/health").json()["archive"] == 1
    answer = writing.post("/questions", json={"questions": ["two", "three"], "ids": ["2"]})
    assert (answer.status_code, answer.json()["detail"]) == (422, "ids: 1 for 2 questions; give one for each")


@pytest.mark.slow
def test_while_another_process_writes_too_long_the_client_gets_503(writing: TestClient, memory: Path) -> None:
    with client(memory / "archive", patience=0.0) as one, Archive.open(memory / "archive", MODEL) as other:
        one.headers = WRITER
        with other._database.writing():
            answer = one.post("/questions", json={"questions": ["one"]})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert one.post("/search", json={"questions": ["one"]}).status_code == 200
        assert one.post("/questions", json={"questions": ["one"]}).status_code == 201


@pytest.mark.slow
def test_a_write_waits_for_another_process(writing: TestClient, memory: Path) -> None:
    add = threading.Thread(target=writing.post, args=("/questions",), kwargs={"json": {"questions": ["one"]}})
    with Archive.open(memory / "archive", MODEL) as other, other._database.writing():
        add.start()
        add.join(1.2)  # longer than SQLite waits
        assert add.is_alive()
    add.join(10)
    assert writing.get("/health").json()["archive"] == 1


@pytest.mark.slow
def test_a_damaged_archive_is_an_error_of_the_service(writing: TestClient, memory: Path) -> None:
    with closing(sqlite3.connect(memory / "archive" / "archive.sqlite")) as connection:
        connection.execute("DROP TABLE questions")
    assert writing.post("/questions", json={"questions": ["one"]}).status_code == 500
    assert writing.post("/search", json={"questions": ["one"]}).status_code == 500
    assert writing.delete("/questions/1").status_code == 500


@pytest.mark.slow
def test_an_archive_that_is_replaced_gives_503_with_the_reason(
    writing: TestClient, memory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert writing.post("/questions", json={"questions": ["one"], "ids": ["a"]}).status_code == 201
    shutil.rmtree(memory / "archive")
    new_archive(memory / "archive")
    reason = "the archive: replaced or removed since it was opened; restart the service"
    for answer in (
        writing.post("/questions", json={"questions": ["two"]}), writing.delete("/questions/a"),
        writing.post("/search", json={"questions": ["one"]}), writing.get("/health"),
    ):  # fmt: skip
        assert (answer.status_code, answer.json()) == (503, {"detail": reason})
    assert reason in caplog.text
    assert len(Archive.open(memory / "archive", MODEL)) == 0


@pytest.mark.slow
def test_a_question_is_put_read_and_listed_with_its_payload(writing: TestClient) -> None:
    question, other = "Where is my printer?", "Where is my new printer?"
    put = lambda **body: writing.put("/questions/a%2Fb", json={"question": question, **body})  # noqa: E731
    answers = [put(), put(payload={"product": "printer", "n": 1}), put(), put(payload={"n": 1, "product": "printer"}),
               put(question=other), put(payload={"n": 2.5, "open": True, "product": None})]  # fmt: skip
    assert [(answer.status_code, answer.json()["done"]) for answer in answers] == [
        (201, "added"), (200, "changed"), (200, "unchanged"), (200, "unchanged"), (200, "changed"), (200, "changed"),
    ]  # fmt: skip
    stored = {"id": "a/b", "question": question, "payload": {"n": 2.5, "open": True}}
    assert writing.get("/questions/a%2Fb").json() == stored
    hit = writing.post("/search", json={"questions": [question]}).json()["hits"][0][0]
    assert (hit["payload"], hit["similarity"], hit["score"] >= 1) == (stored["payload"], 1, True)
    assert writing.get("/questions").json() == {"questions": [stored], "next": None}
    assert writing.get("/questions/x").status_code == 404
    assert writing.get("/health").json()["archive"] == 1


@pytest.mark.slow
def test_pages_of_the_archive(writing: TestClient) -> None:
    ids, payloads = [f"{i:02}" for i in range(25)], [{"even": i % 2 == 0, "by": f"a={i % 3}"} for i in range(25)]
    added = writing.post("/questions", json={"questions": ids, "ids": ids, "payloads": payloads})
    assert added.status_code == 201
    found, after, pages = list[str](), "", 0
    while after is not None:
        page = writing.get("/questions", params={"after": after, "limit": 10}).json()
        found, after, pages = found + [one["id"] for one in page["questions"]], page["next"], pages + 1
    assert (found, pages) == (ids, 3)
    for where, expected in ((["even=true"], ids[::2]), (["even=true", "by=a=0"], ids[::6]), (["by="], []),
                            (["even=1"], [])):  # fmt: skip
        page = writing.get("/questions", params={"where": where}).json()
        assert [one["id"] for one in page["questions"]] == expected, where
    asked = {"questions": ["07"], "legs": "vectors", "k": 1_000}
    for where, expected in (({"even": True}, ids[::2]), ({"even": "true", "by": "a=0"}, ids[::6]), ({"by": None}, [])):
        hits = writing.post("/search", json={**asked, "where": where}).json()["hits"][0]
        assert sorted(hit["id"] for hit in hits) == expected, where
    answer = writing.post("/search", json={**asked, "where": {"product": "printer"}})
    assert (answer.status_code, "no question of the archive has a column 'product'" in answer.text) == (422, True)
    for params, detail in (
        ({"where": "product=printer"}, "no question of the archive has a column 'product'; kept columns: 'even', 'by'"),
        ({"where": "even"}, "where.0: String should match pattern"), ({"limit": 0}, "limit: "),
        ({"limit": 1001}, "limit: "),
    ):  # fmt: skip
        answer = writing.get("/questions", params=params)
        assert (answer.status_code, detail in answer.json()["detail"]) == (422, True), params


@pytest.mark.slow
def test_a_column_that_the_archive_does_not_keep_is_refused(memory: Path) -> None:
    Archive.build(memory / "archive", model=MODEL, name="pretrained", keep=["author"]).close()
    with client(memory / "archive") as one:
        one.headers = WRITER
        detail = "payload: the archive does not keep the column 'product'; it keeps 'author'"
        for answer in (one.put("/questions/1", json={"question": "a", "payload": {"product": "x"}}),
                       one.post("/questions", json={"questions": ["a"], "payloads": [{"product": "x"}]})):  # fmt: skip
            assert (answer.status_code, answer.json()["detail"]) == (422, detail)
        assert one.get("/health").json()["archive"] == 0
        assert one.put("/questions/1", json={"question": "a", "payload": {"author": "x"}}).status_code == 201


@pytest.mark.slow
def test_defaults_hold_for_requests_that_do_not_say(memory: Path) -> None:
    app = make_app(MODEL, new_archive(memory / "archive"), TOKEN, defaults=Defaults(0.9, 0.1, {"product": "a"}))
    with TestClient(app, "http://localhost", headers=WRITER) as one, client() as plain:
        payloads = [{"product": "a", "n": 1}, {"product": "b", "n": 1}]
        one.post("/questions", json={"questions": [PAIR["question1"]] * 2, "ids": ["a", "b"], "payloads": payloads})
        for where, ids in (({}, ["a"]), ({"n": 1}, ["a"]), ({"product": "b"}, ["b"]), ({"n": 2}, [])):
            found = one.post("/search", json={"questions": ["x"], "legs": "vectors", "where": where}).json()["hits"][0]
            params = {"where": [f"{name}={value}" for name, value in where.items()]}
            listed = one.get("/questions", params=params).json()["questions"]
            assert [hit["id"] for hit in found] == [record["id"] for record in listed] == ids
        for more in ({}, {"prior": 0.2}, {"threshold": 0.5}):
            expected = plain.post("/predict", json=PAIR | {"threshold": 0.9, "prior": 0.1} | more).json()
            assert one.post("/predict", json=PAIR | more).json() == expected
            assert one.post("/predict/batch", json={"pairs": [list(PAIR.values())], **more}).json()["verdicts"] == [
                expected
            ]
            found = one.post("/search", json={"questions": [PAIR["question2"]], **more}).json()
            hit = found["hits"][0][0]
            assert (found["threshold"], hit["is_duplicate"]) == (expected["threshold"], expected["is_duplicate"])
            assert hit["probability"] == pytest.approx(expected["probability"], abs=1e-6)


WRITES = [("POST", "/questions", {"questions": ["one"]}), ("DELETE", "/questions/1", None),
          ("PUT", "/questions/1", {"question": "one"})]  # fmt: skip


@pytest.mark.slow
def test_nobody_writes_without_the_token(memory: Path) -> None:
    right = TOKEN.encode()
    with client(new_archive(memory / "archive")) as one:
        for given in (None, b"", b"Bearer", b"Bearer ", b"Bearer x", b"Basic " + right, b"Bearer " + right[:-1],
                      b"Bearer " + right + b"1", b"Bearer \xff"):  # fmt: skip
            headers = {} if given is None else {b"Authorization": given}
            for method, path, body in WRITES:
                answer = one.request(method, path, json=body, headers=headers)  # type: ignore[arg-type]
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), (method, given)
        assert one.get("/health").json()["archive"] == 0


@pytest.mark.slow
def test_nobody_writes_to_a_service_without_a_token(memory: Path) -> None:
    with client(new_archive(memory / "archive"), token=None) as one:
        for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer None"}):
            for method, path, body in WRITES:
                assert one.request(method, path, json=body, headers=headers).status_code == 403, method
        assert one.post("/search", json={"questions": ["one"]}).json()["hits"] == [[]]


@pytest.mark.slow
def test_an_answer_that_is_too_large_is_refused(writing: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = [{"text": "a" * 2_000} for _ in range(4)]
    writing.post("/questions", json={"questions": ["How are you?"] * 4, "payloads": payloads})
    search = lambda k: writing.post("/search", json={"questions": ["How are you?"] * 3, "k": k})  # noqa: E731
    whole = search(4).json()
    monkeypatch.setattr("siamese.service.routes_archive.AT_ONCE", 4)  # hits, those of one question
    assert search(4).json() == whole
    monkeypatch.setattr("siamese.service.base.ANSWER", 10 << 10)
    assert (search(1).status_code, writing.get("/questions?limit=4").status_code) == (200, 200)
    answer = search(4)
    assert (answer.status_code, answer.json()["detail"]) == (
        422, "the answer would have more than 0 MiB; ask for less at once",
    )  # fmt: skip


@pytest.mark.slow
def test_searches_that_share_a_batch_keep_their_own_conditions(memory: Path) -> None:
    app = make_app(MODEL, new_archive(memory / "archive"), TOKEN)
    conditions: list[dict[str, Any]] = [{"n": 1}, {"n": True}, {"n": "x"}, {}, {"other": 1}]

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=WRITER) as one:
            added = {"questions": ["one", "two"], "ids": ["one", "two"], "payloads": [{"n": 1}, {"n": True}]}
            await one.post("/questions", json=added)
            asked = ({"questions": ["one"], "legs": "vectors", "where": where} for where in conditions)
            return await asyncio.gather(*(one.post("/search", json=body) for body in asked))

    *fit, unknown = asyncio.run(ask())
    found = [[hit["id"] for hit in answer.json()["hits"][0]] for answer in fit]
    assert found == [["one"], ["two"], [], ["one", "two"]]
    assert unknown.status_code == 422
