"""The web application: the page, the model's routes and those of an archive."""

from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI

from siamese.model.model import SiameseModel
from siamese.service.about import about
from siamese.service.base import STATIC, make_base
from siamese.service.limits import LIMITS, Limits, Workers
from siamese.service.messages import Defaults
from siamese.service.metrics import Metrics
from siamese.service.routes_decisions import Record, add_decisions
from siamese.service.routes_operation import add_operation
from siamese.service.routes_questions import add_questions

DEFAULTS = Defaults()
ASKED = "Is the service ready?"  # by /readyz
PAGE = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/card.js": ("card.js", "text/javascript"),
    "/docs": ("docs.html", "text/html"),
    "/docs.js": ("docs.js", "text/javascript"),
    "/docs.css": ("docs.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


def make_app(
    model: SiameseModel,
    archive_folder: str | Path | None = None,
    token: str | None = None,
    hosts: Sequence[str] = (),
    limits: Limits = LIMITS,
    name: str | None = None,
    record: Record | None = None,
    defaults: Defaults = DEFAULTS,
) -> FastAPI:
    """Return the service of a model as an ASGI application, with its thread pools in `app.state.workers`.

    Args:
        model: the model that answers.
        archive_folder: an archive of the same model to search and change, if any.
        token: required of whoever writes to the archive; without a token nobody can.
        hosts: accepted values of the Host header beside loopback names, without port; ("*",) accepts any.
        limits: on requests; `make_server` takes those on connections.
        name: by which the model was loaded, for the page, which shows its licence and its card.
        record: writes decisions, if they are taken; see `add_decisions`.
        defaults: for what a request does not say.

    Raises:
        UserError: the archive cannot be opened, or belongs to another model.
    """
    files = {address: (STATIC / name, kind) for address, (name, kind) in PAGE.items()}
    description = "Decide whether questions are duplicates, and search an archive for duplicates."
    metrics = Metrics()
    app = make_base("Duplicate questions", description, files, limits, hosts, "`serve --allow-host NAME` accepts it",
                    metrics.observe)  # fmt: skip
    workers = Workers(limits.threads, limits.pending, limits.work)
    app.state.workers.append(workers)
    add_questions(app, model, about(model, name), defaults, workers)
    opened = None
    if archive_folder is not None:
        from siamese.service.opened import Opened
        from siamese.service.routes_archive import add_archive

        opened = Opened(archive_folder, model, limits)
        app.state.workers += opened.workers
        add_archive(app, opened, archive_folder, defaults, token)
    if record is not None:
        add_decisions(app, model, workers, record, token, limits)

    async def count() -> int | None:
        return None if opened is None else await opened.count()

    async def probe() -> None:
        await workers.run(model.encode, [ASKED])
        if opened is not None:
            await opened.search(lambda archive: archive.search([ASKED], 1))

    add_operation(app, model, metrics, opened is not None and token is not None, count, probe)
    return app
