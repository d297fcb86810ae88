"""The command `lesson`, which explains the triplet loss on four pairs of questions. Light at import."""

import argparse

from siamese.cli import options as shared
from siamese.errors import UserError
from siamese.system.outputs import Folder


def add_commands(command: shared.Command) -> None:
    """Add `lesson`."""
    sub = command("lesson", lesson, "Explain the triplet loss step by step, on four pairs of questions.")
    sub.add_argument("step", nargs="?", type=int, metavar="N", help="one step (default: all)")
    sub.add_argument("--pictures", metavar="DIR", help="instead of printing, draw S of each step into this folder")
    shared.add_force(sub)


def lesson(options: argparse.Namespace) -> None:
    from siamese.experiment import lesson as told

    steps = told.steps()
    if options.step is not None and not 1 <= options.step <= len(steps):
        raise UserError(f"step {options.step}: the lesson has the steps 1 to {len(steps)}")
    chosen = steps if options.step is None else [steps[options.step - 1]]
    if not options.pictures:
        print("\n\n".join(step.printed() for step in chosen), end="")
        return
    from pathlib import Path

    from siamese.experiment.lesson_pictures import is_ours

    names = [f"{name}{page}.png" for step in chosen for name in step.pictures for page in ("", "-dark")]
    shared.check_outputs(
        options, Folder("--pictures", options.pictures, names, dict.fromkeys(names, is_ours)), inputs=()
    )
    folder = Path(options.pictures)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        told.picture(name.removesuffix(".png").removesuffix("-dark")).draw(folder / name, dark="-dark" in name)
    print(f"{len(names)} pictures, half of them for a dark page: {folder}")
