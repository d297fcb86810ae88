"""`review --terminal`: what it prints, by lines and on a terminal of 80 × 24, and what a kill leaves."""

import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Command, posix
from files import write_csv

from siamese.review.decisions import DIFFERENT, DUPLICATE, SKIP, UNSURE, latest, open_log, read_decisions
from siamese.review.terminal import columns, safe

ROOT = Path(__file__).parents[2]
HOSTILE = "Ring \x07 \x1b[2J\x1b]0;title\x07 it\r\nDo they ask the same?  \u202e\x9b31m"
PAIRS = [
    ["How do I reset my password?", "How do I reset my PIN?", 0.9, 0.8],
    ["The installer stops with error 1603", "The installer stops with error 1722", 0.8, 0.6],
    [HOSTILE, "Ring a bell", 0.7, 0.5],
    ["パスワードを リセット する 方法", "方法 " * 60, 0.6, 0.4],
]


@pytest.fixture()
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_csv(tmp_path / "duplicates.csv", PAIRS, "question1,question2,similarity,probability")


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_by_lines(pairs: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "y\nN\n\nz\nu\ns\ns\n")
    code, printed, _ = command("review", pairs, "--terminal")
    assert code == 0
    assert re.findall(r"(\d) of 4", printed) == ["0", "1", "2", "2", "1", "2", "3", "4"]
    assert "The installer stops with error *1603*" in printed and "   differs: 1603 / 1722" in printed
    assert "Press one of these keys:" in printed and "The last answer is taken back." in printed
    assert printed.endswith("1 duplicate, 2 skip, 1 unsure: decisions.csv\n")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", printed)
    assert r"Ring \u0007 \u001b[2J\u001b]0;title\u0007 it Do they" in printed.replace("*", "").replace("\n   ", " ")
    assert all(columns(line) < 80 for line in printed.splitlines())
    before_the_answer = printed.split("u unsure")[0]
    assert "similarity" not in before_the_answer and "probability" not in before_the_answer
    typed(monkeypatch, "q\n")
    again = command("review", pairs, "--terminal")[1]
    assert again.count("q quit") == 1 and "2 of 4" in again  # those that were skipped are asked about again


def test_errors_in_one_line(pairs: Path, tmp_path: Path, command: Command) -> None:
    empty = write_csv(tmp_path / "empty.csv", [], "question1,question2,similarity,probability")
    for words, message in (
        (["questions.csv"], "questions.csv"),
        ([empty], "empty.csv: no pairs, so there is nothing to review"),
        ([pairs, pairs], "review takes one file of pairs; --merge joins files of decisions"),
        ([pairs, "--part", "3/2"], "--part 3/2: expected a part such as 1/2, the first of two"),
        ([pairs, "--seed", -1], "--seed -1: expected 0 or more"),
        ([pairs, "--decisions", pairs], "duplicates.csv, line 1: no column 'answer'"),
        (["--merge", pairs], "duplicates.csv, line 1: no column 'answer'"),
    ):
        code, _, error = command("review", *words, "--terminal")
        assert code == 2 and message in error and error.count("\n") <= 2, error


def test_merge_prints_the_disagreements(pairs: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, answers in (("ann", "y\nn\ny\n"), ("ben", "y\nn\nn\n")):
        typed(monkeypatch, answers)
        assert command("review", pairs, "--terminal", "--by", name, "--decisions", f"{name}.csv")[0] == 0
    code, printed, _ = command("review", "--merge", "ann.csv", "ben.csv", "--decisions", "both.csv")
    assert code == 0 and "2 decisions, 1 disagreements: both.csv" in printed
    assert "disagreement: ann.csv (ann): duplicate, ben.csv (ben): different\n  " in printed
    assert len(latest(read_decisions("both.csv"))) == 2


def test_safe_and_columns() -> None:
    assert safe("a\n\tb\x1b[31m \u202e\x85c") == r"a b\u001b[31m \u202e c"
    assert columns("e\u0301日本") == 5


@posix
@pytest.mark.ci
def test_by_keys_on_a_terminal(pairs: Path, tmp_path: Path) -> None:
    """Keys count at once; those that are typed ahead, pasted or sent by the arrows do not count."""
    with Terminal(tmp_path) as terminal:
        screen = terminal.until("q quit")
        assert "\x1b[1;4m" in screen and "\x1b]0" not in screen and "\x07" not in screen
        terminal.press("y")
        assert "Last answer: duplicate (similarity" in terminal.until("1 of 4", "q quit")
        terminal.press("\x1b[A")
        terminal.until("Press one of these keys:", "q quit")
        terminal.press("yyyy")
        terminal.until("Press one of these keys:", "q quit")
        terminal.press("z")
        terminal.until("taken back", "0 of 4", "q quit")
        terminal.press("\x04")
        terminal.until("no answers yet: decisions.csv")
        assert terminal.process.wait(20) == 0


class Terminal:
    """`review --terminal` on a terminal of 80 × 24."""

    def __init__(self, folder: Path) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self.end, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "run.py"), "review", "duplicates.csv", "--terminal"], cwd=folder, stdin=other,
            stdout=other, stderr=other, start_new_session=True,
        )  # fmt: skip
        os.close(other)

    def __enter__(self) -> "Terminal":
        return self

    def until(self, *texts: str) -> str:
        """Return what is printed until all these texts have been."""
        printed = ""
        while not all(text in printed for text in texts):
            printed += os.read(self.end, 65_536).decode()
        time.sleep(0.1)  # until it waits for a key
        return printed

    def press(self, key: str) -> None:
        os.write(self.end, key.encode())

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.end)


@pytest.mark.ci
def test_no_answer_is_lost_in_kills(tmp_path: Path) -> None:
    """Whenever the process is killed, each answer whose successor was asked for is in the file."""
    rows = [[f"How old is number {i}?", f"What is the age of number {i}?", 0.9, 0.5] for i in range(5_000)]
    write_csv(tmp_path / "duplicates.csv", rows, "question1,question2,similarity,probability")
    random_ = random.Random(18)
    kept: list[str] = []
    answered = 0
    for kill in range(25):
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "run.py"), "review", "duplicates.csv", "--terminal"], cwd=tmp_path, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip
        sent = kept + answer(process, random_, wait=random_.uniform(0, 0.3), enough=lambda: False)
        with open_log(tmp_path / "decisions.csv") as log:
            found = [row.answer for row in log.decisions]
        acknowledged = len(sent) - 1  # the last one's successor was not asked for
        assert found[:acknowledged] == sent[:acknowledged], f"kill {kill}"
        assert found in (sent[:acknowledged], sent), f"kill {kill}"
        answered += len(found) - len(kept)
        kept = found
    assert answered > 50


def answer(
    process: "subprocess.Popen[str]", random_: random.Random, wait: float, enough: Callable[[], bool]
) -> list[str]:
    """Answer at random until the process is killed, some time after the first question; return what was sent."""
    assert process.stdin and process.stdout
    sent: list[str] = []
    keys = {"y": DUPLICATE, "n": DIFFERENT, "u": UNSURE, "s": SKIP}
    killing = None
    for line in process.stdout:
        if not line.startswith("y duplicate"):
            continue
        if killing is None:
            killing = threading.Timer(wait, process.kill)
            killing.start()
        key = random_.choice([*keys])
        try:
            process.stdin.write(f"{key}\n")
            process.stdin.flush()
        except BrokenPipeError:
            break
        sent.append(keys[key])
    process.wait(20)
    assert killing
    killing.join()
    return sent
