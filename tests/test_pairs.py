"""Reading, checking and splitting pairs, pairs from groups, and clusters of duplicates."""

import collections
import csv
import dataclasses
import itertools
import json
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import DataError
from siamese.pairs import splits
from siamese.pairs.clusters import Clusters
from siamese.pairs.groups import from_groups
from siamese.pairs.held import split_questions
from siamese.pairs.pairs import Columns, Pairs
from siamese.pairs.reading import read_pairs
from siamese.pairs.splits import course_split
from siamese.text.cleaning import clean
from siamese.text.keys import key, keys

HEADER = ("question1", "question2", "is_duplicate")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
ROWS = [
    ("How old are you?", "What is your age?", 1),
    ("Is tea, black or green, good for me?", 'What does "tea" mean?', 0),
    ("One line\nand another", "a tab\there, a comma\r\nand CRLF", 0),
    ("Où est la gare ?", "駅はどこですか 🚉", 1),
    ('"', "''", 0),
]


def write(path: Path, rows: Sequence[Sequence[object]], names: Sequence[str] = HEADER) -> Path:
    """Write a file of the format that its suffix names."""
    if path.suffix in (".csv", ".tsv"):
        with open(path, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([names, *rows])
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(names, row))) + "\n" for row in rows), "utf-8")
    else:
        pandas.DataFrame(rows, columns=list(names)).to_parquet(path)
    return path


