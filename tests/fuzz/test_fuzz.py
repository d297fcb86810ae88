"""The first corpus of fuzzing, inputs that it once found, and a short run of each target."""

import dataclasses
from pathlib import Path

import pytest

from tests.fuzz import run
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.slow

EXAMPLES = {"text": 100, "pairs": 200, "model": 500}  # about two seconds each


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_cases(name: str) -> None:
    kept = [path.read_bytes() for path in sorted((run.CASES / name).glob("*"))]
    for data in (b"", *TARGETS[name].seeds(), *kept):
        TARGETS[name].run(data)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", TARGETS)
def test_a_short_run(name: str) -> None:
    run.check(TARGETS[name].inputs(), TARGETS[name].run, 1, EXAMPLES[name])


def test_what_fails_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fragile(data: bytes) -> None:
        assert b"o" not in data

    monkeypatch.setitem(TARGETS, "text", dataclasses.replace(TARGETS["text"], run=fragile))
    monkeypatch.setattr(run, "CASES", tmp_path)
    (tmp_path / "text").mkdir()
    with pytest.raises(AssertionError):
        run.by_hypothesis("text", 60, 1)
    (kept,) = (tmp_path / "text").iterdir()
    assert b"o" in kept.read_bytes()
