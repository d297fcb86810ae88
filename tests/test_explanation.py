"""Explanations: the words that the model knows, and how much each adds to the similarity."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese import SiameseModel
from siamese.config import preset
from siamese.model.explanation import EXPLAINED_WORDS, explain
from siamese.text.tokenizer import Tokenizer

SHIPPED = SiameseModel.pretrained()
FIRST, SECOND = "How can I lose weight in Zzyzxville?", "What is the fastest way to lose weight?"


def test_words_are_those_of_the_model_in_order() -> None:
    found = explain(SHIPPED, FIRST, SECOND)
    assert [word.text for word in found.words1] == ["how", "can", "i", "lose", "weight", "in", "zzyzxville", "?"]
    assert [word.known for word in found.words1] == [True] * 8  # by the pieces of the place
    assert found.prediction == SHIPPED.predict(FIRST, SECOND)


def test_a_share_is_what_the_similarity_loses_without_the_word() -> None:
    # By hand, and one at a time: the question is written down without the word.
    found = explain(SHIPPED, FIRST, SECOND)
    words = ["how", "can", "i", "lose", "weight", "in", "zzyzxville", "?"]
    for i, word in enumerate(found.words1):
        shorter = " ".join(words[:i] + words[i + 1 :])
        share = SHIPPED.predict(FIRST, SECOND).similarity - SHIPPED.predict(shorter, SECOND).similarity
        assert word.share == pytest.approx(share, abs=1e-6)
    shorter = "What is the fastest way to lose ?"
    share = SHIPPED.predict(FIRST, SECOND).similarity - SHIPPED.predict(FIRST, shorter).similarity
    assert found.words2[7].text == "weight"
    assert found.words2[7].share == pytest.approx(share, abs=1e-6)


def test_a_question_of_one_word_owes_all_to_it() -> None:
    # Without its only word nothing is known, and the similarity is 0: the share is all of it.
    found = explain(SHIPPED, "weight", "weight")
    assert found.prediction.similarity == 1.0
    assert (found.words1[0].share, found.words2[0].share) == (1.0, 1.0)


def test_each_occurrence_of_a_word_has_its_own_share() -> None:
    found = explain(SHIPPED, "weight weight loss", "how to lose weight")
    assert [word.text for word in found.words1] == ["weight", "weight", "loss"]
    assert found.words1[0].share == pytest.approx(found.words1[1].share, abs=1e-6)  # either leaves the same question


def test_threshold_and_prior_are_those_of_predict() -> None:
    found = explain(SHIPPED, FIRST, SECOND, threshold=0.99, prior=0.01)
    assert found.prediction == SHIPPED.predict(FIRST, SECOND, 0.99, 0.01)


def test_long_questions_have_words_and_no_shares() -> None:
    found = explain(SHIPPED, "weight " * (EXPLAINED_WORDS + 1), SECOND)
    assert [word.share for word in found.words1] == [None] * (EXPLAINED_WORDS + 1)
    assert None not in [word.share for word in found.words2]
    assert None not in [word.share for word in explain(SHIPPED, "weight " * EXPLAINED_WORDS, SECOND).words1]


@pytest.mark.parametrize("name", ["course-trax-2021", "course-tensorflow"])
def test_a_course_model_is_asked_pair_by_pair(tiny_model: Path, name: str) -> None:
    # There a vector depends on the questions it is padded with.
    model = SiameseModel.load(tiny_model)
    model.config = preset(name).replace(embedding=16, hidden=16, skip=model.config.skip)
    model.tokenizer = Tokenizer(model.tokenizer.words, model.config.tokens, model.tokenizer.buckets)
    found = explain(model, "What is my balance", "Tell me my balance today please")
    full = model.predict("What is my balance", "Tell me my balance today please").similarity
    without = model.predict("is my balance", "Tell me my balance today please").similarity
    assert found.words1[0].share == full - without


@pytest.mark.slow
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_explained(question1: str, question2: str) -> None:
    found, other = explain(SHIPPED, question1, question2), explain(SHIPPED, question2, question1)
    assert [word.text for word in found.words1] == SHIPPED.tokenizer.split(question1)
    assert all(-2 <= word.share <= 2 for word in [*found.words1, *found.words2] if word.share is not None)
    assert [word.share for word in found.words1] == pytest.approx([word.share for word in other.words2], abs=1e-6)
