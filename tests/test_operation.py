"""What those who run the service need: readiness, counts for Prometheus, a log of JSON."""

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from tiny_models import random_model

from siamese import SiameseModel
from siamese.archive.store import Archive
from siamese.service.about import about
from siamese.service.app import make_app
from siamese.service.limits import Limits
from siamese.service.logs import LOG, REQUEST, JsonFormatter

MODEL = SiameseModel.pretrained()
PAIR = {"question1": "How old are you?", "question2": "What is your age?"}


@pytest.fixture()
def archive(memory: Path) -> Iterator[TestClient]:
    Archive.build(memory / "archive", ["How old are you?"], MODEL, ids=["age"], name="pretrained").close()
    with TestClient(make_app(MODEL, memory / "archive", limits=Limits(work=0.2)), "http://localhost") as one:
        yield one


def counts(one: TestClient) -> dict[tuple[str, ...], float]:
    """Return what /metrics says, by the name of a sample and the values of its labels."""
    answer = one.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation for family in families)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_prometheus_reads_the_counts(archive: TestClient) -> None:
    for _ in range(3):
        archive.post("/predict", json=PAIR)
    archive.post("/predict", json={"secret": "secret"})
    archive.get("/secret")
    archive.request("SECRET", "/health")
    found = counts(archive)
    assert found["siamese_requests_total", "POST", "/predict", "200"] == 3
    assert found["siamese_requests_total", "POST", "/predict", "422"] == 1
    assert found["siamese_requests_total", "GET", "-", "404"] == 1
    assert found["siamese_request_seconds_count", "/predict"] == 4
    assert found["siamese_request_seconds_bucket", "+Inf", "/predict"] == 4
    assert 0 < found["siamese_request_seconds_sum", "/predict"] < 20
    assert found["siamese_archive_questions",] == 1
    assert found["process_resident_memory_bytes",] > 1e6
    assert "secret" not in archive.get("/metrics").text.lower()


def test_counts_of_two_applications_are_their_own() -> None:
    with TestClient(make_app(MODEL), "http://localhost") as one, TestClient(make_app(MODEL), "http://localhost") as two:
        one.post("/predict", json=PAIR)
        assert ("siamese_requests_total", "POST", "/predict", "200") not in (found := counts(two))
        assert not any(name.startswith("siamese_archive") for name, *_ in found)


def test_counts_are_there_when_the_archive_is_not(archive: TestClient, memory: Path) -> None:
    (memory / "archive").rename(memory / "away")
    assert archive.get("/health").status_code == 503
    assert counts(archive)["siamese_requests_total", "GET", "/health", "503"] == 1


def test_ready_when_model_and_archive_answer(archive: TestClient, memory: Path) -> None:
    assert (archive.get("/readyz").status_code, archive.get("/readyz").json()) == (200, {"status": "ready"})
    (memory / "archive").rename(memory / "away")
    answer = archive.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("the archive: replaced or removed since it was opened")


def test_not_ready_while_the_model_does_not_answer(archive: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, encode = threading.Event(), SiameseModel.encode
    monkeypatch.setattr(SiameseModel, "encode", lambda self, questions: gate.wait(10) and encode(self, questions))
    answer = archive.get("/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["detail"] == "the model or the archive does not answer in time"
    gate.set()
    assert archive.get("/readyz").status_code == 200


def test_not_ready_while_the_service_stops() -> None:
    app = make_app(MODEL)
    with TestClient(app, "http://localhost") as one:
        app.state.stopping = lambda: True
        assert (one.get("/readyz").status_code, one.get("/health").status_code) == (503, 200)


def test_each_line_of_the_log_is_an_object(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    LOG.info(REQUEST, "POST", "/predict", 200, 1.23456)
    LOG.warning("open files are limited to %d", 3)
    try:
        raise ValueError("secret")
    except ValueError:
        LOG.exception("an error\nof two lines")
    lines = [JsonFormatter().format(record) for record in caplog.records]
    request, warning, error = map(json.loads, lines)
    assert request["time"].endswith("+00:00") and request["process"] > 0
    assert {**request, "time": "", "process": 0} == {
        "time": "", "level": "info", "process": 0, "method": "POST", "route": "/predict", "status": 200, "ms": 1.2,
    }  # fmt: skip
    assert (warning["level"], warning["message"]) == ("warning", "open files are limited to 3")
    assert (error["level"], error["message"]) == ("error", "an error\nof two lines")
    assert error["error"].startswith("ValueError /") and "secret" not in "".join(lines) and "\n" not in "".join(lines)


def test_the_card_and_the_licence_of_the_model() -> None:
    with TestClient(make_app(MODEL, name="pretrained"), "http://localhost") as one:
        answer = one.get("/model").json()
    assert answer["card"].startswith("# The pretrained model\n")
    assert {**answer, "card": ""} == {
        "name": "pretrained", "licence": "CC BY-SA 4.0", "card": "", "dimensions": 256, "threshold": MODEL.threshold,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("readme", "licence", "card"),
    [
        (b"---\nlicense: apache-2.0\n---\n# A model\n", "apache-2.0", "# A model"),
        (b"---\ntitle: x\n---\n", None, None),
        (b"license: mit", None, "license: mit"),
        (b"\xff", None, None),
        (None, None, None),
    ],
)
def test_the_card_of_a_folder(tmp_path: Path, readme: bytes | None, licence: str | None, card: str | None) -> None:
    model = random_model()
    model.save(folder := tmp_path / "mine")
    if readme is not None:
        (folder / "README.md").write_bytes(readme)
    found = about(model, str(folder))
    assert (found.name, found.licence, found.card) == ("mine", licence, card)
    assert about(model, None).name is None
