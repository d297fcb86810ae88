"""Explain a similarity: the words that the model knows, and what each one adds."""

from collections.abc import Sequence
from dataclasses import dataclass

from siamese.model.model import Prediction, SiameseModel

EXPLAINED_WORDS = 64  # words of a question, since the work grows with their square


@dataclass(frozen=True)
class Word:
    """A word of a question, as the model splits it."""

    text: str
    known: bool  # whether it is in the vocabulary
    share: float | None  # similarity with the word − similarity without it; None in longer questions


@dataclass(frozen=True)
class Explanation:
    """A verdict and the words of both questions, in order."""

    prediction: Prediction
    words1: list[Word]
    words2: list[Word]


def explain(
    model: SiameseModel, question1: str, question2: str, threshold: float | None = None, prior: float | None = None
) -> Explanation:
    """Return a prediction, with the contribution of each word, found by leaving it out.

    The share of word i is s − s₋ᵢ, with s the similarity of the two questions and s₋ᵢ the similarity without that one
    occurrence of the word. If it is above 0, the word makes the questions more similar. Shares do not add up to s,
    since words interact. Source: Li, Monroe, Jurafsky 2016, "Understanding Neural Networks through Representation
    Erasure".

    Args:
        model: the detector.
        question1, question2, threshold, prior: as in `SiameseModel.predict`.
    """
    prediction = model.predict(question1, question2, threshold, prior)
    words1, words2 = model.tokenizer.split(question1), model.tokenizer.split(question2)
    shorter1, shorter2 = _without_each(words1), _without_each(words2)
    firsts = [*shorter1, *[question1] * len(shorter2)]
    seconds = [*[question2] * len(shorter1), *shorter2]
    if model.config.padding == "none":
        without = model.similarity(firsts, seconds).tolist()
    else:  # a vector of a course preset depends on its batch, so score pair by pair, as `predict` does
        without = [float(model.similarity([q1], [q2])[0]) for q1, q2 in zip(firsts, seconds)]
    shares = [prediction.similarity - s for s in without]
    return Explanation(
        prediction,
        _with_shares(model, question1, words1, shares[: len(shorter1)]),
        _with_shares(model, question2, words2, shares[len(shorter1) :]),
    )


def _without_each(words: Sequence[str]) -> list[str]:
    """Return the question without its first word, without its second, ...; nothing if it is too long."""
    if len(words) > EXPLAINED_WORDS:
        return []
    return [" ".join([*words[:i], *words[i + 1 :]]) for i in range(len(words))]


def _with_shares(
    model: SiameseModel, question: str, words: Sequence[str], shares: Sequence[float | None]
) -> list[Word]:
    known = model.tokenizer.known_words(question)
    return [Word(word, is_known, share) for word, is_known, share in zip(words, known, shares or [None] * len(words))]
