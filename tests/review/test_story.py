"""The story of data/messy.csv, which siamese/mining/README.md tells: what each step is worth."""

from pathlib import Path

import pytest

from reports.review.story import ANSWERS, MESSY, Step, Truth, read, tell


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Step]]:
    """Return the folder of a story that was told with the pretrained model, and its steps by name."""
    folder = tmp_path_factory.mktemp("story")
    return folder, {step.name: step for step in tell("pretrained", folder)}


@pytest.mark.ci
def test_decisions_and_adapting_find_more_and_err_less(told: tuple[Path, dict[str, Step]]) -> None:
    mined, unreviewed, wide, reviewed, decided, applied, adapted, both, last = told[1].values()
    assert mined.precision > 0.6
    assert wide.pairs == 700 and wide.recall > 5 * mined.recall  # worth asking about
    assert reviewed.precision == 1 and ANSWERS / 3 < reviewed.pairs < ANSWERS
    assert decided.precision > mined.precision and decided.right == mined.right  # only wrong pairs are left out
    assert applied.precision > 0.9 > unreviewed.precision and applied.recall > unreviewed.recall + 0.15
    assert applied.right > reviewed.right  # decisions imply others
    assert adapted.f1 > 1.5 * mined.f1 and adapted.precision > mined.precision - 0.05
    assert both.precision > adapted.precision and both.f1 > decided.f1
    assert last.precision > 0.9 and last.f1 > applied.f1


@pytest.mark.ci
@pytest.mark.parametrize("name", ["unreviewed", "clean", "cleaner"])
def test_no_row_and_no_column_is_lost(told: tuple[Path, dict[str, Step]], name: str) -> None:
    rows, truth = list(read(MESSY, ";")), Truth()
    every, stay = (list(read(told[0] / f"{name}{ending}.csv")) for ending in ("-rows", ""))
    names = list(rows[0])
    assert [{name: row[name] for name in names} for row in every] == rows
    assert stay == [row for row, fate in zip(rows, every) if fate["decision"] == "keep"]
    assert all(row in stay for row in rows if not row["text"])
    kept = {truth.question[row["ticket"]] for row in stay if row["text"]}
    clusters: dict[str, list[dict[str, str]]] = {}
    for row in every:
        clusters.setdefault(row["cluster"] or row["ticket"], []).append(row)
    for members in clusters.values():  # one of each cluster stays, the newest
        assert [row["ticket"] for row in members if row["decision"] == "keep"] == [
            max(members, key=lambda row: row["created"])["ticket"]
        ]
    assert len(kept) == len(stay) - 2  # no copies
