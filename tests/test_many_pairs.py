"""Thousands of pairs at once have the features, and show the differences, of each pair alone."""

import random

import numpy as np
import pytest

from siamese.model import many_pairs
from siamese.model.differences import FEATURES, differs, features
from siamese.model.many_pairs import many_differs, many_features
from siamese.model.word_table import WordTable
from siamese.model.words import Words

# Words of every kind, some in several forms; questions of them differ in every feature.
VOCABULARY = str.split(
    "how do I can he she him her install remove buy sell big small on off turn Python python python3 python2.7 Python3 "
    "v5.0 5 five E1603 E1722 1603 1,000 1000 2019 2020 15k 15K Ada Lovelace Paris paris Oslo United Nations UN NASA "
    "National Aeronautics Space Administration not never don't no without was is are will did have used use to from in "
    "into for by with and or vs before after under taller shorter older dog dogs bites bitten man written wrote ate "
    "zyxomma qwertz favourite favorite movie film colour color . ? ! , : & é Über ΑΒΓ C++ C# 's 100% 21st 1980s"
)


def question(draw: random.Random) -> str:
    words = draw.choices(VOCABULARY, k=draw.choice([0, 1, 3, 5, 7, 9, 12, 60]))
    text = " ".join(words)
    return draw.choice([text, text.title(), text.upper(), text[:1].upper() + text[1:]]) + draw.choice(["", "?", "."])


def variants_of(text: str, draw: random.Random) -> str:
    """Return a question with a few words exchanged, replaced, added or left out."""
    words = text.split()
    for _ in range(draw.randint(0, 3)):
        i, j = (draw.randrange(len(words) + 1) for _ in range(2))
        change = draw.randrange(4)
        if change == 0:
            words[i:i] = [draw.choice(VOCABULARY)]
        elif change == 1:
            words[i : i + 1] = draw.choices(VOCABULARY, k=1)
        elif change == 2:
            del words[i : i + 1]
        else:
            words[i:], words[:i] = words[:i], words[i:]
            i, j = sorted((i, j))
            words[i:j] = words[i:j][::-1]
    return " ".join(words)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    draw = random.Random(0)
    found = [question(draw) for _ in range(300)]
    return [other for text in found for other in (text, variants_of(text, draw), variants_of(text, draw))]


@pytest.mark.slow
def test_features_and_differences_are_those_of_each_pair_alone(
    texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many_pairs, "PAIRS", 100)
    random = np.random.default_rng(0)
    first = random.integers(0, len(texts), 1_200)
    second = np.where(np.arange(1_200) < 900, first // 3 * 3 + random.integers(0, 3, 1_200), random.permutation(first))
    words = [Words(text) for text in texts]
    alone = features((words[a], words[b]) for a, b in zip(first, second))
    table = WordTable(texts)
    for part in (slice(0, 500), slice(500, None)):  # the table grows in between
        np.testing.assert_array_equal(many_features(table, first[part], second[part]), alone[part])
        found = many_differs(table, first[part], second[part])
        assert found == [differs(texts[a], texts[b]) for a, b in zip(first[part], second[part])]
    assert all(np.count_nonzero(column) for column in alone.T), dict(zip(FEATURES, alone.any(axis=0)))


def test_most_pairs_need_no_second_look(texts: list[str]) -> None:
    short = [text for text in texts if 0 < len(text.split()) < 10]
    table = WordTable(short)
    ends = np.arange(len(short)), np.roll(np.arange(len(short)), 1)
    slow = sum(np.count_nonzero(found.slow) for found in many_pairs._compared(table, *ends))
    assert slow < 0.3 * len(short)


def test_no_pairs_and_questions_without_words() -> None:
    table, nobody = WordTable(["", "???", "\ud800"]), np.zeros(0, int)
    assert many_features(table, nobody, nobody).shape == (0, len(FEATURES))
    assert many_differs(table, nobody, nobody) == []
    assert not many_features(table, np.array([0, 0, 1]), np.array([1, 2, 2])).any()
