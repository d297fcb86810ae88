"""The commands of the README are run as they stand there, one after the other, in a copy of the project."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    """The contents of the README's code blocks of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The lines after a `$` in the README's console blocks."""
    return [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the commands need, with the example files that the README shows."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("run.py", "siamese", "data"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    for name, content in re.findall(r"`([\w-]+\.csv)`:\n\n```csv\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def test_the_readme_has_commands() -> None:
    assert {line.split()[2] for line in commands()} >= {"train", "predict", "evaluate"}


def test_every_command_runs(copy: Path) -> None:
    # One epoch is enough to see that a training command works.
    for command in commands():
        words = shlex.split(command)
        assert words[0] == "python", command
        words[0] = sys.executable
        if words[2] == "train":
            words += ["--epochs", "1"]
        if words[2] == "compare":
            words += ["--epochs", "1", "--seeds", "1"]
        done = subprocess.run(words, cwd=copy, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout.strip(), command


def test_the_python_examples_run(copy: Path) -> None:
    # They use the model that the commands above have trained.
    for code in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, timeout=100, env=os.environ
        )
        assert done.returncode == 0, f"{code}\n{done.stderr}"


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link
