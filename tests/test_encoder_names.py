"""Names of sentence encoders, and the pairs that their thresholds are fitted on. Needs none of their libraries."""

import csv
from pathlib import Path

import pytest
from commands import Command

from siamese import SiameseModel
from siamese.errors import ModelError
from siamese.model.encoders import PAIRS, is_encoder, known_encoders
from siamese.pairs.reading import read_pairs


def test_the_pairs_of_the_calibration_are_rows_of_ours_and_none_is_a_test_pair() -> None:
    with open("data/questions.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ours = {(r["question1"], r["question2"], int(r["is_duplicate"])) for r in rows if r["split"] != "test"}
    tests = {question for r in rows if r["split"] == "test" for question in (r["question1"], r["question2"])}
    trained = {question for pair in ours for question in pair[:2]}
    pairs = read_pairs(PAIRS)
    found = set(zip(pairs.question1, pairs.question2, pairs.labels.tolist()))
    assert len(pairs) == len(found) == 2_000 and found <= ours
    assert not {question for pair in found for question in pair[:2]} & (tests - trained)


def test_a_name_is_that_of_an_encoder_or_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("theirs").mkdir()
    Path("theirs/modules.json").write_text("[]")
    encoders = ["theirs", "all-MiniLM-L6-v2", "intfloat/multilingual-e5-small"]
    others = ["nowhere", "json", "models/lastest", "mine", "mine/model", "./model", "/a/b", "a/b/c"]
    assert [name for name in (*encoders, *others) if is_encoder(name)] == encoders


def test_the_tested_encoders_have_a_threshold() -> None:
    for one in known_encoders().values():
        assert 0 < (one.calibration.threshold() or 0) < 1 and len(one.checksum) == 64


def test_what_is_no_encoder_is_said_in_a_line(command: Command, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="models/lastest: no trained model there"):
        SiameseModel.load("models/lastest")
    code, _, err = command("predict", "a", "b", "--model", "pretrained", "--calibrate-on", tmp_path / "p.csv")
    assert (code, err.count("\n")) == (2, 1) and "--calibrate-on is for sentence encoders" in err
