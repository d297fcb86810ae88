"""Read request bodies: within limits of size and time, and only JSON with a single meaning."""

import asyncio
import json
from typing import Any

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope

from siamese.service.limits import Limits
from siamese.system.strict_json import strict_json

CLOSE = {"Connection": "close"}
DISCARDED = 16  # times the size limit are read and discarded, so that the client is still there for its 413


async def read_body(scope: Scope, receive: Receive, limits: Limits) -> bytes:
    """Read a whole request body.

    Raises:
        HTTPException: 413 if the body is too large, announced or not; 408 if it does not arrive in time.
        ClientDisconnect: the client has closed the connection.
    """
    request, body, size = Request(scope, receive), bytearray(), 0
    too_large = HTTPException(413, f"the body is larger than {limits.body:,} bytes", CLOSE)
    announced = int(request.headers.get("content-length", 0))  # the server has checked that these are digits
    if announced > limits.body * (1 if "expect" in request.headers else DISCARDED):
        raise too_large
    try:
        async with asyncio.timeout(limits.arrival):
            async for part in request.stream():
                size += len(part)
                if size <= limits.body:
                    body += part
                elif size > limits.body * DISCARDED:
                    break
    except TimeoutError:
        late = f"the body did not arrive within {limits.arrival:g} seconds"
        raise HTTPException(408, late, CLOSE) from None
    if size > limits.body:
        raise too_large
    return bytes(body)


class StrictRequest(Request):
    """A request whose JSON must be UTF-8, without duplicate fields, NaN, infinities or lone surrogates."""

    async def json(self) -> Any:
        body = await self.body()
        try:
            value = strict_json(body.decode("utf-8"), parse_constant=_refuse_constant)
            if b"\\u" in body:  # the only way to write a lone surrogate
                json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeError:
            raise HTTPException(400, "the body is not UTF-8, or contains a lone surrogate") from None
        except RecursionError:
            raise HTTPException(400, "the body is nested too deeply") from None
        except ValueError as error:  # also for integers of more than 4,300 digits, which Python refuses to convert
            raise HTTPException(400, f"the body is not JSON: {error}") from None
        return value


class StrictRoute(APIRoute):
    """A route that parses its requests as `StrictRequest`."""

    def get_route_handler(self) -> Any:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Any:
            return await handler(StrictRequest(request.scope, request.receive))

        return handle


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
