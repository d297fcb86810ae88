"""The file of decisions: what is in it, what counts, and what a killed process leaves."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import DataError, UserError
from siamese.review.decisions import (
    DIFFERENT,
    DUPLICATE,
    REPRESENTATIVE,
    UNDO,
    Decision,
    append_decisions,
    latest,
    open_log,
    read_decisions,
    whole,
)

ROWS = [
    Decision("How old are you?", "What is your age?", DUPLICATE, "0.91", "0.8", "0.16", "3.5", "ann", "2026-01-01"),
    Decision('He said "no"\nthen left', "=1+1; é", DIFFERENT),
    Decision("How old are you?", "", REPRESENTATIVE),
]


def test_read_again(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    with open_log(path) as log:
        for row in ROWS[:2]:
            log.append(row)
            assert read_decisions(path)[-1] == row
    with open_log(path) as log:
        assert log.decisions == ROWS[:2]
        log.append(ROWS[2])
    assert read_decisions(path) == ROWS


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.text("\r\n\",;\0'= a\x85\u2028", max_size=6)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=2))
def test_what_is_added_can_be_read_again_or_is_refused(pairs: list[tuple[str, str]]) -> None:
    rows = [Decision(first, second, DUPLICATE) for first, second in pairs]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        path = Path(folder) / "decisions.csv"
        try:
            append_decisions(path, rows)
        except DataError:
            assert not path.exists()
        else:
            assert read_decisions(path) == rows


def test_the_last_counts() -> None:
    a, b = "How old are you?", "What is your age?"
    made = [Decision(a, b, DUPLICATE), *ROWS[1:], Decision(b, a, DIFFERENT), Decision("x y", "z", DUPLICATE)]
    found = list(latest([*made, Decision("z", "x  y", UNDO)]).values())
    assert found == [Decision(b, a, DIFFERENT), *ROWS[1:]]


def test_every_cut_leaves_whole_rows(tmp_path: Path) -> None:
    """Whatever part of a row a killed process leaves, the rows before are kept, and more can follow."""
    path = tmp_path / "decisions.csv"
    with open_log(path) as log:
        for row in ROWS:
            log.append(row)
    content = path.read_bytes()
    ends = [i + 1 for i in range(len(content)) if whole(content[: i + 1]) == i + 1]
    assert len(ends) == 4
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        with open_log(path) as log:
            assert log.decisions == ROWS[: max(sum(end <= cut + 1 for end in ends) - 1, 0)]
            log.append(ROWS[0])
        assert read_decisions(path)[-1] == ROWS[0]


def test_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    with open_log(path), pytest.raises(UserError, match="another process writes to it"), open_log(path):
        pass


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """A file of another kind is refused as it was; one that a spreadsheet has saved keeps its last row."""
    other, saved = tmp_path / "other.csv", tmp_path / "saved.csv"
    other.write_text('a,b\n1,"2')
    with pytest.raises(DataError, match="no column 'question1'"), open_log(other):
        pass
    assert other.read_text() == 'a,b\n1,"2'
    saved.write_text(",".join(Decision._fields) + "\na,b,duplicate,,,,,,,")
    with open_log(saved) as log:
        assert log.decisions == [Decision("a", "b", DUPLICATE)]
        log.append(ROWS[0])
    assert read_decisions(saved) == [Decision("a", "b", DUPLICATE), ROWS[0]]


@pytest.mark.parametrize(
    "content",
    [
        b"question1,question2,answer\na,b,duplicate\n",
        ";".join(Decision._fields).encode() + b"\na;b;duplicate;;;;;;;\n",
        (",".join(Decision._fields) + "\na,b,duplicate,,,,,,,").encode("utf-16"),
        (",".join(Decision._fields) + "\na,\xe9,duplicate,,,,,,,\n").encode("cp1252"),
        (",".join((*Decision._fields, "note")) + "\na,b,duplicate,,,,,,,,mine\n").encode(),
    ],
    ids=["fewer columns", "semicolons", "UTF-16", "cp1252", "more columns"],
)
def test_nothing_is_added_where_it_could_not_be_read_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "decisions.csv"
    path.write_bytes(content)
    read_decisions(path)
    with (
        pytest.raises(UserError, match=r"review --merge .*decisions.csv --decisions .*decisions-2.csv"),
        open_log(path),
    ):
        pass
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question1,question2\na,b\n", "line 1: no column 'answer'"),
        ("question1,question2,answer\na,b,maybe\n", "line 2: answer is 'maybe'"),
        ("question1,question2,answer\na,,duplicate\n", "line 2: a duplicate has two questions"),
        ("question1,question2,answer\na,b,representative\n", "a representative has one question"),
        ("question1,question2,answer\na,a ,different\n", "a question with itself"),
    ],
)
def test_bad_rows(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "decisions.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_decisions(path)


@pytest.mark.skipif(os.name != "posix", reason="/dev/full is a device of Linux")
def test_a_full_disk_keeps_the_rows(tmp_path: Path) -> None:
    import resource
    import subprocess
    import sys

    path = tmp_path / "decisions.csv"
    with open_log(path) as log:
        log.append(ROWS[0])
    size = path.stat().st_size
    code = (
        "import resource, signal, sys; from siamese.review.decisions import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 20}, {size + 20}))\n"
        "with open_log(sys.argv[1]) as log:\n"
        "    try: log.append(Decision('a' * 100, 'b', 'different'))\n"
        "    except OSError as error: print(error.filename)\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(path)
    assert read_decisions(path) == ROWS[:1] and path.stat().st_size == size
