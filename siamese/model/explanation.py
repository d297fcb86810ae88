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
    questions = question1, question2
    words = [model.tokenizer.split(question) for question in questions]
    shorter1, shorter2 = map(_without_each, words)
    firsts = [*shorter1, *[question1] * len(shorter2)]
    seconds = [*[question2] * len(shorter1), *shorter2]
    if model.config.padding == "none":
        without = model.similarity(firsts, seconds).tolist()
    else:  # a vector of a course preset depends on its batch, so score pair by pair, as `predict` does
        without = [float(model.similarity([q1], [q2])[0]) for q1, q2 in zip(firsts, seconds)]
    shares = iter([prediction.similarity - s for s in without])
    known = map(model.tokenizer.known_words, questions)
    words1, words2 = (
        [Word(word, is_known, next(shares) if shorter else None) for word, is_known in zip(split, known_words)]
        for split, known_words, shorter in zip(words, known, (shorter1, shorter2))
    )
    return Explanation(prediction, words1, words2)


def _without_each(words: Sequence[str]) -> list[str]:
    """Return the question without its first word, without its second, ...; nothing if it is too long."""
    if len(words) > EXPLAINED_WORDS:
        return []
    return [" ".join([*words[:i], *words[i + 1 :]]) for i in range(len(words))]
