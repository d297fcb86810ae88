"""The command `serve`. Light at import."""

import argparse
import io
import os
import sys
from contextlib import redirect_stderr, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from siamese.cli.options import Command, add_model, add_where, conditions, default_model, load_model
from siamese.errors import UserError
from siamese.system.console import fail, say
from siamese.system.stopping import stopping_at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from socket import socket

    from siamese.model.model import SiameseModel
    from siamese.service.messages import Defaults
    from siamese.service.routes_decisions import Judged, Record

MOST_WORKERS = 64


def add_commands(command: Command) -> None:
    """Add `serve`."""
    sub = command("serve", serve, "Answer over HTTP, with a page for people.")
    sub.add_argument("--archive", metavar="DIR", help="an archive to search and, with a token, to change")
    sub.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s: this machine)")
    sub.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="accept requests to this host name, beside localhost and --host (* accepts any; can be repeated)",
    )  # fmt: skip
    sub.add_argument("--port", type=int, default=8000, metavar="N", help="(default %(default)s; 0: any free port)")
    sub.add_argument("--workers", type=int, default=1, metavar="N", help="processes that answer (default %(default)s)")
    sub.add_argument("--threshold", type=float, metavar="T", help="for requests that give none, 0 to 1: the similarity "
                     "alone decides, by this threshold")  # fmt: skip
    sub.add_argument("--prior", type=float, metavar="P", help="for requests that give none: share of duplicates among "
                     "the pairs, such as 0.1")  # fmt: skip
    add_where(sub)
    sub.add_argument("--decisions", metavar="PATH", help="with a token, take decisions about pairs and append them to "
                     "this file, as `review` does, for adapt and mine --decisions")  # fmt: skip
    sub.add_argument("--log-format", choices=("text", "json"), default="text", help="of the log on stderr: a line or a "
                     "JSON object for each request (default %(default)s)")  # fmt: skip
    add_model(sub)
    sub.set_defaults(model=None)  # which `_model` replaces


def serve(options: argparse.Namespace) -> None:
    """Answer requests until SIGTERM, SIGHUP or Ctrl-C, then finish those in flight."""
    from ipaddress import ip_address

    from siamese.service.connections import listen
    from siamese.service.limits import LIMITS
    from siamese.service.logs import LOG, configure
    from siamese.service.processes import run_workers

    if not 1 <= options.workers <= MOST_WORKERS:
        raise UserError(f"--workers {options.workers}: expected a number from 1 to {MOST_WORKERS}")
    listening = listen(options.host, options.port)
    local = ip_address(listening.getsockname()[0]).is_loopback
    if options.decisions:
        from siamese.review.decisions import open_log

        with open_log(options.decisions):  # begins it, or raises an error if it is none
            pass
    notes = io.StringIO() if options.log_format == "json" else sys.stderr
    with redirect_stderr(notes):
        loaded = _loaded(options)
        if options.archive:
            from siamese.archive.store import Archive

            with Archive.open(options.archive, loaded.model) as archive:
                archive.records(loaded.defaults.where, limit=1)  # raises an error if there is no such column
        if not local:
            warning = "anyone who can reach this machine can ask, and nothing is encrypted"
            say(f"warning: {options.host} is not a loopback address: {warning}")
    configure(options.log_format)
    if isinstance(notes, io.StringIO):
        for line in notes.getvalue().splitlines():
            LOG.info("%s", line)
    host = f"[{options.host}]" if ":" in options.host else options.host
    line = f"serving on http://{host}:{listening.getsockname()[1]}, until Ctrl-C"
    if options.workers == 1:
        _answer(options, loaded, listening, lambda: print(line, flush=True))
        return
    print(line, flush=True)
    run_workers(options.workers, partial(_work, options), listening, LIMITS)


def _work(options: argparse.Namespace, listening: "socket") -> None:
    """Answer in one of several processes."""
    from siamese.service.logs import configure

    with stopping_at_once():
        try:
            with redirect_stderr(io.StringIO()):  # the first process has said what there is to say of the model
                loaded = _loaded(options)
            configure(options.log_format)
            _answer(options, loaded, listening, lambda: None)
        except UserError as error:
            sys.exit(fail(str(error)))


class _Loaded(NamedTuple):
    model: "SiameseModel"
    name: str
    defaults: "Defaults"


def _loaded(options: argparse.Namespace) -> _Loaded:
    """Load `--model`, else the model of `--archive`, else the default one; and check what holds for requests."""
    from siamese.service.messages import Defaults

    if options.archive and not options.model:
        from siamese.archive.store import Archive

        with Archive.open(options.archive) as archive:
            model, name = archive.model, archive.name
    else:
        name = options.model or default_model()
        model = load_model(name, options.calibrate_on)
    model.rule(options.threshold, options.prior)  # raises an error if they are out of range
    defaults = Defaults(options.threshold, options.prior, conditions(options.where))
    if defaults.where and not options.archive:
        raise UserError("--where is for the questions of an archive: give --archive DIR")
    return _Loaded(model, name, defaults)


def _answer(
    options: argparse.Namespace, loaded: _Loaded, listening: "socket", ready: "Callable[[], None]"
) -> None:  # fmt: skip
    """Answer requests in this process until a signal; call `ready` when the service can be asked."""
    import ctypes

    from threadpoolctl import threadpool_limits

    from siamese.service.app import make_app
    from siamese.service.base import TOKEN
    from siamese.service.connections import make_server, run_until_stopped
    from siamese.service.limits import LIMITS

    with suppress(AttributeError, TypeError):  # other systems than Linux with glibc have no such function
        ctypes.CDLL(None).mallopt(-3, 1 << 16)  # M_MMAP_THRESHOLD: what a flood of large requests took is given back
    app = make_app(
        loaded.model, options.archive, os.environ.get(TOKEN) or None, [options.host, *options.allow_host], LIMITS,
        loaded.name, recorder(options.decisions) if options.decisions else None, loaded.defaults,
    )  # fmt: skip
    server = make_server(app, LIMITS, alone=options.workers == 1)
    ready()
    # One thread for each question: splitting such small products among cores costs more than it saves.
    with threadpool_limits(1, user_api="blas"):
        run_until_stopped(server, app, listening)


def recorder(path: str) -> "Record":
    """Return a function that appends decisions to a file of `review`."""
    from datetime import UTC, datetime

    from siamese.review.decisions import Decision, append_decisions

    def record(judged: "Sequence[Judged]", by: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        rows = (
            Decision(*one[:3], similarity=repr(one.similarity), probability=repr(one.probability), by=by, at=at)
            for one in judged
        )
        append_decisions(path, rows)

    return record
