"""The notebook of the lesson runs from its first cell to its last, and prints what is committed."""

import notebooks
import pytest
from libraries import needs

needs("nbclient", "nbformat", "ipykernel")


@pytest.mark.slow
def test_the_notebook_runs() -> None:
    run, committed = notebooks.run(notebooks.cells())["cells"], notebooks.committed()["cells"]
    assert [notebooks.printed(cell) for cell in run] == [notebooks.printed(cell) for cell in committed]
    pictures = [output for cell in run for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    assert len(pictures) == 12
