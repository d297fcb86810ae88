"""The route that takes what people decided about pairs of questions."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fastapi import Depends, FastAPI, HTTPException

from siamese.errors import DataError, UserError
from siamese.model.model import SiameseModel
from siamese.service import messages as m
from siamese.service.base import problems, requiring_to_write
from siamese.service.limits import Limits, Workers, patiently
from siamese.service.logs import LOG
from siamese.service.routes_questions import predict_all


class Judged(NamedTuple):
    """What somebody decided about two questions, and what the model says of them."""

    question1: str
    question2: str
    answer: str  # duplicate, different, unsure or undo
    similarity: float
    probability: float


Record = Callable[[Sequence[Judged], str], None]  # decisions, and who made them


def add_decisions(
    app: FastAPI, model: SiameseModel, workers: Workers, record: Record, token: str | None, limits: Limits
) -> None:
    """Add /decisions.

    Args:
        app: the application.
        model, workers: what judges the pairs, and the threads where it does.
        record: writes decisions, all or none; called in a thread of its own. It raises DataError if one is none,
            BusyError while another process writes, and UserError if the file cannot be used.
        token: required of whoever decides; without a token nobody can.
        limits: on the time to wait for another process.
    """
    recorder = Workers(1, limits.pending, limits.work)
    app.state.workers.append(recorder)

    @app.post(
        "/decisions", status_code=201, responses=problems(401, 403, 507),
        dependencies=[Depends(requiring_to_write(token, "decisions are off"))],
    )  # fmt: skip
    async def decide(asked: m.DecisionsRequest) -> m.DecisionsAnswer:
        """Keep decisions about pairs of questions, for `mine --decisions`, `review` and `adapt`: all or none."""
        made = asked.decisions
        found = await predict_all(model, workers, [(one.question1, one.question2) for one in made])
        judged = [
            Judged(one.question1, one.question2, one.answer, verdict.similarity, verdict.probability)
            for one, verdict in zip(made, found)
        ]
        try:
            await patiently(lambda: recorder.run(record, judged, asked.by), limits.patience)
        except DataError as error:
            raise HTTPException(422, str(error)) from None
        except OSError as error:
            raise HTTPException(507, f"not saved: {error.strerror}") from None
        except UserError as error:
            LOG.error(str(error))
            raise HTTPException(503, "the file of decisions cannot be used; see the log of the service") from None
        return m.DecisionsAnswer(written=len(judged))
