"""Names of data sets, hf:NAME[:CONFIG[:SPLIT]]. tests/extras tests how they are read."""

import sys
from pathlib import Path

import pytest
from commands import Command

from siamese.errors import DataError
from siamese.pairs.huggingface import parse


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("hf:pairs", ("pairs", None, None)),
        ("hf:nyu-mll/glue:qqp", ("nyu-mll/glue", "qqp", None)),
        ("hf:nyu-mll/glue:qqp:validation", ("nyu-mll/glue", "qqp", "validation")),
        ("hf:me/my_pairs.v2::test", ("me/my_pairs.v2", None, "test")),
        ("hf:a folder", ("a folder", None, None)),
        ("hf:a folder::test", ("a folder", None, "test")),
        ("hf:with:colon", ("with:colon", None, None)),
        ("hf:with:colon:config:test", ("with:colon", "config", "test")),
    ],
)
def test_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, meaning: tuple[str, str | None, str | None]
) -> None:
    (tmp_path / "a folder").mkdir()
    (tmp_path / "with:colon").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse(name) == meaning


@pytest.mark.parametrize("name", ["hf:", "hf:a/b/c", "hf:./a", "hf:/tmp/no such folder", "hf::a", "hf:../a", "hf:a b"])
def test_what_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"expected hf:NAME, hf:NAME:CONFIG or hf:NAME:CONFIG:SPLIT"):
        parse(name)


def test_a_file_needs_no_hf(small_file: Path) -> None:
    with pytest.raises(DataError, match="a file; leave out 'hf:'"):
        parse(f"hf:{small_file}")


def test_the_library_that_is_not_there_is_told(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    code, out, err = command("predict", "--file", "hf:nyu-mll/glue:qqp", "--model", "pretrained")
    assert (code, out) == (2, "")
    assert err.endswith("error: hf:nyu-mll/glue:qqp: a data set of Hugging Face needs datasets: pip install datasets\n")
