"""The routes of an archive: search it, read it, and change it with the token."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import JSONResponse

from siamese.errors import ArchiveError, BusyError, UserError
from siamese.service import messages as m
from siamese.service.base import long, problems, requiring_to_write
from siamese.service.limits import AT_ONCE, COLUMNS, ID, PAGE, RETRY, VALUE
from siamese.service.logs import LOG
from siamese.service.opened import Opened
from siamese.service.sharing import Sharing

if TYPE_CHECKING:
    from siamese.archive.store import Archive, Hit

SEARCHES_AT_ONCE = 16  # requests with one question each that are answered together
# k, legs, threshold, prior, and the conditions as JSON: in Python 1 equals True.
How = tuple[int, str, float | None, float | None, str]
T = TypeVar("T")
Id = Annotated[str, InPath(min_length=1, max_length=ID, examples=["faq-1"])]
Where = Annotated[
    list[Annotated[str, Query(max_length=VALUE, pattern="^[^=]+=")]],
    Query(max_length=COLUMNS, description="name=value: only questions with this value", examples=[["product=printer"]]),
]


def add_archive(app: FastAPI, opened: Opened, folder: str | Path, defaults: m.Defaults, token: str | None) -> None:
    """Add the routes of an archive.

    Args:
        app: the application.
        opened: the archive.
        folder: of the archive, which is left out of messages.
        defaults: for what a request does not say.
        token: required of whoever changes the archive; without a token nobody can.
    """
    app.add_exception_handler(ArchiveError, partial(_archive_error, str(folder)))

    def how(asked: m.SearchRequest) -> How:
        where = json.dumps({**defaults.where, **asked.where}, sort_keys=True)
        return asked.k, asked.legs, *defaults.judging(asked), where

    def found(archive: "Archive", questions: Sequence[str], how: How) -> Iterator[list["Hit"]]:
        k, legs, threshold, prior, where = how
        at_once = max(1, AT_ONCE // k)
        for start in range(0, len(questions), at_once):
            part = questions[start : start + at_once]
            yield from archive.search(part, k, legs, threshold=threshold, prior=prior, where=json.loads(where))

    def written(archive: "Archive", found: Iterable[list["Hit"]], how: How) -> Response:
        return long("hits", found, threshold=archive.model.threshold_for(*how[2:4]), search="exact")

    def one_each(archive: "Archive", asked: Sequence[m.SearchRequest]) -> list[Response]:
        answers: dict[int, Response] = {}
        hows = list(map(how, asked))
        for own in set(hows):
            places = [i for i, other in enumerate(hows) if other == own]
            questions = [asked[i].questions[0] for i in places]
            for i, hits in zip(places, found(archive, questions, own)):
                answers[i] = written(archive, [hits], own)
        return [answers[i] for i in range(len(asked))]

    alone: Sharing[m.SearchRequest, Response] = opened.sharing(
        lambda archive, asked: _fit(partial(one_each, asked=asked))(archive), SEARCHES_AT_ONCE
    )

    @app.post("/search", response_model=m.SearchAnswer)
    async def search(asked: m.SearchRequest) -> Any:
        """Return the nearest questions of the archive."""
        if len(asked.questions) == 1:
            return await alone.run(asked)

        def hits(archive: "Archive") -> Response:
            return written(archive, found(archive, asked.questions, how(asked)), how(asked))

        return await opened.search(_fit(hits))

    @app.get("/questions", response_model=m.Page)
    async def list_questions(
        where: Where = [],  # noqa: B006  # which FastAPI copies
        after: Annotated[str, Query(max_length=ID, description="next of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=PAGE)] = 100,
    ) -> Any:
        """Return a page of questions with their payloads, in the order of their ids, which are compared as text."""
        conditions = {**defaults.where, **{name: value for name, _, value in (one.partition("=") for one in where)}}

        def page(archive: "Archive") -> Response:
            found = archive.records(conditions, after=after or None, limit=limit + 1)
            following = found[limit - 1].id if len(found) > limit else None
            return long("questions", found[:limit], next=following)

        return await opened.read(_fit(page))

    @app.get("/questions/{id:path}", responses=problems(404))
    async def get_question(id: Id) -> m.Record:
        """Return a question with its payload."""
        if (found := await opened.read(lambda archive: archive.record(id))) is None:
            raise HTTPException(404, "no question has this id")
        return m.Record(**vars(found))

    may_write = [Depends(requiring_to_write(token, "adding and removing are off"))]

    async def write(work: Callable[["Archive"], T], unfit: int) -> T:
        try:
            return await opened.change(_fit(work))
        except ArchiveError as error:
            if error.position is None:
                raise
            raise HTTPException(unfit, str(error)) from None  # an id that exists already, or does not exist

    @app.post("/questions", status_code=201, dependencies=may_write, responses=problems(401, 403, 409))
    async def add_questions(asked: m.AddRequest) -> m.AddAnswer:
        """Add all the questions to the archive, or none. After a 504 too: look up the ids to see which."""
        for name, given in (("ids", asked.ids), ("payloads", asked.payloads)):
            if given is not None and len(given) != len(asked.questions):
                raise HTTPException(
                    422, f"{name}: {len(given)} for {len(asked.questions)} questions; give one for each"
                )

        def add(archive: "Archive") -> list[str]:
            _check_kept(archive, asked.payloads or [])
            return archive.add(asked.questions, asked.ids, asked.payloads)

        return m.AddAnswer(ids=await write(add, unfit=409))

    @app.put(
        "/questions/{id:path}", dependencies=may_write,
        responses=problems(401, 403, 404) | {201: {"model": m.PutAnswer}},  # 404: an id with a line feed
    )  # fmt: skip
    async def put_question(id: Id, asked: m.PutRequest, answer: Response) -> m.PutAnswer:
        """Add a question (201), or change it (200). It can be sent again after a 503 or 504."""

        def put(archive: "Archive") -> m.PutAnswer:
            payload = asked.payload
            if payload is not None:
                _check_kept(archive, [payload])
                if (earlier := archive.record(id)) is not None:  # whose other values go
                    payload = {**dict.fromkeys(earlier.payload), **payload}
            done = archive.sync([asked.question], [id], [payload or {}])
            return m.PutAnswer(done="added" if done.added else "changed" if done.changed else "unchanged")

        found = await write(put, unfit=422)
        answer.status_code = 201 if found.done == "added" else 200
        return found

    @app.delete("/questions/{id:path}", status_code=204, dependencies=may_write, responses=problems(401, 403, 404))
    async def remove_question(id: Id) -> None:
        """Remove a question from the archive."""
        await write(lambda archive: archive.remove([id]), unfit=404)


def _fit(work: Callable[["Archive"], T]) -> Callable[["Archive"], T]:
    """Return a function that answers 422 if a request asks for what the archive does not have."""

    def fitting(archive: "Archive") -> T:
        try:
            return work(archive)
        except (ArchiveError, BusyError):
            raise
        except UserError as error:
            raise HTTPException(422, str(error)) from None

    return fitting


def _check_kept(archive: "Archive", payloads: list[m.Payload]) -> None:
    """Answer 422 if a payload has a column that the archive would leave out."""
    if (kept := archive.kept()) is None:
        return
    for name in sorted({name for payload in payloads for name in payload}.difference(kept)):
        keeps = ", ".join(map(repr, kept[:20])) or "none"
        raise HTTPException(422, f"payload: the archive does not keep the column {name!r}; it keeps {keeps}")


async def _archive_error(folder: str, request: Request, error: Exception) -> JSONResponse:
    """Answer 503 with the reason, such as a folder that was replaced, and log it."""
    if error.__cause__:  # an error of SQLite, such as a full disk
        raise error
    reason = str(error).replace(folder, "the archive").replace("open it again", "restart the service")
    LOG.error(reason)
    return JSONResponse({"detail": reason}, 503, RETRY)
