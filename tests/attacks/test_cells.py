"""Cells of every type that a file or a table can hold: each is text, a label, missing, or refused with its line.

`pytest -s tests/attacks` prints how many were tried of each kind.
"""

import datetime
import decimal
import json
import math
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from siamese.errors import DataError
from siamese.mining.questions import Questions
from siamese.pairs.questions import read_records
from siamese.pairs.reading import pairs_of, read_pairs

MISSING = [None, math.nan, np.float64("nan"), pd.NA, pd.NaT, "", " \t"]
REFUSED = [
    b"How?",
    ["How?"],
    {"a": 1},
    1.5,
    math.inf,
    10**400,
    True,
    datetime.date(2026, 1, 1),
    uuid.UUID(int=1),
    "\ud800",
]
WHOLE = {0: "0", 7.0: "7", np.int64(8): "8", np.float32(9): "9", decimal.Decimal(10): "10", 2**70: str(2**70)}
LABELS = {
    1: [1, 1.0, True, np.True_, np.int8(1), decimal.Decimal(1), "1", "1.0", " 1.000 ", "true", "TRUE", "Yes", "yes "],
    0: [0, 0.0, False, np.False_, np.uint8(0), "0", "0.", "0.0", "False", "FALSE", "no", "No"],
    None: [
        2,
        -1,
        0.5,
        "2",
        "maybe",
        "y",
        "t",
        "01",
        "0x1",
        "on",
        "duplicate",
        b"1",
        [1],
        None,
        math.nan,
        "",
        "nan",
        "1 0",
    ],
}
tried = Counter[str]()


@pytest.fixture(scope="module", autouse=True)
def counted() -> Any:
    yield
    print("\n", dict(tried))


def frame(**cells: Any) -> pd.DataFrame:
    """Return a frame of four sound pairs and one with these cells."""
    rows = [{"question1": f"a {i}", "question2": f"b {i}", "is_duplicate": i % 2, "id": f"i{i}"} for i in range(4)]
    return pd.DataFrame([*rows, rows[0] | cells], dtype=object)


