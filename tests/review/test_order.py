"""The order of the questions, and what answers stand for."""

import numpy as np
import pytest

from siamese.review.order import queue, weights

PROBABILITY = np.random.default_rng(0).beta(0.3, 3, 2_000)  # few duplicates, as among mined pairs


@pytest.mark.slow
def test_every_prefix_estimates_sums_without_bias() -> None:
    labels = np.random.default_rng(1).random(2_000) < PROBABILITY
    for answers in (30, 100):
        sums = []
        for seed in range(200):
            order, value, priority = queue(PROBABILITY, seed)
            asked = order[:answers]
            stands_for = weights(value[asked], priority[asked])
            sums.append((stands_for.sum(), stands_for @ labels[asked]))
        error = np.std(sums, axis=0) / np.sqrt(len(sums))
        assert (np.abs(np.mean(sums, axis=0) - (2_000, labels.sum())) < 4 * error).all()


def test_pairs_the_model_is_unsure_of_come_first() -> None:
    asked = queue(PROBABILITY, 0)[0][:100]
    unsure = np.abs(PROBABILITY - 0.5) < 0.3
    assert unsure[asked].mean() > 2 * unsure.mean()
    assert PROBABILITY[asked].min() < 0.01 and PROBABILITY[asked].max() > 0.8  # but not alone


def test_the_same_seed_gives_the_same_order() -> None:
    order = queue(PROBABILITY, 7)[0]
    np.testing.assert_array_equal(order, queue(PROBABILITY, 7)[0])
    assert sorted(order) == list(range(2_000)) and (order != queue(PROBABILITY, 8)[0]).any()


def test_few_or_equal_pairs_are_no_trouble() -> None:
    for probability in ([], [0.3], [0.5, 0.5], [0.0, 1.0]):
        order, value, priority = queue(np.array(probability), 0)
        assert sorted(order) == list(range(len(probability))) and (value > 0).all() and (priority >= value).all()
    assert weights(np.zeros(0), np.zeros(0)).tolist() == []
    assert weights(np.array([2.0]), np.array([3.0])).tolist() == [0.0]


@pytest.mark.slow
def test_stages_that_follow_the_answers_keep_sums_unbiased() -> None:
    labels = (np.random.default_rng(1).random(2_000) < PROBABILITY).astype(int)
    random, sums = np.random.default_rng(0), []
    for _ in range(400):
        left, found, asked, value = np.ones(2_000, bool), [], [], np.ones(2_000)
        for stage in range(3):
            priority = value / (1 - random.random(2_000))
            drawn = [pair for pair in np.argsort(-priority) if left[pair]][:20]
            found += [(value[pair], priority[pair], stage) for pair in drawn]
            asked, left[drawn] = asked + drawn, False
            near = PROBABILITY[[pair for pair in asked if labels[pair]]].mean() if labels[asked].any() else 0.5
            value = np.exp(-np.abs(PROBABILITY - near))  # follows the answers
        stands_for = weights(*np.array(found).T)
        sums.append((stands_for.sum(), stands_for @ labels[asked]))
    error = np.std(sums, axis=0) / np.sqrt(len(sums))
    assert (np.abs(np.mean(sums, axis=0) - (2_000, labels.sum())) < 4 * error).all()


def test_later_stages_ask_near_the_threshold() -> None:
    labels = (PROBABILITY > 0.6).astype(int)
    asked: list[int] = []
    for stage in range(6):
        asked += queue(PROBABILITY, 0, asked, labels[asked].tolist(), stage)[0][:10].tolist()
    assert (np.abs(PROBABILITY[asked[40:]] - 0.6) < 0.2).mean() > 0.5  # 5 % of all pairs
    order = queue(PROBABILITY, 0, asked, [None] * 60, 6)[0]  # skipped, so that they say nothing
    assert not set(order) & set(asked)
