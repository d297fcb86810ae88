"""The outermost layer of the service: body limits, security headers, and logs without user text."""

import logging
import time
import traceback

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from siamese.service.bodies import read_body
from siamese.service.limits import Limits

LOG = logging.getLogger("siamese.service")
HEADERS = {
    # The page loads its script and style from here and nothing from elsewhere. No answer can be framed.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app, self.limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            body = await read_body(scope, receive, self.limits)
            await self.app(scope, _replay(body, receive), answer)
        except ClientDisconnect:
            pass
        except HTTPException as refused:
            await JSONResponse({"detail": refused.detail}, refused.status_code, refused.headers)(scope, receive, answer)
        except Exception as error:
            # Not raised again, since the server would log its message, which may quote a question.
            LOG.error("%s: %s", _route(scope), without_text(error))
            if not status:
                internal = JSONResponse({"detail": "internal error; see the log of the service"}, 500)
                await internal(scope, receive, answer)
        finally:
            LOG.info("%s %d %.1f ms", _route(scope), status, 1e3 * (time.perf_counter() - started))


class TextlessFormatter(logging.Formatter):
    """Logs the type and traceback locations of an exception, but not its message, which may quote a question."""

    def formatException(self, ei) -> str:  # type: ignore[no-untyped-def]
        return without_text(ei[1])


def without_text(error: BaseException | None) -> str:
    """Return the type of an exception and the file and line of each frame in its traceback."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    return " ".join([type(error).__name__, *(f"{frame.filename}:{frame.lineno}" for frame in frames)])


def _route(scope: Scope) -> str:
    """Return the method and the declared route, such as DELETE /questions/{id}. The path itself may hold any text."""
    method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE") else "-"
    return f"{method} {getattr(scope.get('route'), 'path', '-')}"


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message
