"""A package of thirty lines that adds a loss and a tower: installed, then used by train, compare and predict."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT, python
from documents import blocks

PACKAGE = ROOT / "tests" / "plugin"
GUIDE = ROOT / "siamese" / "training" / "README.md"
SMALL = ("--embedding", 8, "--hidden", 8, "--epochs", 1)


@pytest.mark.ci
def test_an_installed_package_adds_a_loss_and_a_tower(small_file: Path, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    pip += ["--target", str(tmp_path / "site"), str(tmp_path / "source")]
    subprocess.run(pip, check=True, capture_output=True, timeout=60)
    room = tmp_path / "room"
    room.mkdir()

    def run(*words: object, installed: bool = True) -> tuple[int, str, str]:
        found = {"PYTHONPATH": f"{ROOT}:{tmp_path / 'site'}" if installed else str(ROOT)}
        done = python(ROOT / "run.py", *words, cwd=room, **found)
        return done.returncode, done.stdout, done.stderr

    code, out, err = run("train", "--data", small_file, "--loss", "mean-margin", "--tower", "bag", *SMALL, "--out", "m")
    assert code == 0, err
    assert out.rstrip().endswith("--model m --tower bags:Bag")
    assert "- losses: MeanMargin (margin 0.25) + 8 × logistic\n" in (room / "m" / "report.md").read_text("utf-8")
    questions = ("predict", "How old are you?", "What is your age?", "--model", "m")
    code, out, err = run(*questions, "--tower", "bag")
    assert code == 0 and "similarity" in out, err
    refused = "error: m/config.json: the tower Bag is a plug-in, and its name alone imports nothing; if you trust it"
    for installed in (True, False):
        code, out, err = run(*questions, installed=installed)
        assert (code, out) == (2, "") and err.startswith(refused) and err.count("\n") == 1
    code, _, err = run(*questions, "--tower", "bag", installed=False)
    assert code == 2 and err.startswith("error: --tower bag: no plug-in of this name; no installed package offers any;")
    variants = ("both,embedding=8,hidden=8", "mean-margin+logistic,tower=bag,embedding=8,hidden=8,margin=0.1")
    code, out, err = run("compare", "--data", small_file, "--losses", *variants, "--seeds", 1, "--epochs", 1)
    assert code == 0 and "mean-margin+logistic" in out, err


def test_the_guide_shows_this_package() -> None:
    shown = [block.text for block in blocks(GUIDE)]
    for path in (PACKAGE / "bags.py", PACKAGE / "pyproject.toml"):
        assert path.read_text("utf-8") in shown
