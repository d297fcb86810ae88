"""The lesson: each number that it prints or states, its listing, its pictures, and the command."""

import ast
import doctest
import inspect
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import documents
import notebooks
import pytest
import torch
from commands import Command
from conformance_numbers import conformance

from siamese.experiment import lesson
from siamese.losses import TripletLossFn, plain

README = Path(lesson.__file__).parents[1] / "losses" / "README.md"
STEPS = lesson.steps()
S = [[0.4, 0.6, 0.0, 0.2], [0.4, 0.8, 0.0, 0.2], [0.2, 0.2, 0.4, 0.8], [0.0, 0.0, 0.8, 0.4]]


@pytest.fixture(autouse=True)
def printing() -> Iterator[None]:
    """Undo what the lesson sets: two decimals."""
    yield
    torch.set_printoptions(profile="default")


def test_everything_that_the_lesson_prints() -> None:
    text = re.sub("^```.*$", "", README.read_text("utf-8"), flags=re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(text, {}, "lesson", str(README), 0)
    assert len(examples.examples) > 40
    runner = doctest.DocTestRunner(verbose=False)
    assert runner.run(examples).failed == 0


def test_the_notebook_is_the_guide() -> None:
    """Its cells are made from the guide, and what they printed when it was run is what the guide shows."""
    cells = notebooks.committed()["cells"]
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in cells] == notebooks.cells()
    text = re.sub("^```.*$", "", README.read_text("utf-8"), flags=re.MULTILINE)
    shown = [example.want.strip() for example in doctest.DocTestParser().get_examples(text) if example.want]
    assert [text.strip() for cell in cells for text in notebooks.printed(cell)] == shown
    pictures = [cell for cell in cells if "image/png" in str(cell.get("outputs"))]
    assert len(pictures) == len(lesson.PICTURES)


def hinges(anchor: float, negatives: list[float]) -> tuple[float, float]:
    """Return both hinges of an anchor, with arithmetic that one can do in one's head."""
    return (
        max(sum(negatives) / len(negatives) - anchor + 0.25, 0),
        max(max(negatives) - anchor + 0.25, 0),
    )


def side(matrix: list[list[float]], known: bool = False) -> list[float]:
    """Return the loss of each row's anchor; `known` leaves the duplicates of pairs 2 and 3 out."""
    out = {(2, 3), (3, 2)} if known else set()
    return [
        sum(hinges(row[i], [x for j, x in enumerate(row) if j != i and (i, j) not in out]))
        for i, row in enumerate(matrix)
    ]


def turned(matrix: list[list[float]]) -> list[list[float]]:
    return [list(column) for column in zip(*matrix)]


def test_the_matrix_is_that_of_shared_words() -> None:
    shared = [[len({*a.split()} & {*b.split()}) / 5 for b in lesson.QUESTIONS2] for a in lesson.QUESTIONS1]
    assert shared == S
    assert {*lesson.QUESTIONS1[0].split()} & {*lesson.QUESTIONS2[1].split()} == {"How", "do", "I"}  # step 1
    assert all(len({*question.split()}) == 5 for question in lesson.QUESTIONS1 + lesson.QUESTIONS2)


def test_the_numbers_between_the_lines() -> None:
    rows, columns = side(S), side(turned(S))
    first = hinges(0.4, [0.6, 0.0, 0.2])
    assert first == pytest.approx((0.1167, 0.45), abs=1e-4) and sum(first) == pytest.approx(0.57, abs=0.005)  # step 3
    assert sum(rows) == pytest.approx(2.23, abs=0.005) and sum(rows) / 4 == pytest.approx(0.56, abs=0.005)  # 4
    assert S[1][1] - max(S[1][0], S[1][2], S[1][3]) == pytest.approx(0.40)
    closest, other = 1 + 1 / 3, 1 / 3  # the slopes of step 4
    assert closest / other == pytest.approx(4)
    assert columns == pytest.approx([0.30, 0.05, 0.77, 0.90], abs=0.005)  # 5
    known = side(S, known=True)
    assert sum(rows) - sum(known) == pytest.approx(1.57, abs=0.005)  # 7
    assert sum(known) < sum(rows) / 2  # "most of it"
    assert hinges(0.4, [0.2])[1] == pytest.approx(0.05)  # 8: row 0 passes over 0.60
    assert (sum(first) + columns[0]) / 2 == pytest.approx(0.43, abs=0.005)  # 9
    assert S[1][1] - (0.40 + 0.60) / 2 == pytest.approx(0.30)
    assert side(turned(S), known=True)[1] == pytest.approx(0.05) and known[1] == 0
    every = len(list(combinations(lesson.QUESTIONS1 + lesson.QUESTIONS2, 2)))
    assert (every, every - 16) == (28, 12)  # 10


