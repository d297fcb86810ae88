"""What the commands say about empty questions and about questions without a word that the model knows."""

import json
from pathlib import Path

import pytest
from commands import Command
from files import read_csv, write_csv
from tiny_models import random_model

from siamese.config import Config
from siamese.text.cleaning import clean

NOTE = "note: the model knows no word of {}\n"


@pytest.fixture()
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """Return a folder with files of questions and of pairs; three questions have no known word, and one is empty."""
    questions = ["How do I mend part 1?", "zzqx", "<b>wwqx</b>", "qqqx vvqx", "&nbsp;", "wwqx"]
    write_csv(tmp_path / "questions.csv", [[question] for question in questions], "question")
    pairs = [[questions[0], "zzqx"], ["wwqx", "<b>wwqx</b>"], [questions[0], questions[0]], [questions[0], "<p></p>"]]
    write_csv(tmp_path / "pairs.csv", pairs, "question1,question2")
    return tmp_path


def test_two_questions(command: Command, tiny_model: Path) -> None:
    predict = ("predict", "--model", tiny_model)
    assert command(*predict, "zzqx", "wwqx")[2] == NOTE.format("2 questions")
    assert command(*predict, "How do I mend part 1?", "wwqx")[2] == NOTE.format("1 question")
    code, out, _ = command(*predict, "<i>zzqx</i>", "zzqx")
    assert (code, out.startswith("duplicate: similarity 1.000")) == (0, True)


@pytest.mark.parametrize(
    ("pair", "which"),
    [(("", "part"), "the first question is"), (("part", "&nbsp;"), "the second question is"),
     (("", "<p></p>"), "both questions are"), ((" ", " "), "both questions are")],
)  # fmt: skip
def test_an_empty_question_has_no_verdict(
    command: Command, tiny_model: Path, pair: tuple[str, str], which: str
) -> None:
    assert command("predict", "--model", tiny_model, *pair)[:2] == (0, f"no verdict: {which} empty\n")
    answer = json.loads(command("predict", "--model", tiny_model, *pair, "--json")[1])
    assert list(answer)[:4] == ["is_duplicate", "similarity", "threshold", "probability"]
    assert (answer["is_duplicate"], answer["similarity"]) == (False, 0)


def test_files(command: Command, tiny_model: Path, folder: Path) -> None:
    model = ("--model", tiny_model)
    *_, err = command("predict", *model, "--file", folder / "pairs.csv", "--out", folder / "scored.csv")
    assert err.endswith(NOTE.format("3 questions")) and "question2 is missing or empty" in err
    rows = read_csv(folder / "scored.csv")
    assert [(row["similarity"], row["is_duplicate"]) for row in rows] == [
        ("0.0", "0"),
        ("1.0", "1"),
        ("1.0", "1"),
        ("", ""),
    ]
    assert rows[1]["question2"] == "<b>wwqx</b>"  # as it was written
    *_, err = command("encode", *model, folder / "questions.csv", "--out", folder / "v.npy")
    assert err.endswith(NOTE.format("4 questions"))
    _, out, err = command("mine", *model, folder / "questions.csv", "--out", folder / "found.csv", "--threshold", 0.5)
    assert "4 different questions, 1 copies collapsed, 1 blank rows left out" in out
    assert NOTE.format("3 questions") in err
    archive = ("--archive", folder / "archive")
    command("archive", "build", *model, folder / "questions.csv", "--out", folder / "archive")
    assert command("search", "zzqx", *archive)[2] == NOTE.format("1 question")
    *_, err = command("search", "--file", folder / "questions.csv", *archive, "--out", folder / "hits.csv")
    assert err.endswith(NOTE.format("4 questions"))
    hits = [row for row in read_csv(folder / "hits.csv") if row["rank"] == "1"]
    same = ["zzqx", "wwqx", "qqqx vvqx", "wwqx"]
    assert [(clean(row["found"]), row["similarity"], row["is_duplicate"]) for row in hits][1:] == [
        (text, "1.0", "1") for text in same
    ]


def test_words_in_pieces_are_known() -> None:
    model = random_model(Config(tokens="pieces", buckets=0), ["how", "z", "##z"])
    found = model.without_a_known_word(["zzz", "q", "how q", "", "<p></p>"])
    assert found.tolist() == [False, True, False, False, False]
    assert model.predict("q", "<b>q</b>").is_duplicate
