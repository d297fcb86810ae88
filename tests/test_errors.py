"""Every command with bad input of every kind that applies: an error in a line or two, exit code 2, nothing changed."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import TRAIN

from siamese.cli import entry
from siamese.model.files import ADDED, header

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
HUGE = 10**30
COLUMNS = "question1,question2,is_duplicate\n"

Refused = Callable[..., str]


def state(folder: Path) -> dict[str, str]:
    """Return the kind of each entry of a folder, and the checksum of each file."""
    found = {}
    for path in folder.rglob("*"):
        is_file = path.is_file() and os.access(path, os.R_OK)
        found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else str(path.lstat().st_mode)
    return found


@pytest.fixture()
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command in a folder of its own, check all that we promise about errors, and return the message."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("scored.csv").write_text(",".join(ADDED) + "\n")  # of before
    Path("vectors.npy").write_bytes(header(0, 16))

    def run(*words: object) -> str:
        line, before = [str(word) for word in words], state(tmp_path)
        with pytest.raises(SystemExit) as stop:
            entry.main(line)
            pytest.fail(f"accepted: {line}")
        out, err = capsys.readouterr()
        assert (stop.value.code, out) == (2, ""), line
        assert err.startswith("error: ") and err.count("\n") <= 2 and err.endswith("\n"), (line, err)
        assert "Traceback" not in err and len(err) < 1_500, (line, err)
        assert state(tmp_path) == before, line
        return err

    return run


# Files that cannot be read

BAD = {
    "column.csv": b"question1,text,is_duplicate\na,b,1\n",
    "empty.csv": b"",
    "binary.csv": bytes(range(256)) * 40,
    "binary.parquet": bytes(range(256)) * 40,
    "binary.jsonl": bytes(range(256)) * 40,
    "list.jsonl": b"[1, 2]\n" * 40,
    "ending.xlsx": b"PK",
    "quotes.csv": COLUMNS.encode() + b'"a,b,1\n' * 300,
}


def bad_files(folder: Path) -> list[Path]:
    """Return a path of every kind that is not a file of pairs."""
    for name, content in BAD.items():
        (folder / name).write_bytes(content)
    (folder / "folder.csv").mkdir()
    paths = [folder / name for name in (*BAD, "folder.csv", "missing.csv", f"{'x' * 300}.csv", "missing/pairs.csv")]
    if os.name == "posix":
        (folder / "loop.csv").symlink_to("loop.csv")
        paths.append(folder / "loop.csv")
    if os.name == "posix" and os.geteuid() != 0:
        (folder / "locked.csv").write_text(COLUMNS)
        (folder / "locked.csv").chmod(0)
        paths.append(folder / "locked.csv")
    return paths


READING = (
    "train --data BAD --start-from none", "train --data GOOD --validation BAD --start-from none",
    "train --data GOOD --word-vectors BAD --start-from none",
    "evaluate --model MODEL --data BAD", "evaluate --model MODEL --data GOOD --tune-on BAD",
    "evaluate --model MODEL --data GOOD --trained-on BAD",
    "examine --model MODEL --data BAD", "examine --model MODEL --data GOOD --tune-on BAD",
    "examine --model MODEL --data GOOD --trained-on BAD",
    "predict --model MODEL --file BAD", "predict --model MODEL --file BAD --out scored.csv",
    "encode --model MODEL BAD --out vectors.npy",
    "compare --data BAD", "compare --data GOOD --validation BAD", "compare --data GOOD --test BAD",
)  # fmt: skip


def filled(line: str, **values: object) -> list[object]:
    return [values.get(word, word) for word in line.split()]


@pytest.mark.parametrize("line", READING)
def test_a_file_that_cannot_be_read(
    refused: Refused, tmp_path: Path, tiny_model: Path, small_file: Path, line: str
) -> None:
    (tmp_path / "bad").mkdir()
    for path in bad_files(tmp_path / "bad"):
        said = refused(*filled(line, BAD=path, GOOD=small_file, MODEL=tiny_model))
        assert said.startswith(f"error: {path}"), said


# Models that are none

USING = (
    "train --data GOOD --start-from BAD", "evaluate --data GOOD --model BAD", "examine --data GOOD --model BAD",
    "predict --model BAD one two", "predict --model BAD --file GOOD", "predict --model BAD --file GOOD --out s.csv",
    "encode GOOD --question question1 --out v.npy --model BAD",
)  # fmt: skip


@pytest.mark.parametrize("line", USING)
def test_a_model_that_is_damaged(
    refused: Refused, tmp_path: Path, tiny_model: Path, small_file: Path, line: str
) -> None:
    for name in ("config.json", "vocabulary.txt", "model.safetensors"):
        folder = shutil.copytree(tiny_model, tmp_path / f"damaged-{name}")
        (folder / name).write_bytes(bytes(range(256)))
        assert str(folder) in refused(*filled(line, BAD=folder, GOOD=small_file))
    for path in (tmp_path / "nowhere", small_file, tmp_path, "/proc/self", "x" * 300):
        assert f"error: {path}: " in refused(*filled(line, BAD=path, GOOD=small_file))


# Places that cannot be written

FILE_OUT = ("predict --model MODEL --file GOOD --out OUT", "encode --model MODEL GOOD --question question1 --out OUT")
FOLDER_OUT = (
    "train --data GOOD --epochs 1 --out OUT --start-from none", "examine --model MODEL --data GOOD --out OUT",
    "compare --data GOOD --epochs 1 --out OUT",
)  # fmt: skip


@pytest.mark.parametrize("line", FILE_OUT + FOLDER_OUT)
def test_an_output_that_cannot_be_written(
    refused: Refused, tmp_path: Path, tiny_model: Path, small_file: Path, line: str
) -> None:
    (tmp_path / "file").write_text("kept")
    places = [tmp_path / "file" / "x", tmp_path / "file" / "y" / "x", tmp_path / ("x" * 300)]
    if Path("/proc/self").exists():
        places += [Path("/proc/x"), Path("/proc/x/y"), Path("/proc/self/status/x")]
    if line in FOLDER_OUT:
        places += [tmp_path / "file"]
    else:
        (tmp_path / "folder").mkdir()
        places += [tmp_path / "folder", Path("/proc")]
        if os.path.exists("/dev/full"):  # written to as it is
            said = refused(*filled(line, MODEL=tiny_model, GOOD=small_file, OUT="/dev/full"))
            assert said == "error: /dev/full: No space left on device\n"
    for place in places:
        said = refused(*filled(line, MODEL=tiny_model, GOOD=small_file, OUT=place))
        assert any(said.startswith(f"error: {part}") for part in (place, place.parent, place.parent.parent)), said
        assert not any(part.startswith(".x") for part in said.split("/")), said  # no temporary name


# Values that mean nothing

NUMBERS = ("nan", "inf", "-inf", "-1", "1e400", "text", "", " ", "0x10", "1,5")
VALUES = {
    "train --start-from none --data GOOD": {
        **dict.fromkeys(("margin", "labelled-margin"), (*NUMBERS, "3", HUGE)),
        "temperature": (*NUMBERS, "0"),
        **dict.fromkeys(("labelled-weight", "teacher-weight", "learning-rate"), NUMBERS),
        **dict.fromkeys(("epochs", "patience"), (*NUMBERS, "0", "1.5", "9" * 5_000)),
        **dict.fromkeys(("batch-size", "training-pairs"), (*NUMBERS, "0", "1", "1.5")),
        "seed": (*NUMBERS, "1.5", HUGE, 2**64, "9" * 5_000),
        **dict.fromkeys(
            ("loss", "labelled", "anchors", "closest", "combine", "reduction", "precision", "preset", "split"),
            ("x", "", "BOTH"),
        ),
        "goal": ("x", "", "precision", "precision=", "precision=0", "precision=nan", "precision=2", "precision=-1"),
        "teacher": ("", "no-such-package", "nowhere/at/all", "../x"),
        **dict.fromkeys(("data", "validation", "out", "start-from", "word-vectors", "question1", "label"), ("",)),
    },
    "compare --data GOOD": {
        **dict.fromkeys(("seeds", "jobs"), (*NUMBERS, "0", "1.5", 10**9, HUGE)),
        **dict.fromkeys(("epochs",), (*NUMBERS, "0", "1.5")),
        "batch-size": (*NUMBERS, "0", "1"),
        "learning-rate": NUMBERS,
        **dict.fromkeys(("precision", "study"), ("x", "")),
        **dict.fromkeys(("data", "validation", "test", "out", "question1"), ("",)),
        "losses": ("", "x", "both", "both,", "both,margin", "both,margin=", "both+", "+", ",", "/"),
    },
    "predict --model MODEL one two": {
        **dict.fromkeys(("threshold", "prior"), (*NUMBERS, "2", HUGE)),
        "model": ("",),
        "file": ("",),
        "out": ("", "x.csv"),
    },
    "predict --model MODEL --file GOOD": {
        **dict.fromkeys(("threshold", "prior"), (*NUMBERS, "2", HUGE)),
        **dict.fromkeys(("out", "question1", "question2", "label", "question", "group"), ("",)),
        "question1": ("", "x"),
    },
    "evaluate --model MODEL --data GOOD --tune-on GOOD": {
        "goal": ("x", "", "precision=", "precision=0", "precision=nan", "precision=2"),
        **dict.fromkeys(("data", "tune-on", "trained-on", "model"), ("",)),
        "label": ("", "x"),
    },
    "examine --model MODEL --data GOOD": {
        "goal": ("x", "", "f1"),  # without --tune-on
        "against": ("", "no-such-package", "nowhere/at/all"),
        **dict.fromkeys(("data", "tune-on", "trained-on", "model", "out"), ("",)),
    },
    "encode --model MODEL GOOD --out v.npy": {"question": ("", "x"), "model": ("",), "out": ("",)},
    "losses": {"json": ("yes",)},
}  # fmt: skip


@pytest.mark.parametrize("line", VALUES)
def test_a_value_that_means_nothing(
    refused: Refused, tiny_model: Path, small_file: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for option, values in VALUES[line].items():
        for value in values:
            refused(*filled(line, GOOD=small_file, MODEL=tiny_model), f"--{option}={value}")


@pytest.mark.parametrize(
    "line", ["nothing", "--what", "predict --what", "predict one two three", "losses more", "encode"]
)
def test_a_line_that_is_no_command(refused: Refused, line: str) -> None:
    refused(*line.split())


@pytest.mark.parametrize("words", ["--labelled-weight 1e308", "--learning-rate 1e308", f"--seed {2**63 - 1}"])
def test_huge_numbers_train_or_say_why_not(
    small_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    try:
        entry.main([*TRAIN, "--data", str(small_file), "--epochs", "1", "--out", str(tmp_path / "m"), *words.split()])
    except SystemExit as stop:
        assert stop.code == 2
        last = capsys.readouterr().err.splitlines()[-2:]
        assert any(line.startswith("error: step ") for line in last), last


# Standard output that nobody reads, or that is full or closed

# More rows than a pipe holds, so that the command meets its closed end.
SCORING = "predict --model pretrained --file data/questions.csv"


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("losses | true", "0 0", ""),
        ("losses | head -n 1 >&2", "0 0", "in-batch losses, by --loss NAME:\n"),
        ("--help | true", "0 0", ""),
        (f"{SCORING} | head -n 1 | cut -c 1-17 >&2", "0 0 0", '"id","qid1","qid2\n'),
        (f"{SCORING} > /dev/full", "2", "error: standard output: No space left on device\n"),
        ("losses >&-", "2", "error: standard output is closed, so nothing can be printed\n"),
        ("losses > /dev/full", "2", "error: standard output: No space left on device\n"),
        ("losses > /dev/null 2>&-", "0", ""),
        ("losses what 2>&-", "2", ""),
        ("losses what 2> /dev/full", "2", ""),
    ],
)
def test_output_in_a_shell(line: str, code: str, said: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" run.py {line}; echo "${{PIPESTATUS[*]}}"'], cwd=ROOT,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    told = re.sub(r"^using the pretrained model .*\n", "", done.stderr)
    assert (done.stdout, told) == (f"{code}\n", said)


def test_a_pipe_between_processes_is_not_the_output(
    monkeypatch: pytest.MonkeyPatch, refused: Refused, small_file: Path
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("siamese.pairs.splits.load", broken)  # as of a training process that died
    assert refused("compare", "--data", small_file) == "error: [Errno 32] Broken pipe\n"
