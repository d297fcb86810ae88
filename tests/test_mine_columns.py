"""`mine` carries the further columns of a file through, to pairs, clusters, and pairs that are read again."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import Command
from files import read_csv

import siamese
from siamese.mining.columns import FileColumns
from siamese.mining.mined import Mined
from siamese.mining.questions import Questions

ROWS = [
    {"id": "1", "author": "ann", "question": "How old are you?", "similarity": "7", "url": "u,1"},
    {"id": "2", "author": "bob", "question": "How do I learn Python quickly?", "similarity": "8", "url": "=u2()"},
    {
        "id": "3",
        "author": "",
        "question": "What is the best way to learn Python quickly?",
        "similarity": "",
        "url": "3",
    },
    {"id": "4", "author": "dee", "question": "", "similarity": "x", "url": "blank"},
    {"id": "5", "author": "é\n", "question": "How old are you?", "similarity": "9", "url": "u5"},
    {"id": "6", "author": "g", "question": "How can I learn Python fast?", "similarity": "1", "url": "u6"},
]
BY_ID = {row["id"]: row for row in ROWS}


@pytest.fixture()
def file(tmp_path: Path) -> Path:
    path = tmp_path / "questions.csv"
    pd.DataFrame(ROWS).to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_pairs_and_clusters_have_every_further_column(command: Command, file: Path, tmp_path: Path) -> None:
    out, groups = tmp_path / "pairs.csv", tmp_path / "clusters.csv"
    words = ["mine", file, "--out", out, "--clusters", groups, "--cosine"]
    assert command(*words)[0] == 0
    pairs, members = read_csv(out), read_csv(groups)
    own = ["question1", "question2", "similarity", "probability", "id1", "id2"]
    assert list(pairs[0]) == [*own, "author1", "author2", "similarity1", "similarity2", "url1", "url2"]
    assert list(members[0])[-3:] == ["author", "question_similarity", "url"]
    assert {row["id1"] + row["id2"] for row in pairs} >= {"15", "23", "26"}
    for row in pairs:
        for end in "12":
            whole = BY_ID[row[f"id{end}"]]
            assert {name: row[f"{name}{end}"] for name in whole} == whole
    for row in members:
        whole = BY_ID[row["id"]]
        escaped = {name: f"'{cell}" if cell.startswith("=") else cell for name, cell in whole.items()}
        assert [row["author"], row["question_similarity"], row["url"]] == [
            escaped[name] for name in ("author", "similarity", "url")
        ]
    for keep in ((), ("--keep", "none"), ()):
        assert command(*words, *keep)[0] == 0  # its own output is replaced

    # What was mined is read again, with and without the questions, with all columns.
    for questions in ([], [file]):
        again, groups2 = tmp_path / "again.csv", tmp_path / "clusters2.csv"
        code, _, err = command("mine", *questions, "--from", out, "--out", again, "--clusters", groups2, "--force")
        assert code == 0, err
        assert again.read_bytes() == out.read_bytes()
        assert groups2.read_bytes() == groups.read_bytes()


@pytest.mark.slow
def test_a_column_of_labels_does_not_make_clusters_look_filled_in(command: Command, tmp_path: Path) -> None:
    path, groups = tmp_path / "questions.csv", tmp_path / "clusters.csv"
    path.write_text("question,Label\nIs it?,1\nIs it?,0\n", "utf-8")
    for _ in range(2):
        code, _, err = command("mine", path, "--out", tmp_path / "pairs.csv", "--clusters", groups, "--cosine")
        assert code == 0, err
    assert [row["question_Label"] for row in read_csv(groups)] == ["1", "0"]


@pytest.mark.slow
def test_keep_chooses_columns(command: Command, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    for keep, names in (("url", ["url1", "url2"]), ("none", [])):
        assert command("mine", file, "--out", out, "--cosine", "--keep", keep, "--force")[0] == 0
        assert list(json.loads(out.read_text("utf-8").splitlines()[0]))[6:] == names
    code, _, err = command("mine", file, "--out", out, "--keep", "url,nix", "--force")
    assert code == 2 and "no column 'nix'; it has 'id', 'author'" in err
    code, _, err = command("mine", "--from", file, "--out", tmp_path / "x.csv", "--keep", "url")
    assert code == 2 and "--keep names columns of QUESTIONS" in err


@pytest.mark.slow
def test_json_and_frames_keep_values(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    rows = [{"question": "How old are you?", "n": 1, "tags": ["a"]}, {"question": "How old are you?", "late": True}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    found = siamese.mine(path)
    found.write_pairs(tmp_path / "pairs.jsonl")
    pair = json.loads((tmp_path / "pairs.jsonl").read_text("utf-8"))
    of_file = {"n1": 1, "n2": None, "tags1": ["a"], "tags2": None, "late1": None, "late2": True}
    assert {name: pair[name] for name in of_file} == of_file
    assert found.to_frame().to_dict("records")[0]["tags1"] == ["a"]
    assert found.clusters_frame()["late"].tolist() == [None, True]
    assert Mined.read(tmp_path / "pairs.jsonl").to_frame()["n1"].tolist() == [1]

    frame = pd.DataFrame({"question": ["Is it?", "Is it?"], "at": pd.to_datetime(["2026-01-31", None]), "n": [1, 2]})
    siamese.mine(frame).write_pairs(tmp_path / "pairs.csv")
    row = read_csv(tmp_path / "pairs.csv")[0]
    assert (row["at1"], row["at2"], row["n1"], row["n2"]) == ("2026-01-31 00:00:00", "", "1", "2")


def test_further_columns_of_a_file_stay_on_disk(tmp_path: Path) -> None:
    columns = FileColumns()
    for row in (1, 2, 5):
        columns.add(row, {"a": row, "b\ud800": "x" * row} if row < 5 else {"c": float("inf")})
    assert columns.names == ["a", "b\ud800", "c"]
    nothing = [None, None, None]
    expected = [nothing, [1, "x", None], [2, "xx", None], nothing, nothing, [None, None, float("inf")], nothing]
    assert [columns.row(row) for row in range(7)] == expected
    assert columns.column("a", np.array([2, 0])) == [2, None]
    assert Questions().names == []
