"""The bodies of requests: read within limits of size and time, and as JSON that means one thing only."""

import asyncio
import json
from typing import Any

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from starlette.types import Message, Receive, Scope

from siamese.service.limits import Limits
from siamese.system.strict_json import strict_json

CLOSE = {"Connection": "close"}
SPILLED = 16  # times the largest body are read and thrown away, so that the client is still there for its 413


async def read_body(scope: Scope, receive: Receive, limits: Limits) -> bytes | None:
    """The whole body; None where the client has gone.

    Raises:
        HTTPException: 413 for more bytes than allowed, announced or not; 408 for a body that does not arrive in time.
    """
    headers = dict(scope["headers"])
    too_large = HTTPException(413, f"a body of more than {limits.body:,} bytes", CLOSE)
    announced = int(headers.get(b"content-length", 0))  # digits: the server has seen to that
    if announced > limits.body * (1 if b"expect" in headers else SPILLED):
        raise too_large
    parts, size, more = list[bytes](), 0, True
    try:
        async with asyncio.timeout(limits.arrival):
            while more and size <= limits.body * SPILLED:
                message: Message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                part, more = message.get("body", b""), message.get("more_body", False)
                size += len(part)
                if size <= limits.body:
                    parts.append(part)
    except TimeoutError:
        late = f"the request's body did not arrive within {limits.arrival:g} seconds"
        raise HTTPException(408, late, CLOSE) from None
    if size > limits.body:
        raise too_large
    return b"".join(parts)


class StrictRequest(Request):
    """A request whose JSON is UTF-8, without a field twice in an object, without NaN and half surrogate pairs."""

    async def json(self) -> Any:
        body = await self.body()
        try:
            value = strict_json(body.decode("utf-8"), parse_int=_integer, parse_constant=_no_number)
            if b"\\u" in body:  # the only way to write half a surrogate pair
                json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeError:
            raise HTTPException(400, "the body holds bytes that are no UTF-8, or half a surrogate pair") from None
        except RecursionError:
            raise HTTPException(400, "the body is nested too deeply") from None
        except json.JSONDecodeError as error:
            raise HTTPException(400, f"the body is no JSON: {error.msg} at character {error.pos}") from None
        except ValueError as error:  # of a field twice, or of the functions below
            raise HTTPException(400, f"the body is no JSON: {error}") from None
        return value


class StrictRoute(APIRoute):
    """A route that reads `StrictRequest`s."""

    def get_route_handler(self) -> Any:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Any:
            return await handler(StrictRequest(request.scope, request.receive))

        return handle


def _integer(digits: str) -> int:
    if len(digits) > 20:  # more than any field takes; thousands of digits would cost seconds
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
