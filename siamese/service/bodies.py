"""Read request bodies: within limits of size, time and memory, and only JSON with a single meaning."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from siamese.service.limits import BUSY, QUESTIONS, RETRY, SMALL, Limits, Workers
from siamese.system.strict_json import strict_json

CLOSE = {"Connection": "close"}
JSON = (b"content-type", b"application/json")
DISCARDED = 16  # times the size limit are read and discarded, so that the client is still there for its 413
AT_ONCE = 1 << 12  # bytes that are parsed in 0.1 ms
MARKS = 10 * QUESTIONS  # more lists, objects and fields than any request has
LONGEST_DETAIL = 300  # characters of an error message


class Room:
    """Bytes left for bodies that are read or at work, and for answers that their clients have not received."""

    def __init__(self, most: int) -> None:
        self.left = most

    @contextmanager
    def body(self) -> Iterator[Callable[[int], bool]]:
        """Yield a function that takes the size that a body has reached, and returns whether there is room for it.

        The first bytes of a body need none, so those who hold all the room back leave a short question its answer.
        """
        held = 0

        def reach(size: int) -> bool:
            nonlocal held
            if (more := max(size - SMALL, 0) - held) > self.left:
                return False
            self.left, held = self.left - more, held + more
            return True

        try:
            yield reach
        finally:
            reach(0)


async def read_body(scope: Scope, receive: Receive, limits: Limits, reach: Callable[[int], bool]) -> bytes:
    """Read a whole request body; `reach` is the function of `Room.body`.

    Raises:
        HTTPException: 413 if the body is too large, announced or not; 503 if there is no room for it; 408 if it does
            not arrive in time.
        ClientDisconnect: the client has closed the connection.
    """
    request, body, size, refusal = Request(scope, receive), bytearray(), 0, None
    too_large = HTTPException(413, f"the body is larger than {limits.body:,} bytes", CLOSE)
    announced = int(request.headers.get("content-length", 0))  # the server has checked that these are digits
    if announced > limits.body * (1 if "expect" in request.headers else DISCARDED):
        raise too_large
    try:
        async with asyncio.timeout(limits.arrival):
            more = True
            while more:
                part, more = await _next(receive)
                size += len(part)
                if size > limits.body:
                    refusal = too_large
                elif not reach(size):
                    refusal = refusal or HTTPException(503, BUSY, CLOSE | RETRY)
                if not refusal:
                    body += part
                else:
                    body = bytearray()  # `clear` would keep the memory
                    reach(0)
                    more = more and size <= limits.body * DISCARDED
                del part  # or it would take 256 KiB for each connection that holds back the next
    except TimeoutError:
        late = f"the body did not arrive within {limits.arrival:g} seconds"
        raise HTTPException(408, late, CLOSE) from None
    if refusal:
        raise refusal
    return bytes(body)


async def _next(receive: Receive) -> tuple[bytes, bool]:
    """Return the next part of a body, and whether more will follow."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


def parse(body: bytes, message: type[BaseModel]) -> BaseModel:
    """Return the message that a body holds in JSON: UTF-8 without duplicate fields, NaN, infinities, lone surrogates.

    Raises:
        HTTPException: 400 if it is not such JSON, 422 if it is not this message, with the first error in one line.
    """
    # Parsing would hold the interpreter's lock for 0.1 s to make 170,000 lists, and the event loop would wait for it.
    if _marks(body) > MARKS and _marks(_without_strings(body)) > MARKS:
        raise HTTPException(422, f"the body: more than {MARKS:,} lists, objects and fields")
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
    try:
        return message.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise HTTPException(422, described(first["loc"], first["msg"])) from None


async def parsed(body: bytes, message: type[BaseModel], parser: Workers) -> BaseModel:
    """Do the same as `parse`, in a thread of `parser` if it may take long enough for others to notice."""
    return parse(body, message) if len(body) <= AT_ONCE else await parser.run(parse, body, message)


def _marks(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{") + body.count(b":")


def _without_strings(body: bytes) -> bytes:
    return b"".join(body.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])


def described(place: tuple[int | str, ...], problem: str) -> str:
    """Return what is wrong and where, in one line that does not quote the request."""
    return f"{'.'.join(map(str, place)) or 'the body'}: {problem}"[:LONGEST_DETAIL]


class StrictRoute(APIRoute):
    """A route whose requests are parsed and validated by `parsed`.

    One that needs nothing but its body is answered here, in a third of the time that FastAPI takes.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        others = self.dependant.dependencies or self.status_code or len(signature(self.endpoint).parameters) > 1
        if self.body_field is not None and not others:
            self._by_fastapi, self.app = self.app, self._answer
            self._message, self._result = self._body(), TypeAdapter[Any](self.response_model or Any)

    def _body(self) -> type[BaseModel]:
        assert self.body_field is not None
        message = self.body_field.field_info.annotation
        assert isinstance(message, type) and issubclass(message, BaseModel)
        return message

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        if not body or JSON not in scope["headers"]:  # FastAPI says what is wrong, if anything
            return await self._by_fastapi(scope, replay(body, receive), send)
        asked = await parsed(body, self._message, scope["app"].state.parser)
        found = await self.endpoint(asked)
        if not isinstance(found, Response):
            content = self._result.dump_json(self._result.validate_python(found, from_attributes=True))
            found = Response(content, media_type="application/json")
        await found(scope, receive, send)

    def get_route_handler(self) -> Any:
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler
        message = self._body()

        class Parsed(Request):
            async def json(self) -> Any:
                return await parsed(await self.body(), message, self.app.state.parser)

        async def handle(request: Request) -> Any:
            return await handler(Parsed(request.scope, request.receive))

        return handle


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a function that yields a body which was read already, and then what `receive` does."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
