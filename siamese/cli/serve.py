"""The command `serve`. Light at import."""

import argparse
import os
from typing import TYPE_CHECKING

from siamese.cli.options import Command, add_model, add_where, conditions, default_model, load_model
from siamese.errors import UserError
from siamese.system.console import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from siamese.model.model import SiameseModel
    from siamese.service.routes_decisions import Judged, Record


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
    import ctypes
    from contextlib import suppress
    from ipaddress import ip_address

    from threadpoolctl import threadpool_limits

    from siamese.service.app import make_app
    from siamese.service.base import TOKEN
    from siamese.service.connections import listen, make_server, run_until_stopped
    from siamese.service.limits import LIMITS
    from siamese.service.logs import configure
    from siamese.service.messages import Defaults

    listening = listen(options.host, options.port)
    local = ip_address(listening.getsockname()[0]).is_loopback
    with suppress(AttributeError, TypeError):  # other systems than Linux with glibc have no such function
        ctypes.CDLL(None).mallopt(-3, 1 << 16)  # M_MMAP_THRESHOLD: what a flood of large requests took is given back
    token = os.environ.get(TOKEN) or None
    model, name = _model(options)
    model.rule(options.threshold, options.prior)  # raises an error if they are out of range
    defaults = Defaults(options.threshold, options.prior, conditions(options.where))
    if defaults.where and not options.archive:
        raise UserError("--where is for the questions of an archive: give --archive DIR")
    app = make_app(model, options.archive, token, [options.host, *options.allow_host], LIMITS, name,
                   recorder(options.decisions), defaults)  # fmt: skip
    configure(options.log_format)
    server = make_server(app, LIMITS)
    if not local:
        warning = "anyone who can reach this machine can ask, and nothing is encrypted"
        say(f"warning: {options.host} is not a loopback address: {warning}")
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"serving on http://{host}:{listening.getsockname()[1]}, until Ctrl-C", flush=True)
    # One thread for each question: splitting such small products among cores costs more than it saves.
    with threadpool_limits(1, user_api="blas"):
        run_until_stopped(server, app, listening)


def _model(options: argparse.Namespace) -> "tuple[SiameseModel, str]":
    """Load `--model`, else the model of `--archive`, else the default one. Return it and its name."""
    if options.archive and not options.model:
        from siamese.archive.store import Archive

        with Archive.open(options.archive) as archive:
            return archive.model, archive.name
    name = options.model or default_model()
    return load_model(name, options.calibrate_on), name


def recorder(path: str | None) -> "Record | None":
    """Return a function that appends decisions to a file, which is checked or begun; None without a file."""
    if path is None:
        return None
    from datetime import UTC, datetime

    from siamese.review.decisions import Decision, append_decisions, open_log

    with open_log(path):
        pass

    def record(judged: "Sequence[Judged]", by: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        rows = (
            Decision(*one[:3], similarity=repr(one.similarity), probability=repr(one.probability), by=by, at=at)
            for one in judged
        )
        append_decisions(path, rows)

    return record
