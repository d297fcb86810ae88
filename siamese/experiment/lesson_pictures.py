"""Draw S of a small batch with marked cells, as text or as a PNG."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamese.system.files import replacing

# Kind of a mark: what stands around the number in text, its meaning, and its colour on a light and a dark page.
KINDS = {
    "duplicate": ("[{}]", "duplicate", "#1b7f5f", "#3fb68b"),
    "closest": (" {}*", "closest negative, with a loss", "#c2552d", "#f0885a"),
    "negative": (" {}'", "negative", "#8a94a8", "#8a94a8"),
    "known": ("({})", "known duplicate, left out", "#3b4a6b", "#8fb0f0"),
    "passed": ("~{}~", "passed over", "#8e3fa0", "#cf8ee0"),
    "new": (" {}+", "new cosine", "#3b4a6b", "#8fb0f0"),
}
MARK = "siamese lesson"  # in the files, to know them again
PAGES = {False: ("#ffffff", "#1f2328", "#d0d7de"), True: ("#0d1117", "#e6edf3", "#3d444d")}  # page, text, lines


@dataclass(frozen=True)
class Picture:
    """S with marks and notes."""

    title: str
    S: np.ndarray  # (B, B) cosines
    marks: dict[tuple[int, int], str]  # one of KINDS, by cell
    questions1: tuple[str, ...] = ()  # of the rows; without them their numbers stand there
    questions2: tuple[str, ...] = ()
    right: list[str] | None = None  # a note for each row
    below: list[str] | None = None  # a note for each column

    def text(self) -> str:
        """Return the picture as text, with an explanation of the marks."""
        rows = [f"{i} {question}" for i, question in enumerate(self.questions1)] or list(map(str, range(len(self.S))))
        width = max(map(len, rows))
        cell = max([8, *(len(note) + 2 for note in self.below or ())])
        lines = [self.title, "", " " * width + "".join(f"{j:^{cell}}" for j in range(len(self.S))).rstrip()]
        for i, name in enumerate(rows):
            cells = "".join(f"{self._cell(i, j):^{cell}}" for j in range(len(self.S)))
            lines.append(f"{name:<{width}}{cells}  {self.right[i] if self.right else ''}".rstrip())
        if self.below:
            lines.append((" " * width + "".join(f"{note:^{cell}}" for note in self.below)).rstrip())
        if self.questions2:
            lines += ["", *(f"column {j}: {question}" for j, question in enumerate(self.questions2))]
        if used := self._used():
            lines += ["", "; ".join(f"{KINDS[kind][0].format('x').strip()} {KINDS[kind][1]}" for kind in used)]
        return "\n".join("    " + line if line else "" for line in lines)

    def _cell(self, i: int, j: int) -> str:
        form = KINDS[self.marks[i, j]][0] if (i, j) in self.marks else " {} "
        return form.format(number(self.S[i, j]))

    def draw(self, path: Path, dark: bool = False) -> None:
        """Write the picture as a PNG, for a light or a dark page."""
        with replacing(path) as temporary:
            temporary.write_bytes(self.png(dark))

    def png(self, dark: bool = False) -> bytes:
        """Return the picture as a PNG."""
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
        from matplotlib.patches import Patch, Rectangle
        from PIL import Image  # which matplotlib needs
        from PIL.PngImagePlugin import PngInfo

        page, ink, line = PAGES[dark]
        size, words = len(self.S), bool(self.questions1)
        notes = 0.08 * max(len(line) for note in self.right for line in note.split(", ")) if self.right else 0.0
        width, height = max(3.2, 0.7 * size + (2.6 if words else 0.9) + notes), 0.5 * size + (2.1 if words else 1.5)
        figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1), facecolor=page)
        axes = figure.subplots()
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), facecolor=page)
        for (i, j), value in np.ndenumerate(self.S):
            kind = self.marks.get((i, j))
            strong = kind not in (None, "negative")
            colour = _colour(kind, dark) if kind else ink
            axes.add_patch(Rectangle((j - 0.46, i - 0.44), 0.92, 0.88, facecolor=(colour, 0.18 if strong else 0),
                                     edgecolor=colour if kind else line, linewidth=1.6 if strong else 0.8))  # fmt: skip
            axes.text(j, i, number(value), ha="center", va="center", color=colour, fontsize=11,
                      weight="bold" if strong else "normal")  # fmt: skip
        axes.set_xticks(range(size), _labels(self.questions2, size))
        axes.set_yticks(range(size), _labels(self.questions1, size))
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.tick_params(length=0, colors=ink, labelsize=9)
        for label in axes.get_xticklabels() if words else ():
            label.set(rotation=35, ha="left")
        axes.set_xlabel("question 2 of pair", color=ink, fontsize=9)
        axes.set_ylabel("question 1 of pair", color=ink, fontsize=9)
        axes.spines[:].set_visible(False)
        note_style: dict[str, Any] = {"textcoords": "offset points", "color": ink, "fontsize": 9}
        for i, note in enumerate(self.right or ()):
            axes.annotate(note.replace(", ", "\n"), (size - 0.5, i), (6, 0), va="center", **note_style)
        for j, note in enumerate(self.below or ()):
            axes.annotate(note, (j, size - 0.5), (0, -6), ha="center", va="top", **note_style)
        figure.suptitle(self.title, color=ink, fontsize=11)
        patches = [Patch(facecolor=(_colour(kind, dark), 0.18), edgecolor=_colour(kind, dark), label=KINDS[kind][1])
                   for kind in self._used()]  # fmt: skip
        if patches:
            figure.legend(handles=patches, loc="outside lower center", ncols=2 if width > 4 else 1, fontsize=8.5,
                          frameon=False, labelcolor=ink)  # fmt: skip
        drawn, written, about = io.BytesIO(), io.BytesIO(), PngInfo()
        figure.savefig(drawn, format="png", dpi=100)
        about.add_text("Software", MARK)
        Image.open(drawn).convert("RGB").quantize(64).save(written, "png", pnginfo=about)  # a third of the size
        return written.getvalue()

    def _used(self) -> list[str]:
        return [kind for kind in KINDS if kind in self.marks.values()]

    def _repr_png_(self) -> bytes:
        return self.png()


def is_ours(path: Path) -> bool:
    """Return whether a file is a picture of the lesson."""
    with open(path, "rb") as file:
        return MARK.encode() in file.read(1000)


def number(value: float) -> str:
    """Return a cosine with two decimals, without the minus of -0.00."""
    return f"{round(float(value), 2) + 0.0:.2f}"


def _colour(kind: str, dark: bool) -> str:
    return KINDS[kind][3 if dark else 2]


def _labels(questions: tuple[str, ...], size: int) -> list[str]:
    """Return the number of each pair, with its question in two lines."""
    labels = []
    for i, words in enumerate(question.split() for question in questions):
        half = (len(words) + 1) // 2
        labels.append(f"{i}: {' '.join(words[:half])}\n{' '.join(words[half:])}")
    return labels or [str(i) for i in range(size)]
