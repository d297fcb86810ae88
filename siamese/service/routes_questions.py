"""The routes that ask the model: predict, explain, similarity, encode."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import FastAPI, Response
from pydantic_core import to_json

from siamese.model.explanation import explain
from siamese.model.model import Prediction, SiameseModel
from siamese.service import messages as m
from siamese.service.base import long
from siamese.service.limits import Workers
from siamese.service.sharing import Sharing

PAIRS = 32  # that are predicted together
NOTHING = Response()
Rule = tuple[float | None, float | None]  # threshold and prior


async def predict_all(
    model: SiameseModel, workers: Workers, pairs: Sequence[Sequence[str]], rule: Rule = (None, None)
) -> list[Prediction]:
    """Return the prediction for each pair of questions, by threshold and prior, some at a time.

    Long questions take 80 ms a pair, so a whole request would keep a thread from everybody else.
    """
    parts = [pairs[start : start + PAIRS] for start in range(0, len(pairs), PAIRS)]
    works = [partial(model.predict_many, [a for a, _ in part], [b for _, b in part], *rule) for part in parts]
    return [prediction for found in await workers.run_each(works) for prediction in found]


def add_questions(app: FastAPI, model: SiameseModel, known: m.About, defaults: m.Defaults, workers: Workers) -> None:
    """Add the routes that need the model alone.

    Args:
        app: the application.
        model: the model that answers.
        known: what is said of it.
        defaults: for what a request does not say.
        workers: the threads that do the work.
    """

    threshold = model.threshold_for(defaults.threshold, defaults.prior)

    def predict_each(asked: Sequence[m.PredictRequest]) -> list[Response]:
        found: list[Response] = [NOTHING] * len(asked)
        rules = [defaults.judging(one) for one in asked]
        for rule in set(rules):
            places = [i for i, own in enumerate(rules) if own == rule]
            firsts, seconds = [asked[i].question1 for i in places], [asked[i].question2 for i in places]
            for i, prediction in zip(places, model.predict_many(firsts, seconds, *rule)):
                found[i] = Response(to_json(prediction), media_type="application/json")
        return found

    # The padding of a course model enters a vector, so what others ask at the same time would change the answer.
    predictions = Sharing(predict_each, workers, PAIRS if model.config.padding == "none" else 1)

    @app.get("/model")
    async def described() -> m.About:
        """Return the name, the licence and the card of the model."""
        return known

    @app.post("/predict", response_model=m.Verdict)
    async def predict(asked: m.PredictRequest) -> Any:
        """Decide whether two questions are duplicates."""
        return await predictions.run(asked)

    @app.post("/predict/batch", response_model=m.BatchAnswer)
    async def predict_batch(asked: m.BatchRequest) -> Any:
        """Decide for each pair whether its questions are duplicates."""
        return long("verdicts", await predict_all(model, workers, asked.pairs, defaults.judging(asked)))

    @app.post("/explain", response_model=m.ExplainAnswer)
    async def explained(asked: m.PredictRequest) -> Any:
        """Return the verdict on two questions and the share of each word, found by leaving the word out."""
        found = await workers.run(explain, model, asked.question1, asked.question2, *defaults.judging(asked))
        return {**vars(found.prediction), "words1": found.words1, "words2": found.words2}

    @app.post("/similarity")
    async def similarity(asked: m.SimilarityRequest) -> m.SimilarityAnswer:
        """Return the similarity of each pair of questions."""
        firsts, seconds = [first for first, _ in asked.pairs], [second for _, second in asked.pairs]
        found = await workers.run(model.similarity, firsts, seconds)
        return m.SimilarityAnswer(similarities=found.tolist(), threshold=threshold)

    @app.post("/encode", response_model=m.EncodeAnswer)
    async def encode(asked: m.EncodeRequest) -> Any:
        """Return the vector of each question."""
        return await workers.run(lambda: long("vectors", (row.tolist() for row in model.encode(asked.questions))))
