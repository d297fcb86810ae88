"""The command line: its commands and their exit codes. Nothing heavy is imported before a command needs it."""

import argparse
import os
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from typing import Any

from siamese import plugins
from siamese.cli import (
    adapt,
    apply,
    archive,
    compare,
    evaluate,
    export,
    lesson,
    losses,
    mine,
    predict,
    review,
    serve,
    train,
)  # fmt: skip
from siamese.cli.options import Parser, check_not_empty
from siamese.errors import UserError
from siamese.system import console
from siamese.system.optional import needing
from siamese.system.program import program
from siamese.system.stopping import Stopped, stopping_at_once
from siamese.version import VERSION

EXIT_CODES = "Exit code: 0 done, 2 user error, 130 stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP."


def main(arguments: list[str] | None = None) -> None:
    """Run one command.

    Exit codes: 0 done, or the reader closed the pipe (`| head`); 2 user error (two lines at most; with --debug a
    traceback, and 1); 130 stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
    """
    if code := console.check_streams() or _run(arguments):
        sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    """Run one command and return its exit code."""
    # Torch reads it when it is loaded. Without it the threads of a small step wait in busy loops, which
    # takes seconds a step if other programs use the cores too.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    debug = False
    try:
        with stopping_at_once(), redirect_stdout(console.Output(sys.stdout)), warnings.catch_warnings():
            warnings.showwarning = console.note  # type: ignore[assignment]
            options = _parser().parse_args(arguments)
            debug = options.debug
            check_not_empty(options)
            with needing(options.command), _reading(options):
                if plugin := getattr(options, "plugin", None):
                    plugins.admit(plugins.TOWERS, plugin)
                options.run(options)
            sys.stdout.flush()
    except UserError as error:
        if debug:
            raise
        return console.fail(str(error))
    except KeyboardInterrupt as stop:
        return stop.code if isinstance(stop, Stopped) else 130
    except OSError as error:
        if debug and error.filename != console.OUTPUT:
            raise
        return console.failed(error)
    return 0


def _reading(options: argparse.Namespace) -> AbstractContextManager[None]:
    """Return a block in which text files are read as the options say."""
    forced = {name: value for name in ("encoding", "delimiter") if (value := getattr(options, name, None))}
    if not forced:
        return nullcontext()
    from siamese.pairs.sources import reading_as

    return reading_as(**forced)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=program(), description="Find duplicate questions.", epilog=EXIT_CODES)
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.set_defaults(debug=False, run=lambda options: print(VERSION) if options.version else parser.print_help())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")

    def command(name: str, run: Any, text: str, under: Any = commands) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = under.add_parser(name, help=text, description=text)
        if run:
            sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
            sub.set_defaults(run=run)
        return sub

    for module in (
        train,
        evaluate,
        predict,
        archive,
        mine,
        review,
        apply,
        adapt,
        serve,
        export,
        lesson,
        losses,
        compare,
    ):
        module.add_commands(command)
    return parser
