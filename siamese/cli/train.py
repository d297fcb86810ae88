"""The command `train`. Light at import."""

import argparse

from siamese.cli import options as shared
from siamese.config import NOTHING, PACKAGED, PRESETS, PRETRAINED, recipe, start_of, with_plugins
from siamese.system.program import command_line


def add_commands(command: shared.Command) -> None:
    """Add `train`."""
    sub = command("train", train, "Train a model on pairs of questions.")
    shared.add_data(sub, "; or 'quora'")
    sub.add_argument("--split", choices=["course"], help="split --data as the published assignment did")
    sub.add_argument("--out", default=shared.MODEL, metavar="DIR", help=f"the model folder (default {shared.MODEL})")
    sub.add_argument("--resume", action="store_true", help="continue a stopped run")
    shared.add_force(sub)
    sub.add_argument("--start-from", metavar="DIR", help="start with the weights and vocabulary of this model folder, "
                     f"of {' or '.join(PACKAGED)}, the models of the package, or from '{NOTHING}' (default "
                     f"{PRETRAINED} for the preset best, else {NOTHING})")  # fmt: skip
    sub.add_argument("--log", choices=["tensorboard"], help="also write curves to DIR/tensorboard")
    sub.add_argument("--preset", choices=list(PRESETS), help="the recipe (default best; with --tower transformer or "
                     "--unlabelled, transformer or distilled)")  # fmt: skip
    shared.add_recipe(sub, "each option changes one setting of the preset; the defaults are those of 'best'")


def train(options: argparse.Namespace) -> None:
    source = shared.data_source(options) if options.data or options.split or not options.unlabelled else None
    changes = with_plugins(shared.changed_fields(options))  # before a model is loaded that may have one of them
    changes.pop("start_from", None)
    start = None
    if named := start_of(options.start_from, options.preset, changes):
        start, changes["start_from"] = shared.load_model(named), named
    config = recipe(options.preset, changes, start.config if start else None)
    from siamese.pairs import splits
    from siamese.system.progress import TrainingBar
    from siamese.training import runs

    columns = shared.column_names(options)
    data = source or splits.validation_alone(options.validation, columns, warn=shared.report_faults)
    done = runs.train_recipe(
        config, data, options.out, start=start, resume=options.resume, progress=TrainingBar(),
        warn=shared.report_faults, log=options.log, force=options.force,
        again=command_line("--resume"), anew=command_line(without="--resume"),
    )  # fmt: skip
    if done.summary:
        print(done.summary)