def test_swapping_shows_questions_of_one_side() -> None:
    """Step 10: none of the six new cells compares a first question with a second one."""
    picture = lesson.picture("swapped")
    new = [cell for cell, kind in picture.marks.items() if kind == "new"]
    assert len(new) == 6
    for i, j in new:
        pair = {picture.questions1[i], picture.questions2[j]}
        assert pair <= {*lesson.QUESTIONS1} or pair <= {*lesson.QUESTIONS2}


def test_the_twelve_combinations_are_those_of_the_course() -> None:
    table = {
        cells[0]: [cell.strip("*") for cell in cells[1:]]
        for line in README.read_text("utf-8").splitlines()
        if re.match(r"\| (rows|columns|both, summed) \|", line)
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    values = conformance()[0]["values"]
    for name, key in (("rows", "rows"), ("columns", "columns"), ("both, summed", "both_summed")):
        found = [values[closest][key][way] for closest in ("hardest", "semi-hard") for way in ("mean", "sum")]
        assert table[name] == [f"{value:.4f}" for value in found]
    published = {f"{value:.4f}".rstrip("0") for case in conformance() for value in case["published"].values()}
    bold = set(re.findall(r"\*\*([\d.]+)\*\*", STEPS[-1].text)) - {"0.5000"}
    assert bold == {"0.5", "0.7035", "0.3022", "2.4262"} and bold <= published


def test_the_listing_is_the_code() -> None:
    (listing,) = [block.text for block in documents.blocks(README) if block.text.startswith("def negatives")]
    code = "\n".join(inspect.getsource(function) for function in (plain.negatives, plain.triplet_loss))
    assert bare(listing) == bare(code)
    lines = [line for function in ast.parse(bare(code)).body for line in ast.unparse(function).splitlines()[1:]]
    assert len(lines) == 12


def bare(code: str) -> str:
    """Return code without comments, docstrings and annotations."""
    tree = ast.parse(code)
    for function in tree.body:
        assert isinstance(function, ast.FunctionDef)
        function.returns = None
        for argument in function.args.args:
            argument.annotation = None
        if isinstance(function.body[0], ast.Expr):
            del function.body[0]
    return ast.unparse(tree)


def test_every_step_has_a_picture_for_light_and_dark_pages() -> None:
    assert [step.title.split(".")[0] for step in STEPS] == [str(n) for n in range(1, len(STEPS) + 1)]
    assert [name for step in STEPS for name in step.pictures] == list(lesson.PICTURES)
    for name in lesson.PICTURES:
        for page in ("", "-dark"):
            assert f'"lesson/{name}{page}.png"' in README.read_text("utf-8")
            assert (README.parent / "lesson" / f"{name}{page}.png").read_bytes()[:4] == b"\x89PNG"


def test_the_loss_of_the_pictures_is_the_fast_one() -> None:
    v1, v2, same = lesson.counted(lesson.QUESTIONS1), lesson.counted(lesson.QUESTIONS2), lesson._same()
    notes = lesson.picture("pooled").right
    assert notes is not None
    rows, columns, pooled = zip(*(map(float, re.findall(r"[\d.]+", note)) for note in notes))
    for found, options in (
        (rows, {"anchors": "rows"}),
        (columns, {"anchors": "columns"}),
        (pooled, {"combine": "pooled"}),
    ):
        loss = TripletLossFn(v1, v2, reduction="sum", same=same, **options)  # type: ignore[arg-type]
        assert sum(found) == pytest.approx(loss.item(), abs=0.011)  # of rounded numbers


def test_the_command_prints_the_lesson(command: Command) -> None:
    _, printed, _ = command("lesson")
    for step in STEPS:
        assert f"{step.title}\n{'=' * len(step.title)}\n" in printed
    assert "<picture>" not in printed and "```" not in printed and "](" not in printed
    assert "0 [0.40]   0.60*   0.00    0.20    0.12 + 0.45 = 0.57" in printed
    assert command("lesson", "3")[1].startswith("3. One row, two hinges\n")


@pytest.mark.parametrize("step", ["0", "13"])
def test_a_step_that_is_not_there(step: str, command: Command) -> None:
    code, _, said = command("lesson", step)
    assert code == 2 and f"step {step}: the lesson has the steps 1 to 12" in said


@pytest.mark.slow
def test_the_command_draws_the_lesson(command: Command, tmp_path: Path) -> None:
    words = "lesson", "3", "--pictures", str(tmp_path / "new")
    assert command(*words)[1].startswith("2 pictures")
    light, dark = ((tmp_path / "new" / name).read_bytes() for name in ("row.png", "row-dark.png"))
    assert light[:4] == dark[:4] == b"\x89PNG" and light != dark
    assert command(*words)[0] == 0  # our own are replaced
    (tmp_path / "new" / "row.png").write_bytes(b"a photograph")
    code, _, said = command(*words)
    assert code == 2 and "row.png: exists" in said
