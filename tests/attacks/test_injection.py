"""Attacks by text: questions, names and model cards that act on a terminal, in a spreadsheet or in Markdown."""

import csv
import io
import itertools
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT, TRAIN, Command, posix
from files import write_csv

from siamese.report.tables import code, inert
from siamese.system.console import Output, visible
from siamese.system.csv_output import csv_writer

CONTROLS = [*map(chr, [*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])]
TITLE = "\x1b]0;owned\x07\x9b31mred\x9b0m\x7f"  # sets the window's title and the colour, by C0 and by C1


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_a_control_character_is_spelled_out(control: str) -> None:
    assert visible(f"a{control}b") == f"a\\u{ord(control):04x}b"


def test_other_text_stays() -> None:
    text = "Où est la gare ?\n\t駅はどこですか 🚉 \u200d \xa0 שלום"
    assert visible(text) == text
    pipe = io.StringIO()
    Output(pipe).write(TITLE)
    assert pipe.getvalue() == TITLE  # a file or another program gets what the question is


def on_terminal(*words: object) -> str:
    """Run a command whose standard output and stderr are a terminal, and return what it shows."""
    ours, theirs = pty.openpty()
    line = [sys.executable, "run.py", *map(str, words)]
    with subprocess.Popen(line, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65_536):
                shown += part
        except OSError:  # the process has ended
            pass
        process.wait(60)
    os.close(ours)
    return shown.decode("utf-8", "surrogateescape")


def acts(shown: str) -> list[str]:
    """Return the characters of a terminal's text that act on it, other than the end of a line."""
    return [c for c in shown.replace("\r\n", "\n") if c in {*CONTROLS, "\r"}]


@posix
@pytest.mark.ci
def test_no_control_character_reaches_a_terminal(tmp_path: Path, steep: Path) -> None:
    import json

    from siamese import SiameseModel

    questions = write_csv(tmp_path / "questions.csv", [[f"how old {TITLE}"], ["how young"]], "question")
    pairs = write_csv(tmp_path / "pairs.csv", [[f"how{TITLE}", "why", 1], ["a", f"b{TITLE}", f"x{TITLE}"]] * 2)
    named = write_csv(tmp_path / "named.csv", [["a", "b", 1]], f"question{TITLE},question2,is_duplicate")
    model = SiameseModel.load(steep)
    model.facts["warnings"] = [f"none{TITLE}"]
    model.save(tmp_path / "warned")
    hostile = tmp_path / "hostile"
    model.save(hostile)
    settings = json.loads((hostile / "config.json").read_text())
    settings["config"]["preset"] = f"best{TITLE}"
    (hostile / "config.json").write_text(json.dumps(settings))
    archive = tmp_path / "archive"
    words: list[list[object]] = [
        ["predict", f"how{TITLE}", "why", "--json", "--model", steep],
        ["predict", "--file", pairs, "--model", tmp_path / "warned"],
        ["predict", "--file", named, "--model", steep],
        ["predict", "a", "b", "--model", hostile],
        ["predict", "a", "b", "--model", f"no{TITLE}"],
        ["predict", "a", "b", f"--no{TITLE}"],
        [f"predict{TITLE}"],
        ["archive", "build", questions, "--out", archive, "--model", steep],
        ["search", archive, f"how old {TITLE}", "--json"],
        ["search", archive, "how old"],
        ["evaluate", "--data", pairs, "--model", steep],
        [*TRAIN, "--data", f"no{TITLE}.csv"],
        ["losses", f"no{TITLE}"],
    ]
    for line in words:
        shown = on_terminal(*line)
        assert shown and "Traceback" not in shown, line
        assert not acts(shown), (line, shown)


FORMULAS = ["=1+1", "@SUM(A1)", "+1+cmd|' /C calc'!A0", "-2+3", "\t=1", "\r=1", "=", "'=1", "''@x", "＝1"]
PLAIN = ["How?", "", "-5", "+1.5", "-", "'tis", "a=b", "1-2", " =1"]


def test_formulas_are_escaped_and_nothing_else() -> None:
    file = io.StringIO()
    csv_writer(file, escape=True).writerow([*FORMULAS, *PLAIN, -0.5, 3, None])
    (row,) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert row == [*(f"'{text}" for text in FORMULAS), *PLAIN, "-0.5", "3", ""]
    assert [re.sub(r"^'('*[=+\-@\t\r＝])", r"\1", text) for text in row[: len(FORMULAS)]] == FORMULAS


@pytest.mark.slow
def test_files_for_people_have_no_formula(tmp_path: Path, command: Command) -> None:
    asked = ["=HYPERLINK(1) how old are you", "=HYPERLINK(1) how old are you?"]
    # Different questions to the model's clusters: a word more.
    questions = write_csv(tmp_path / "q.csv", [[f"{asked[0]} {i}", f"@id{i}"] for i in range(6)], "question,id")
    mine = ["mine", questions, "--threshold", 0.1, "--model", "pretrained", "--out"]

    def cells(path: Path) -> list[str]:
        with open(path, encoding="utf-8", newline="") as file:
            return list(itertools.chain.from_iterable(list(csv.reader(file))[1:]))

    pairs, clusters, labels = (tmp_path / f"{name}.csv" for name in ("pairs", "clusters", "labels"))
    for options, escaped in (([], True), (["--no-escape-formulas"], False)):
        assert command(*mine, pairs, "--clusters", clusters, *options)[0] == 0
        assert command("mine", "--from", pairs, "--label-sample", 5, "--out", labels, *options)[0] == 0
        assert any(cell.startswith("=") for cell in cells(pairs))  # for programs, as they are
        for path in (clusters, labels):
            assert any(cell.startswith(("=", "@")) for cell in cells(path)) != escaped, path
            assert any(cell.startswith("'=") for cell in cells(path)) == escaped
            path.unlink()


HOSTILE = [
    "![x](http://evil/x.png)", "[x](javascript:alert)", "<img src=x>", "<http://evil>", "http://evil", "HTTPS://evil",
    "www.evil.org", "WWW.evil.org", "a@evil.org", "`code` ![x][y]", "[y]: http://evil", "a|b", "\\[x](y)", "a\n\n# b",
    f"x{TITLE}",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_text_in_markdown_is_inert(text: str) -> None:
    assert not acts(code(text)) and code(text).count("`") == 2 and not re.search(r"(?<!\\)\||\n", code(text))
    shown = inert(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`\[\]<>|@]|(?<!\\)://|www\.[a-z]|\n", shown, re.IGNORECASE)
    assert not acts(shown)
    plain = re.sub(r"\\([\\`\[\]<>|@:.])", r"\1", shown)  # as a reader sees it
    assert plain == visible(" ".join(text.split()))
