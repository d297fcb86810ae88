"""The service within this process: its answers, its refusals, who may write, and its log."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from tiny_models import random_model

from siamese import SiameseModel
from siamese.archive.store import Archive
from siamese.model.calibration import Calibration
from siamese.model.differences import FEATURES
from siamese.model.explanation import explain
from siamese.model.model import Prediction
from siamese.model.verdict import Verdict
from siamese.service.app import make_app
from siamese.service.limits import LIMITS, QUESTION, QUESTIONS, Limits

MODEL = SiameseModel.pretrained()
TOKEN = "žeton 1"  # not ASCII, since tokens are compared as bytes
WRITER = httpx.Headers([(b"Authorization", b"Bearer " + TOKEN.encode())])
PAIR = {"question1": "How can I lose weight quickly?", "question2": "What is the fastest way to lose weight?"}


def client(archive: Path | None = None, token: str | None = TOKEN, **limits: Any) -> TestClient:
    return TestClient(make_app(MODEL, archive, token, limits=Limits(**limits)), "http://localhost")


def new_archive(folder: Path) -> Path:
    Archive.build(folder, model=MODEL, name="pretrained").close()
    return folder


@pytest.fixture(scope="module")
def plain() -> Iterator[TestClient]:
    with client() as one:
        yield one


@pytest.fixture()
def writing(memory: Path) -> Iterator[TestClient]:
    app = make_app(MODEL, new_archive(memory / "archive"), TOKEN, record=lambda judged, by: None)
    with TestClient(app, "http://localhost", headers=WRITER) as one:
        yield one


def as_json(prediction: Prediction) -> dict[str, Any]:
    return {**vars(prediction), "differences": [vars(difference) for difference in prediction.differences]}


def test_a_verdict_says_what_differs() -> None:
    model = random_model()
    model.verdict = Verdict(dict.fromkeys(FEATURES, 0.4), Calibration(10.0, -7.0, 0.4))
    asked = {"question1": "how old is 5?", "question2": "how old is 7?"}
    with TestClient(make_app(model), "http://localhost") as one:
        answer = one.post("/predict", json=asked).json()
        assert answer == as_json(model.predict(*asked.values())) and not answer["is_duplicate"]
        assert answer["differences"] == [{"kind": "numbers", "first": "5", "second": "7"}]
        explained = one.post("/explain", json=asked).json()
        assert explained["differences"] == answer["differences"]


def test_predict_and_explain_are_those_of_the_library(plain: TestClient) -> None:
    expected = MODEL.predict(*PAIR.values(), threshold=0.9, prior=0.1)
    assert plain.post("/predict", json=PAIR | {"threshold": 0.9, "prior": 0.1}).json() == as_json(expected)
    answer, explanation = plain.post("/explain", json=PAIR).json(), explain(MODEL, *PAIR.values())
    words = {name: [vars(word) for word in vars(explanation)[name]] for name in ("words1", "words2")}
    assert answer == as_json(explanation.prediction) | words


def test_similarity_and_encode_are_those_of_the_library(plain: TestClient) -> None:
    pairs = [list(PAIR.values()), ["Where is my invoice?", "How can I lose weight quickly?"]]
    answer = plain.post("/similarity", json={"pairs": pairs}).json()
    expected = MODEL.similarity([a for a, _ in pairs], [b for _, b in pairs])
    assert answer == {"similarities": expected.tolist(), "threshold": MODEL.threshold}
    assert plain.post("/similarity", json={"pairs": []}).json()["similarities"] == []
    questions = ["How are you?", "", "日本語 \N{GRINNING FACE}"]
    vectors = plain.post("/encode", json={"questions": questions}).json()["vectors"]
    assert np.array_equal(np.array(vectors, np.float32), MODEL.encode(questions))


def test_a_batch_of_verdicts_is_that_of_the_library(plain: TestClient) -> None:
    pairs = [list(PAIR.values()), ["How old is the king of 1603?", "How old is the king of 1722?"], ["same", "same"]]
    for more in ({}, {"threshold": 0.9, "prior": 0.1}):
        answer = plain.post("/predict/batch", json={"pairs": pairs, **more}).json()
        assert answer == {"verdicts": [as_json(one) for one in MODEL.predict_many(*zip(*pairs), **more)]}
        for verdict, (first, second) in zip(answer["verdicts"], pairs):
            expected = as_json(MODEL.predict(first, second, **more))
            for name in ("similarity", "probability"):
                assert verdict.pop(name) == pytest.approx(expected.pop(name), abs=1e-6)
            assert verdict == expected
    assert plain.post("/predict/batch", json={"pairs": []}).json() == {"verdicts": []}
    many = plain.post("/predict/batch", json={"pairs": pairs * 25}).json()["verdicts"]
    assert [one["is_duplicate"] for one in many] == [one["is_duplicate"] for one in answer["verdicts"]] * 25


def test_a_batch_that_takes_too_long_gets_504(monkeypatch: pytest.MonkeyPatch) -> None:
    predict_many = SiameseModel.predict_many

    def slow(self: SiameseModel, *arguments: Any) -> list[Prediction]:
        time.sleep(0.05)
        return predict_many(self, *arguments)

    monkeypatch.setattr(SiameseModel, "predict_many", slow)
    with client(work=0.15) as one:
        assert one.post("/predict/batch", json={"pairs": [["a", "b"]] * 32}).status_code == 200
        assert one.post("/predict/batch", json={"pairs": [["a", "b"]] * 320}).status_code == 504


def test_health_with_and_without_an_archive(plain: TestClient, writing: TestClient) -> None:
    assert plain.get("/health").json() | {"version": ""} == {
        "status": "ok", "version": "", "threshold": MODEL.threshold, "archive": None, "writing": False,
    }  # fmt: skip
    writing.post("/questions", json={"questions": ["How are you?"]})
    health = writing.get("/health").json()
    assert (health["archive"], health["writing"]) == (1, True)


@pytest.mark.parametrize(
    "body, status, detail",
    [
        (b'{"question1": "a", "question2": "\\ud800"}', 400, "lone surrogate"),
        (b'{"question1": "a", "question2": "\xed\xa0\x80"}', 400, "not UTF-8"),
        (b'{"question1": "a", "question2": "b", "threshold": NaN}', 400, "NaN is not a JSON number"),
        (b'{"question1": "a", "question2": "b", "threshold": 1e999}', 422, "finite number"),
        (b'{"question1": "a", "question2": "b", "threshold": ' + b"9" * 5_000 + b"}", 400, "value has 5000 digits"),
        (b'{"question1": "a", "question1": "b", "question2": "c"}', 400, "a field twice"),
        (b"[" * 2_000, 400, "nested too deeply"),
        (b"[" * 10_001, 422, "the body: more than 10,000 lists, objects and fields"),
        (b'{"question1": "' + b"[{" * 2_000 + b'\\"[", "question2": ""}', 422, "at most 2000 characters"),
        (b"{", 400, "the body is not JSON"),
        (b"", 422, "the body: Field required"),
        (b"[]", 422, "the body: Input should be a valid dictionary"),
        (b'{"question1": "a"}', 422, "question2: Field required"),
        (b'{"question1": "a", "question2": "b", "treshold": 1}', 422, "treshold: Extra inputs"),
        (b'{"question1": "a", "question2": "b", "threshold": "1"}', 422, "threshold: Input should be a valid number"),
        (b'{"question1": "a", "question2": "b", "threshold": 1.5}', 422, "threshold: Input should be less"),
        (b'{"question1": "a", "question2": "b", "prior": 0}', 422, "prior: Input should be greater than 0"),
        (b'{"question1": "a", "question2": "' + b"b" * (QUESTION + 1) + b'"}', 422, "at most 2000 characters"),
    ],
)
def test_a_malformed_body(plain: TestClient, body: bytes, status: int, detail: str) -> None:
    answer = plain.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert detail in answer.json()["detail"]
    assert "bbbb" not in answer.text  # no answer quotes a question
    assert len(answer.content) < 500


@pytest.mark.slow
def test_longest_lists(plain: TestClient, writing: TestClient) -> None:
    for path, name, one in (
        ("/encode", "questions", "a"), ("/similarity", "pairs", ["a", "b"]), ("/predict/batch", "pairs", ["a", "b"]),
    ):  # fmt: skip
        assert plain.post(path, json={name: [one] * QUESTIONS}).status_code == 200
        assert plain.post(path, json={name: [one] * (QUESTIONS + 1)}).status_code == 422
    for one, path, body in (
        (plain, "/similarity", {"pairs": [["a"]]}),
        (plain, "/similarity", {"pairs": [["a", "b", "c"]]}),
        (writing, "/search", {"questions": ["a"] * 101}),
        (writing, "/search", {"questions": ["a"], "k": 1001}),
        (writing, "/questions", {"questions": ["a"] * (QUESTIONS + 1)}),
        (writing, "/questions", {"questions": ["a"], "ids": [""]}),
    ):
        assert one.post(path, json=body).status_code == 422, body
    assert writing.delete("/questions/" + "a" * 201).status_code == 422


@pytest.mark.parametrize("path, status", [("/nothing", 404), ("/redoc", 404), ("/search", 404), ("/predict", 405)])
def test_unknown_routes_and_methods(plain: TestClient, path: str, status: int) -> None:
    assert plain.get(path).status_code == status


def test_only_json(plain: TestClient) -> None:
    # A form on another site can send text/plain, but not application/json.
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}, {}):
        assert plain.post("/predict", content=json.dumps(PAIR).encode(), headers=headers).status_code == 415, headers


def test_largest_body(plain: TestClient) -> None:
    headers, most = {"Content-Type": "application/json"}, LIMITS.body
    body = json.dumps(PAIR).encode()
    assert plain.post("/predict", content=body + b" " * (most - len(body)), headers=headers).status_code == 200
    answer = plain.post("/predict", content=body + b" " * (most + 1 - len(body)), headers=headers)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    chunks = (b" " * 65_536 for _ in range(20))  # without a Content-Length
    assert plain.post("/predict", content=chunks, headers=headers).status_code == 413


def test_other_host_names_are_refused(plain: TestClient) -> None:
    # DNS rebinding: evil.example resolves to 127.0.0.1, so the browser takes this service for evil.example.
    for host, status in (("evil.example", 400), ("localhost.evil.example:8000", 400), ("", 400),
                         ("192.0.2.1", 400), ("[2001:db8::1]:80", 400), ("127.0.0.1.evil.example", 400),
                         ("localhost:8000", 200), ("LOCALHOST", 200), ("127.0.0.2:80", 200), ("[::1]:8000", 200),
                         ("[::1]", 200), ("localhost.:80", 200), ("evil.example.", 400)):  # fmt: skip
        answer = plain.get("/health", headers={"Host": host})
        assert answer.status_code == status, host
    assert plain.get("/", headers={"Host": "a"}).json() == {
        "detail": "the Host header names another host: `serve --allow-host NAME` accepts it"
    }


@pytest.mark.parametrize(
    "allowed, host",
    [("a.example:80", "A.example"), ("2001:DB8::1", "[2001:db8:0::1]:8000"), ("*", "b.example"), ("*", "")],
)
def test_host_names_that_are_allowed(allowed: str, host: str) -> None:
    with TestClient(make_app(MODEL, hosts=[allowed]), "http://localhost") as one:
        assert one.get("/health", headers={"Host": host}).status_code == 200


def test_every_answer_has_the_security_headers(plain: TestClient) -> None:
    for answer in (plain.get("/"), plain.get("/page.js"), plain.get("/nothing"), plain.post("/predict", json=PAIR)):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def gated(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let no encoding finish before the returned event is set."""
    event, encode = threading.Event(), SiameseModel.encode

    def waiting(self: SiameseModel, questions: list[str]) -> np.ndarray:
        event.wait(10)
        return encode(self, questions)

    monkeypatch.setattr(SiameseModel, "encode", waiting)
    return event


