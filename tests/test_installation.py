"""Installation: a base without torch, pandas and scipy, extras, and the error if a library is missing."""

import importlib.metadata
import tomllib
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT, python
from packaging.requirements import Requirement

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# As in an environment with the base alone.
BASE = """
import sys
for name in ("torch", "sklearn", "scipy", "pandas", "pyarrow", "nltk", "matplotlib", "fsspec", "fastapi", "uvicorn"):
    sys.modules[name] = None
from siamese.cli import main
main()
"""
MINED = "question1,question2,similarity,probability\nHow old are you?,What is your age?,0.9,0.8\n"


def needed(requirements: list[str], seen: set[str]) -> set[str]:
    """Return all that pip installs for these requirements on any system, by the metadata of installed packages."""
    for requirement in map(Requirement, requirements):
        name = requirement.name.lower()
        if name not in seen and (requirement.marker is None or "extra" not in str(requirement.marker)):
            seen.add(name)
            try:
                needed(importlib.metadata.requires(name) or [], seen)
            except importlib.metadata.PackageNotFoundError:  # of another system
                continue
    return seen


def test_the_base_is_small() -> None:
    base = needed(PROJECT["dependencies"], set())
    ours = {"numpy", "safetensors", "tqdm", "threadpoolctl", "filelock", "charset-normalizer", "ftfy"}
    assert base == {*ours, "wcwidth", "colorama"}


def test_requirements_are_the_base_and_what_trains() -> None:
    lines = (ROOT / "requirements.txt").read_text("utf-8").split()
    assert [line.replace("torch>=2.13", "torch==2.13.0") for line in PROJECT["dependencies"] + EXTRAS["train"]] == lines


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["predict", "How old are you?", "What is your age?"],
        ["predict", "--file", "PAIRS", "--out", "scored.csv"],
        ["encode", "PAIRS", "--question", "question1", "--out", "vectors.npy"],
        ["archive", "build", "PAIRS", "--question", "question1", "--out", "archive"],
        ["mine", "PAIRS", "--question", "question1", "--out", "pairs.csv", "--clusters", "clusters.csv"],
        ["review", "mined.csv", "--terminal"],
        ["review", "mined.csv", "--terminal", "--clusters"],
    ],
)
def test_the_base_is_enough(words: list[str], small_file: Path, tmp_path: Path) -> None:
    (tmp_path / "mined.csv").write_text(MINED)
    done = python("-c", BASE, *[small_file if word == "PAIRS" else word for word in words], cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "library"),
    [
        (["train", "--data", "PAIRS"], "train needs torch: pip install torch"),
        (["evaluate", "--data", "PAIRS"], "evaluate needs scikit-learn: pip install scikit-learn"),
        (
            ["mine", "PAIRS", "--question", "question1", "--out", "a.csv", "--approximate"],
            "--approximate needs torch: pip install torch",
        ),
        (["lesson"], "lesson needs torch: pip install torch"),
        (["serve"], "serve needs uvicorn: pip install uvicorn"),
        (["review", "mined.csv"], "review needs fastapi: pip install fastapi"),
        (["predict", "--file", "pairs.parquet"], "pairs.parquet: a Parquet file needs pyarrow: pip install pyarrow"),
    ],
)
def test_what_is_missing_is_told_in_a_line(words: list[str], library: str, small_file: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.parquet").touch()
    (tmp_path / "mined.csv").write_text(MINED)
    done = python("-c", BASE, *[small_file if word == "PAIRS" else word for word in words], cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"error: {library}")
    assert "Traceback" not in done.stderr
