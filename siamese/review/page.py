"""The page of `review`, on this machine alone: its files, and the requests that answer.

The token stands in the part of the address after #, which browsers send to nobody; the page's script sends it with each
request. So nobody answers who does not have the address: no other user of the machine, and no other page.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Response
from pydantic import Field

from siamese.errors import UserError
from siamese.model.differences import differs
from siamese.review.cluster_session import ClusterReview
from siamese.review.decisions import SKIP
from siamese.review.session import ABOUT_A_PAIR, PairReview
from siamese.review.terminal import safe, said
from siamese.service import base
from siamese.service.base import make_base, problems, requiring
from siamese.service.limits import LIMITS, Limits, Workers
from siamese.service.messages import Asked, Whole
from siamese.text.keys import pieces_beside, words_of

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": (STATIC / "page.html", "text/html"),
    "/page.js": (STATIC / "page.js", "text/javascript"),
    "/review.css": (STATIC / "review.css", "text/css"),
    "/page.css": (base.STATIC / "page.css", "text/css"),
    "/icon.svg": (base.STATIC / "icon.svg", "image/svg+xml"),
}


class Nothing(Asked):
    """A request without content."""


class Step(Asked):
    """What a person does."""

    ticket: str = Field(max_length=50, description="that of the state that the person saw")
    do: str = Field(max_length=20, description=f"of a pair: {', '.join(ABOUT_A_PAIR)}; of a cluster: same, split, "
                    "represent, merge, never, skip; of both: undo")  # fmt: skip
    questions: list[Whole] = Field([], max_length=2, description="the numbers of questions that it is about")


def make_app(
    review: PairReview | ClusterReview, token: str, finish: Callable[[], None], part: str = "", limits: Limits = LIMITS
) -> FastAPI:
    """Return the page as an ASGI application, with its thread pools in `app.state.workers`.

    Args:
        review: what it drives, in one thread.
        token: required of all requests but those for the page's files.
        finish: called when the person has finished.
        part: which part this is, to show.
        limits: on requests.
    """
    app = make_base("Review", "Ask a person about pairs or clusters.", FILES, limits)
    worker = Workers(1, limits.pending, limits.work)
    app.state.workers.append(worker)
    may = [Depends(requiring(token, "what follows # in the address that `review` printed"))]

    def state() -> Response:
        return Response(json.dumps(shown(review, part)), media_type="application/json")

    def take(step: Step) -> Response:
        if step.ticket != review.ticket:
            raise HTTPException(409, "answered already, perhaps in another window; this is what comes next")
        try:
            _do(review, step)
        except (KeyError, TypeError, ValueError):
            raise HTTPException(422, f"{step.do}: not a step here, or about other questions") from None
        except UserError as error:
            raise HTTPException(422, safe(str(error))) from None
        except OSError as error:
            raise HTTPException(507, f"not saved: {error.strerror}") from None
        return state()

    @app.post("/state", dependencies=may, responses=problems(401))
    async def now(asked: Nothing) -> Response:
        """Return what to ask about, and how far the review has come."""
        return await worker.run(state)

    @app.post("/step", dependencies=may, responses=problems(401, 409, 507))
    async def step(asked: Step) -> Response:
        """Answer, change a cluster or take the last step back. It is on disk before the next state is returned."""
        return await worker.run(take, asked)

    @app.post("/finish", dependencies=may, responses=problems(401), status_code=204)
    async def finished(asked: Nothing) -> None:
        """End the review."""
        finish()

    return app


def _do(review: PairReview | ClusterReview, step: Step) -> None:
    """Take a step, or raise KeyError, TypeError or ValueError if there is no such one."""
    if step.do == "undo":
        review.undo(*step.questions)
    elif isinstance(review, PairReview):
        review.answer(step.do, *step.questions)
    else:
        steps: dict[str, Callable[..., None]] = {
            "same": review.same, "split": review.split, "represent": review.represent, "merge": review.merge,
            "never": review.never, SKIP: review.skip,
        }  # fmt: skip
        steps[step.do](*step.questions)


def shown(review: PairReview | ClusterReview, part: str) -> dict[str, Any]:
    """Return what the page shows, as JSON."""
    done, total, answers = review.progress
    found: dict[str, Any] = {"ticket": review.ticket, "done": done, "total": total, "answers": answers, "part": part}
    if isinstance(review, PairReview):
        found |= {"kind": "pair", "last": said(review.last), "pair": None}
        if task := review.task:
            one, two = task
            found["pair"] = {
                "first": _pieces(one, two),
                "second": _pieces(two, one),
                "differs": safe(differs(one, two)),
            }
    else:
        found |= {"kind": "cluster", "last": review.last, "cluster": None}
        if cluster := review.task:
            first = review.texts[cluster.members[0]]
            found["cluster"] = {
                "members": [{"number": q, "text": _pieces(review.texts[q], first)} for q in cluster.members],
                "near": [
                    {"number": q, "size": size, "text": _pieces(review.texts[q], first)} for q, size in cluster.near
                ],
            }
    return found


def _pieces(text: str, other: str) -> list[tuple[str, bool]]:
    return pieces_beside(safe(text), words_of(safe(other)))
