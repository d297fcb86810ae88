"""The lesson on the loss: its steps, which losses/README.md tells, and a picture of S for each of them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

import torch
from torch import Tensor

from siamese.experiment.lesson_pictures import Picture
from siamese.losses.plain import negatives
from siamese.model.model import SiameseModel

QUESTIONS1 = (
    "How do I learn Python?",
    "How do I begin Java?",
    "How can we lose weight?",
    "What helps you lose weight?",
)
QUESTIONS2 = (
    "How does one begin Python?", "How do I study Java?", "What makes you lose weight?", "How can one lose weight?",
)  # fmt: skip
MARGIN = 0.25
SHOWN = re.compile(r'<picture>.*?src="lesson/(?P<name>[\w-]+)\.png".*?</picture>')
KNOWN = ((2, 3), (3, 2))  # cells of S; pairs 2 and 3 ask the same
COURSE1 = ((0.26726124, 0.53452248, 0.80178373), (0.5178918, 0.57543534, 0.63297887))
COURSE2 = ((0.26726124, 0.53452248, 0.80178373), (-0.5178918, -0.57543534, -0.63297887))


@dataclass(frozen=True)
class Step:
    """A step of the lesson: its title, and its text in Markdown with code, numbers and the names of pictures."""

    title: str
    text: str

    @property
    def pictures(self) -> list[str]:
        """Names of the pictures that it shows."""
        return [match["name"] for match in SHOWN.finditer(self.text)]

    def printed(self) -> str:
        """Return the step for a terminal, with text in place of its pictures."""
        text = SHOWN.sub(lambda match: picture(match["name"]).text(), self.text)
        text = re.sub(r"^```\w*\n", "", text, flags=re.MULTILINE)
        text = re.sub(r"\[([^\]]+)\]\([^)]+\)|\*\*(.+?)\*\*", lambda match: match[1] or match[2], text)
        return f"{self.title}\n{'=' * len(self.title)}\n\n{text}"


def steps() -> list[Step]:
    """Return the steps of the lesson, in order."""
    text = files("siamese.losses").joinpath("README.md").read_text("utf-8")
    found = re.findall(r"^## (\d+\. [^\n]*)\n+(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return [Step(title, body.strip() + "\n") for title, body in found]


def picture(name: str) -> Picture:
    """Return a picture of the lesson by its name, one of PICTURES. A notebook shows it as an image."""
    return PICTURES[name]()


def counted(questions: tuple[str, ...]) -> Tensor:
    """Return a vector of length 1 for each question of five words: 1/√5 for each word that it has, else 0."""
    words = sorted({word for question in QUESTIONS1 + QUESTIONS2 for word in question.split()})
    return torch.tensor([[float(word in question.split()) for word in words] for question in questions]) / 5**0.5


def _S() -> Tensor:
    return counted(QUESTIONS1) @ counted(QUESTIONS2).T


def _same() -> Tensor:
    same = torch.zeros(4, 4, dtype=torch.bool)
    for cell in KNOWN:
        same[cell] = True
    return same


def _hinges(S: Tensor, closest: str = "hardest", same: Tensor | None = None) -> Tensor:
    """Return both hinges of each row's anchor, (B, 2)."""
    return (negatives(S, closest, same) - S.diagonal() + MARGIN).relu().T


def _closest(S: Tensor, closest: str = "hardest", same: Tensor | None = None) -> list[tuple[int, int]]:
    """Return the cell of each row's closest negative that has a hinge above 0."""
    found = []
    for i, (row, nearest) in enumerate(zip(S.tolist(), negatives(S, closest, same)[1].tolist())):
        taken = {i} if same is None else {i, *same[i].nonzero()[:, 0].tolist()}
        j = next(j for j, value in enumerate(row) if value == nearest and j not in taken)
        if nearest - row[i] + MARGIN > 0:
            found.append((i, j))
    return found


def _sums(hinges: Tensor) -> list[str]:
    return [f"{a:.2f} + {b:.2f} = {a + b:.2f}" for a, b in hinges.tolist()]


def _turned(cells: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(j, i) for i, j in cells]


