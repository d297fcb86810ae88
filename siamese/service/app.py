"""The web application: its routes, and who may write."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from pydantic_core import to_json

from siamese.errors import ArchiveError
from siamese.model.explanation import explain
from siamese.model.model import SiameseModel
from siamese.service import messages as m
from siamese.service.base import make_base, problems, requiring
from siamese.service.guard import LOG
from siamese.service.limits import ID, LIMITS, RETRY, Limits, Workers
from siamese.version import VERSION

if TYPE_CHECKING:
    from siamese.archive.store import Archive

TOKEN = "SIAMESE_TOKEN"  # environment variable with the token that allows writing
STATIC = Path(__file__).parent / "static"
PAGE = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

T = TypeVar("T")


def make_app(
    model: SiameseModel,
    archive_folder: str | Path | None = None,
    token: str | None = None,
    hosts: Sequence[str] = (),
    limits: Limits = LIMITS,
) -> FastAPI:
    """Return the service of a model as an ASGI application, with its thread pools in `app.state.workers`.

    Args:
        model: the model that answers.
        archive_folder: an archive of the same model to search and change, if any.
        token: required of whoever writes to the archive; without a token nobody can.
        hosts: accepted values of the Host header beside loopback names, without port; ("*",) accepts any.
        limits: on requests; `make_server` takes those on connections.

    Raises:
        UserError: the archive cannot be opened, or belongs to another model.
    """
    files = {address: (STATIC / name, kind) for address, (name, kind) in PAGE.items()}
    about = "Decide whether questions are duplicates, and search an archive for duplicates."
    app = make_base("Duplicate questions", about, files, limits, hosts, advice="`serve --allow-host NAME` accepts it")
    # An archive is used by one thread. That of /health is another, so that searches do not delay it.
    workers, keeper, counter = (Workers(n, limits.pending, limits.work) for n in (limits.threads, 1, 1))
    app.state.workers += [workers, keeper, counter]
    _add_questions(app, model, workers)
    counted = None
    if archive_folder is not None:
        from siamese.archive.store import Archive

        archive, counted = (one.pool.submit(Archive.open, archive_folder, model).result() for one in (keeper, counter))
        _add_archive(app, archive, keeper, token)
        app.add_exception_handler(ArchiveError, partial(_archive_error, str(archive_folder)))

    @app.get("/health")
    async def health() -> m.Health:
        """Report that the service is running, and what it holds."""
        return m.Health(
            status="ok", version=VERSION, threshold=model.threshold,
            archive=None if counted is None else await counter.run(len, counted),
            writing=counted is not None and token is not None,
        )  # fmt: skip

    return app


def _long(name: str, rows: Iterable[Any], **others: Any) -> Response:
    """Return an answer with a long list, written here in the worker, a row at a time to let other threads run."""
    text, end = b",".join(map(to_json, rows)), b"," * bool(others) + to_json(others)[1:]
    return Response(b'{"%b":[%b]%b' % (name.encode(), text, end), media_type="application/json")


def _add_questions(app: FastAPI, model: SiameseModel, workers: Workers) -> None:
    @app.post("/predict", response_model=m.Verdict)
    async def predict(asked: m.PredictRequest) -> Any:
        """Decide whether two questions are duplicates."""
        return await workers.run(model.predict, asked.question1, asked.question2, asked.threshold, asked.prior)

    @app.post("/explain", response_model=m.ExplainAnswer)
    async def explained(asked: m.PredictRequest) -> Any:
        """Return the verdict on two questions and the share of each word, found by leaving the word out."""
        found = await workers.run(explain, model, asked.question1, asked.question2, asked.threshold, asked.prior)
        return {**vars(found.prediction), "words1": found.words1, "words2": found.words2}

    @app.post("/similarity")
    async def similarity(asked: m.SimilarityRequest) -> m.SimilarityAnswer:
        """Return the similarity of each pair of questions."""
        firsts, seconds = [first for first, _ in asked.pairs], [second for _, second in asked.pairs]
        found = await workers.run(model.similarity, firsts, seconds)
        return m.SimilarityAnswer(similarities=found.tolist(), threshold=model.threshold)

    @app.post("/encode", response_model=m.EncodeAnswer)
    async def encode(asked: m.EncodeRequest) -> Any:
        """Return the vector of each question."""
        return await workers.run(lambda: _long("vectors", (row.tolist() for row in model.encode(asked.questions))))


def _add_archive(app: FastAPI, archive: "Archive", keeper: Workers, token: str | None) -> None:
    writer = requiring(
        token, f"the value that {TOKEN} had when the service was started",
        f"adding and removing are off: start the service with {TOKEN} to allow them",
    )  # fmt: skip

    async def write(work: Callable[..., T], *arguments: Any, unfit: int) -> T:
        try:
            return await keeper.run(work, *arguments)
        except ArchiveError as error:
            if error.position is None:
                raise
            raise HTTPException(unfit, str(error)) from None  # an id that exists already, or does not exist

    @app.post("/search", response_model=m.SearchAnswer)
    async def search(asked: m.SearchRequest) -> Any:
        """Return the nearest questions of the archive."""

        def hits() -> Response:
            found = archive.search(asked.questions, asked.k, asked.legs)
            return _long("hits", found, threshold=archive.model.threshold, search="exact")

        return await keeper.run(hits)

    may_write = [Depends(writer)]

    @app.post("/questions", status_code=201, dependencies=may_write, responses=problems(401, 403, 409))
    async def add_questions(asked: m.AddRequest) -> m.AddAnswer:
        """Add all the questions to the archive, or none. After a 504 too: look up the ids to see which."""
        if asked.ids is not None and len(asked.ids) != len(asked.questions):
            raise HTTPException(422, f"ids: {len(asked.ids)} for {len(asked.questions)} questions; give one for each")
        return m.AddAnswer(ids=await write(archive.add, asked.questions, asked.ids, unfit=409))

    @app.delete("/questions/{id:path}", status_code=204, dependencies=may_write, responses=problems(401, 403, 404))
    async def remove_question(id: Annotated[str, InPath(min_length=1, max_length=ID, examples=["faq-1"])]) -> None:
        """Remove a question from the archive."""
        await write(archive.remove, [id], unfit=404)


async def _archive_error(folder: str, request: Request, error: Exception) -> JSONResponse:
    """Answer 503 with the reason, such as a folder that was replaced, and log it."""
    if error.__cause__:  # an error of SQLite, such as a full disk
        raise error
    reason = str(error).replace(folder, "the archive").replace("open it again", "restart the service")
    LOG.error(reason)
    return JSONResponse({"detail": reason}, 503, RETRY)