def put(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows_of(pairs: Pairs) -> list[tuple[str, str, int]]:
    return list(zip(pairs.question1, pairs.question2, pairs.labels.tolist()))


def same_pairs(a: Pairs, b: Pairs) -> bool:
    return rows_of(a) == rows_of(b)


# Formats


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".TSV", ".ndjson"])
def test_every_format_gives_the_same_pairs(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pairs{suffix}"
    write(path.with_suffix({".ndjson": ".jsonl"}.get(suffix, suffix.lower())), ROWS).rename(path)
    pairs = read_pairs(path)
    assert rows_of(pairs) == ROWS
    assert (len(pairs), pairs.rows, pairs.duplicates, pairs.skipped, pairs.faults) == (5, 5, 2, 0, [])
    assert pairs.unseen is None and pairs.split is None
    assert pairs.labels.dtype == np.int8


questions = st.text(min_size=1, max_size=20).filter(clean)


@given(st.lists(st.tuples(questions, questions, st.integers(0, 1)), max_size=5))
@pytest.mark.parametrize("suffix", (".csv", ".tsv", ".jsonl"))
def test_whatever_a_question_holds_comes_back(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, rows: list[tuple[str, str, int]]
) -> None:
    path = write(tmp_path_factory.mktemp("pairs") / f"pairs{suffix}", [*rows, ("a", "b", 1)])
    assert rows_of(read_pairs(path, need=())) == [*rows, ("a", "b", 1)]


@pytest.mark.parametrize(
    "content",
    [
        "question1,question2,is_duplicate\na,b,0\nc,d,1\n",
        "question1,question2,is_duplicate\na,b,0\nc,d,1",
        "question1,question2,is_duplicate\r\na,b,0\r\nc,d,1\r\n",
        "\ufeffquestion1,question2,is_duplicate\na,b,0\nc,d,1\n",
        "question1,question2,is_duplicate\n\na,b,0\n\r\n\nc,d,1\n\n",
        "\n  \nquestion1,question2,is_duplicate\na,b,0\nc,d,1\n",
        'question1, question2 ,"is_duplicate"\n"a","b","0"\nc,d,1\n',
        "is_duplicate,id,question2,question1\n0,9,b,a\n1,8,d,c\n",
        "id,qid1,qid2,question1,question2,is_duplicate\n0,,2,a,b,0\n1,3,,c,d,1\n",
    ],
    ids=["plain", "no-last-newline", "crlf", "bom", "blank-lines", "blank-first", "spaced-header", "order", "quora"],
)
def test_forms_of_csv(tmp_path: Path, content: str) -> None:
    pairs = read_pairs(put(tmp_path / "p.csv", content))
    assert rows_of(pairs) == [("a", "b", 0), ("c", "d", 1)]
    assert (pairs.rows, pairs.skipped) == (2, 0)


def test_json_lines_with_bom_crlf_and_blank_lines(tmp_path: Path) -> None:
    lines = [json.dumps(dict(zip(HEADER, row))) for row in ROWS]
    lines[1] = json.dumps(dict(reversed(list(zip(HEADER, ROWS[1])))))  # each may order its keys as it likes
    assert rows_of(read_pairs(put(tmp_path / "p.jsonl", "\ufeff" + "\r\n\r\n".join(lines)))) == ROWS


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_column_names(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"p{suffix}", ROWS, ("left", "right", "same"))
    assert rows_of(read_pairs(path, Columns("left", "right", "same"))) == ROWS
    with pytest.raises(DataError, match="no column 'question1', 'question2', 'is_duplicate'; it has 'left', 'right'"):
        read_pairs(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unseen_and_split_are_kept(tmp_path: Path, suffix: str) -> None:
    parts = ["train", "train", "validation", "test", "train"]
    rows = [(*row, i % 2, part) for i, (row, part) in enumerate(zip(ROWS, parts))]
    pairs = read_pairs(write(tmp_path / f"p{suffix}", rows, (*HEADER, "unseen", "split")))
    assert pairs.unseen.tolist() == [False, True, False, True, False]
    assert pairs.split.tolist() == parts
    validation = pairs.part("validation")
    assert rows_of(validation) == [ROWS[2]]
    assert validation.unseen.tolist() == [False] and validation.split.tolist() == ["validation"]
    assert pairs.part("nothing") is None and read_pairs(write(tmp_path / "q.csv", ROWS)).part("train") is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_ids_are_kept_as_text(tmp_path: Path, suffix: str) -> None:
    # one row is faulty: the names and parts of the others stay theirs
    parts = ("train", "test", "validation", "train")
    rows = [("a", "b", 0, "x7"), ("c", "d", 2, "x8"), ("e", "f", 1, "x9"), ("g", "h", 1, "x10")]
    rows = [(*row, i % 2, part) for i, (row, part) in enumerate(zip(rows, parts))]
    pairs = read_pairs(write(tmp_path / f"p{suffix}", rows, (*HEADER, "id", "unseen", "split")))
    assert pairs.unseen.tolist() == [False, False, True] and pairs.split.tolist() == ["train", "validation", "train"]
    assert list(pairs.id) == ["x7", "x9", "x10"] and list(pairs.question2) == ["b", "f", "h"]
    assert list(pairs.take(np.array([2, 0])).id) == ["x10", "x7"]
    assert read_pairs(write(tmp_path / "q.csv", ROWS)).id is None


def test_ids_of_json_may_be_numbers_or_missing(tmp_path: Path) -> None:
    rows = [{"question1": "a", "question2": "b", "is_duplicate": i % 2, "id": i} for i in range(2)]
    rows.append({"question1": "c", "question2": "d", "is_duplicate": 1})
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert list(read_pairs(path).id) == ["0", "1", ""]


def test_pairs_to_score_always_have_a_name(tmp_path: Path) -> None:
    rows = [("a", "b", 0, "train"), ("c", "d", 1, "test"), ("e", "f", 0, "test")]
    path = write(tmp_path / "p.csv", rows, (*HEADER, "split"))
    assert list(splits.to_score(str(path), Columns()).id) == ["2", "3"]  # their numbers in the file
    path = write(tmp_path / "q.csv", [(*row, i) for row, i in zip(rows, "xyz")], (*HEADER, "split", "id"))
    assert list(splits.to_score(str(path), Columns()).id) == ["y", "z"]


@pytest.mark.parametrize("which", [np.array([3, 0, 3]), np.array([True, False, False, True, True]), np.array([], int)])
def test_take(which: np.ndarray) -> None:
    pairs = Pairs.of(*zip(*ROWS))
    numbers = np.flatnonzero(which) if which.dtype == bool else which
    assert rows_of(pairs.take(which)) == [ROWS[i] for i in numbers]


# Labels


@pytest.mark.parametrize(
    ("written", "label"), [("0", 0), ("1", 1), (" 1 ", 1), ("0.0", 0), ("1.0", 1), ('"1"', 1), ("\t0", 0)]
)
def test_label_forms_in_csv(tmp_path: Path, written: str, label: int) -> None:
    pairs = read_pairs(put(tmp_path / "p.csv", f"question1,question2,is_duplicate\na,b,{written}\n"), need=(label,))
    assert rows_of(pairs) == [("a", "b", label)]


@pytest.mark.parametrize("written", ["0", "1", "0.0", "1.0", "false", "true", '"0"', '"1"', '" 1 "'])
def test_label_forms_in_json(tmp_path: Path, written: str) -> None:
    content = f'{{"question1": "a", "question2": "b", "is_duplicate": {written}}}\n'
    expected = int("1" in written or written == "true")
    assert rows_of(read_pairs(put(tmp_path / "p.jsonl", content), need=(expected,))) == [("a", "b", expected)]


@pytest.mark.parametrize("labels", [[0, 1], [0.0, 1.0], [False, True], ["0", "1"]], ids=["int", "float", "bool", "str"])
def test_label_forms_in_parquet(tmp_path: Path, labels: list) -> None:
    pairs = read_pairs(write(tmp_path / "p.parquet", [("a", "b", labels[0]), ("c", "d", labels[1])]))
    assert pairs.labels.tolist() == [0, 1]


def test_without_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", [row[:2] for row in ROWS], HEADER[:2])
    assert rows_of(read_pairs(path, labelled=False)) == [(q1, q2, -1) for q1, q2, _ in ROWS]
    # A label column that is there is not looked at.
    odd = write(tmp_path / "odd.csv", [("a", "b", "perhaps")])
    assert rows_of(read_pairs(odd, labelled=False)) == [("a", "b", -1)]


# Faulty rows


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a,b,2", "is_duplicate is '2', expected 0 or 1"),
        ("a,b,", "is_duplicate is '', expected 0 or 1"),
        ("a,b,0.5", "is_duplicate is '0.5', expected 0 or 1"),
        (",b,1", "question1 is missing or empty"),
        ("a,,1", "question2 is missing or empty"),
        ('a," \t ",1', "question2 is missing or empty"),
        ("a,b", "2 fields, expected 3"),
        ("a,b,1,", "4 fields, expected 3"),
    ],
)
def test_faulty_row_of_csv(tmp_path: Path, row: str, reason: str) -> None:
    path = put(tmp_path / "p.csv", f"question1,question2,is_duplicate\nc,d,0\n{row}\ne,f,1\n")
    pairs = read_pairs(path)
    assert rows_of(pairs) == [("c", "d", 0), ("e", "f", 1)]
    assert (pairs.rows, pairs.skipped, pairs.faults) == (3, 1, [f"{path}, line 3: {reason}"])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"question1": null, "question2": "b", "is_duplicate": 1}', "question1 is missing or empty"),
        ('{"question2": "b", "is_duplicate": 1}', "question1 is missing or empty"),
        ('{"question1": "a", "question2": " ", "is_duplicate": 1}', "question2 is missing or empty"),
        ('{"question1": "a", "question2": 5, "is_duplicate": 1}', "question2 is not text"),
        ('{"question1": "a", "question2": "b", "is_duplicate": 2}', "is_duplicate is 2, expected 0 or 1"),
        ('{"question1": "a", "question2": "b", "is_duplicate": [1]}', "is_duplicate is [1], expected 0 or 1"),
        ('{"question1": "a", "question2": "b", "is_duplicate": NaN}', "is_duplicate is nan, expected 0 or 1"),
        ('{"question1": "a", ', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["a", "b", 1]', "not a JSON object"),
    ],
)
def test_faulty_row_of_json_lines(tmp_path: Path, row: str, reason: str) -> None:
    good = [json.dumps(dict(zip(HEADER, values))) for values in (("c", "d", 0), ("e", "f", 1))]
    path = put(tmp_path / "p.jsonl", f"{good[0]}\n{row}\n{good[1]}\n")
    pairs = read_pairs(path)
    assert rows_of(pairs) == [("c", "d", 0), ("e", "f", 1)]
    assert (pairs.rows, pairs.skipped) == (3, 1)
    assert pairs.faults[0].startswith(f"{path}, line 2: {reason}")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((None, "b", 1), "question1 is missing or empty"),
        (("a", "b", 2), "is_duplicate is 2"),
        (("a", "b", None), "is_duplicate is None"),
    ],
)
def test_faulty_row_of_parquet(tmp_path: Path, row: tuple, reason: str) -> None:
    pairs = read_pairs(write(tmp_path / "p.parquet", [("c", "d", 0), row, ("e", "f", 1)]))
    assert rows_of(pairs) == [("c", "d", 0), ("e", "f", 1)]
    assert (pairs.rows, pairs.skipped) == (3, 1)
    assert reason in pairs.faults[0]


