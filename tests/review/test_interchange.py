"""Labels of other programs are read, and ours can be read by them."""

import json
from pathlib import Path

import pytest
from commands import Command

from siamese.errors import DataError
from siamese.review.decisions import DIFFERENT, DUPLICATE, UNDO, UNSURE, Decision, read_decisions
from siamese.review.interchange import export_labels, import_labels


def pair(one: object, two: object) -> dict[str, object]:
    """Return a pair as dedupe writes it."""
    return {"__class__": "tuple", "__value__": [one, two]}


def saved(folder: Path, content: object) -> Path:
    path = folder / "labels.json"
    path.write_text(json.dumps(content))
    return path


def test_dedupe(tmp_path: Path) -> None:
    a, b = {"question": "How old?", "topic": "age"}, {"question": "What age?", "topic": "age"}
    content = {"distinct": [pair({"q": "Rome?"}, {"q": "Milan?"})], "match": [pair(a, b), [b, a]]}
    assert import_labels(saved(tmp_path, content)) == [
        Decision("How old?", "What age?", DUPLICATE),
        Decision("What age?", "How old?", DUPLICATE),
        Decision("Rome?", "Milan?", DIFFERENT),
    ]
    with pytest.raises(DataError, match="match 1: no field 'text'; it has 'question', 'topic'"):
        import_labels(tmp_path / "labels.json", "text")


def test_label_studio(tmp_path: Path) -> None:
    def task(*choices: str, **more: object) -> dict[str, object]:
        results = [{"type": "choices", "value": {"choices": [choice]}} for choice in choices]
        data = {"question1": "How old?", "question2": "What age?"}
        return {
            "id": 1,
            "data": data,
            "annotations": [{"result": results, "created_at": "2026-01-01T00:00:00Z", **more}],
        }

    tasks = [task("Duplicate", completed_by=7), task("no"), task("yes", was_cancelled=True), task()]
    short = {"question1": "A b?", "question2": "C d?", "answer": "unsure", "id": 3}
    found = import_labels(saved(tmp_path, [*tasks, short]))
    assert [(d.answer, d.by) for d in found] == [(DUPLICATE, "7"), (DIFFERENT, ""), (UNSURE, "")]
    assert found[0].at == "2026-01-01T00:00:00Z"
    with pytest.raises(DataError, match="task 1: choice 'perhaps'; expected one of duplicate"):
        import_labels(saved(tmp_path, [task("perhaps")]))


def test_what_is_written(tmp_path: Path) -> None:
    made = [Decision("How old?", "What age?", DUPLICATE, "0.9", "0.8", by="ann"), Decision("x", "y", DIFFERENT)]
    decisions = [*made, Decision("How old?", "", "representative"), Decision("y", "x", UNDO)]
    assert export_labels(decisions, "label-studio", tmp_path / "tasks.json") == 1
    (found,) = import_labels(tmp_path / "tasks.json")
    assert found[:3] == made[0][:3]
    assert export_labels(decisions, "argilla", tmp_path / "records.json") == 1
    (record,) = json.loads((tmp_path / "records.json").read_text())
    assert record["fields"] == {"question1": "How old?", "question2": "What age?"}
    assert record["suggestions"]["answer"]["value"] == "duplicate"
    assert record["metadata"] == {"similarity": 0.9, "probability": 0.8}


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "[1]", "{", '[{"question1": "a"}]', '{"match": [[1, 2]]}', "[" * 9999]
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(DataError, match=str(path)):
        import_labels(path)


def test_the_commands(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a, b, copy = {"text": "How old?"}, {"text": "What age?"}, {"text": "How  old?"}
    content = {"match": [pair(a, b), pair(a, copy)], "distinct": [pair(a, {"text": "Where?"})]}
    import_labels_of = ("review", "--import", saved(tmp_path, content), "--question", "text")
    told = "of 3 answers were new, 1 about two equal questions left out: decisions.csv\n"
    assert command(*import_labels_of)[:2] == (0, f"2 {told}")
    assert command(*import_labels_of)[:2] == (0, f"0 {told}")
    assert [d[:3] for d in read_decisions("decisions.csv")] == [
        ("How old?", "What age?", DUPLICATE), ("How old?", "Where?", DIFFERENT),
    ]  # fmt: skip
    for program in ("label-studio", "argilla"):
        export = ("review", "--export", program, "--out", f"{program}.json")
        assert command(*export)[:2] == (0, f"2 answers for {program}: {program}.json\n")
        assert len(json.loads(Path(f"{program}.json").read_text())) == 2
    assert [d.answer for d in import_labels("label-studio.json")] == [DUPLICATE, DIFFERENT]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("--import absent.json", "absent.json"),
        ("--import broken.json", "broken.json: no JSON"),
        ("--import number.json", "number.json: match is no list"),
        ("--import half.json", "half.json, match 1: a question has half a character"),
        ("--import broken.json pairs.csv", "pairs.csv: --import and --export take no file of pairs"),
        ("--export argilla", "--export PROGRAM and --out PATH go together"),
        ("--export argilla --out broken.json", "broken.json: "),
        ("--export argilla --out new.json", "decisions.csv"),
        ("", "review needs PAIRS"),
    ],
)
def test_errors_in_one_line(
    words: str, error: str, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text("{")
    Path("number.json").write_text('{"match": 5}')
    Path("half.json").write_text(r'{"match": [[{"question": "a \ud800"}, {"question": "b"}]]}')
    code, printed, errors = command("review", *words.split())
    assert (code, printed) == (2, "") and error in errors and errors.count("\n") == 1
    assert not Path("decisions.csv").exists() and not Path("new.json").exists()
