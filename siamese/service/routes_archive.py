"""The routes of an archive: search it, and change it with the token."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.responses import JSONResponse

from siamese.errors import ArchiveError
from siamese.service import messages as m
from siamese.service.base import long, problems, requiring_to_write
from siamese.service.limits import ID, RETRY, Workers
from siamese.service.logs import LOG

if TYPE_CHECKING:
    from siamese.archive.store import Archive

T = TypeVar("T")


def add_archive(app: FastAPI, archive: "Archive", folder: str | Path, keeper: Workers, token: str | None) -> None:
    """Add the routes of an archive, which was opened in the thread of `keeper` and is used there alone."""
    app.add_exception_handler(ArchiveError, partial(_archive_error, str(folder)))

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
            return long("hits", found, threshold=archive.model.threshold, search="exact")

        return await keeper.run(hits)

    may_write = [Depends(requiring_to_write(token, "adding and removing are off"))]

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
