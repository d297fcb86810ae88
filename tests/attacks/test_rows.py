"""Files that commands write again with their answers: every row and column stays, in order, whatever is wrong with it.

`pytest -s tests/attacks` prints how many were tried of each kind.
"""

import csv
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from tiny_models import random_model

from siamese import SiameseModel
from siamese.archive.files import search_file
from siamese.archive.store import Archive
from siamese.errors import DataError, UserError
from siamese.model import files
from siamese.pairs import formats
from siamese.pairs.questions import read_records

Command = Callable[..., tuple[int, str, str]]

OURS = ["similarity", "probability", "is_duplicate", "fault"]
ROWS = [
    ["7", "how old are you", "what is your age", "0", "kept, \"too\""],
    ["", "", "what is your age", "1", ""],
    ["x", "how", "  ", "maybe", "=1+1"],
    ["0", "the station", "how old", "", "line 1\nline 2"],
]  # fmt: skip
NAMES = ["id", "question1", "question2", "is_duplicate", "note"]
tried = Counter[str]()


@pytest.fixture(scope="module", autouse=True)
def counted() -> Any:
    yield
    print("\n", dict(tried))


@pytest.fixture(scope="module")
def model() -> SiameseModel:
    return random_model()


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Read a file of any format."""
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    with open(path, encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in file]
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True))


def put(path: Path, names: list[str], rows: list[list[Any]]) -> Path:
    """Write a file of any format."""
    if path.suffix == ".parquet":
        parquet.write_table(pa.table([list(column) for column in zip(*rows)], names), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(names, row))) + "\n" for row in rows), encoding="utf-8")
    else:
        with open(path, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([names, *rows])
    return path


@pytest.mark.parametrize("after", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("before", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_predictions_beside_every_row(model: SiameseModel, tmp_path: Path, before: str, after: str) -> None:
    tried["files of pairs"] += 1
    source, out = put(tmp_path / f"in{before}", NAMES, ROWS), tmp_path / f"out{after}"
    _, faults = files.write_predictions(model, source, out)
    assert (faults.rows, faults.count) == (4, 2)
    rows = rows_of(out)
    assert list(rows[0]) == [*NAMES, *("predicted_is_duplicate" if n == "is_duplicate" else n for n in OURS)]
    assert [[row[name] for name in NAMES] for row in rows] == ROWS
    for row, (_, a, b, *_) in zip(rows, ROWS):
        answer = [row["similarity"], row["probability"], row["predicted_is_duplicate"]]
        if a.strip() and b.strip():
            said = model.predict(a, b)
            assert float(answer[0]) == pytest.approx(said.similarity, abs=1e-6) and not row["fault"]
            assert int(answer[2]) == said.is_duplicate
        else:
            assert answer in (["", "", ""], [None] * 3)
            assert row["fault"] in ("question1 is missing or empty", "question2 is missing or empty")


def test_rows_that_cannot_be_read_keep_their_text_and_place(model: SiameseModel, tmp_path: Path) -> None:
    lines = [
        "question1,question2,n",
        "a,b,0",
        "too,few",
        "a,b,2",
        "too,many,3,fields",
        'a stray " quote,"b"x,4',
        "a,b,5",
    ]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    files.write_predictions(model, tmp_path / "in.csv", tmp_path / "out.csv")
    rows = rows_of(tmp_path / "out.csv")
    assert [row["question1"] for row in rows] == [lines[i] if i in (2, 4, 5) else "a" for i in range(1, 7)]
    assert [bool(row["fault"]) for row in rows] == [False, True, False, True, True, False]
    assert rows[1]["fault"] == "2 fields, expected 3"
    objects = [
        '{"question1": "a", "question2": "b"}',
        '{"question1": ',
        '["a"]',
        '{"question1": "a", "question2": b"x"}',
    ]
    objects += ['{"question1": 5, "question2": "b", "more": [1, {"x": null}]}', '{"question2": "b", "question1": "c"}']
    (tmp_path / "in.jsonl").write_text("\n".join(objects) + "\n")
    for suffix in (".jsonl", ".csv"):
        files.write_predictions(model, tmp_path / "in.jsonl", out := tmp_path / f"more{suffix}")
        rows = rows_of(out)
        assert list(rows[0]) == ["question1", "question2", "more", *OURS]  # a column that comes later is kept too
        assert [str(row["question1"]) for row in rows] == ["a", *objects[1:4], "5", "c"]
        assert rows[4]["more"] == ([1, {"x": None}] if suffix == ".jsonl" else '[1, {"x": null}]')
        assert rows[4]["fault"] == "question1 is not text but int: 5"


def test_names_that_are_taken_get_a_prefix_until_they_are_free(model: SiameseModel, tmp_path: Path) -> None:
    names = ["question1", "question2", *OURS, "predicted_fault"]
    put(tmp_path / "in.csv", names, [list("abcdefg")])
    files.write_predictions(model, tmp_path / "in.csv", tmp_path / "out.csv")
    added = ["predicted_similarity", "predicted_probability", "predicted_is_duplicate", "predicted_predicted_fault"]
    (row,) = rows_of(tmp_path / "out.csv")
    assert list(row) == [*names, *added] and list(row.values())[:7] == list("abcdefg")
    with open(tmp_path / "twice.csv", "w") as file:
        file.write("question1,question2,note,note\na,b,c,d\n")
    with pytest.raises(DataError, match="line 1: two columns are called 'note'; rename one"):
        files.write_predictions(model, tmp_path / "twice.csv", tmp_path / "none.csv")
    with open(tmp_path / "twice.csv", "w") as file:
        file.write("question,id,question\na,b,c\n")
    with pytest.raises(DataError, match="two columns are called 'question'"):
        list(read_records(tmp_path / "twice.csv"))
    assert not (tmp_path / "none.csv").exists()


def test_columns_without_a_name_are_kept(model: SiameseModel, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("question1,,question2,\na,1,b,2\n")
    files.write_predictions(model, tmp_path / "in.csv", tmp_path / "out.csv")
    assert list(rows_of(tmp_path / "out.csv")[0].items())[:4] == [
        ("question1", "a"), ("column 2", "1"), ("question2", "b"), ("column 4", "2"),
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".txt", ".jsonl", ".parquet"])
def test_hits_beside_every_row(model: SiameseModel, tmp_path: Path, suffix: str) -> None:
    tried["files of questions"] += 1
    archive = Archive.build(tmp_path / "archive", model=model)
    archive.add(["how old are you", "the station"], ["a", "b"])
    rows = [["how old", "x"], ["", "y"], ["station", "z"]]
    if suffix == ".txt":
        source, names = tmp_path / "in.txt", ["question"]
        source.write_text("how old\n\nstation\n")
    else:
        source, names = put(tmp_path / f"in{suffix}", ["question", "id"], rows), ["question", "id"]
    how = {"k": 1, "legs": "vectors"}
    for out in (tmp_path / "out.csv", tmp_path / "out.jsonl"):
        _, faults = search_file(archive, source, out, "question", None, how, lambda done, total: None)
        found = rows_of(out)
        assert (faults.rows, faults.count) == (3, 1)
        hit = "found_id" if "id" in names else "id"
        added = ["rank", hit, "found", "score", "similarity", "probability", "is_duplicate", "fault"]
        assert list(found[0]) == [*names, *added]
        assert [[row[name] for name in names] for row in found] == [row[: len(names)] for row in rows]
        assert [row["found"] or None for row in found] == ["how old are you", None, "the station"]
        assert found[1]["fault"] == "question is missing or empty" and not found[0]["fault"]
    with pytest.raises(DataError, match="no column 'key'; it has 'question'"):
        search_file(archive, source, None, "question", "key", how, lambda done, total: None)


def test_vectors_of_every_row(model: SiameseModel, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('question,n\nhow old,1\n"",2\ntoo,many,3\nstation,4\n')
    faults = files.encode_file(model, tmp_path / "in.csv", tmp_path / "v.npy")
    assert (faults.rows, faults.count) == (4, 1)
    assert faults.shown == [f"{tmp_path / 'in.csv'}, line 4: 3 fields, expected 2"]
    found = np.load(tmp_path / "v.npy")
    np.testing.assert_allclose(found[[0, 3]], model.encode(["how old", "station"]), atol=1e-6)
    assert not found[[1, 2]].any()


@pytest.mark.parametrize("name", ["v.csv", "v.parquet", "v.npz"])
def test_encode_writes_no_other_format_than_its_name_says(name: str, tmp_path: Path, command: Command) -> None:
    (tmp_path / "in.csv").write_text("question\nhow old\n")
    code, _, err = command("encode", tmp_path / "in.csv", "--out", tmp_path / name)
    assert code == 2 and "encode writes the format .npy" in err and not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["out.xlsx", "out.txt", "out.json", "out.csv.gz"])
def test_an_ending_of_another_format_is_refused_before_any_work(tmp_path: Path, command: Command, name: str) -> None:
    tried["endings of outputs"] += 1
    out = tmp_path / name
    (tmp_path / "q.csv").write_text("question,question1,question2\na,b,c\n")
    for words in (
        ["predict", "--file", tmp_path / "q.csv", "--out", out, "--model", "nowhere"],
        ["search", "--file", tmp_path / "q.csv", "--out", out, "--archive", "nowhere"],
        ["mine", tmp_path / "q.csv", "--out", out, "--model", "nowhere"],
        ["mine", tmp_path / "q.csv", "--out", tmp_path / "o.csv", "--clusters", out, "--model", "nowhere"],
    ):
        code, _, err = command(*words)
        assert code == 2 and f"{out}: cannot write the format" in err and ".jsonl" in err
    code, _, err = command("mine", tmp_path / "q.csv", "--out", tmp_path / "o.jsonl", "--engine", "ray")
    assert code == 2 and "cannot write the format '.jsonl'; use .csv" in err


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ""])
def test_mined_pairs_in_every_format(tmp_path: Path, command: Command, suffix: str) -> None:
    tried["endings of outputs"] += 1
    texts = ["how old are you", "how old are you?", "what is your age", "where is the station"]
    (tmp_path / "q.txt").write_text("\n".join(texts) + "\n")
    out, clusters = tmp_path / f"out{suffix}", tmp_path / f"clusters{suffix}"
    words = ["mine", tmp_path / "q.txt", "--model", "pretrained", "--threshold", 0.5]
    assert command(*words, "--out", out, "--clusters", clusters)[0] == 0
    rows = rows_of(out)
    assert rows and list(rows[0]) == ["question1", "question2", "similarity", "probability"]
    assert {row["question1"] for row in rows} <= set(texts) and 0.5 <= float(rows[-1]["similarity"]) <= 1
    assert len(rows_of(clusters)) >= 2
    if suffix:
        assert command("mine", "--from", out, "--threshold", 0.6, "--out", tmp_path / "again.csv")[0] == 0


class Changing(threading.Thread):
    """Change a file again and again."""

    def __init__(self, path: Path, change: Callable[[Path], object]) -> None:
        super().__init__(daemon=True)
        self.path, self.change, self.ended = path, change, threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            self.change(self.path)
            time.sleep(0.001)


def append(path: Path) -> None:
    with open(path, "a") as file:
        file.write("more\n")


def cut(path: Path) -> None:
    os.truncate(path, max(30, path.stat().st_size - 5))


def rewrite(path: Path) -> None:
    path.with_name("new").write_text(path.read_text().swapcase())
    os.replace(path.with_name("new"), path)


@pytest.mark.parametrize("change", [append, cut, rewrite])
def test_a_file_that_changes_while_it_is_read(model: SiameseModel, tmp_path: Path, change: Callable) -> None:
    tried["changes of a file"] += 1
    path, out = tmp_path / "q.csv", tmp_path / "v.npy"
    path.write_text("question\n" + "how old are you\n" * 3_000)
    thread = Changing(path, change)

    def progress(done: int, total: int) -> None:
        if not thread.is_alive() and not thread.ended.is_set():
            thread.start()
            time.sleep(0.05)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(DataError, match="changed while it was read; run"):
        patch.setattr(files, "AT_A_TIME", 500)
        try:
            files.encode_file(model, path, out, progress=progress)
        finally:
            thread.ended.set()
            thread.join()
    assert [one.name for one in tmp_path.iterdir() if one.suffix == ".npy"] == []


@pytest.mark.parametrize("change", [append, cut, rewrite])
@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl"])
def test_any_file_that_changes_while_it_is_read(tmp_path: Path, suffix: str, change: Callable) -> None:
    tried["changes of a file"] += 1
    path = tmp_path / f"q{suffix}"
    line = '{"question": "how old are you"}\n' if suffix == ".jsonl" else "how old are you\n"
    path.write_text(("question\n" if suffix == ".csv" else "") + line * 3_000)
    rows = read_records(path)
    next(rows)
    change(path)
    with pytest.raises(DataError, match="changed while it was read|not JSON"):
        list(rows)


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the memory that Linux counts")
def test_a_small_file_with_a_large_column_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "fat.parquet"
    fat = pa.DictionaryArray.from_arrays(pa.array([0] * 1_500, pa.int8()), ["x" * 400_000])
    table = {"question1": ["a"] * 1_500, "question2": ["b"] * 1_500, "is_duplicate": [0, 1] * 750, "fat": fat}
    table["question"] = table["question1"]
    parquet.write_table(pa.table(table), path, compression="zstd")
    assert path.stat().st_size < 1 << 20  # 0.6 GB of text
    tried["bombs"] += 3
    reading = "; ".join([
        "import sys", "path = sys.argv[1]", "from siamese.pairs.questions import read_records",
        "from siamese.pairs.reading import read_pairs",
        "from siamese.model import files, model", "out, what = sys.argv[3], sys.argv[2]",
        "load = model.SiameseModel.load",
        "what == 'pairs' and read_pairs(path)", "what == 'questions' and list(read_records(path))",
        "what == 'out' and files.write_predictions(load('pretrained'), path, out)",
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))",
    ])  # fmt: skip
    for what in ("pairs", "questions", "out"):
        line = [sys.executable, "-c", reading, path, what, tmp_path / "out.parquet"]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        assert int(done.stdout) < 600_000, f"{what}: {done.stdout} kB"
    assert parquet.ParquetFile(tmp_path / "out.parquet").metadata.num_rows == 1_500
    assert formats.open_file(path).names == list(table)


def test_an_empty_line_is_a_row_of_a_single_column(model: SiameseModel, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text('question\n\nHow old?\n\n\n"Who\n\nis it?"\n\n\n')
    assert [(row.line, row.question) for row in read_records(path)] == [
        (2, ""), (3, "How old?"), (4, ""), (5, ""), (6, "Who\n\nis it?"),
    ]  # fmt: skip
    assert files.encode_file(model, path, tmp_path / "v.npy").rows == 5
    assert np.load(tmp_path / "v.npy").any(axis=1).tolist() == [False, True, False, False, True]
    path.write_text("question,id\n\nHow old?,1\n")
    assert [row.line for row in read_records(path)] == [3]


def test_user_errors_are_lines(model: SiameseModel, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    with pytest.raises(DataError, match="in.txt, line 1: no column 'question2'; it has 'question1'"):
        files.write_predictions(model, tmp_path / "in.txt", None)
    put(tmp_path / "in.csv", ["a", "b"], [["1", "2"]])
    with pytest.raises(UserError, match="in.csv, line 1: no column 'question1'; it has 'a', 'b'"):
        files.write_predictions(model, tmp_path / "in.csv", None)
    put(tmp_path / "in.csv", ["question1", "question2"], [["", ""]] * 7)
    with pytest.raises(DataError, match="all 7 rows are faulty\n  line 2: question1 is missing or empty; line 3"):
        files.write_predictions(model, tmp_path / "in.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
