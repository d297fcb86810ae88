"""`train --unlabelled` as a person types it, with an encoder's folder; kills, and what continues after them."""

from pathlib import Path

import numpy as np
import pytest
from commands import Command, posix, python
from encoders import make_encoder
from libraries import needs
from test_pile import QUESTIONS, write_pile

from siamese.model.model import SiameseModel
from siamese.pairs.splits import Datasets
from siamese.training import cache

needs("sentence_transformers")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("teacher"), "bert")


KILLED_WHILE_ENCODING = """
import os, sys
from siamese.system import workers
from siamese.training import cache
from test_pile import QUESTIONS
if __name__ == "__main__":
    workers.cores = lambda: 2
    cache.QUESTIONS_PER_FILE, cache.QUESTIONS_PER_PROCESS = 30, 100
    cache.stored(sys.argv[1], QUESTIONS, lambda done, total: os.kill(os.getpid(), 9))
"""


@pytest.mark.ci
@posix
def test_several_processes_encode_and_what_they_finished_outlives_a_kill(encoder: Path, tmp_path: Path) -> None:
    code = tmp_path / "killed.py"
    code.write_text(KILLED_WHILE_ENCODING, encoding="utf-8")
    assert python(code, encoder, cwd=tmp_path).returncode == -9
    found = {path: path.read_bytes() for path in (tmp_path / "models/teachers").rglob("*.npy")}
    assert 1 <= len(found) < 7
    counts: list[tuple[int, int]] = []
    again = cache.vectors(str(encoder), QUESTIONS, lambda *done: counts.append(done), tmp_path / "models/teachers")
    assert 0 < counts[-1][1] <= 200 - 30
    assert all(path.read_bytes() == content for path, content in found.items())
    anew = cache.vectors(str(encoder), QUESTIONS, lambda *done: None, tmp_path / "other")
    np.testing.assert_allclose(again.astype(float), anew.astype(float), atol=0.02)  # bfloat16, in other batches


def test_another_encoder_at_the_same_place_has_a_cache_of_its_own(encoder: Path, tmp_path: Path) -> None:
    before = cache.checksum(str(encoder))
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in encoder.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(encoder)).parent.mkdir(exist_ok=True)
            (copy / path.relative_to(encoder)).write_bytes(path.read_bytes())
    assert cache.checksum(str(copy)) == before != ""
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert cache.checksum(str(copy)) != before
    assert cache.checksum("a/name-of-a-hub") == ""


KILLED_WHILE_TRAINING = """
import os, sys
from siamese.cli import entry
from siamese.system.progress import TrainingBar
from siamese.training import loop
loop.INTERVAL = 0.0  # a checkpoint after each step
TrainingBar.kept = lambda self, step: step == 17 and os.kill(os.getpid(), 9)
entry.main(sys.argv[1:])
"""


@pytest.mark.ci
@posix
def test_a_command_that_is_killed_continues_to_the_same_bytes(
    encoder: Path, tmp_path: Path, small_file: Path, parts: Datasets, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pile(tmp_path / "pile.tsv.xz")
    words = ["train", "--unlabelled", "pile.tsv.xz", "--families", "odd,even", "--teacher", encoder, "--out", "killed",
             "--question-steps", "0.002", "--unlabelled-batch", "50", "--embedding", "16",
             "--hidden", "16", "--validation", small_file]  # fmt: skip
    assert python("-c", KILLED_WHILE_TRAINING, *words, cwd=tmp_path).returncode == -9
    code, out, err = command(*words)
    assert code == 2 and "stopped after step 17; continue with --resume" in err
    code, out, err = command(*words, "--resume")
    assert code == 0, err
    assert "cosine to the teacher's vectors on held-out questions 0." in out and "average precision" in out
    words[words.index("killed")] = "whole"
    assert command(*words)[0] == 0
    one, other = (Path(name, "model.safetensors").read_bytes() for name in ("killed", "whole"))
    assert one == other
    model = SiameseModel.load("killed")
    assert model.config.families == "odd,even" and model.facts["unlabelled"]["questions"] == 200
    assert "200 questions without labels (families odd,even)" in Path("whole/README.md").read_text("utf-8")
    assert len(Path("whole/metrics.csv").read_text("utf-8").splitlines()) == 11
