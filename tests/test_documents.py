"""The guides: their commands run and print what is shown, and no link is broken."""

import importlib
import re
import textwrap
import tomllib
from pathlib import Path
from urllib.parse import unquote

import documents
import pytest
from documents import CONTRIBUTING, GUIDES, ROOT, named
from files import read_csv

from siamese.config import Config
from siamese.losses import registry

ALL = sorted(path for path in ROOT.rglob("*.md") if not {".venv", "models"} & {*path.relative_to(ROOT).parts})


@pytest.mark.ci
@pytest.mark.parametrize("guide", GUIDES, ids=named)
def test_every_command_runs(guide: Path, tmp_path: Path) -> None:
    documents.run(guide, tmp_path)


@pytest.mark.ci
def test_every_command_of_the_readme_runs_twice_in_a_row(tmp_path: Path) -> None:
    documents.run(ROOT / "README.md", tmp_path, times=2)  # nobody's work is in the way


@pytest.mark.ci
@pytest.mark.parametrize("guide", documents.with_label("slow"), ids=named)
def test_every_slow_command_runs(guide: Path, tmp_path: Path) -> None:
    assert documents.run(guide, tmp_path, "slow")
    for results in tmp_path.glob("models/compare/results.csv"):  # of the example of `compare`: every model learns
        rows = read_csv(results)
        always = 2 * 0.319 / (1 + 0.319)  # F1 of calling every unseen test pair a duplicate, of which 31.9 % are
        assert len(rows) == 6 and all(float(row["unseen_f1"]) > always for row in rows)


def test_the_readme_is_short_and_shows_the_five_commands() -> None:
    readme = ROOT / "README.md"
    assert len(readme.read_text(encoding="utf-8").splitlines()) <= 200
    commands = [command.split() for block in documents.blocks(readme) for command, _ in block.commands()]
    assert {words[2] for words in commands} >= {"train", "predict", "evaluate", "archive", "search", "mine"}


@pytest.mark.parametrize("shown", [["similarity 0.8, not duplicate"], ["similarity 0.9, duplicate"], []])
def test_a_guide_that_shows_something_else_is_found(shown: list[str]) -> None:
    printed = "note\nsimilarity 0.8004, duplicate\n"
    documents.compare("predict", ["similarity 0.8, …cate", "note"], printed)
    documents.compare("predict", ["similarity  0.9, duplicate"], printed, numbers=False)
    with pytest.raises(AssertionError, match="0.8004"):
        documents.compare("predict", shown, printed)


def test_the_loss_that_contributing_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("siamese.losses.labelled")
    names = {**vars(module), "pytest": pytest}
    loss, test = (block.text for block in documents.blocks(CONTRIBUTING) if block.language == "py")
    (entry,) = (block.text for block in documents.blocks(CONTRIBUTING) if block.language == "toml")
    exec(textwrap.dedent(loss), names)
    exec(textwrap.dedent(test) + "\ntest_mae_by_hand()", names)
    monkeypatch.setattr(module, "MAELoss", names["MAELoss"], raising=False)
    ((name, fields),) = tomllib.loads(textwrap.dedent(entry)).items()
    registered = registry.Loss(name, **fields)
    assert type(registered.make(Config())) is names["MAELoss"]


@pytest.mark.parametrize("document", ALL, ids=named)
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / unquote(path)).resolve() if path else document
        assert target.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


def anchors(document: Path) -> set[str]:
    """Return the anchors that a page of Markdown gives its headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