def _marks(B: int = 4, **cells: list[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Return the kind of each marked cell; the diagonal is a duplicate unless it is marked."""
    marks = {(i, i): "duplicate" for i in range(B)}
    return marks | {cell: kind for kind, some in cells.items() for cell in some}


def _words() -> Picture:
    return Picture("S: the cosine of each question 1 and each question 2", _S().numpy(), {}, QUESTIONS1, QUESTIONS2)


def _diagonal() -> Picture:
    others = [(i, j) for i in range(4) for j in range(4) if i != j]
    return Picture("The diagonal: duplicates. The rest: negatives", _S().numpy(), _marks(negative=others))


def _row() -> Picture:
    S, name = _S(), "mean {:.2f} adds {:.2f}, closest {:.2f} adds {:.2f}"
    text = name.format(*(x.item() for pair in zip(negatives(S)[:, 0], _hinges(S)[0]) for x in pair))
    marks = {(0, 0): "duplicate", (0, 1): "closest", (0, 2): "negative", (0, 3): "negative"}
    return Picture("Row 0: its duplicate and its negatives", S.numpy(), marks, right=[text, "", "", ""])


def _rows() -> Picture:
    S = _S()
    return Picture("Rows: question 1 is the anchor", S.numpy(), _marks(closest=_closest(S)), right=_sums(_hinges(S)))


def _columns() -> Picture:
    S = _S()
    below = [f"{a + b:.2f}" for a, b in _hinges(S.T).tolist()]
    marks = _marks(closest=_turned(_closest(S.T)))
    return Picture("Columns: question 2 is the anchor", S.numpy(), marks, below=below)


def _missed() -> Picture:
    S = _S()
    marks = {(1, 1): "duplicate", (0, 0): "duplicate", (1, 0): "closest"}
    row, column = (S[1, 0] - S[i, i] + MARGIN for i in (1, 0))
    right, below = ["", f"row 1: {row:.2f}, so 0", "", ""], [f"column 0: {column:.2f}", "", "", ""]
    return Picture("One cell, compared with two duplicates", S.numpy(), marks, right=right, below=below)


def _known() -> Picture:
    S, same = _S(), _same()
    marks = _marks(closest=_closest(S, same=same), known=list(KNOWN))
    return Picture("Known duplicates are no negatives", S.numpy(), marks, right=_sums(_hinges(S, same=same)))


def _semi_hard() -> Picture:
    S = _S()
    passed = [(i, j) for i in range(4) for j in range(4) if S[i, j] > S[i, i]]
    marks = _marks(closest=_closest(S, "semi-hard"), passed=passed)
    right = _sums(_hinges(S, "semi-hard"))
    return Picture("Semi-hard: what lies above the duplicate is passed over", S.numpy(), marks, right=right)


def _pooled() -> Picture:
    S, same = _S(), _same()
    marks = _marks(closest=[(0, 1), (1, 0)], negative=[(1, 2), (1, 3), (2, 1), (3, 1)], known=list(KNOWN))
    sides = [_hinges(S, same=same).sum(1), _hinges(S.T, same=same).sum(1)]
    both = torch.stack([negatives(S, same=same), negatives(S.T, same=same)]).mean(0)
    pooled = (both - S.diagonal() + MARGIN).relu().sum(0)
    right = [f"{a:.2f} + {b:.2f}, pooled {c:.2f}" for a, b, c in zip(*sides, pooled)]
    return Picture("Rows + columns summed, and pooled", S.numpy(), marks, right=right)


def _swapped() -> Picture:
    first, second = list(QUESTIONS1), list(QUESTIONS2)
    first[0], second[0] = second[0], first[0]
    S = counted(tuple(first)) @ counted(tuple(second)).T
    marks = _marks(new=[(0, j) for j in range(1, 4)] + [(i, 0) for i in range(1, 4)])
    return Picture("Pair 0 swapped: six new cosines", S.numpy(), marks, tuple(first), tuple(second))


def _trained() -> Picture:
    model = SiameseModel.pretrained()
    S = torch.from_numpy(model.encode(list(QUESTIONS1)) @ model.encode(list(QUESTIONS2)).T)
    marks = _marks(known=list(KNOWN))
    return Picture("S of the model that comes with the project", S.numpy(), marks, QUESTIONS1, QUESTIONS2)


def _course() -> Picture:
    S = torch.tensor(COURSE1) @ torch.tensor(COURSE2).T
    marks = _marks(2, closest=_turned(_closest(S.T)))
    below = [f"{a:.2f} + {b:.2f}" for a, b in _hinges(S.T).tolist()]
    return Picture("S of the course's test matrix", S.numpy(), marks, below=below)


PICTURES: dict[str, Callable[[], Picture]] = {
    "words": _words, "diagonal": _diagonal, "row": _row, "rows": _rows, "columns": _columns, "missed": _missed,
    "known": _known, "semi-hard": _semi_hard, "pooled": _pooled, "swapped": _swapped, "trained": _trained,
    "course": _course,
}  # fmt: skip
