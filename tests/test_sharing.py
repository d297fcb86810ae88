"""Requests that arrive while a thread works share the next batch."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi import HTTPException

from siamese import Archive, SiameseModel
from siamese.service.app import make_app
from siamese.service.limits import Workers
from siamese.service.sharing import Sharing


def answers(sharing: Sharing[int, int], things: Sequence[int]) -> list[int | BaseException]:
    async def all_of_them() -> list[int | BaseException]:
        return await asyncio.gather(*map(sharing.run, things), return_exceptions=True)

    return asyncio.run(all_of_them())


def test_requests_share_a_batch_and_an_error_is_that_of_one_alone() -> None:
    batches = []

    def halves(things: Sequence[int]) -> list[int]:
        batches.append(list(things))
        if 3 in things:
            raise ValueError("odd")
        return [thing // 2 for thing in things]

    found = answers(Sharing(halves, Workers(1, 9, 5), 4), [2, 3, 4, 6, 8, 10])
    assert batches == [[2, 3, 4, 6], [2], [3], [4], [6], [8, 10]]
    assert found[:1] + found[2:] == [1, 2, 3, 4, 5] and isinstance(found[1], ValueError)


def test_too_many_get_503_and_late_ones_504_and_those_that_gave_up_are_left_out() -> None:
    gate, batches = threading.Event(), []

    def wait(things: Sequence[int]) -> Sequence[int]:
        batches.append(list(things))
        gate.wait(5)
        return things

    sharing = Sharing(wait, Workers(1, 3, 0.02), 2)
    found = answers(sharing, [1, 2, 3, 4])
    assert [error.status_code for error in found if isinstance(error, HTTPException)] == [504, 504, 504, 503]
    gate.set()
    assert batches == [[1, 2]]


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_queue_that_was_empty_begins_again(rounds: int) -> None:
    sharing: Sharing[int, int] = Sharing(lambda things: things, Workers(1, 9, 5), 4)

    async def often() -> list[int]:
        return [await sharing.run(i) for i in range(rounds)]

    assert asyncio.run(often()) == list(range(rounds))


@pytest.mark.slow
def test_searches_and_predictions_at_the_same_time_get_the_answers_that_they_get_alone(tmp_path: Path) -> None:
    model, questions = SiameseModel.pretrained(), ["How old are you?", "What is your age?", "Where is my parcel?"]
    with Archive.build(tmp_path / "archive", model=model) as archive:
        archive.add(questions)
    app = make_app(model, tmp_path / "archive")
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/search", {"questions": [one], "k": k}) for one in questions for k in (1, 2)
    ]
    asked += [("/predict", {"question1": one, "question2": two, **more}) for one in questions for two in questions
              for more in ({}, {"prior": 0.01}, {"threshold": 0.9})]  # fmt: skip
    asked += [("/search", {"questions": ["a"], "where": {"nothing": "x"}}), ("/search", {"questions": questions})]

    async def answers(together: bool) -> list[tuple[int, Any]]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as one:
            tasks = [one.post(path, json=body) for path, body in asked]
            found = await asyncio.gather(*tasks) if together else [await task for task in tasks]
            return [(answer.status_code, answer.json()) for answer in found]

    alone = asyncio.run(answers(False))
    assert asyncio.run(answers(True)) == alone
    assert [status for status, _ in alone] == [200] * (len(asked) - 2) + [422, 200]