def test_a_full_queue_answers_503(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = gated(monkeypatch)
    app = make_app(MODEL, limits=Limits(threads=1, pending=3))

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as one:
            asked = [asyncio.create_task(one.post("/encode", json={"questions": ["a"]})) for _ in range(8)]
            while sum(task.done() for task in asked) < 5:
                await asyncio.sleep(0.01)
            assert (await one.get("/health")).status_code == 200  # needs no worker
            gate.set()
            return [await task for task in asked]

    answers = asyncio.run(ask())
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 5
    assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 503} == {"1"}


@pytest.mark.slow
def test_work_over_its_time_stays_pending_until_it_ends_and_queued_work_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = gated(monkeypatch)
    with client(threads=1, pending=2, work=0.1) as queueing, client(threads=1, pending=1, work=0.1) as one:
        ask = lambda to: to.post("/encode", json={"questions": ["a"]}).status_code  # noqa: E731
        assert [ask(queueing) for _ in range(3)] == [504, 504, 504]  # the second and the third never begin
        assert [ask(one) for _ in range(3)] == [504, 503, 503]
        gate.set()
        while (status := ask(one)) == 503:
            pass
        assert status == 200


@pytest.mark.slow
def test_no_text_is_logged(
    writing: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx2").disabled = True  # the test client's
    secret = "Zanzibar"
    writing.post("/predict", json={"question1": secret, "question2": secret})
    writing.post("/predict", json={"question1": secret, secret: secret})
    for _ in range(2):
        writing.post("/questions", json={"questions": [secret], "ids": [secret]})
    writing.post("/search", json={"questions": [secret]})
    for path in (f"/health?question={secret}", f"/{secret}", "/page.js"):
        writing.get(path)
    writing.delete(f"/questions/{secret}")
    writing.request(secret, "/health")

    def broken(self: SiameseModel, questions1: Any, *more: Any) -> None:
        raise ValueError(questions1[0])

    monkeypatch.setattr(SiameseModel, "predict_many", broken)
    answer = writing.post("/predict", json={"question1": secret, "question2": secret})
    assert answer.status_code == 500
    assert secret not in answer.text
    logged = [record.getMessage() for record in caplog.records]
    assert secret.lower() not in "\n".join([*logged, caplog.text]).lower()  # methods are logged in capitals
    for begin in ("POST /predict 200 ", "DELETE /questions/{id:path} 204 ", "GET /page.js 200 ", "GET - 404 ",
                  "POST /predict: ValueError /"):  # fmt: skip
        assert any(line.startswith(begin) for line in logged), begin


@pytest.mark.slow
def test_every_operation_has_an_example(writing: TestClient) -> None:
    document = writing.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/predict", "/explain", "/similarity", "/encode", "/search", "/questions", "/questions/{id}", "/health",
        "/predict/batch", "/model", "/decisions", "/readyz", "/metrics",
    }  # fmt: skip
    for path, methods in document["paths"].items():
        if body := methods.get("post", {}).get("requestBody"):
            schema = body["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
            fields = document["components"]["schemas"][schema]["properties"]
            example = {name: field["examples"][0] for name, field in fields.items() if field.get("examples")}
            answer = writing.post(path, json=example)
            assert answer.is_success, (path, answer.text)


def fit(case: schemathesis.Case, number: int) -> None:
    """Change what a schema cannot express: one id and one payload for each question, conditions on known columns."""
    if (case.path, case.method) == ("/questions", "POST"):
        count = len(case.body["questions"])
        if case.body.get("ids"):
            case.body["ids"] = [f"{number}-{i}" for i in range(count)]
        if case.body.get("payloads") is not None:
            case.body["payloads"] = (case.body["payloads"] or [{}]) * count
            del case.body["payloads"][count:]
    elif case.path == "/search":
        case.body.pop("where", None)
    elif case.query.get("where"):
        del case.query["where"]


@pytest.mark.ci
def test_answers_conform_to_the_openapi_document(memory: Path) -> None:
    app = make_app(MODEL, new_archive(memory / "archive"), TOKEN, hosts=["*"], record=lambda judged, by: None)
    asked = 0
    for found in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode:
            if operation.path in ("/health", "/readyz", "/metrics", "/model") and mode.is_negative:
                continue  # takes no input

            @settings(max_examples=15, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: schemathesis.Case) -> None:
                nonlocal asked
                asked += 1
                if case.meta.generation.mode.is_positive:
                    fit(case, asked)
                case.call_and_validate(headers={"Authorization": WRITER.raw[0][1].decode("latin-1")})

            check()
    assert asked > 250
