"""Decisions that people send to the service: kept in a file of `review`, which `mine --decisions` and `adapt` read."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tiny_models import random_model

from siamese.cli.serve import recorder
from siamese.review.answers import read_answers
from siamese.review.decisions import open_log, read_decisions
from siamese.service.app import make_app
from siamese.service.limits import Limits

MODEL = random_model()
HEADERS = {"Authorization": "Bearer secret"}
OLD, AGE = "How old are you?", "What is your age, in years?"
ONE = {"question1": OLD, "question2": AGE, "answer": "duplicate"}


def client(path: Path, token: str | None = "secret", patience: float = 5.0) -> TestClient:
    with open_log(path):  # which begins the file
        pass
    app = make_app(MODEL, token=token, limits=Limits(patience=patience), record=recorder(str(path)))
    return TestClient(app, "http://localhost", headers=HEADERS)


@pytest.fixture()
def path(memory: Path) -> Iterator[Path]:
    yield memory / "decisions.csv"


def test_decisions_are_those_that_review_writes(path: Path) -> None:
    other = {"question1": 'a "quoted",\nquestion', "question2": "=1+1", "answer": "different"}
    with client(path) as one:
        answer = one.post("/decisions", json={"decisions": [ONE, other], "by": "Anna"})
        assert (answer.status_code, answer.json()) == (201, {"written": 2})
        assert one.post("/decisions", json={"decisions": [{**ONE, "answer": "undo"}]}).status_code == 201
    first, second, third = read_decisions(path)
    predicted = MODEL.predict(OLD, AGE)
    assert first[:5] == (OLD, AGE, "duplicate", repr(predicted.similarity), repr(predicted.probability))
    assert second[:3] == tuple(other.values())
    assert (first.by, first.at, third.answer, third.by) == ("Anna", second.at, "undo", "")
    assert first.at < third.at
    assert read_answers(path).pairs.labels.tolist() == [0]  # what `adapt` reads: the first was taken back


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"question2": f" {OLD}"}, "decision 2: a question with itself; expected two different questions"),
        ({"question2": " "}, "decision 2: a duplicate has two questions"),
        ({"answer": "skip"}, "decisions.1.answer: "),
        ({"more": 1}, "decisions.1.more: "),
    ],
)
def test_what_is_no_decision_is_refused_and_nothing_written(path: Path, change: dict[str, Any], detail: str) -> None:
    with client(path) as one:
        answer = one.post("/decisions", json={"decisions": [ONE, {**ONE, **change}]})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)
    assert read_decisions(path) == []


def test_nobody_decides_without_the_token(path: Path) -> None:
    with client(path) as one, client(path, token=None) as off:
        for given in ("", "Bearer", "Bearer secre"):
            assert (
                one.post("/decisions", json={"decisions": [ONE]}, headers={"Authorization": given}).status_code == 401
            )
        answer = off.post("/decisions", json={"decisions": [ONE]})
        assert (answer.status_code, answer.json()["detail"]) == (
            403, "decisions are off: start the service with SIAMESE_TOKEN to allow them",
        )  # fmt: skip
    assert read_decisions(path) == []


def test_a_service_without_a_file_has_no_such_route() -> None:
    with TestClient(make_app(MODEL, token="secret"), "http://localhost", headers=HEADERS) as one:
        assert one.post("/decisions", json={"decisions": [ONE]}).status_code == 404


def test_it_waits_for_a_review_that_writes_but_not_forever(path: Path) -> None:
    with client(path) as patient, client(path, patience=0.0) as impatient:
        with open_log(path):
            answer = impatient.post("/decisions", json={"decisions": [ONE]})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            waiting = threading.Thread(target=patient.post, args=("/decisions",), kwargs={"json": {"decisions": [ONE]}})
            waiting.start()
            waiting.join(0.15)
            assert waiting.is_alive()
        waiting.join(5)
    assert len(read_decisions(path)) == 1


def test_a_file_of_another_kind_stays_as_it_is(path: Path) -> None:
    with client(path) as one:
        path.write_text("a,b\n1,2\n")
        answer = one.post("/decisions", json={"decisions": [ONE]})
    assert (answer.status_code, str(path) in answer.text) == (503, False)
    assert path.read_text() == "a,b\n1,2\n"
