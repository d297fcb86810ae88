"""The lesson as a notebook, made from its guide. `python tests/helpers/notebooks.py` runs it and writes it again."""

import doctest
import json
import re
from pathlib import Path
from typing import Any

GUIDE = Path(__file__).parents[2] / "siamese" / "losses" / "README.md"
NOTEBOOK = GUIDE.with_name("lesson.ipynb")
PARTS = re.compile(
    r"^```pycon\n(?P<code>.*?)^```\n|<picture>.*?src=\"lesson/(?P<name>[\w-]+)\.png\".*?</picture>\n", re.M | re.S
)
INTRODUCTION = """\
# A lesson on the triplet loss

The same as [the guide](README.md), to run and to change. It needs the package with the extra `train`: in the folder of
the project, `pip install -e ".[train]" notebook`."""

Cell = tuple[str, str]  # "markdown" or "code", and its source


def cells() -> list[Cell]:
    """Return the cells of the lesson, from its guide."""
    text = GUIDE.read_text("utf-8")
    text = text[text.index("## 1. ") : text.index("## Losses by name")]
    found: list[Cell] = [("markdown", INTRODUCTION), ("code", "from siamese.experiment.lesson import picture")]
    end = 0
    for match in PARTS.finditer(text):
        found.append(("markdown", text[end : match.start()].strip()))
        found += [("code", f'picture("{match["name"]}")')] if match["name"] else _code(match["code"])
        end = match.end()
    return [cell for cell in [*found, ("markdown", text[end:].strip())] if cell[1]]


def _code(session: str) -> list[Cell]:
    """Return a cell for each example that prints, with those before it."""
    found, sources = [], list[str]()
    for example in doctest.DocTestParser().get_examples(session):
        sources.append(example.source)
        if example.want:
            found.append(("code", "".join(sources).strip()))
            sources = []
    return [*found, ("code", "".join(sources).strip())]


def committed() -> dict[str, Any]:
    """Return the notebook that is committed."""
    notebook: dict[str, Any] = json.loads(NOTEBOOK.read_text("utf-8"))
    return notebook


def run(written: list[Cell]) -> Any:
    """Run cells in a new kernel, and return the notebook with what they print."""
    import nbformat
    from nbclient import NotebookClient

    v4 = nbformat.v4
    made = [v4.new_markdown_cell(s) if kind == "markdown" else v4.new_code_cell(s) for kind, s in written]
    for number, cell in enumerate(made):
        cell.id = f"cell-{number}"
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = v4.new_notebook(cells=made, metadata=about)
    place = {"metadata": {"path": str(GUIDE.parents[2])}}
    NotebookClient(notebook, timeout=120, record_timing=False, resources=place).execute()
    for cell in notebook.cells:
        _join(cell.get("outputs", []))
    nbformat.validate(notebook)
    notebook.metadata = about
    return notebook


def _join(outputs: list[Any]) -> None:
    """Join what was printed in several pieces, since the pieces depend on the machine's speed."""
    for i in range(len(outputs) - 1, 0, -1):
        if outputs[i].output_type == outputs[i - 1].output_type == "stream":
            outputs[i - 1].text += outputs.pop(i).text


def printed(cell: dict[str, Any]) -> list[str]:
    """Return the text that a cell shows, without that of its pictures, whose addresses differ."""
    found = []
    for output in cell.get("outputs", []):
        data = output.get("data", {"text/plain": output.get("text")})
        if "image/png" not in data:
            found.append("".join(data["text/plain"]))
    return found


if __name__ == "__main__":
    import nbformat

    nbformat.write(run(cells()), NOTEBOOK)
