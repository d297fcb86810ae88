"""Files as spreadsheets and shells give them: their delimiters, encodings, packings and pipes, and what is said."""

import gzip
import io
import json
import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Command, posix

from siamese.errors import DataError, UserError
from siamese.pairs.pairs import Columns, Pairs
from siamese.pairs.questions import read_records
from siamese.pairs.reading import read_pairs
from siamese.pairs.sources import reading_as

ROOT = Path(__file__).parents[1]
NAMES = ["question1", "question2", "is_duplicate"]
ROWS = [
    ("Où est l'été, s'il vous plaît ?", "Où est-ce que l’été\nest ; \t| ?", 1),
    ("Was heißt „Öl“?", "Wie, geht's?", 0),
]
CSV = '"question1","question2","is_duplicate"\r\n' + "".join(f'"{a}","{b}",{label}\r\n' for a, b, label in ROWS)
SEMICOLONS = CSV.replace('","', '";"').replace('",', '";')


def rows_of(pairs: Pairs) -> list[tuple[str, str, int]]:
    return list(zip(pairs.question1, pairs.question2, pairs.labels.tolist()))


def zipped(content: bytes, name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("__MACOSX/._pairs.csv", b"\0\5")
        file.writestr(f"folder/{name}", content)
    return buffer.getvalue()


def excel(names: list[str], rows: list[tuple[object, ...]], before: bool = False) -> bytes:
    openpyxl = pytest.importorskip("openpyxl")
    book, buffer = openpyxl.Workbook(), io.BytesIO()
    sheet = book.active
    if before:
        sheet = book.create_sheet("Fragen")
    for row in [[None], names, *rows]:
        sheet.append(row)
    book.save(buffer)
    return buffer.getvalue()


OBJECTS = [dict(zip(NAMES, row)) for row in ROWS]
FILES: dict[str, tuple[str, bytes, str]] = {  # the file, its content, and what is said
    "semicolons": ("p.csv", SEMICOLONS.encode(), "columns between semicolons"),
    "semicolons and a BOM": ("p.csv", SEMICOLONS.encode("utf-8-sig"), "columns between semicolons"),
    "tabs in .csv": ("p.csv", SEMICOLONS.replace('";', '"\t').encode(), "columns between tabs"),
    "commas in .tsv": ("p.tsv", CSV.encode(), "columns between commas"),
    "bars": ("p.csv", SEMICOLONS.replace('";', '"|').encode(), "columns between bars"),
    "sep=;": ("p.csv", b"sep=;\r\n" + SEMICOLONS.encode(), "columns between semicolons"),
    "sep=,": ("p.csv", b'\xef\xbb\xbf"sep=,"\r\n' + CSV.encode(), ""),
    "sep=^": ("p.csv", b"sep=^\n" + SEMICOLONS.replace('";', '"^').encode(), "columns between '^'"),
    "UTF-16": ("p.csv", CSV.encode("utf-16"), "UTF-16"),
    "UTF-16, big-endian": ("p.csv", b"\xfe\xff" + CSV.encode("utf-16-be"), "UTF-16"),
    "UTF-16 without a BOM": ("p.csv", CSV.encode("utf-16-le"), "UTF-16"),
    "Unicode text of Excel": ("p.txt.csv", SEMICOLONS.replace('";', '"\t').encode("utf-16"), "UTF-16"),
    "Windows-1252": ("p.csv", CSV.encode("cp1252"), "Windows-1252"),
    "Windows-1252, late": ("p.csv", CSV.replace("\n", "\n" * 60_000, 1).encode("cp1252"), "Windows-1252"),
    "TRUE": ("p.csv", CSV.replace(",1\r", ",TRUE\r").replace(",0\r", ",FALSE\r").encode(), ""),
    "decimal commas": ("p.csv", SEMICOLONS.replace(";1\r", ";1,0\r").replace(";0\r", ";0,00\r").encode(), "semicolons"),
    ".gz": ("p.csv.gz", gzip.compress(CSV.encode()), ""),
    ".gz without another ending": ("p.gz", gzip.compress(CSV.encode()), ""),
    ".zip": ("p.zip", zipped(SEMICOLONS.encode("cp1252"), "pairs.csv"), "columns between semicolons"),
    ".json": ("p.json", json.dumps(OBJECTS).encode(), ""),
    ".json with lines": ("p.json", "\n".join(map(json.dumps, OBJECTS)).encode(), ""),
    ".jsonl.gz": ("p.jsonl.gz", gzip.compress("\n".join(map(json.dumps, OBJECTS)).encode()), ""),
    ".xlsx": ("p.xlsx", excel(NAMES, [(a, b, bool(label)) for a, b, label in ROWS]), ""),
    ".xlsx, another sheet": ("p.xlsx", excel(NAMES, list(ROWS), before=True), "its sheet 'Fragen', one of 2"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_the_rows_are_those_of_plain_csv_and_what_was_assumed_is_said(tmp_path: Path, kind: str) -> None:
    name, content, said = FILES[kind]
    (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert rows_of(read_pairs(tmp_path / name)) == ROWS
    notes = [str(one.message) for one in caught]
    assert len(notes) == bool(said) + (kind in (".zip", "Unicode text of Excel")), notes  # encoding and delimiter
    assert all(note.startswith(f"{tmp_path / name}: read as ") for note in notes)
    assert said in " ".join(notes)


@pytest.mark.parametrize(
    ("encoding", "text", "named"),
    [("cp1251", "Как сбросить пароль? Где мой счёт?", "Windows-1251"),
     ("shift_jis", "パスワードをリセットするには", "shift_jis"),
     ("cp1250", "Jak obnovím heslo? Kde najdu fakturu z příštího měsíce? Žádný účet.", "Windows-1250"),
     ("cp1252", "¿Cómo puedo cambiar mi contraseña? ¿Dónde está?", "Windows-1252"),
     ("cp1252", "Wie kann ich mein Passwort zurücksetzen? Größe", "Windows-1252"),
     ("cp1252", "What costs 5 € – or £4?", "Windows-1252")],
)  # fmt: skip
def test_encodings_that_are_guessed(tmp_path: Path, encoding: str, text: str, named: str) -> None:
    (tmp_path / "q.txt").write_bytes((text + "\n").encode(encoding) * 3)
    with pytest.warns(UserWarning, match=f"read as {named}; --encoding"):
        assert [row.question for row in read_records(tmp_path / "q.txt")] == [text] * 3


def test_what_is_forced_is_not_detected(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes("left;right;same\nŻółw, ile?;b, c;1\n".encode("iso8859_2"))
    columns = Columns("left", "right", "same")
    with reading_as("latin2", ";"), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rows_of(read_pairs(path, columns, need=())) == [("Żółw, ile?", "b, c", 1)]
    with reading_as("ascii"), pytest.raises(DataError, match="line 2: not ASCII text"):
        read_pairs(path)


@pytest.mark.parametrize("forced", [{"encoding": "klingon"}, {"delimiter": ";;"}, {"delimiter": '"'}])
def test_options_that_force_nothing(forced: dict[str, str]) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(forced))} .*: expected"), reading_as(**forced):
        pass


def test_semicolons_in_questions_and_names_that_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("id;question1,question2,is_duplicate\na;b,c;d,1\n")
    assert rows_of(read_pairs(path, Columns("id;question1"), need=())) == [("a;b", "c;d", 1)]
    path.write_text("question\na; b\nc; d\n")
    assert [row.question for row in read_records(path)] == ["a; b", "c; d"]
    path.write_text("left;right, or so;same\na, b;c;1\n")
    with pytest.warns(UserWarning, match="semicolons"):
        assert rows_of(read_pairs(path, Columns("left", "right, or so", "same"), need=())) == [("a, b", "c", 1)]


def test_long_fields_and_fields_of_many_lines_are_data(tmp_path: Path) -> None:
    rows = [("a" * 140_000, "b", 0), ("line\n" * 500, "c", 1)]
    path = tmp_path / "p.csv"
    path.write_text(
        "question1,question2,is_duplicate\n"
        + "".join(f"{a if len(a) > 9_999 else chr(34) + a + chr(34)},{b},{c}\n" for a, b, c in rows)
    )
    assert rows_of(read_pairs(path)) == rows


@posix
@pytest.mark.parametrize("kind", ["fifo", "stdin", "substitution"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.slow
def test_pipes_can_be_read_even_twice(tmp_path: Path, kind: str, packed: bool, command: Command) -> None:
    content = ("question\n" + "".join(f"How are you {i}?\n" for i in range(20_000))).encode()  # more than a pipe holds
    content = gzip.compress(content) if packed else content
    out, fifo = tmp_path / "v.npy", tmp_path / "fifo"
    (tmp_path / "q").write_bytes(content)
    os.mkfifo(fifo)
    script = {
        "fifo": f"cat q > fifo & {sys.executable} {ROOT}/run.py encode fifo --out v.npy --model pretrained",
        "stdin": f"cat q | {sys.executable} {ROOT}/run.py encode - --out v.npy --model pretrained",
        "substitution": f"{sys.executable} {ROOT}/run.py encode <(cat q) --out v.npy --model pretrained",
    }[kind]
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size > 20_000 * 4
    assert "20000 vectors" in done.stdout


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [("two.zip", lambda: two_files(), "2 files in it, expected one; unpack it and give the file"),
     ("torn.csv.gz", lambda: gzip.compress(CSV.encode())[:-12], "cannot be unpacked"),
     ("torn.zip", lambda: zipped(CSV.encode() * 99, "p.csv")[:-30], "a damaged .zip"),
     ("nested.tar.gz", lambda: gzip.compress(b"\0" * 512), "cannot tell the format from '.tar'"),
     ("bomb.csv.gz", lambda: gzip.compress(b"a" * (1 << 27)), "line 1: longer than 67,108,864 characters"),
     ("p.xlsx", lambda: zipped(b"", "p.csv"), "not an Excel file")],
)  # fmt: skip
@pytest.mark.slow
def test_packed_files_that_are_refused(tmp_path: Path, name: str, make: Callable[[], bytes], message: str) -> None:
    (tmp_path / name).write_bytes(make())
    with pytest.raises(DataError, match=message) as caught:
        read_pairs(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name)) and "\n" not in str(caught.value)


def two_files() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.csv", CSV)
        file.writestr("b.csv", CSV)
    return buffer.getvalue()


def test_the_options_of_commands(tmp_path: Path, command: Command) -> None:
    (tmp_path / "p.csv").write_bytes("question1;question2\nKönnen, wir?;b\n".encode("mac_roman"))
    arguments = ("predict", "--file", str(tmp_path / "p.csv"), "--model", "pretrained")
    code, out, _ = command(*arguments, "--encoding", "mac_roman", "--delimiter", ";")
    assert code == 0 and "Können, wir?" in out
    code, _, err = command(*arguments, "--encoding", "klingon")
    assert (code, err) == (2, "error: --encoding klingon: expected an encoding, such as utf-16 or windows-1252\n")
    code, _, err = command(*arguments, "--encoding", "mac_roman")
    assert f"note: {tmp_path / 'p.csv'}: read as columns between semicolons; --encoding and --delimiter" in err
