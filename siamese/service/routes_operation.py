"""The routes for those who run the service: health, readiness, and counts for Prometheus."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from fastapi import FastAPI, HTTPException, Response

from siamese.errors import ArchiveError
from siamese.model.model import SiameseModel
from siamese.service import messages as m
from siamese.service.limits import RETRY
from siamese.service.metrics import CONTENT_TYPE, Metrics
from siamese.version import VERSION


def add_operation(
    app: FastAPI, model: SiameseModel, metrics: Metrics, writing: bool,
    count: Callable[[], Awaitable[int | None]], probe: Callable[[], Awaitable[object]],
) -> None:  # fmt: skip
    """Add /health, /readyz and /metrics.

    Args:
        app: the application.
        model: the model that answers.
        metrics: what has been counted.
        writing: whether a token allows changing the archive.
        count: returns how many questions the archive has, or None without one.
        probe: asks the model and the archive something, in the threads that requests wait for.
    """

    @app.get("/health")
    async def health() -> m.Health:
        """Report that the service is running, and what it holds."""
        return m.Health(
            status="ok", version=VERSION, threshold=model.threshold, archive=await count(), writing=writing
        )  # fmt: skip

    @app.get("/readyz")
    async def ready() -> m.Ready:
        """Report that the model and the archive answer. Until they do, and while the service stops, this is 503."""
        try:
            await probe()
        except HTTPException:  # no place in the queue, or no answer in time
            raise HTTPException(503, "the model or the archive does not answer in time", RETRY) from None
        if app.state.stopping():
            raise HTTPException(503, "the service is stopping", RETRY)
        return m.Ready(status="ready")

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def measured() -> Response:
        """Return what was counted since the start, in the text format of Prometheus."""
        questions = None
        with suppress(ArchiveError, HTTPException):  # counts are wanted most when something is wrong
            questions = await count()
        return Response(metrics.text(questions), media_type=CONTENT_TYPE)