STRAY = {
    # rows after the header, the line number of the one faulty row
    "runs to the end": (['a,"b,0', "c,d,1", "e,f,0"], 2),
    "in the last field": (["c,d,1", 'a,b,"0', "e,f,0", "g,h,1"], 3),
    "in the last row": (["c,d,1", "e,f,0", 'a,"b,0'], 4),
    "a quoted field follows": (["c,d,1", 'a,"b,0', '"e, e",f,0', "g,h,1"], 3),
    "the right number of fields follows": (["c,d,1", '"a,b,0', "e,f,0", '"g",h,1', "i,j,0"], 3),
    "many rows follow": (['a,"b,0', *(f"question {i},another {i},{i % 2}" for i in range(8_000))], 2),
}


@pytest.mark.parametrize("case", STRAY)
def test_a_stray_quote_costs_its_own_line_only(tmp_path: Path, case: str) -> None:
    lines, faulty = STRAY[case]
    path = put(tmp_path / "p.csv", "\n".join(["question1,question2,is_duplicate", *lines, ""]))
    pairs = read_pairs(path)
    expected = [next(csv.reader([line])) for i, line in enumerate(lines, 2) if i != faulty]
    assert rows_of(pairs) == [(q1, q2, int(label)) for q1, q2, label in expected]
    assert (pairs.rows, pairs.skipped) == (len(lines), 1)
    assert pairs.faults[0].startswith(f"{path}, line {faulty}: ")


