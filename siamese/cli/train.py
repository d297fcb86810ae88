"""The command `train`. Light at import."""

import argparse
import os

from siamese.cli.options import (
    MODEL,
    Command,
    add_columns,
    add_data,
    add_recipe,
    column_names,
    data_path,
    load_model,
    recipe,
    report_faults,
)
from siamese.config import PRESETS, PRETRAINED
from siamese.errors import UserError
from siamese.system.program import command_line


def add_commands(command: Command) -> None:
    """Add `train` to the command line."""
    sub = command("train", train, "Train a model on pairs of questions.")
    add_data(sub, "; or 'quora'")
    sub.add_argument("--validation", metavar="PATH", help="pairs to choose the epoch and the threshold on")
    sub.add_argument("--split", choices=["course"], help="cut --data as the published assignment did")
    sub.add_argument("--out", default=MODEL, metavar="DIR", help=f"the model folder (default {MODEL})")
    sub.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    sub.add_argument("--start-from", metavar="DIR", help="begin with the weights and vocabulary of this model folder, "
                     f"or of '{PRETRAINED}', the model that comes with the package")  # fmt: skip
    sub.add_argument("--log", choices=["tensorboard"], help="write curves too, into DIR/tensorboard")
    sub.add_argument("--preset", choices=list(PRESETS), help="the recipe (default best; transformer, with that tower)")
    add_recipe(sub)
    add_columns(sub)


def train(options: argparse.Namespace) -> None:
    config, path = recipe(options), data_path(options)  # checked before anything heavy is loaded
    if config.encoder and os.path.realpath(config.encoder) == os.path.realpath(options.out):
        raise UserError(f"--out: {options.out} is the encoder's folder, which stays as it is; choose another")
    from siamese.pairs import splits
    from siamese.training import logs, processes, runs

    if options.log == "tensorboard":
        logs.require_tensorboard()
    with processes.connected() as group:
        if path == "quora":
            from siamese.pairs import quora
            from siamese.system.progress import CountBar

            with CountBar("B") as bar:
                path = str(group.first_of_all(lambda: quora.fetch(progress=bar)))
        source = splits.Source(path, options.validation, options.split, column_names(options))
        parts = splits.load(source, warn=report_faults if group.first else lambda pairs, path: None)
        start = None
        if options.start_from:
            start = load_model(options.start_from)
            config = recipe(options, start.config)
        line = command_line("--resume")
        text = runs.train_in_folder(config, source, parts, options.out, options.resume, start, line, options.log, group)
        if group.first:
            print(text)
