"""The outermost layer of the service: bodies within limits, headers for browsers, and logs without anyone's text."""

import logging
import time
import traceback

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from siamese.service.bodies import read_body
from siamese.service.limits import Limits

LOG = logging.getLogger("siamese.service")
# The page's script and style come from here, and nothing from elsewhere; an answer is never a page of its own.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app, self.limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *RAW_HEADERS]
            await send(message)

        try:
            body = await read_body(scope, receive, self.limits)
            if body is None:
                return
            await self.app(scope, _replay(body, receive), answer)
        except HTTPException as refused:
            await JSONResponse({"detail": refused.detail}, refused.status_code, refused.headers)(scope, receive, answer)
        except Exception as error:
            # Not by raising it: the server would log its message, which may quote a question.
            LOG.error("%s: %s", _route(scope), without_text(error))
            if not status:
                await JSONResponse({"detail": "an error of the service; its log says where"}, 500)(
                    scope, receive, answer
                )
        finally:
            LOG.info("%s %d %.1f ms", _route(scope), status, 1e3 * (time.perf_counter() - begun))


class Discreet(logging.Formatter):
    """Writes of an exception its type and its places, not its message, which may quote a question."""

    def formatException(self, ei) -> str:  # type: ignore[no-untyped-def]
        return without_text(ei[1])


def without_text(error: BaseException | None) -> str:
    """The type of an exception and the places in the code that it came through."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    return " ".join([type(error).__name__, *(f"{frame.filename}:{frame.lineno}" for frame in frames)])


def _route(scope: Scope) -> str:
    """Method and route as they are declared, such as DELETE /questions/{id}; what was asked for may hold any text."""
    method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE") else "-"
    return f"{method} {getattr(scope.get('route'), 'path', '-')}"


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message
