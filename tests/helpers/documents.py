"""Run what a guide shows, in a copy of the project, and compare what it prints with what the guide says.

The first word after ``` names the language of a block, the second one what to do with it:

    console               run its `$` commands; each line that is shown under one must be printed, but for the numbers
    console slow          the same, only with `-m ci`: it takes over ten seconds
    console extras        the same, only in tests/extras: it needs an optional library
    console serve         start it, and ask it what the following blocks `console requests` ask by curl
    python, python extras run it
    csv, txt              the file whose name stands before the block, as `name`:
    python databases      run in tests/extras with a vector database
    any other             only shown
"""

import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[2]
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
GUIDES = (
    ROOT / "README.md",
    *sorted((ROOT / "siamese").glob("*/README.md")),
    CONTRIBUTING,
    *ROOT.glob("tests/README.md"),
)
BLOCK = re.compile(
    r"(?:`([\w-]+\.(?:csv|txt))`[^\n`]*:\n\n)?^ *```([\w-]+) ?(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL
)
NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")
# One epoch and few pairs are enough to see that a command works.
SHORTER = {"train": ["--epochs", "1", "--training-pairs", "1000"]}
TRAIN = ("train", "compare")  # their numbers are others on another CPU
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}


def named(path: Path) -> str:
    """Return the path of a document in the project, which names its test."""
    return path.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Block:
    """A code block of a guide."""

    file: str  # the name of the file that it holds, or nothing
    language: str
    label: str
    text: str

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each command of a console block, and the lines that are shown under it."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            yield command, [line for line in shown if line.strip() not in ("", "…")]


def blocks(document: Path) -> list[Block]:
    """Return the code blocks of a Markdown file, in order."""
    return [Block(*match.groups(default="")) for match in BLOCK.finditer(document.read_text(encoding="utf-8"))]


def with_label(label: str) -> list[Path]:
    """Return the guides that have blocks of this label."""
    return [guide for guide in GUIDES if any(block.label == label for block in blocks(guide))]


def copy_project(folder: Path) -> None:
    """Copy what the commands of a guide need."""
    for name in ("run.py", "siamese", "data", "tests", "pyproject.toml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)


def run(document: Path, folder: Path, label: str = "", times: int = 1) -> int:
    """Run the blocks of a guide that have this label, and return how many there are.

    Args:
        document: the guide.
        folder: an empty folder to work in.
        label: "" for the blocks that need nothing else, "slow" or "extras".
        times: that each command runs, one after the other; its first output is compared.

    Raises:
        AssertionError: a command fails, or does not print what the guide shows.
    """
    copy_project(folder)
    count, trained = 0, False  # from then on the numbers are not those of the guide
    with ExitStack() as stack:
        for block in blocks(document):
            if block.file:
                (folder / block.file).write_text(block.text, encoding="utf-8")
            elif block.label == "serve" and not label:
                ((command, shown),) = block.commands()
                server = stack.enter_context(Server(command, folder))
                compare(command, shown, server.first_line, numbers=False)  # another port
            elif block.label == "requests" and not label:
                for command, shown in block.commands():
                    compare(command, shown, server.ask(command))
            elif block.label == label and block.language == "python":
                for _ in range(times):
                    _run([sys.executable, "-c", block.text], folder)
            elif block.label == label and block.language == "console":
                for command, shown in block.commands():
                    words = shlex.split(command)
                    ours = words[:2] == ["python", "run.py"]
                    shorter = SHORTER.get(words[2], []) if ours else []
                    trained = trained or (ours and words[2] in TRAIN)
                    words[0] = sys.executable if words[0] == "python" else words[0]
                    fails = any(line.startswith("error: ") for line in shown)
                    printed, *_ = [_run([*words, *shorter], folder, fails) for _ in range(times)]
                    compare(command, shown, printed, numbers=not trained)
            else:
                continue
            count += 1
    return count


def _run(words: list[str], folder: Path, fails: bool = False) -> str:
    """Run a command that must end well, or with 2, and return what it prints."""
    done = subprocess.run(
        words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, encoding="utf-8"
    )
    assert done.returncode == (2 if fails else 0), f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def compare(command: str, shown: list[str], printed: str, numbers: bool = True) -> None:
    """Check that each line that is shown was printed, and that a command that prints shows something of it.

    Args:
        command: for the message.
        shown: lines of the guide; … stands for anything.
        printed: the output of the command.
        numbers: whether they must be about the same, too.

    Raises:
        AssertionError: a line was not printed.
    """
    assert shown or not printed.strip(), f"{command}\nprints, and the guide does not show it:\n{printed}"
    for line in shown:
        same = [real for real in printed.splitlines() if re.fullmatch(_pattern(line), _without_numbers(real))]
        if numbers and "…" not in line:
            same = [real for real in same if _close(line, real)]
        assert same, f"{command}\ndoes not print\n  {line}\nbut\n{printed}"


def _without_numbers(line: str) -> str:
    return " ".join(NUMBER.sub("#", line).split())


def _pattern(line: str) -> str:
    return ".*".join(map(re.escape, _without_numbers(line).split("…")))


def _close(line: str, real: str) -> bool:
    pairs = zip(NUMBER.findall(line), NUMBER.findall(real), strict=True)
    values = ((float(a.replace(",", "")), float(b.replace(",", ""))) for a, b in pairs)
    return all(math.isclose(a, b, rel_tol=0.01, abs_tol=0.002) for a, b in values)


class Server:
    """A running `serve` or `review`, at a port that is free."""

    def __init__(self, command: str, folder: Path) -> None:
        words = shlex.split(command)
        variables = [word.split("=", 1) for word in words[: words.index("python")]]
        self.process = subprocess.Popen(
            [sys.executable, *words[len(variables) + 1 :], "--port", "0"], cwd=folder,
            env={**ENVIRONMENT, **dict(variables)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout
        self.first_line = self.process.stdout.readline()
        self.address = re.findall(r"http://[\w.]+:\d+", self.first_line)[0]

    def __enter__(self) -> "Server":
        return self

    def ask(self, command: str) -> str:
        """Send a request as curl would, and return the answer."""
        words = shlex.split(command)
        url = next(word for word in words if word.startswith("localhost"))
        body = words[words.index("--json") + 1].encode() if "--json" in words else None
        headers = dict(words[i + 1].split(": ", 1) for i, word in enumerate(words) if word == "-H")
        if body:
            headers["Content-Type"] = "application/json"
        method = words[words.index("-X") + 1] if "-X" in words else None
        request = Request(self.address + url[url.index("/") :], body, headers, method=method)
        with urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())

    def __exit__(self, *error: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=30)