@pytest.mark.parametrize("value", [*MISSING, *REFUSED, *WHOLE], ids=repr)
@pytest.mark.parametrize("column", ["question1", "id", "group"])
def test_a_cell_of_a_frame(column: str, value: Any) -> None:
    tried[f"{column} of a frame"] += 1
    if column == "group":
        data = pd.DataFrame([(f"q {i}", i // 2) for i in range(8)], columns=["question", "group"], dtype=object)
        data.at[7, "group"] = value
    else:
        data = frame(**{column: value})
    last = len(data) - 1
    is_missing = any(value is one for one in MISSING)
    if (column == "id" and is_missing) or (column != "question1" and not is_missing and hashable_in(value, WHOLE)):
        pairs = pairs_of(data)
        if column == "id":
            assert list(pairs.id)[-1] == ("" if is_missing else WHOLE[value])
        return
    with pytest.raises(DataError, match=f"row {last}: {column} is (missing|not text)") as caught:
        pairs_of(data)
    assert is_missing == ("is missing" in str(caught.value)) and len(str(caught.value)) < 300
    if not is_missing and not isinstance(value, str):
        assert type(value).__name__ in str(caught.value)


def hashable_in(value: Any, known: dict[Any, str]) -> bool:
    return not isinstance(value, list | dict | bool) and value in known


@pytest.mark.parametrize("label", LABELS)
def test_labels(label: int | None) -> None:
    for value in LABELS[label]:
        tried[f"labels that mean {label}"] += 1
        if label is None:
            with pytest.raises(DataError, match="row 4: is_duplicate is .*expected 0 or 1"):
                pairs_of(frame(is_duplicate=value))
        else:
            assert pairs_of(frame(is_duplicate=value)).labels[-1] == label, value


def test_a_column_unseen_that_says_neither_is_refused() -> None:
    data = frame().assign(unseen=["yes", "no", None, 1.0, "TRUE"])
    assert pairs_of(data).unseen.tolist() == [True, False, False, True, True]
    with pytest.raises(DataError, match="row 4: unseen is 'new', expected 0 or 1"):
        pairs_of(data.assign(unseen=["yes", "no", None, 1.0, "new"]))


@pytest.mark.parametrize("column", ["question", "id"])
def test_a_parquet_column_of_bytes_is_refused(tmp_path: Path, column: str) -> None:
    path = tmp_path / "q.parquet"
    parquet.write_table(pa.table({"question": ["How?"], "id": ["1"]} | {column: pa.array([b"How?"])}), path)
    tried["files of questions"] += 1
    with pytest.raises(DataError, match=f"line 1: {column} is not text but bytes: b'How[?]'; mend or remove the row"):
        list(read_records(path))
    names = {"question1": ["How?"] * 9, "question2": ["What?"] * 9, "is_duplicate": [0, 1, 1] * 3}
    parquet.write_table(pa.table(names | {"question1": pa.array([b"How?"] * 9)}), path)
    with pytest.raises(DataError, match="9 of 9 rows are faulty.*\n  line 1: question1 is not text but bytes"):
        read_pairs(path)


@pytest.mark.parametrize("value", ["NaN", "5", "[1]", "true", '{"a": 1}', "1e400"])
def test_json_lines_of_questions(tmp_path: Path, value: str) -> None:
    tried["files of questions"] += 1
    path = tmp_path / "q.jsonl"
    path.write_text(f'{{"id": 0, "question": "How?"}}\n{{"id": {value}, "question": {value}}}\n')
    if value == "NaN":
        assert [(row.id, row.question) for row in read_records(path)] == [("0", "How?"), (None, "")]
        with pytest.raises(DataError, match="no such"):
            Questions.read(tmp_path / "none.jsonl")
    else:
        with pytest.raises(DataError, match="line 2: (id|question) is not text but "):
            list(read_records(path))


def test_id_0_is_an_id(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps({"id": i, "question": f"q {i}"}) + "\n" for i in range(3)))
    assert Questions.read(path).ids == ["0", "1", "2"]
    assert Questions.of(pd.DataFrame({"id": [0, 1], "question": ["a", "b"]})).ids == [0, 1]


PARTS = {
    "train": ["train", "TRAIN", " Training "],
    "validation": ["dev", "Valid", "val", "eval ", "VALIDATION", "development"],
    "test": ["test", "Test", "testing"],
}  # fmt: skip


def test_names_of_parts(tmp_path: Path) -> None:
    names = [(part, name) for part, written in PARTS.items() for name in written]
    tried["names of parts"] += len(names) + 3
    data = pd.DataFrame([(f"a{i}", f"b{i}", i % 2, name) for i, (_, name) in enumerate(names)])
    data.columns = ["question1", "question2", "is_duplicate", "split"]
    assert pairs_of(data).split.tolist() == [part for part, _ in names]
    data.loc[[0, 3], "split"] = "holdout"
    data.loc[5, "split"] = "Tr ain"
    data.to_csv(tmp_path / "p.csv", index=False)
    for source in (data, tmp_path / "p.csv"):
        with pytest.raises(DataError, match="split is 'holdout' in 2 rows, 'Tr ain' in 1 rows; use train, validation"):
            pairs_of(source)


def test_rows_without_a_part_are_counted() -> None:
    from siamese.pairs.splits import part

    data = pd.DataFrame([(f"a{i}", f"b{i}", i // 2 % 2, (i % 2 and "dev") or "train") for i in range(20)])
    data.columns = ["question1", "question2", "is_duplicate", "split"]
    data.loc[[2, 6], "split"] = None
    with pytest.warns(UserWarning, match="pairs: 2 rows have nothing in their column 'split' and are left out"):
        assert len(part(pairs_of(data)).training) == 8


def test_groups_whose_names_differ_in_spaces_or_case(tmp_path: Path) -> None:
    path = tmp_path / "g.csv"
    groups = ["Age", "age", "AGE ", "age  of  x", "age of X", "way", "home", "cat"]
    rows = [f'question {i} of {g},"{group}"' for g, group in enumerate(groups) for i in range(2)]
    path.write_text("question,group\n" + "\n".join(rows) + "\n")
    with pytest.warns(UserWarning, match="the names of 2 groups differ in spaces or case alone, such as"):
        assert read_pairs(path).duplicates == 8  # kept apart
