"""The floors of the package: a module imports only from floors below, and on its own floor from packages to its left.

The import statement is what counts, wherever it stands: inside a function or under TYPE_CHECKING, too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the ground up; within a floor from left to right.
FLOORS = (
    ("errors", "version", "losses"),
    ("config", "system"),
    ("text",),
    ("towers", "pairs"),
    ("model",),
    ("evaluation", "report", "export", "archive"),
    ("training", "mining", "service"),
    ("estimators", "experiment"),
    ("cli",),
)
# The public names, and two modules of version 0.1 that only pass a name on.
LOOK_ANYWHERE = {"siamese", "siamese.subwords", "siamese.batches"}
PLACE = {package: (floor, place) for floor, row in enumerate(FLOORS) for place, package in enumerate(row)}


def imported(source: str) -> Iterator[str]:
    """The modules of the package that a source text imports; of `from siamese import x`, siamese.x."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.partition(".")[0] == "siamese")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "siamese":
            assert node.level == 0
            deep = [f"{node.module}.{name.name}" for name in node.names]
            yield from (name if _is_module(name) else node.module or "" for name in deep)


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def faults(module: str, source: str) -> list[str]:
    """The imports of a module that lead up, or to the right on its own floor."""
    own = module.split(".")[1]
    found = []
    for name in imported(source):
        other = name.split(".")[1] if "." in name else ""
        if other != own and (other not in PLACE or PLACE[other] > PLACE[own]):
            found.append(f"{module} ({own}) imports {name}")
    return found


def modules() -> dict[str, str]:
    """Every module with its source."""
    paths = (ROOT / "siamese").rglob("*.py")
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): path.read_text("utf-8") for name, path in sorted(named.items())}


def test_no_module_imports_from_above() -> None:
    found = [fault for name, source in modules().items() if name not in LOOK_ANYWHERE for fault in faults(name, source)]
    assert not found, "\n".join(found)


def test_no_modules_import_each_other() -> None:
    left = {
        name: {other for other in imported(source) if other != name}
        for name, source in modules().items()
        if name not in LOOK_ANYWHERE
    }
    packages = {name for name in left if any(other.startswith(name + ".") for other in left)}
    left = {name: needs - packages for name, needs in left.items() if name not in packages}
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    assert not left, f"import each other, or need one that does: {', '.join(left)}"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("siamese.model.model", "from siamese.training.batches import Batch"),
        ("siamese.pairs.pairs", "def f():\n    import siamese.cli"),
        ("siamese.towers.transformer", "from siamese.pairs import Pairs"),
        ("siamese.mining.mine", "if TYPE_CHECKING:\n    from siamese.service.app import make_app"),
        ("siamese.config", "from siamese import SiameseModel"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    assert faults(module, source)
