"""Encoding a file as a stream: one row per question in any format, and errors that name the line."""

from pathlib import Path

import numpy as np
import pytest

from siamese.errors import DataError
from siamese.model import files
from siamese.model.model import SiameseModel


@pytest.fixture
def model(tiny_model: Path) -> SiameseModel:
    return SiameseModel.load(tiny_model)


QUESTIONS = ["How do I lose weight?", "", "zzzz", 'Say "hi", then?', "How do I gain weight?"]


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl"])
def test_a_row_a_question(model: SiameseModel, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "AT_A_TIME", 2)  # so that the file takes three blocks
    content = {
        ".txt": "\n".join(QUESTIONS) + "\n",
        ".csv": 'question,id\nHow do I lose weight?,1\n"",2\nzzzz,3\n"Say ""hi"", then?",4\nHow do I gain weight?,5\n',
        ".jsonl": "".join(f'{{"question": {q!r}}}\n'.replace("'", '"') for q in QUESTIONS[:3])
        + '{"question": "Say \\"hi\\", then?"}\n{"question": "How do I gain weight?"}\n',
    }[suffix]
    path, out = tmp_path / f"questions{suffix}", tmp_path / "vectors.npy"
    path.write_text(content, encoding="utf-8")
    seen: list[tuple[int, int]] = []
    assert files.encode_file(model, path, out, progress=lambda *now: seen.append(now)).rows == 5
    assert seen == [(2, 5), (4, 5), (5, 5)]
    np.testing.assert_allclose(np.load(out), model.encode(QUESTIONS), atol=1e-6)
    assert [p.name for p in tmp_path.iterdir()].count("vectors.npy") == len(list(tmp_path.glob("*.npy")))


def test_faults_name_the_line(model: SiameseModel, tmp_path: Path) -> None:
    path = tmp_path / "questions.csv"
    path.write_text("question,id\nb\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2: 1 fields"):
        files.encode_file(model, path, tmp_path / "v.npy")
    with pytest.raises(DataError, match="no column 'text'"):
        files.encode_file(model, path, tmp_path / "v.npy", column="text")
    with pytest.raises(DataError, match="no such file"):
        files.encode_file(model, tmp_path / "none.txt", tmp_path / "v.npy")
    assert not (tmp_path / "v.npy").exists()


def test_a_file_without_questions(model: SiameseModel, tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text("", encoding="utf-8")
    assert files.encode_file(model, path, tmp_path / "v.npy").rows == 0
    assert np.load(tmp_path / "v.npy").shape == (0, model.dimensions)
