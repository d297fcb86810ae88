"""Messages name the program: `python run.py` in the project's folder, `siamese` if the package is installed."""

import shutil
import sys
from pathlib import Path

import pytest
from commands import Command, python

from siamese.system.program import command_line, program

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("run.py", "python run.py"),
        ("/home/me/project/run.py", "python run.py"),
        ("/home/me/.venv/bin/siamese", "siamese"),
        ("siamese.exe", "siamese"),
        ("-c", "python run.py"),  # the package lies beside run.py
    ],
)
def test_the_name_of_the_program(monkeypatch: pytest.MonkeyPatch, called: str, name: str) -> None:
    monkeypatch.setattr(sys, "argv", [called, "train"])
    assert program() == name


def test_where_the_package_lies_without_run_py_it_is_installed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "siamese", tmp_path / "siamese", ignore=shutil.ignore_patterns("pretrained", "__pycache__"))
    code = "from siamese.system.program import program; print(program())"
    assert python("-c", code, cwd=tmp_path).stdout == "siamese\n"


def test_the_line_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for called, start in (("/bin/siamese", "siamese"), ("my folder/run.py", "python 'my folder/run.py'")):
        monkeypatch.setattr(sys, "argv", [called, "train", "--data", "my pairs.csv", "--resume"])
        assert command_line("--resume") == f"{start} train --data 'my pairs.csv' --resume"


def test_an_installed_command_speaks_of_itself(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/siamese"])
    monkeypatch.chdir(tmp_path)
    assert command("predict", "--help")[1].startswith("usage: siamese predict ")
    assert command("predict", "--no")[2].endswith("see: siamese --help\n")
    assert "`siamese train` makes one" in command("predict", "a", "b", "--model", "nowhere")[2]


@pytest.mark.parametrize("name", ["train", "compare"])
def test_outside_of_the_project_pairs_must_be_given(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = command(name)
    assert (code, out) == (2, "")
    assert err.startswith("error: --data PATH is needed, because this folder has no data/questions.csv")
    assert not list(tmp_path.iterdir())
