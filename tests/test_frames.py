"""Pairs from a DataFrame, a path, or existing pairs."""

from pathlib import Path

import pandas as pd
import pytest

from siamese.errors import DataError
from siamese.pairs.pairs import Columns, Pairs
from siamese.pairs.reading import pairs_of


def rows_of(pairs: Pairs) -> list[tuple[str, str, int]]:
    return list(zip(pairs.question1, pairs.question2, pairs.labels.tolist()))


def frame(**columns: list) -> pd.DataFrame:
    return pd.DataFrame({"question1": ["a", "c"], "question2": ["b", "d"], "is_duplicate": [1, 0]} | columns)


def test_pairs_of_a_data_frame_a_path_and_pairs(tmp_path: Path) -> None:
    data = frame(unseen=[True, False], split=["test", None], id=[7, "x"])
    pairs = pairs_of(data)
    assert rows_of(pairs) == [("a", "b", 1), ("c", "d", 0)] and list(pairs.id) == ["7", "x"]
    assert pairs.unseen.tolist() == [True, False] and pairs.split.tolist() == ["test", ""]
    data.to_csv(tmp_path / "p.csv", index=False)
    assert rows_of(pairs_of(tmp_path / "p.csv")) == rows_of(pairs_of(str(tmp_path / "p.csv"))) == rows_of(pairs)
    assert pairs_of(pairs) is pairs
    renamed = data.rename(columns={"question1": "left", "question2": "right", "is_duplicate": "same"})
    assert rows_of(pairs_of(renamed, Columns("left", "right", "same"))) == rows_of(pairs)
    for labels in ([True, False], [1.0, 0.0], ["1", "0"], pd.array([1, 0], "Int64")):
        assert pairs_of(frame(is_duplicate=labels)).labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"question1": ["a", float("nan")]}, "row y: question1 is missing"),
        ({"question2": pd.array(["b", pd.NA], "string")}, "row y: question2 is missing"),
        ({"question1": ["a", 3]}, "row y: question1 is not text"),
        ({"is_duplicate": [1, 2]}, "row y: is_duplicate is 2, expected 0 or 1"),
        ({"is_duplicate": [1, float("nan")]}, "row y: is_duplicate is nan, expected 0 or 1"),
        ({"is_duplicate": [1, 1]}, "2 rows and no usable non-duplicate pairs"),
    ],
)
def test_a_data_frame_with_a_faulty_row_is_refused(columns: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pairs_of(frame(**columns).set_index(pd.Index(["x", "y"])))


def test_data_frames_without_a_column_and_other_types_are_refused() -> None:
    with pytest.raises(DataError, match=r"no column 'is_duplicate'; it has 'question1', 'question2'"):
        pairs_of(frame().drop(columns="is_duplicate"))
    with pytest.raises(DataError, match="two columns are called 'question1'"):
        pairs_of(frame(more=[1, 2]).rename(columns={"more": "question1"}))
    with pytest.raises(DataError, match="list cannot be read; give Pairs, a DataFrame or the path"):
        pairs_of([("a", "b", 1)])  # type: ignore[arg-type]


def test_a_data_frame_of_questions_and_groups() -> None:
    groups = pd.DataFrame({"question": [f"q {i}" for i in range(12)], "group": [i // 2 for i in range(12)]})
    assert pairs_of(groups).duplicates == 6
