"""What the services of this package have in common: the guard, bodies, long answers, a page's files, the token."""

import hmac
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic_core import to_json

from siamese.service import messages as m
from siamese.service.bodies import Room, StrictRoute, described
from siamese.service.guard import Guard, Observe
from siamese.service.limits import ANSWER, Limits, Workers
from siamese.version import VERSION

TOKEN = "SIAMESE_TOKEN"  # environment variable with the token that allows writing

STATIC = Path(__file__).parent / "static"
Files = Mapping[str, tuple[Path, str]]  # by the address: a file and its media type


def make_base(
    title: str, description: str, files: Files, limits: Limits, hosts: Iterable[str] = (),
    advice: str = "use the address that was printed", observe: Observe | None = None,
) -> FastAPI:  # fmt: skip
    """Return an application with the files of a page and no other routes, behind the guard.

    `app.state.workers` has the thread pools to close at the end, of which `app.state.parser` parses bodies.
    `app.state.stopping` returns whether the service is about to end.

    Args:
        title, description: for OpenAPI.
        files: the page.
        limits: on requests.
        hosts: accepted values of the Host header beside loopback names.
        advice: what to do for another one to be accepted.
        observe: called with each request that was answered.
    """
    app = FastAPI(
        title=title,
        version=VERSION,
        description=description,
        docs_url=None,  # FastAPI's would load its script from another site
        redoc_url=None,
        redirect_slashes=False,
        responses=problems(400, 408, 413, 415, 422, 500, 503, 504),
    )
    app.router.route_class = StrictRoute
    app.state.room = Room(limits.bytes)
    app.state.parser = Workers(1, limits.pending, limits.work)
    app.state.workers = [app.state.parser]
    app.state.stopping = lambda: False  # `make_server` knows better
    app.add_middleware(Guard, limits=limits, room=app.state.room, hosts=hosts, advice=advice, observe=observe)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    for address, (path, kind) in files.items():
        file = Response(path.read_bytes(), media_type=kind)
        app.get(address, include_in_schema=False)(partial(_send, file))
    return app


def long(name: str, rows: Iterable[Any], **others: Any) -> Response:
    """Return an answer with a long list, written here in a worker, a row at a time to let other threads run.

    Raises:
        HTTPException: 422 if it is larger than ANSWER.
    """
    text, end = bytearray(b'{"%b":[' % name.encode()), b"," * bool(others) + to_json(others)[1:]
    for number, row in enumerate(rows):
        text += b"," * bool(number) + to_json(row)
        if len(text) > ANSWER:
            raise HTTPException(422, f"the answer would have more than {ANSWER >> 20} MiB; ask for less at once")
    return Response(bytes(text + b"]" + end), media_type="application/json")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of these statuses for OpenAPI."""
    return {status: {"model": m.Problem} for status in statuses}


def requiring(token: str | None, description: str, off: str = "") -> Callable[..., Coroutine[Any, Any, None]]:
    """Return a dependency that answers 401 unless a request has the token, and 403 to all if there is none.

    Args:
        token: the secret.
        description: where it comes from, for OpenAPI.
        off: what to say if there is no token.
    """
    bearer = HTTPBearer(auto_error=False, description=description)

    async def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        if token is None:
            raise HTTPException(403, off)
        # Compares the raw bytes, in a time that does not depend on how many of them are right.
        if not hmac.compare_digest(given.credentials.encode("latin-1") if given else b"", os.fsencode(token)):
            raise HTTPException(401, "expected 'Authorization: Bearer' with the token", {"WWW-Authenticate": "Bearer"})

    return check


def requiring_to_write(token: str | None, off: str) -> Callable[..., Coroutine[Any, Any, None]]:
    """Return the dependency `requiring` the token of the environment; `off` is what is off without one."""
    start = f"{off}: start the service with {TOKEN} to allow them"
    return requiring(token, f"the value that {TOKEN} had when the service was started", start)


async def _send(file: Response) -> Response:
    return file


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    """Answer 422 with the first error in one line, without quoting the request; 415 if the body is not sent as JSON."""
    assert isinstance(error, RequestValidationError)
    if request.method == "POST" and not request.headers.get("content-type", "").lower().startswith("application/json"):
        return JSONResponse({"detail": "expected Content-Type: application/json"}, 415)
    first = error.errors()[0]
    return JSONResponse({"detail": described(first["loc"][1:], first["msg"])}, 422)
