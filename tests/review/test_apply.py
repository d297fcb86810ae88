"""A person's own file, deduplicated: all columns stay, and each row says what became of it and why."""

import csv
from pathlib import Path

import pytest

from siamese.cli import main

ROWS = [
    ("a", "How old are you?", "2026-01-02", "1,5"),
    ("b", "What is your age?", "2026-03-01", '"quoted"'),
    ("c", "How old  are you?", "", "line\nbreak"),
    ("d", "", "2026-01-01", "blank"),
    ("e", "Where is Rome?", "2026-02-01", "=1+1"),
    ("f", "In which country is Rome?", "2026-02-02", ""),
    ("g", "What is your age now?", "2026-01-09", ""),
]
PAIRS = [("b", "g", "0.95"), ("a", "b", "0.9"), ("a", "g", "0.88"), ("e", "f", "0.8")]
DECISIONS = [
    ("Where is Rome?", "In which country is Rome?", "different"),
    ("How old are you?", "Where  is Rome?", "unsure"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    text = {row[0]: row[1] for row in ROWS}
    write("questions.csv", ("id", "question", "created", "note"), ROWS)
    names = ("question1", "question2", "similarity", "probability", "id1", "id2")
    write("duplicates.csv", names, [(text[a], text[b], s, s, a, b) for a, b, s in PAIRS])
    write("decisions.csv", ("question1", "question2", "answer"), DECISIONS)
    return tmp_path


def write(name: str, names: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with open(name, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])


def read(name: str) -> list[dict[str, str]]:
    with open(name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("keep", "stay"),
    [("first", "adef"), ("longest", "gdef"), ("representative", "bdef"), ("newest:created", "bdef")],
)
def test_what_stays(folder: Path, keep: str, stay: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["apply", "questions.csv", "--from", "duplicates.csv", "--decisions", "decisions.csv", "--keep", keep,
          "--out", "clean.csv", "--rows", "rows.csv"])  # fmt: skip
    assert capsys.readouterr().out.splitlines()[0] == "1 clusters of 4 rows, of which 3 are dropped"
    assert sorted(row["id"] for row in read("clean.csv")) == sorted(stay)
    assert [tuple(row.values()) for row in read("clean.csv")] == [row for row in ROWS if row[0] in stay]
    rows = read("rows.csv")
    assert [tuple(row.values())[:4] for row in rows] == ROWS
    assert {row["id"] for row in rows if row["decision"] == "keep"} == set(stay)
    assert {row["id"]: row["why"] for row in rows}["d"] == "no question"
    assert {row["id"]: row["cluster"] for row in rows} == dict(zip("abcdefg", ["1", "1", "1", "", "", "", "1"]))
    assert [row["id"] for row in rows if row["representative"] == "1"] == ["b"]


def test_mining_honours_decisions(folder: Path) -> None:
    main(["mine", "questions.csv", "--from", "duplicates.csv", "--decisions", "decisions.csv", "--out", "fewer.csv",
          "--clusters", "clusters.csv"])  # fmt: skip
    assert [(row["id1"], row["id2"]) for row in read("fewer.csv")] == [("a", "c"), ("b", "g"), ("a", "b"), ("a", "g")]
    assert {row["id"] for row in read("clusters.csv")} == set("abcg")


@pytest.mark.slow
def test_mining_with_the_own_threshold_of_a_model_honours_decisions(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["mine", "questions.csv", "--model", "pretrained"]
    main([*words, "--out", "all.csv"])
    copy, one, *others = read("all.csv")
    names = ("question1", "question2", "answer")
    write("decisions.csv", names, [(one["question1"], one["question2"], "different")])
    main([*words, "--out", "fewer.csv", "--decisions", "decisions.csv"])
    assert read("fewer.csv") == [copy, *others]
    assert f"of the {len(others)} above it are right" in capsys.readouterr().err


def test_decisions_alone(folder: Path) -> None:
    write("decisions.csv", ("question1", "question2", "answer"), [("Where is Rome?", "How old are you?", "duplicate")])
    main(["apply", "questions.csv", "--decisions", "decisions.csv", "--keep", "first", "--rows", "rows.csv"])
    why = {row["id"]: row["why"] for row in read("rows.csv")}
    assert why["e"] == "decided to be a duplicate of 'How old are you?'" and why["a"] == "the first of 3"
    assert why["c"] == "a copy of 'How old are you?'" and why["b"] == "no duplicate"


def test_what_is_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command may write its rows again. Answers of a person are not replaced, even with --force."""
    words = ["apply", "questions.csv", "--decisions", "decisions.csv"]
    for _ in range(2):
        main([*words, "--rows", "rows.csv"])
    Path("answers.csv").write_bytes(before := Path("decisions.csv").read_bytes())
    with pytest.raises(SystemExit):
        main([*words, "--out", "answers.csv", "--force"])
    assert "answers.csv: its column answer has labels, which are never replaced" in capsys.readouterr().err
    assert Path("answers.csv").read_bytes() == before


def test_ids_of_other_questions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ids that have other questions now, as in next month's file, drop no row."""
    names = ("question1", "question2", "similarity", "probability", "id1", "id2")
    write("pairs.csv", names, [("How  old are you?", "Where is Paris?", 0.9, 0.8, "a", "b")])
    with pytest.raises(SystemExit) as stop:
        main(["apply", "questions.csv", "--from", "pairs.csv", "--out", "clean.csv"])
    error = "line 2: id2 'b' is %s among the questions, and 'Where is Paris?' here"
    assert stop.value.code == 2 and error % repr(read("questions.csv")[1]["question"]) in capsys.readouterr().err
    assert not Path("clean.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--decisions", "decisions.csv"], "apply needs --out PATH"),
        (["--out", "clean.csv"], "apply needs --decisions PATH, --from PATH"),
        (["--decisions", "decisions.csv", "--out", "questions.csv"], "questions.csv: also an input"),
        (["--decisions", "decisions.csv", "--out", "c.csv", "--keep", "best"], "--keep best: give one of first"),
        (["--decisions", "decisions.csv", "--out", "c.csv", "--keep", "newest:note"], "row 1: note is '1,5'"),
        (["--decisions", "decisions.csv", "--out", "c.csv", "--keep", "newest:age"], "no column 'age'"),
    ],
)
def test_refusals(folder: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["apply", "questions.csv", *words])
    assert stop.value.code == 2 and message in capsys.readouterr().err
    assert not Path("clean.csv").exists() and not Path("c.csv").exists()
