"""The command `losses`, which explains a loss without importing torch."""

import argparse
import ast
import json
from pathlib import Path

from siamese import losses as package
from siamese.cli.options import Command, default_of
from siamese.config import Config
from siamese.losses.registry import LOSSES, Loss
from siamese.system.program import program

SLOTS = {"in-batch": "loss", "labelled": "labelled"}  # option of `train` by slot
SHOWN = ("name", "slot", "formula", "needs", "source")


def add_commands(command: Command) -> None:
    """Add `losses`."""
    sub = command("losses", losses, "List the losses, or explain one.")
    sub.add_argument("name", nargs="?", choices=list(LOSSES), metavar="NAME", help="the loss to explain")
    sub.add_argument("--json", action="store_true", help="print JSON")


def losses(options: argparse.Namespace) -> None:
    chosen = [LOSSES[options.name]] if options.name else list(LOSSES.values())
    if options.json:
        rows = [{field: getattr(loss, field) for field in SHOWN} for loss in chosen]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif options.name:
        print(explanation(*chosen))
    else:
        for slot, option in SLOTS.items():
            print(f"{slot} losses, by --{option} NAME:")
            for loss in chosen:
                if loss.slot == slot:
                    print(f"  {loss.name:<19} {loss.formula}\n{'':21} needs {loss.needs}; source: {loss.source}")


def explanation(loss: Loss) -> str:
    """Return the purpose, formula, needs, source and settings of a loss, and an example."""
    settings = [
        f"--{field.replace('_', '-')}{default_of(Config.__dataclass_fields__[field])}"
        for field in loss.settings.values()
    ]
    return f"""\
{loss.name}: {loss.slot} loss

{_docstring(loss)}

formula:   {loss.formula}
needs:     {loss.needs}
source:    {loss.source}
settings:  {", ".join(settings) or "none"}
example:   {program()} train --{SLOTS[loss.slot]} {loss.name}
in Python: siamese.losses.{loss.home.rpartition(".")[2]}"""


def _docstring(loss: Loss) -> str:
    """Return the docstring of the loss's class without its arguments. Reads the source, since torch is not loaded."""
    module, _, name = loss.home.rpartition(".")
    tree = ast.parse((Path(package.__path__[0]) / f"{module}.py").read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return (ast.get_docstring(found) or "").partition("\n\nArgs:")[0]
