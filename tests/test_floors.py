"""The floors of the package: a module imports only from floors below, and on its own floor from packages to its left.

Import statements count wherever they stand, inside functions and under TYPE_CHECKING too.
"""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the ground up; within a floor from left to right.
FLOORS = (
    ("errors", "version", "plugins", "losses"),
    ("config", "system"),
    ("text",),
    ("towers", "pairs"),
    ("model",),
    ("evaluation", "report", "export", "archive"),
    ("training", "mining", "service"),
    ("estimators", "testing", "experiment", "review"),
    ("cli",),
)
# The public names, and two modules of version 0.1 that only pass a name on.
LOOK_ANYWHERE = {"siamese", "siamese.subwords", "siamese.batches"}
PLACE = {package: (floor, place) for floor, row in enumerate(FLOORS, 1) for place, package in enumerate(row)}


@cache
def imported(source: str) -> tuple[str, ...]:
    """Return the modules of this repository that a source text imports; for `from siamese import x`, siamese.x."""
    return tuple(_imported(source))


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if _is_ours(name.name))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import; write the whole name"
            module = node.module or ""
            deep = [f"{module}.{name.name}" for name in node.names if _is_ours(module)]
            yield from (name if _is_module(name) else module for name in deep)


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in ("siamese", "reports", "tests", "run")


@cache
def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def _floor(module: str) -> str:
    """Return where a module stands, for a message."""
    package = module.removeprefix("siamese.").partition(".")[0]
    return f"{package}, floor {PLACE[package][0]}" if package in PLACE else f"{package}, on no floor"


def faults(module: str, source: str) -> list[str]:
    """Return a line for each import of a module that leads up, or to the right on its own floor."""
    own = module.split(".")[1]
    if own not in PLACE:
        return [f"{module}: {own} is on no floor; add it to FLOORS in tests/test_floors.py"]
    found = []
    for name in imported(source):
        other = name.removeprefix("siamese.").partition(".")[0]
        if other != own and (other not in PLACE or PLACE[other] > PLACE[own]):
            way = "to the right" if PLACE.get(other, (99,))[0] == PLACE[own][0] else "upwards"
            found.append(f"{module} ({_floor(module)}) imports {name} ({_floor(name)}): {way}")
    return found


def modules() -> dict[str, str]:
    """Return the source of every module that has a floor."""
    paths = (ROOT / "siamese").rglob("*.py")
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    sources = {name.removesuffix(".__init__"): path.read_text("utf-8") for name, path in sorted(named.items())}
    return {name: source for name, source in sources.items() if name not in LOOK_ANYWHERE}


def test_no_module_imports_from_above() -> None:
    found = [fault for name, source in modules().items() for fault in faults(name, source)]
    rule = "a module imports only from floors below, and on its own floor from packages to its left"
    assert not found, "\n".join([f"{rule}:", *found])


def test_no_modules_import_each_other() -> None:
    needs = {name: {other for other in imported(source) if other != name} for name, source in modules().items()}
    packages = {name for name in needs if any(other.startswith(name + ".") for other in needs)}
    circle: list[str] = []
    try:
        TopologicalSorter({name: needs[name] - packages for name in needs.keys() - packages}).prepare()
    except CycleError as error:
        circle = error.args[1][::-1]
    assert not circle, " imports ".join(circle)


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("siamese.model.model", "from siamese.training.batches import Batch",
         "siamese.model.model (model, floor 5) imports siamese.training.batches (training, floor 7): upwards"),
        ("siamese.pairs.pairs", "def f():\n    import siamese.cli",
         "siamese.pairs.pairs (pairs, floor 4) imports siamese.cli (cli, floor 9): upwards"),
        ("siamese.towers.transformer", "from siamese.pairs import Pairs",
         "siamese.towers.transformer (towers, floor 4) imports siamese.pairs (pairs, floor 4): to the right"),
        ("siamese.mining.mine", "if TYPE_CHECKING:\n    from siamese.service.app import make_app",
         "siamese.mining.mine (mining, floor 7) imports siamese.service.app (service, floor 7): to the right"),
        ("siamese.config", "from siamese import SiameseModel",
         "siamese.config (config, floor 2) imports siamese (siamese, on no floor): upwards"),
        ("siamese.mining.mine", "import reports.mining.scale",
         "siamese.mining.mine (mining, floor 7) imports reports.mining.scale (reports, on no floor): upwards"),
        ("siamese.attic.box", "", "siamese.attic.box: attic is on no floor; add it to FLOORS in tests/test_floors.py"),
    ],
)  # fmt: skip
def test_a_wrong_import_is_told(module: str, source: str, message: str) -> None:
    assert faults(module, source) == [message]
