"""The command `losses`, which explains a loss without importing torch."""

import argparse
import ast
import inspect
import json
from pathlib import Path

from siamese import losses as package
from siamese import plugins
from siamese.cli.options import Command, Names, default_of
from siamese.config import Config
from siamese.losses import registry
from siamese.losses.registry import LOSSES, Loss
from siamese.system.program import program

SLOTS = {"in-batch": "loss", "labelled": "labelled"}  # option of `train` by slot
SHOWN = ("name", "slot", "formula", "needs", "source")


def add_commands(command: Command) -> None:
    """Add `losses`."""
    sub = command("losses", losses, "List the losses, or explain one.")
    sub.add_argument("name", nargs="?", choices=Names.of(LOSSES, plugins.LOSSES), metavar="NAME",
                     help="the loss to explain; a plug-in, by MODULE:CLASS or its name, is imported")  # fmt: skip
    sub.add_argument("--json", action="store_true", help="print JSON")


def losses(options: argparse.Namespace) -> None:
    chosen = list(LOSSES.values())
    if options.name in LOSSES:
        chosen = [LOSSES[options.name]]
    elif options.name:
        chosen = [registry.find(plugins.admit(plugins.LOSSES, options.name, "losses"))]
    if options.json:
        rows = [{field: getattr(loss, field) for field in SHOWN} for loss in chosen]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif options.name:
        print(explanation(chosen[0], options.name))
    else:
        for slot, option in SLOTS.items():
            print(f"{slot} losses, by --{option} NAME:")
            for loss in chosen:
                if loss.slot == slot:
                    print(f"  {loss.name:<19} {loss.formula}\n{'':21} needs {loss.needs}; source: {loss.source}")
        if offered := plugins.installed(plugins.LOSSES):
            print("plug-ins of installed packages, not imported, by --loss NAME or --labelled NAME:")
            for name, point in offered.items():
                package = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
                print(f"  {name:<19} {point.value}, package {package}")


def explanation(loss: Loss, given: str = "") -> str:
    """Return the purpose, formula, needs, source, settings and an example of a loss; a plug-in is named as `given`."""
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
example:   {program()} train --{SLOTS[loss.slot]} {given or loss.name}
in Python: {loss.home if loss.plugin else "siamese.losses." + loss.home.rpartition(".")[2]}"""


def _docstring(loss: Loss) -> str:
    """Return the docstring of the loss's class without its arguments. Reads the source, since torch is not loaded."""
    if loss.plugin is not None:
        return (inspect.getdoc(loss.plugin) or "").partition("\n\nArgs:")[0]
    module, _, name = loss.home.rpartition(".")
    tree = ast.parse((Path(package.__path__[0]) / f"{module}.py").read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return (ast.get_docstring(found) or "").partition("\n\nArgs:")[0]
