"""The service as an application: what is asked where, and who may write."""

import dataclasses
import hmac
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.middleware.trustedhost import TrustedHostMiddleware

from siamese.errors import ArchiveError
from siamese.model.explanation import explain
from siamese.model.model import SiameseModel
from siamese.service import messages as m
from siamese.service.bodies import StrictRoute
from siamese.service.guard import Guard
from siamese.service.limits import ID, Limits, Workers
from siamese.version import VERSION

if TYPE_CHECKING:
    from siamese.archive.store import Archive

TOKEN = "SIAMESE_TOKEN"  # the variable of the environment with the token of those who may write
STATIC = Path(__file__).parent / "static"
PAGE = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
SHOWN = 300  # characters of what is wrong with a request

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a service is set up."""

    token: str | None = None  # without one nothing can be written
    hosts: tuple[str, ...] = LOOPBACK  # names that a browser may have asked for; ("*",) for any
    limits: Limits = dataclasses.field(default_factory=Limits)


def make_app(model: SiameseModel, archive_folder: str | Path | None = None, settings: Settings = Settings()) -> FastAPI:
    """The service of a model, and of an archive where a folder is given; `app.state.workers` are its threads.

    Raises:
        UserError: the archive cannot be opened, or is another model's.
    """
    app = FastAPI(
        title="Duplicate questions",
        version=VERSION,
        description="Says whether questions ask the same, and finds duplicates in an archive.",
        docs_url=None,  # it would load its script from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        responses=problems(400, 408, 413, 415, 422, 500, 503, 504),
    )
    app.router.route_class = StrictRoute
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts), www_redirect=False)
    app.add_middleware(Guard, limits=settings.limits)
    app.add_exception_handler(RequestValidationError, _wrong_request)
    limits = settings.limits
    workers = Workers(limits.threads, limits.at_once, limits.work)
    app.state.workers = [workers]
    _add_page(app)
    _add_questions(app, model, workers)
    archive = None
    if archive_folder is not None:
        from siamese.archive.store import Archive

        # One thread, since an archive is for one; a second copy of its vectors would cost more than it gains.
        keeper = Workers(1, limits.at_once, limits.work)
        app.state.workers.append(keeper)
        archive = keeper.now(Archive.open, archive_folder, model)
        _add_archive(app, archive, keeper, settings.token)

    @app.get("/health")
    async def health() -> m.Health:
        """Whether the service runs, and what it holds."""
        return m.Health(
            status="ok", version=VERSION, threshold=model.threshold,
            archive=None if archive is None else await keeper.run(len, archive),
            writing=archive is not None and settings.token is not None,
        )  # fmt: skip

    return app


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: answers that say why a request was not served."""
    return {status: {"model": m.Problem} for status in statuses}


def _add_page(app: FastAPI) -> None:
    for path, (name, kind) in PAGE.items():
        app.get(path, include_in_schema=False)(_sends((STATIC / name).read_bytes(), kind))


def _sends(content: bytes, kind: str) -> Any:
    async def send() -> Response:
        return Response(content, media_type=kind)

    return send


def _add_questions(app: FastAPI, model: SiameseModel, workers: Workers) -> None:
    @app.post("/predict")
    async def predict(asked: m.PredictRequest) -> m.Verdict:
        """Whether two questions are duplicates."""
        found = await workers.run(model.predict, asked.question1, asked.question2, asked.threshold, asked.prior)
        return m.Verdict(**dataclasses.asdict(found))

    @app.post("/explain")
    async def explained(asked: m.PredictRequest) -> m.ExplainAnswer:
        """The verdict on two questions with each word's share in it, by leaving the word out."""
        found = await workers.run(explain, model, asked.question1, asked.question2, asked.threshold, asked.prior)
        words1, words2 = ([m.Word(**dataclasses.asdict(word)) for word in w] for w in (found.words1, found.words2))
        return m.ExplainAnswer(**dataclasses.asdict(found.prediction), words1=words1, words2=words2)

    @app.post("/similarity")
    async def similarity(asked: m.SimilarityRequest) -> m.SimilarityAnswer:
        """The similarities of pairs of questions."""
        firsts, seconds = [first for first, _ in asked.pairs], [second for _, second in asked.pairs]
        found = await workers.run(model.similarity, firsts, seconds)
        return m.SimilarityAnswer(similarities=found.tolist(), threshold=model.threshold)

    @app.post("/encode")
    async def encode(asked: m.EncodeRequest) -> m.EncodeAnswer:
        """The vectors of questions."""
        return m.EncodeAnswer(vectors=(await workers.run(model.encode, asked.questions)).tolist())


def _add_archive(app: FastAPI, archive: "Archive", keeper: Workers, token: str | None) -> None:
    bearer = HTTPBearer(auto_error=False, description=f"the value of {TOKEN} where the service was started")

    async def writer(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        if token is None:
            raise HTTPException(403, f"adding and removing are off: the service was started without {TOKEN}")
        # Bytes, as they came; compared in a time that does not tell how many of them are right.
        if not hmac.compare_digest(given.credentials.encode("latin-1") if given else b"", os.fsencode(token)):
            raise HTTPException(401, "expected 'Authorization: Bearer' with the token", {"WWW-Authenticate": "Bearer"})

    async def write(work: Callable[..., T], *arguments: Any, unfit: int) -> T:
        try:
            return await keeper.run(work, *arguments)
        except ArchiveError as error:
            if error.position is not None:  # ids that do not fit what is there
                raise HTTPException(unfit, str(error)) from None
            if error.__cause__:  # SQLite's, as of a full disk
                raise
            raise HTTPException(503, "another process writes to the archive", {"Retry-After": "1"}) from None

    @app.post("/search")
    async def search(asked: m.SearchRequest) -> m.SearchAnswer:
        """The questions of the archive that are nearest."""
        found = await keeper.run(archive.search, asked.questions, asked.k, asked.legs)
        hits = [[m.Hit(**dataclasses.asdict(hit)) for hit in of_one] for of_one in found]
        return m.SearchAnswer(hits=hits, threshold=archive.model.threshold, search="exact")

    may_write = [Depends(writer)]

    @app.post("/questions", status_code=201, dependencies=may_write, responses=problems(401, 403, 409))
    async def add_questions(asked: m.AddRequest) -> m.AddAnswer:
        """Add questions to the archive: all of them, or none. After a 504, too: ids tell whether they were added."""
        if asked.ids is not None and len(asked.ids) != len(asked.questions):
            raise HTTPException(422, f"ids: {len(asked.ids)} of them for {len(asked.questions)} questions")
        return m.AddAnswer(ids=await write(archive.add, asked.questions, asked.ids, unfit=409))

    @app.delete("/questions/{id:path}", status_code=204, dependencies=may_write, responses=problems(401, 403, 404))
    async def remove_question(id: Annotated[str, InPath(min_length=1, max_length=ID, examples=["faq-1"])]) -> None:
        """Remove a question from the archive."""
        await write(archive.remove, [id], unfit=404)


async def _wrong_request(request: Request, error: Exception) -> JSONResponse:
    """422 with the first thing that is wrong, in a line; what was sent is not sent back."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if request.method == "POST" and not request.headers.get("content-type", "").lower().startswith("application/json"):
        return JSONResponse({"detail": "expected Content-Type: application/json"}, 415)
    place = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    return JSONResponse({"detail": f"{place}: {first['msg']}"[:SHOWN]}, 422)
