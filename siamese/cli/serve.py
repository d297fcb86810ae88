"""The command `serve`: an address, a server on it, and its end. Light at import."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from siamese.cli.options import Command, add_model, load_model
from siamese.system.stopping import Stopped

if TYPE_CHECKING:
    from siamese.model.model import SiameseModel


def add_commands(command: Command) -> None:
    """Add `serve` to the command line."""
    sub = command("serve", serve, "Answer over HTTP, with a page for people.")
    sub.add_argument("--archive", metavar="DIR", help="an archive to search and, with a token, to add to")
    sub.add_argument("--host", default="127.0.0.1", help="address to listen at (default %(default)s: this machine)")
    sub.add_argument("--port", type=int, default=8000, metavar="N", help="(default %(default)s; 0: any that is free)")
    add_model(sub)


def serve(options: argparse.Namespace) -> None:
    """Answer requests until SIGTERM or Ctrl-C, and then those in flight."""
    import logging
    from ipaddress import ip_address

    from threadpoolctl import threadpool_limits

    from siamese.service.app import LOOPBACK, TOKEN, Settings, make_app
    from siamese.service.connections import listen, make_server
    from siamese.service.guard import Discreet

    listening = listen(options.host, options.port)
    here = ip_address(listening.getsockname()[0]).is_loopback
    settings = Settings(token=os.environ.get(TOKEN) or None, hosts=LOOPBACK if here else ("*",))
    app = make_app(_model(options), options.archive, settings)
    handler = logging.StreamHandler()
    handler.setFormatter(Discreet("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if not here:
        warning = "whoever reaches this machine can ask, and nothing is encrypted"
        print(f"warning: {options.host} is no loopback address: {warning}", file=sys.stderr)
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"serving on http://{host}:{listening.getsockname()[1]}, until Ctrl-C", flush=True)
    try:
        # A thread a question: sharing such small products among cores costs more than it saves.
        with threadpool_limits(1, user_api="blas"):
            make_server(app, settings.limits).run(sockets=[listening])
    except KeyboardInterrupt as stop:  # uvicorn hands the signal on when the requests in flight are answered
        if [workers for workers in app.state.workers if not workers.close()]:
            # A thread is at work beyond all limits of time; what it writes, it writes as a whole or not at all.
            os._exit(stop.code if isinstance(stop, Stopped) else 130)
        raise


def _model(options: argparse.Namespace) -> "SiameseModel":
    if options.archive and not options.model:
        from siamese.archive.store import Archive

        with Archive.open(options.archive) as archive:
            return archive.model
    return load_model(options.model)
