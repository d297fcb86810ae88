"""The service in this process: what it answers, what it refuses, who may write, and what it logs."""

import asyncio
import json
import logging
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from siamese import SiameseModel
from siamese.archive.store import Archive
from siamese.errors import ArchiveError
from siamese.model.explanation import explain
from siamese.service.app import Settings, make_app
from siamese.service.limits import QUESTION, QUESTIONS, Limits

MODEL = SiameseModel.pretrained()
TOKEN = "žeton 1"  # of letters beyond ASCII: what is compared are bytes
WRITER = httpx.Headers([(b"Authorization", b"Bearer " + TOKEN.encode())])
PAIR = {"question1": "How can I lose weight quickly?", "question2": "What is the fastest way to lose weight?"}


def client(archive: Path | None = None, token: str | None = TOKEN, **limits: Any) -> TestClient:
    return TestClient(make_app(MODEL, archive, Settings(token, limits=Limits(**limits))), "http://localhost")


def new_archive(folder: Path) -> Path:
    Archive.create(folder, MODEL, "pretrained").close()
    return folder


@pytest.fixture()
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is such a thing; a disk may sync for 30 ms an operation."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
    else:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            yield Path(folder)


@pytest.fixture(scope="module")
def plain() -> Iterator[TestClient]:
    with client() as one:
        yield one


@pytest.fixture()
def writing(memory: Path) -> Iterator[TestClient]:
    with client(new_archive(memory / "archive")) as one:
        one.headers = WRITER
        yield one


# What it answers


def test_predict_is_the_models_own(plain: TestClient) -> None:
    expected = MODEL.predict(*PAIR.values(), threshold=0.9, prior=0.1)
    assert plain.post("/predict", json=PAIR | {"threshold": 0.9, "prior": 0.1}).json() == vars(expected)


def test_explain_is_the_explanations_own(plain: TestClient) -> None:
    answer, expected = plain.post("/explain", json=PAIR).json(), explain(MODEL, *PAIR.values())
    assert answer["words1"] == [vars(word) for word in expected.words1]
    assert answer["words2"] == [vars(word) for word in expected.words2]
    assert {name: answer[name] for name in vars(expected.prediction)} == vars(expected.prediction)


def test_similarity_of_pairs(plain: TestClient) -> None:
    pairs = [list(PAIR.values()), ["Where is my invoice?", "How can I lose weight quickly?"]]
    answer = plain.post("/similarity", json={"pairs": pairs}).json()
    expected = MODEL.similarity([a for a, _ in pairs], [b for _, b in pairs])
    assert answer == {"similarities": expected.tolist(), "threshold": MODEL.threshold}
    assert plain.post("/similarity", json={"pairs": []}).json()["similarities"] == []


def test_encode(plain: TestClient) -> None:
    questions = ["How are you?", "", "日本語 \N{GRINNING FACE}"]
    vectors = plain.post("/encode", json={"questions": questions}).json()["vectors"]
    assert np.array_equal(np.array(vectors, np.float32), MODEL.encode(questions))


def test_health_without_and_with_an_archive(plain: TestClient, writing: TestClient) -> None:
    assert plain.get("/health").json() | {"version": ""} == {
        "status": "ok", "version": "", "threshold": MODEL.threshold, "archive": None, "writing": False,
    }  # fmt: skip
    writing.post("/questions", json={"questions": ["How are you?"]})
    assert writing.get("/health").json()["archive"] == 1
    assert writing.get("/health").json()["writing"]


def test_what_was_added_is_found_until_it_is_removed(writing: TestClient) -> None:
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
    assert writing.delete("/questions/a%2Fb%20%3F").status_code == 204
    assert writing.delete("/questions/a%2Fb%20%3F").status_code == 404
    found = writing.post("/search", json={"questions": ["reset my password"]}).json()
    assert [hit["id"] for hit in found["hits"][0]] == ["2"]


