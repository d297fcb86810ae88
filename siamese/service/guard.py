"""The outermost layer of the service: host names, body limits, security headers, and logs without user text."""

import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from siamese.service.bodies import Room, read_body, replay
from siamese.service.limits import BUSY, RETRY, SMALL, Limits
from siamese.service.logs import LOG, REQUEST, without_text

Observe = Callable[[str, str, int, float], None]  # method, declared route, status (0: nothing was sent), seconds
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
HEADERS = [
    (name.encode(), value.encode())
    for name, value in {
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
    }.items()
]


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(
        self, app: ASGIApp, limits: Limits, room: Room, hosts: Iterable[str], advice: str, observe: Observe | None
    ) -> None:
        self.app, self.limits, self.room, self.advice, self.observe = app, limits, room, advice, observe
        self.hosts = {"localhost", *map(host_of, hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                headers = message["headers"]
                # An answer that needs more than all the room is sent if nothing else is held; one to a write, always.
                size = min(int(dict(headers).get(b"content-length", 0)), self.limits.bytes)
                if message["status"] == 200 and SMALL + self.room.left < size:
                    raise Full
                status = message["status"]
                message["headers"] = [*headers, *HEADERS]
            await send(message)

        try:
            self._check_host(scope)
            with self.room.body() as reach:
                body = await read_body(scope, receive, self.limits, reach)
                await self.app(scope, replay(body, receive), answer)
        except Full:
            await JSONResponse({"detail": BUSY}, 503, RETRY)(scope, receive, answer)
        except ClientDisconnect:
            pass
        except HTTPException as refused:
            await JSONResponse({"detail": refused.detail}, refused.status_code, refused.headers)(scope, receive, answer)
        except Exception as error:
            # Not raised again, since the server would log its message, which may quote a question.
            LOG.error("%s %s: %s", *_route(scope), without_text(error))
            if not status:
                internal = JSONResponse({"detail": "internal error; see the log of the service"}, 500)
                await internal(scope, receive, answer)
        finally:
            route, seconds = _route(scope), time.perf_counter() - started
            LOG.info(REQUEST, *route, status, 1e3 * seconds)
            if self.observe:
                self.observe(*route, status, seconds)

    def _check_host(self, scope: Scope) -> None:
        """Refuse other host names: a name that was made to resolve here lets its pages read answers (DNS rebinding)."""
        host = host_of(dict(scope["headers"]).get(b"host", b"").decode("latin-1"))
        if host not in self.hosts and "*" not in self.hosts and not getattr(host, "is_loopback", False):
            raise HTTPException(400, f"the Host header names another host: {self.advice}")


@lru_cache(256)
def host_of(header: str) -> str | IPv4Address | IPv6Address:
    """Return the name or address in a Host header, without its port."""
    name = header.lower()
    if name.startswith("[") or name.count(":") == 1:  # else an address of IPv6, as it is given to --host
        name = re.sub(r":\d*$", "", name)
    name = name.removesuffix(".")  # of a name that is spelled to the root
    try:
        return ip_address(name.strip("[]"))
    except ValueError:
        return name


class Full(Exception):
    """There is no room for an answer."""


def _route(scope: Scope) -> tuple[str, str]:
    """Return the method and the declared route, such as DELETE, /questions/{id}. The path itself may hold any text."""
    return scope["method"] if scope["method"] in METHODS else "-", getattr(scope.get("route"), "path", "-")