@pytest.mark.slow
def test_a_field_beyond_the_limit_costs_its_own_line_only(tmp_path: Path) -> None:
    rows = [("a" * ((1 << 24) + 1), "b", 0), ("c", "d", 1), ("e", "f", 0)]
    pairs = read_pairs(write(tmp_path / "p.csv", rows))
    assert rows_of(pairs) == [("c", "d", 1), ("e", "f", 0)]
    assert "line 2" in pairs.faults[0]


def test_line_numbers_after_a_stray_quote(tmp_path: Path) -> None:
    path = put(tmp_path / "p.csv", 'question1,question2,is_duplicate\na,"b,0\nc,d,1\ne,f,0\ng,h,2\n')
    assert [fault.split(": ")[0] for fault in read_pairs(path).faults] == [f"{path}, line 2", f"{path}, line 5"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_numbers_after_fields_of_several_lines(tmp_path: Path, newline: str) -> None:
    # lines: 1 header, 2-4 first row, 5 blank, 6 faulty, 7-8 row, 9 faulty
    content = 'question1,question2,is_duplicate\na,"x\ny\nz",0\n\nc,d,2\n"e\ne",f,1\ng,h\n'
    path = put(tmp_path / "p.csv", content.replace("\n", newline))
    pairs = read_pairs(path)
    assert [q.replace("\r\n", "\n") for q in pairs.question2] == ["x\ny\nz", "f"]
    assert [fault.split(": ")[0] for fault in pairs.faults] == [f"{path}, line 6", f"{path}, line 9"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rows", [1, 2, 3, 1_000])
def test_label_2_in_every_row(tmp_path: Path, suffix: str, rows: int) -> None:
    path = write(tmp_path / f"p{suffix}", [("a", "b", 2)] * rows)
    with pytest.raises(DataError) as caught:
        read_pairs(path)
    message = str(caught.value)
    first = 2 if suffix in (".csv", ".tsv") else 1  # these have a header
    assert message.startswith(f"{path}: ") and message.count("\n") == 1  # what it is, and below it the first rows
    assert f"\n  line {first}: is_duplicate is" in message and "expected 0 or 1" in message
    assert f"{rows} of {rows} rows" in message or f"{rows} rows" in message
    assert message.count("line ") == min(rows, 5)


@pytest.mark.parametrize(
    ("rows", "faulty", "accepted"),
    [
        (10, 2, True),
        (10, 3, False),
        (299, 3, False),  # 1 % is 2.99
        (300, 3, True),
        (300, 4, False),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_limit_is_two_or_one_percent(tmp_path: Path, suffix: str, rows: int, faulty: int, accepted: bool) -> None:
    values = [("a", "b", 2 if i < faulty else i % 2) for i in range(rows)]
    path = write(tmp_path / f"p{suffix}", values)
    if accepted:
        pairs = read_pairs(path)
        assert (len(pairs), pairs.rows, pairs.skipped) == (rows - faulty, rows, faulty)
        assert len(pairs.faults) == min(faulty, 5)
    else:
        with pytest.raises(DataError, match=f"{faulty} of {rows} rows are faulty, more than 1 %; mend or remove them"):
            read_pairs(path)


# Files that cannot be used


UNUSABLE = {
    "empty.csv": (b"", "empty; expected columns question1, question2, is_duplicate"),
    "bom.csv": (b"\xef\xbb\xbf", "empty; expected columns"),
    "blank.csv": (b"\n\n \r\n", "line 1: no column|empty"),
    "header.csv": (b"question1,question2,is_duplicate\n", "0 rows and no usable"),
    "column.csv": (b"question1,q2,is_duplicate\na,b,1\n", "line 1: no column 'question2'; it has 'question1', 'q2'"),
    "delimiter.csv": (b"question1 question2 is_duplicate\na b 1\n", "line 1: no column 'question1'"),
    "label.csv": (b"question1,question2\na,b\n", "line 1: no column 'is_duplicate'.*--label"),
    "quote.csv": (b'"question1,question2,is_duplicate\na,b,1\n', "line 1: "),
    "binary.csv": (bytes(range(256)) * 8, "line 2: not UTF-8 text.*csv, .tsv, .*or .xlsx file in UTF-8; --encoding"),
    "mixed.csv": ("question1,question2,is_duplicate\né,b,1\n".encode() + b"caf\xe9,b,0\n", "line 3: not UTF-8"),
    "latin.jsonl": ('{"question1": "café"}\n'.encode("latin-1"), "line 1: not UTF-8.*in UTF-8"),
    "utf16.tsv": ("question1\tquestion2\n".encode("utf-16")[:-1], "line 1: not UTF-16"),
    "late.csv": (
        b"question1,question2,is_duplicate\n" + b"a,b,1\n" * 50_000 + b"\1\xff,b,0\n",
        "line 50002: not UTF-8",
    ),
    "array.jsonl": (b'[{"question1": "a"}]\n', "line 1: not a JSON object; expected one JSON object a line"),
    "keys.jsonl": (b'{"q1": "a"}\n', "no column 'question1', 'question2', 'is_duplicate'; it has 'q1'"),
    "text.parquet": (b"question1,question2,is_duplicate\na,b,1\n", "not a Parquet file"),
    "empty.parquet": (b"", "not a Parquet file"),
    "pairs.xls": (b"PK", "cannot tell the format from '.xls'; expected .csv, .tsv, .jsonl"),
    "pairs.xlsx": (b"PK", "not an Excel file: File is not a zip file"),
    "pairs.zip": (b"PK\3\4", "a damaged .zip: File is not a zip file"),
    "pairs.csv.gz": (b"\x1f\x8b\x08\0", "cannot be unpacked: "),
    "object.json": (b'{"question1": "a"}\n', "no column 'question2'"),
    "list.json": (b'["a"]', "item 1: not a JSON object; expected a list of objects"),
    "half.json": (b'[{"question1": "a"}', "not JSON: "),
    "one-label.csv": (b"question1,question2,is_duplicate\na,b,1\nc,d,1\n", r"2 rows and no usable .*\(label 0\)"),
    "no-label-1.csv": (b"question1,question2,is_duplicate\na,b,0\nc,d,2\n", r"2 rows and no usable .*\(label 1\)"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_file(tmp_path: Path, name: str) -> None:
    content, message = UNUSABLE[name]
    path = put(tmp_path / name, content)
    with pytest.raises(DataError, match="(?s)" + message) as caught:
        read_pairs(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 1_500


def test_a_damaged_page_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pandas.DataFrame([(f"q {i}", f"r {i}", i % 2) for i in range(2_000)], columns=HEADER).to_parquet(path)
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)  # the first page; what stands at the file's end is right
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a Parquet file") as caught:
        read_pairs(path)
    assert str(caught.value).startswith(str(path))


def test_rows_of_parquet_in_many_parts(tmp_path: Path) -> None:
    rows = [(f"q {i}", f"r {i}", i % 2 if i != 20_000 else None) for i in range(20_010)]
    pairs = read_pairs(write(tmp_path / "p.parquet", rows))
    assert rows_of(pairs) == [row for row in rows if row[2] is not None]
    assert pairs.faults == [f"{tmp_path / 'p.parquet'}, line 20001: is_duplicate is None, expected 0 or 1"]


def test_numbers_of_groups_in_parquet_are_whole_where_one_is_missing(tmp_path: Path) -> None:
    rows = [(f"q{i}", i // 2) for i in range(9_000)] + [("x", None)]
    assert read_pairs(write(tmp_path / "p.parquet", rows, ("question", "group"))).duplicates == 4_500


def test_missing_file_and_folder(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    with pytest.raises(
        DataError, match="no such file; expected a .csv, .tsv, .jsonl, .json, .parquet or .xlsx file"
    ) as caught:
        read_pairs(path)
    assert str(path) in str(caught.value)
    path.mkdir()
    with pytest.raises(DataError, match="a folder, expected a .csv"):
        read_pairs(path)


# Groups


def groups_of(sizes: Sequence[int]) -> dict[str, list[str]]:
    return {f"g{g}": [f"question {i} of {g}" for i in range(size)] for g, size in enumerate(sizes)}


def group_of(question: str) -> str:
    return "g" + question.split()[-1]


def duplicates_of(pairs: Pairs) -> dict[str, list[tuple[str, str]]]:
    """Return the duplicate pairs by group, each in alphabetical order."""
    found = collections.defaultdict(list)
    for q1, q2, label in rows_of(pairs):
        if label:
            found[group_of(q1)].append((min(q1, q2), max(q1, q2)))
    return found


def test_a_long_name_of_a_part_is_cut_off_in_the_error(tmp_path: Path) -> None:
    rows = [("a", "b", i % 2, "train" if i else "x" * 100_000) for i in range(30)]
    path = write(tmp_path / "p.csv", rows, ("question1", "question2", "is_duplicate", "split"))
    with pytest.raises(DataError, match=f"{path}: split is '{'x' * 40}' in 1 rows; use train") as caught:
        read_pairs(path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_of_questions_and_groups(tmp_path: Path, suffix: str) -> None:
    groups = groups_of([2] * 8)
    rows = [(question, name, "x") for name, members in groups.items() for question in members]
    pairs = read_pairs(write(tmp_path / f"p{suffix}", rows, ("question", "group", "note")))
    assert same_pairs(pairs, from_groups(groups))
    other = write(tmp_path / f"other{suffix}", rows, ("text", "intent", "note"))
    assert same_pairs(read_pairs(other, Columns(question="text", group="intent")), pairs)


def test_faulty_rows_of_a_file_of_groups_are_reported(tmp_path: Path) -> None:
    rows = [(f"q{i}", i // 10) for i in range(300)]
    rows[3], rows[50] = (" ", 1), ("x", "")
    path = write(tmp_path / "p.csv", rows, ("question", "group"))
    pairs = read_pairs(path)
    assert "x" not in [*pairs.question1, *pairs.question2]
    assert pairs.skipped == 2
    assert pairs.faults == [
        f"{path}, line 5: question is missing or empty",
        f"{path}, line 52: group is missing or empty",
    ]


def test_all_pairs_of_a_small_group() -> None:
    groups = groups_of([1, 2, 3, 5, 10] * 4)
    found = duplicates_of(from_groups(groups))
    for name, members in groups.items():
        assert sorted(found[name]) == sorted(itertools.combinations(sorted(members), 2))


@pytest.mark.parametrize("size", [11, 12, 40])
def test_a_ring_of_a_big_group(size: int) -> None:
    groups = groups_of([size] * 4)
    for pairs in duplicates_of(from_groups(groups)).values():
        # Everyone with the five that follow, so with ten others in all; size · 5 pairs, none of them twice.
        assert len(pairs) == len(set(pairs)) == size * 5
        assert set(collections.Counter(itertools.chain.from_iterable(pairs)).values()) == {10}


def test_a_question_twice_in_a_group_counts_once() -> None:
    groups = groups_of([3] * 6)
    twice = {name: [*members, *(f" {question}\t" for question in members)] for name, members in groups.items()}
    assert same_pairs(from_groups(twice), from_groups(groups))


@pytest.mark.slow
@given(st.lists(st.integers(1, 14), min_size=4, max_size=30), st.integers(0, 5))
def test_parts_of_groups(sizes: list[int], seed: int) -> None:
    groups = groups_of(sizes)
    pairs = from_groups(groups, seed)
    for q1, q2, label in rows_of(pairs):
        assert q1 != q2
        assert (group_of(q1) == group_of(q2)) == (label == 1)
    seen: list[set[str]] = []
    for name in ("train", "validation"):
        part = pairs.part(name)
        if part is None:
            continue
        assert part.duplicates * 2 == len(part)
        seen.append({*part.question1, *part.question2})
    assert len(seen) < 2 or not seen[0] & seen[1]
    again = from_groups(groups, seed)
    assert same_pairs(again, pairs) and again.split.tolist() == pairs.split.tolist()


@pytest.mark.slow
def test_a_group_that_is_almost_all_takes_linear_time() -> None:
    groups = groups_of([8_000, *[1] * 11])
    start = time.process_time()
    pairs = next(found for found in (from_groups(groups, seed) for seed in range(9)) if found.part("train"))
    # A draw a pair; by drawing until the group is another, 40,000 pairs would take 700 draws each.
    assert time.process_time() - start < 10
    assert len(pairs) == 80_000
    others = [q2 for q1, q2, label in rows_of(pairs) if not label and group_of(q1) == "g0"]
    counts = collections.Counter(others)
    assert "g0" not in map(group_of, others)
    assert min(counts.values()) > 0.9 * len(others) / len(counts)  # the others as often as each other


@pytest.mark.parametrize(("count", "held"), [(10, 2), (20, 2), (40, 4), (100, 10)])
def test_one_group_in_ten_validates(count: int, held: int) -> None:
    pairs = from_groups(groups_of([3] * count))
    assert len(set(map(group_of, pairs.part("validation").question1))) == held
    assert pairs.part("validation").duplicates == held * 3
    assert pairs.part("train").duplicates == (count - held) * 3


def test_seeds_hold_different_groups() -> None:
    groups = groups_of([3] * 50)
    assert len({frozenset(from_groups(groups, seed).part("validation").question1) for seed in range(5)}) == 5


def test_a_question_of_two_groups_is_in_one_part_and_no_non_duplicate_of_either() -> None:
    groups = groups_of([3] * 40)
    for g in range(0, 40, 2):
        groups[f"g{g}"].append(groups[f"g{g + 1}"][0])
    together = {frozenset(pair) for members in groups.values() for pair in itertools.product(members, members)}
    for seed in range(5):
        pairs = from_groups(groups, seed)
        train, validation = ({*part.question1, *part.question2} for part in map(pairs.part, ("train", "validation")))
        assert not train & validation
        assert not together & {frozenset((q1, q2)) for q1, q2, label in rows_of(pairs) if not label}


# Splitting


@given(
    st.lists(st.tuples(*[st.sampled_from(["a", "A?", "b", "c", "d", "de", "e"])] * 2, st.integers(0, 1)), max_size=40),
    st.sampled_from([0.1, 0.4, 0.9]),
)
def test_no_question_is_on_both_sides_of_a_split(rows: list[tuple[str, str, int]], share: float) -> None:
    pairs = Pairs.of(*zip(*rows)) if rows else Pairs.of([], [], [])
    train, validation, across = split_questions(pairs, share=share)
    assert collections.Counter(rows_of(train) + rows_of(validation)) <= collections.Counter(rows)
    assert len(train) + len(validation) + across == len(rows)
    assert Clusters(train).unseen(validation).all()
    whole = Clusters(pairs)  # no cluster has a question in each part
    assert not {*whole.of(train.question1)} & {*whole.of(validation.question1), *whole.of(validation.question2)}


def test_share_and_seed_of_a_split() -> None:
    n = 1_000
    pairs = Pairs.of((f"a{i}" for i in range(n)), (f"b{i}" for i in range(n)), np.arange(n) % 4 == 0)
    for share in (0.1, 0.3, 0.7):
        train, validation, across = split_questions(pairs, share=share)
        assert (len(validation), validation.duplicates, across) == (round(n * share), round(n * share / 4), 0)
        assert same_pairs(split_questions(pairs, share=share)[1], validation)
        assert not same_pairs(split_questions(pairs, seed=1, share=share)[1], validation)
    numbers = [int(q[1:]) for q in train.question1]
    assert numbers == sorted(numbers)  # the file's order stays


def test_a_file_that_cannot_be_split_trains_whole() -> None:
    n = 200  # one question is in all pairs
    pairs = Pairs.of((f"a{i}" for i in range(n)), ["b"] * n, np.arange(n) % 2)
    train, validation, across = split_questions(pairs)
    assert (len(train), len(validation), across) == (n, 0, 0)


@pytest.mark.slow
def test_a_split_of_one_component() -> None:
    pairs = read_pairs(Path(__file__).parents[1] / "data" / "questions.csv")  # non-duplicates join all its clusters
    train, validation, across = split_questions(pairs)
    assert across < 0.05 * len(pairs)
    for label in (0, 1):
        assert 0.1 <= (validation.labels == label).sum() / (pairs.labels == label).sum() < 0.15
    assert Clusters(train).unseen(validation).all()


def test_a_split_keeps_the_other_columns() -> None:
    n = 200
    pairs = Pairs.of((f"a{i}" for i in range(n)), (f"b{i}" for i in range(n)), np.arange(n) % 2)
    pairs = dataclasses.replace(pairs, unseen=np.arange(n) % 3 == 0)
    for part in split_questions(pairs)[:2]:
        assert part.unseen.tolist() == [int(q[1:]) % 3 == 0 for q in part.question1]


def test_course_split_has_the_published_sizes(course: dict[str, Any]) -> None:
    facts = course["data"]
    train, test = facts["train rows"], facts["test rows"]
    rng = np.random.default_rng(0)
    labels = np.zeros(train + test + 1_000, np.int8)
    labels[rng.permutation(train)[: facts["train duplicates"]]] = 1
    labels[train + rng.permutation(test)[: facts["test duplicate"]]] = 1
    training, validation, testing = course_split(labels)
    assert (labels[training] == 1).sum() == facts["train pairs"]
    assert (labels[validation] == 1).sum() == facts["validation pairs"]
    assert np.array_equal(testing, np.arange(train, train + test))
    assert np.bincount(labels[testing]).tolist() == [facts["test not duplicate"], facts["test duplicate"]]
    assert np.array_equal(np.sort(np.concatenate((training, validation))), np.arange(train))
    for label in (0, 1):  # the first 80 % of each label train, in the file's order
        first, then = training[labels[training] == label], validation[labels[validation] == label]
        assert first.max() < then.min() and len(first) == int(0.8 * (len(first) + len(then)))
    assert np.array_equal(training, np.sort(training))


def test_course_split_of_a_file_that_is_too_short() -> None:
    with pytest.raises(DataError, match="needs 310,240 rows, the file has 310,239"):
        course_split(np.zeros(310_239, np.int8))


# Which questions are the same


@given(st.lists(st.sampled_from("abcxyz019"), min_size=1), st.randoms(use_true_random=False))
def test_key_ignores_case_spaces_and_punctuation(letters, rng: random.Random):
    def scatter() -> str:
        return "".join(rng.choice([c, c.upper()]) + rng.choice(["", " ", "?", "'", "_", "...", "\n"]) for c in letters)

    assert key(scatter()) == key(scatter()) == key("".join(letters))


@given(st.text(), st.text())
def test_key_of_different_letters_differs(a: str, b: str) -> None:
    def bare(question: str) -> str:
        return "".join(filter(str.isalnum, question.lower())) or question.strip()

    assert (key(a) == key(b)) == (bare(a) == bare(b))


def test_key_of_questions_without_letters() -> None:
    assert key("?") == key(" ?\n") != key("!")
    assert key("") == key("  ")


def test_keys() -> None:
    texts = [f"question {i}" for i in range(20_000)]
    numbers = keys(texts)
    assert numbers.dtype == np.uint64 and len(np.unique(numbers)) == len(texts)
    assert numbers[7] == key(texts[7])
    assert keys([]).shape == (0,)


def bare(question: str) -> str:
    return re.sub("[^a-z]", "", question.lower())


class Naive:
    """Union-find over the questions' letters."""

    def __init__(self, rows: list[tuple[str, str, int]]) -> None:
        self.parent = {bare(q): bare(q) for row in rows for q in row[:2]}
        for q1, q2, label in rows:
            if label == 1:
                self.parent[self.find(q1)] = self.find(q2)

    def find(self, question: str) -> str | None:
        place = bare(question)
        if place not in self.parent:
            return None
        while self.parent[place] != place:
            place = self.parent[place]
        return place


few = st.sampled_from(["a", "A?", "b", " B", "c", "d", "e", "f", "g!", "h", "i", "j"])


@given(
    st.lists(st.tuples(few, few, st.sampled_from([1, 1, 0, -1])), max_size=12),
    st.lists(st.tuples(few, few, st.integers(0, 1)), min_size=1, max_size=12),
)
def test_clusters_are_those_of_union_find(
    training: list[tuple[str, str, int]], others: list[tuple[str, str, int]]
) -> None:
    clusters = Clusters(Pairs.of(*zip(*training)) if training else Pairs.of([], [], []))
    naive = Naive(training)
    names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "unknown"]
    number = dict(zip(names, clusters.of(names).tolist()))
    for one, two in itertools.product(names, names):
        assert (number[one] < 0) == (naive.find(one) is None)
        if number[one] >= 0:
            assert (number[one] == number[two]) == (naive.find(one) == naive.find(two))
    pairs = Pairs.of(*zip(*others))
    found = [(naive.find(q1), naive.find(q2)) for q1, q2, _ in others]
    assert clusters.linked(pairs.question1, pairs.question2).tolist() == [a is not None and a == b for a, b in found]
    assert clusters.unseen(pairs).tolist() == [a is None and b is None for a, b in found]


# Quora


@pytest.fixture(scope="module")
def quora(shared) -> tuple[Pairs, Clusters]:
    pairs = read_pairs(shared / "quora" / "train.csv")
    return pairs, Clusters(pairs)


@pytest.mark.slow
def test_quora_training_file(quora: tuple[Pairs, Clusters]) -> None:
    pairs, clusters = quora
    assert (len(pairs), pairs.rows, pairs.skipped) == (164_004, 164_004, 0)
    sizes = np.bincount(clusters.of(pairs.question1)[pairs.labels == 1])
    assert (np.count_nonzero(sizes), sizes.max()) == (43_373, 3_334)


@pytest.mark.parametrize(("name", "accuracy"), [("test", 0.816), ("bimpm_dev", 0.758)])
def test_look_up_in_the_training_clusters_of_quora(
    shared: Path, quora: tuple[Pairs, Clusters], name: str, accuracy: float
) -> None:
    pairs = read_pairs(shared / "quora" / f"{name}.csv")
    assert (
        round(float(np.mean(quora[1].linked(pairs.question1, pairs.question2) == (pairs.labels == 1))), 3) == accuracy
    )


@pytest.mark.parametrize("name", ["test", "validation", "bimpm_dev"])
def test_unseen_pairs_of_quora(shared: Path, quora: tuple[Pairs, Clusters], name: str) -> None:
    pairs = read_pairs(shared / "quora" / f"{name}.csv")
    assert np.array_equal(quora[1].unseen(pairs), pairs.unseen)
    if name == "test":
        assert pairs.unseen.sum() == 5_732
        assert round(float(pairs.labels[pairs.unseen].mean()), 3) == 0.212