def test_an_id_that_is_there_is_a_conflict_and_nothing_is_added(writing: TestClient) -> None:
    assert writing.post("/questions", json={"questions": ["one"], "ids": ["1"]}).status_code == 201
    answer = writing.post("/questions", json={"questions": ["two", "three"], "ids": ["2", "1"]})
    assert (answer.status_code, answer.json()["detail"]) == (409, "the id '1' is there already")
    assert writing.get("/health").json()["archive"] == 1
    answer = writing.post("/questions", json={"questions": ["two", "three"], "ids": ["2"]})
    assert (answer.status_code, answer.json()["detail"]) == (422, "ids: 1 of them for 2 questions")


def test_while_another_process_writes_a_client_shall_come_again(writing: TestClient, memory: Path) -> None:
    with Archive.open(memory / "archive", MODEL) as other, other._database.writing():
        answer = writing.post("/questions", json={"questions": ["one"]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert writing.post("/questions", json={"questions": ["one"]}).status_code == 201


def test_a_damaged_archive_is_an_error_of_the_service(writing: TestClient, memory: Path) -> None:
    with closing(sqlite3.connect(memory / "archive" / "archive.sqlite")) as connection:
        connection.execute("DROP TABLE questions")
    assert writing.post("/questions", json={"questions": ["one"]}).status_code == 500
    assert writing.post("/search", json={"questions": ["one"]}).status_code == 200  # there is nothing to be found
    assert writing.delete("/questions/1").status_code == 500


def test_an_archive_of_another_model_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    folder = new_archive(tmp_path / "archive")
    with pytest.raises(ArchiveError, match="another model"):
        make_app(SiameseModel.load(tiny_model), folder)


# Who may write


WRITES = [("POST", "/questions", {"questions": ["one"]}), ("DELETE", "/questions/1", None)]


@pytest.mark.slow
@pytest.mark.parametrize("method, path, body", WRITES)
@pytest.mark.parametrize(
    "given",
    [None, b"", b"Bearer", b"Bearer ", b"Bearer x", b"Basic " + TOKEN.encode(), b"Bearer " + TOKEN.encode()[:-1],
     b"Bearer " + TOKEN.encode() + b"1", b"Bearer \xff"],
)  # fmt: skip
def test_nobody_writes_without_the_token(memory: Path, method: str, path: str, body: Any, given: bytes | None) -> None:
    with client(new_archive(memory / "archive")) as one:
        headers = {} if given is None else {b"Authorization": given}
        answer = one.request(method, path, json=body, headers=headers)  # type: ignore[arg-type]
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert one.get("/health").json()["archive"] == 0


@pytest.mark.parametrize("method, path, body", WRITES)
def test_nobody_writes_where_there_is_no_token(memory: Path, method: str, path: str, body: Any) -> None:
    with client(new_archive(memory / "archive"), token=None) as one:
        for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer None"}):
            assert one.request(method, path, json=body, headers=headers).status_code == 403
        assert one.post("/search", json={"questions": ["one"]}).json()["hits"] == [[]]  # reading is free


# What it refuses


@pytest.mark.parametrize(
    "body, status, detail",
    [
        (b'{"question1": "a", "question2": "\\ud800"}', 400, "half a surrogate pair"),
        (b'{"question1": "a", "question2": "b", "\\udfff": 1}', 400, "half a surrogate pair"),
        (b'{"question1": "a", "question2": "\xed\xa0\x80"}', 400, "no UTF-8"),
        (b'{"question1": "a", "question2": "b", "threshold": NaN}', 400, "NaN is no number"),
        (b'{"question1": "a", "question2": "b", "threshold": -Infinity}', 400, "-Infinity is no number"),
        (b'{"question1": "a", "question2": "b", "threshold": 1e999}', 422, "finite number"),
        (b'{"question1": "a", "question2": "b", "threshold": ' + b"9" * 5_000 + b"}", 400, "a number of 5000 digits"),
        (b'{"question1": "a", "question1": "b", "question2": "c"}', 400, "a field twice"),
        (b"[" * 100_000, 400, "nested too deeply"),
        (b'{"a":' * 100_000, 400, "nested too deeply"),
        (b"{", 400, "no JSON"),
        (b"", 422, "the body: Field required"),
        (b"[]", 422, "the body: Input should be a valid dictionary"),
        (b'{"question1": "a"}', 422, "question2: Field required"),
        (b'{"question1": "a", "question2": null}', 422, "question2: Input should be a valid string"),
        (b'{"question1": "a", "question2": "b", "treshold": 1}', 422, "treshold: Extra inputs"),
        (b'{"question1": "a", "question2": "b", "threshold": "1"}', 422, "threshold: Input should be a valid number"),
        (b'{"question1": "a", "question2": "b", "threshold": 1.5}', 422, "threshold: Input should be less"),
        (b'{"question1": "a", "question2": "b", "prior": 0}', 422, "prior: Input should be greater than 0"),
        (b'{"question1": "a", "question2": "' + b"b" * (QUESTION + 1) + b'"}', 422, "at most 2000 characters"),
    ],
)
def test_what_is_no_request_is_told_so(plain: TestClient, body: bytes, status: int, detail: str) -> None:
    answer = plain.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert detail in answer.json()["detail"]
    assert "bbbb" not in answer.text  # nobody is sent a question back
    assert len(answer.content) < 500


def test_lists_have_a_longest_length(plain: TestClient, writing: TestClient) -> None:
    for path, name, one in (("/encode", "questions", "a"), ("/similarity", "pairs", ["a", "b"])):
        assert plain.post(path, json={name: [one] * QUESTIONS}).status_code == 200
        assert plain.post(path, json={name: [one] * (QUESTIONS + 1)}).status_code == 422
    assert plain.post("/similarity", json={"pairs": [["a"]]}).status_code == 422
    assert plain.post("/similarity", json={"pairs": [["a", "b", "c"]]}).status_code == 422
    assert writing.post("/search", json={"questions": ["a"] * 101}).status_code == 422
    assert writing.post("/search", json={"questions": ["a"], "k": 1001}).status_code == 422
    assert writing.post("/questions", json={"questions": ["a"] * (QUESTIONS + 1)}).status_code == 422
    assert writing.post("/questions", json={"questions": ["a"], "ids": [""]}).status_code == 422
    assert writing.delete("/questions/" + "a" * 201).status_code == 422


@pytest.mark.parametrize("path, status", [("/nothing", 404), ("/docs", 404), ("/search", 404), ("/predict", 405)])
def test_what_is_not_there(plain: TestClient, path: str, status: int) -> None:
    assert plain.get(path).status_code == status


def test_only_json(plain: TestClient) -> None:
    # A form of another site can send text/plain, and not application/json.
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = plain.post("/predict", content=json.dumps(PAIR), headers={"Content-Type": kind})
        assert answer.status_code == 415, kind
    assert plain.post("/predict", content=json.dumps(PAIR).encode()).status_code == 415


def test_a_body_has_a_largest_size(plain: TestClient) -> None:
    headers, most = {"Content-Type": "application/json"}, Limits().body
    body = json.dumps(PAIR).encode()
    assert plain.post("/predict", content=body + b" " * (most - len(body)), headers=headers).status_code == 200
    answer = plain.post("/predict", content=body + b" " * (most + 1 - len(body)), headers=headers)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    chunks = (b" " * 65_536 for _ in range(20))  # without a Content-Length
    assert plain.post("/predict", content=chunks, headers=headers).status_code == 413


def test_a_page_of_another_name_reads_nothing(plain: TestClient) -> None:
    # DNS rebinding: evil.example answers with 127.0.0.1, and the browser thinks that this is evil.example.
    for host, status in (("evil.example", 400), ("localhost.evil.example:8000", 400), ("", 400),
                         ("localhost:8000", 200), ("[::1]:8000", 200)):  # fmt: skip
        assert plain.get("/health", headers={"Host": host}).status_code == status, host


def test_every_answer_has_the_headers(plain: TestClient) -> None:
    for answer in (plain.get("/"), plain.get("/page.js"), plain.get("/nothing"), plain.post("/predict", json=PAIR)):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


# Many at once, and slow ones


def gated(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Lets no encoding end before the event is set."""
    event, encode = threading.Event(), SiameseModel.encode

    def waiting(self: SiameseModel, questions: list[str]) -> np.ndarray:
        event.wait(10)
        return encode(self, questions)

    monkeypatch.setattr(SiameseModel, "encode", waiting)
    return event


def test_one_more_than_fit_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = gated(monkeypatch)
    app = make_app(MODEL, None, Settings(limits=Limits(threads=1, at_once=3)))

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as one:
            asked = [asyncio.create_task(one.post("/encode", json={"questions": ["a"]})) for _ in range(8)]
            while sum(task.done() for task in asked) < 5:
                await asyncio.sleep(0.01)
            assert (await one.get("/health")).status_code == 200  # others are answered meanwhile
            gate.set()
            return [await task for task in asked]

    answers = asyncio.run(ask())
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 5
    assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 503} == {"1"}


def test_what_takes_too_long_is_given_up_and_keeps_its_place_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = gated(monkeypatch)
    with client(threads=1, at_once=1, work=0.1) as one:
        ask = lambda: one.post("/encode", json={"questions": ["a"]}).status_code  # noqa: E731
        assert [ask(), ask(), ask()] == [504, 503, 503]
        gate.set()
        while (status := ask()) == 503:
            pass
        assert status == 200


def test_what_waits_in_vain_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    # One is at work and keeps its place; the other waits for the thread, is given up, and never begins.
    gate = gated(monkeypatch)
    with client(threads=1, at_once=2, work=0.1) as one:
        ask = lambda: one.post("/encode", json={"questions": ["a"]}).status_code  # noqa: E731
        assert [ask(), ask(), ask()] == [504, 504, 504]
        gate.set()


# Logs


def test_no_text_is_logged(
    writing: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx2").disabled = True  # the client's own
    secret = "Zanzibar"
    writing.post("/predict", json={"question1": secret, "question2": secret})
    writing.post("/predict", json={"question1": secret, secret: secret})
    writing.post("/questions", json={"questions": [secret], "ids": [secret]})
    writing.post("/questions", json={"questions": [secret], "ids": [secret]})
    writing.post("/search", json={"questions": [secret]})
    writing.get(f"/health?question={secret}")
    writing.get(f"/{secret}")
    writing.delete(f"/questions/{secret}")
    writing.request(secret, "/health")

    def broken(self: SiameseModel, question1: str, *more: Any) -> None:
        raise ValueError(question1)

    monkeypatch.setattr(SiameseModel, "predict", broken)
    answer = writing.post("/predict", json={"question1": secret, "question2": secret})
    assert answer.status_code == 500
    assert secret not in answer.text
    logged = [record.getMessage() for record in caplog.records]
    assert secret.lower() not in "\n".join([*logged, caplog.text]).lower()  # a method comes in capitals
    assert any(line.startswith("POST /predict 200 ") for line in logged)
    assert any(line.startswith("DELETE /questions/{id:path} 204 ") for line in logged)
    assert any(line.startswith("POST /predict: ValueError /") for line in logged)


# OpenAPI


def test_every_operation_has_an_example(writing: TestClient) -> None:
    document = writing.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/predict", "/explain", "/similarity", "/encode", "/search", "/questions", "/questions/{id}", "/health",
    }  # fmt: skip
    for path, methods in document["paths"].items():
        if body := methods.get("post", {}).get("requestBody"):
            schema = body["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
            fields = document["components"]["schemas"][schema]["properties"]
            example = {name: field["examples"][0] for name, field in fields.items() if field.get("examples")}
            answer = writing.post(path, json=example)
            assert answer.is_success, (path, answer.text)


@pytest.mark.slow
def test_the_service_does_what_its_openapi_says(memory: Path) -> None:
    app = make_app(MODEL, new_archive(memory / "archive"), Settings(TOKEN, hosts=("*",)))
    asked = 0
    for found in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode:
            if operation.path == "/health" and mode.is_negative:
                continue  # nothing can be wrong with it

            @settings(max_examples=25, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: schemathesis.Case) -> None:
                nonlocal asked
                asked += 1
                if case.path == "/questions" and case.meta.generation.mode.is_positive and case.body.get("ids"):
                    # As many as there are questions, which a schema cannot say.
                    case.body["ids"] = [f"{asked}-{i}" for i in range(len(case.body["questions"]))]
                case.call_and_validate(headers={"Authorization": WRITER.raw[0][1].decode("latin-1")})

            check()  # now: `right` is this round's
    assert asked > 300


# A thousand operations


class Dictionary(RuleBasedStateMachine):
    """An archive through the service beside a plain dictionary."""

    operations = 0
    folder: Path

    ids = st.lists(st.sampled_from([f"id {i}" for i in range(12)]), min_size=1, max_size=3)
    # Every one has a word that the model knows, so that it has a direction to be found in.
    questions = st.lists(st.sampled_from([f"How old is number {i}?" for i in range(30)]), min_size=1, max_size=3)

    def __init__(self) -> None:
        super().__init__()
        self.client = client(new_archive(Path(tempfile.mkdtemp(dir=self.folder)))).__enter__()
        self.client.headers = WRITER
        self.expected: dict[str, str] = {}

    def teardown(self) -> None:
        self.everything_is_found()
        self.client.__exit__()

    @rule(ids=ids, questions=questions)
    def add_with_ids(self, ids: list[str], questions: list[str]) -> None:
        Dictionary.operations += 1
        n = min(len(ids), len(questions))
        ids, questions = ids[:n], questions[:n]
        answer = self.client.post("/questions", json={"questions": questions, "ids": ids})
        if len(set(ids)) < n or self.expected.keys() & set(ids):
            assert answer.status_code == 409
        else:
            assert (answer.status_code, answer.json()) == (201, {"ids": ids})
            self.expected.update(zip(ids, questions))

    @rule(questions=questions)
    def add(self, questions: list[str]) -> None:
        Dictionary.operations += 1
        answer = self.client.post("/questions", json={"questions": questions})
        assert answer.status_code == 201
        ids = answer.json()["ids"]
        assert len({*ids} - self.expected.keys()) == len(questions)
        self.expected.update(zip(ids, questions))

    @rule(ids=ids, data=st.data())
    def remove(self, ids: list[str], data: st.DataObject) -> None:
        Dictionary.operations += 1
        id = data.draw(st.sampled_from([ids[0], *self.expected]))
        answer = self.client.delete(f"/questions/{id}")
        assert answer.status_code == (204 if id in self.expected else 404)
        self.expected.pop(id, None)

    @rule()
    def everything_is_found(self) -> None:
        Dictionary.operations += 1
        answer = self.client.post("/search", json={"questions": ["How old is number 1?"], "k": 1000, "legs": "vectors"})
        hits = answer.json()["hits"][0]
        assert sorted((hit["id"], hit["question"]) for hit in hits) == sorted(self.expected.items())
        same = [question for question in self.expected.values() if question == "How old is number 1?"]
        assert [hit["question"] for hit in hits[: len(same)]] == same


@pytest.mark.slow
def test_a_thousand_operations_as_on_a_dictionary(memory: Path) -> None:
    Dictionary.operations, Dictionary.folder = 0, memory
    some = settings(max_examples=30, stateful_step_count=45, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Dictionary, settings=some)
    assert Dictionary.operations >= 1_000
