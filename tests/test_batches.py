"""Batches: what an epoch holds, in which order, on which side, and how the published editions padded it."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from siamese.text.ragged import Tokens, pad
from siamese.training.batches import Batch, PairTokens, data_generator, number_of_batches


def make_pairs(duplicates: int, others: int = 0, clusters: list[int] | None = None) -> PairTokens:
    """Make pairs: pair k has id 2k against id 2k + 1, one to three times, so that an id tells pair and side.

    The last pairs are the ones that are no duplicates.
    """
    n = duplicates + others
    return PairTokens(
        Tokens.of([2 * k] * (1 + k % 3) for k in range(n)),
        Tokens.of([2 * k + 1] * (1 + k % 2) for k in range(n)),
        (np.arange(n) < duplicates).astype(np.int8),
        np.array(clusters if clusters is not None else range(n), np.int64),
    )


def pairs_of(b1: Tokens, b2: Tokens) -> list[int]:
    """Return the numbers of the pairs. Check that each is complete, with one question on each side."""
    numbers = []
    for i in range(len(b1)):
        k = int(b1[i][0]) // 2
        rows = sorted((b1[i].tolist(), b2[i].tolist()))
        assert rows == [[2 * k] * (1 + k % 3), [2 * k + 1] * (1 + k % 2)]
        numbers.append(k)
    return numbers


def swapped(b1: Tokens) -> list[bool]:
    return [bool(b1[i][0] % 2) for i in range(len(b1))]


def order(batches: list[Batch]) -> list[list[int]]:
    return [pairs_of(*batch) for batch in batches]


def flat(lists: list[list[int]]) -> list[int]:
    return [number for one in lists for number in one]


# What an epoch holds


@given(
    n=st.integers(0, 40), size=st.integers(2, 12), seed=st.integers(0, 2**63), epoch=st.integers(0, 99),
    shuffle=st.booleans(), swap=st.booleans(), drop_last=st.booleans(),
)  # fmt: skip
def test_every_duplicate_once_an_epoch(
    n: int, size: int, seed: int, epoch: int, shuffle: bool, swap: bool, drop_last: bool
) -> None:
    pairs = make_pairs(n, others=5)
    batches = order(
        list(data_generator(pairs, size, seed=seed, epoch=epoch, shuffle=shuffle, swap=swap, drop_last=drop_last))
    )
    rest = n % size
    left_out = rest if drop_last or rest == 1 else 0  # one pair has no negatives
    assert [len(batch) for batch in batches] == [size] * (n // size) + [rest] * (rest > 0 and not left_out)
    assert len(batches) == number_of_batches(n, size, drop_last)
    seen = flat(batches)
    assert len(set(seen)) == len(seen) == n - left_out
    assert set(seen) <= set(range(n))  # no non-duplicate
    if not shuffle:
        assert seen == list(range(n - left_out))


def test_number_of_batches_by_hand() -> None:
    # 10 pairs by 3: 3, 3, 3 and a single one, left out; by 4: 4, 4, 2.
    assert [number_of_batches(10, 3, drop_last) for drop_last in (False, True)] == [3, 3]
    assert [number_of_batches(10, 4, drop_last) for drop_last in (False, True)] == [3, 2]
    assert [number_of_batches(n, 4, drop_last=False) for n in (0, 1, 2, 4)] == [0, 0, 1, 1]
    assert [number_of_batches(n, 4, drop_last=False, wrap=True) for n in (3, 4, 5, 8)] == [1, 1, 2, 2]


def test_batch_unpacks_into_the_duplicates() -> None:
    batch = next(data_generator(make_pairs(4, others=3), 4, seed=1, negatives=True))
    b1, b2 = batch
    assert b1 is batch.b1 and b2 is batch.b2


# The order


def test_order_depends_on_seed_and_epoch_alone() -> None:
    pairs = make_pairs(30, others=10)

    def epoch_of(seed: int, epoch: int) -> list[tuple[list[int], ...]]:
        batches = data_generator(pairs, 8, seed=seed, epoch=epoch, negatives=True)
        return [tuple(part.ids.tolist() for part in (b.b1, b.b2, b.n1, b.n2)) for b in batches]

    np.random.seed(0)
    once = epoch_of(1, 0)
    np.random.seed(1)  # numpy's global state has no say
    assert epoch_of(1, 0) == once
    for seed, epoch in ((1, 1), (2, 0), (0, 1)):
        assert epoch_of(seed, epoch) != once
    assert epoch_of(1, 2) != epoch_of(2, 1)  # not their sum


def test_shuffled_order_differs_between_epochs_and_seeds() -> None:
    pairs = make_pairs(20)
    orders = {
        tuple(flat(order(list(data_generator(pairs, 5, seed=seed, epoch=epoch)))))
        for seed in range(5)
        for epoch in range(5)
    }
    assert len(orders) == 25
    assert tuple(range(20)) not in orders


@given(
    n=st.integers(0, 30), others=st.integers(0, 30), size=st.integers(2, 9), epoch=st.integers(0, 3),
    start=st.integers(0, 20), shuffle=st.booleans(), swap=st.booleans(), wrap=st.booleans(), negatives=st.booleans(),
)  # fmt: skip
def test_the_first_batches_left_out(
    n: int, others: int, size: int, epoch: int, start: int, shuffle: bool, swap: bool, wrap: bool, negatives: bool
) -> None:
    def batches(start: int) -> list[list[list[int]]]:
        found = data_generator(
            make_pairs(n, others), size, seed=1, epoch=epoch, shuffle=shuffle, swap=swap, wrap=wrap,
            negatives=negatives, start=start,
        )  # fmt: skip
        return [[part.ids.tolist() for part in (b.b1, b.b2, b.n1, b.n2)] + [b.clusters.tolist()] for b in found]

    assert batches(start) == batches(0)[start:]


# The sides


def test_swap_exchanges_about_half_of_the_pairs() -> None:
    # 4,000 fair coins: 2,000 ± 5·√(4,000 / 4) = ± 158.
    pairs = make_pairs(4_000, others=4_000)
    batches = list(data_generator(pairs, 250, seed=1, negatives=True))
    for sides in ([swapped(b.b1) for b in batches], [swapped(b.n1) for b in batches]):
        total = sum(map(sum, sides))
        assert abs(total - 2_000) < 158
        assert all(0 < sum(side) < 250 for side in sides)  # in every batch


def test_swap_keeps_pairs_and_order() -> None:
    """Swapped or not, the batches hold the same pairs: `pairs_of` checks that none is mixed with another."""
    pairs = make_pairs(50, others=20)
    plain, exchanged = (list(data_generator(pairs, 8, seed=3, swap=swap, negatives=True)) for swap in (False, True))
    assert order(plain) == order(exchanged)
    assert [pairs_of(b.n1, b.n2) for b in plain] == [pairs_of(b.n1, b.n2) for b in exchanged]
    assert not any(any(swapped(b.b1) + swapped(b.n1)) for b in plain)
    assert [b.clusters.tolist() for b in plain] == [b.clusters.tolist() for b in exchanged] == order(plain)


# Wrapping


@given(n=st.integers(2, 12), size=st.integers(2, 15), seed=st.integers(0, 99), shuffle=st.booleans())
def test_wrapped_epochs_are_one_stream_of_shuffles(n: int, size: int, seed: int, shuffle: bool) -> None:
    pairs = make_pairs(n, others=3)
    stream = []
    for epoch in range(4):
        batches = order(list(data_generator(pairs, size, seed=seed, epoch=epoch, shuffle=shuffle, wrap=True)))
        assert [len(batch) for batch in batches] == [size] * number_of_batches(n, size, drop_last=False, wrap=True)
        stream += flat(batches)
    for first in range(0, len(stream) - n + 1, n):  # the stream is cut into whole shuffles
        part = stream[first : first + n]
        assert sorted(part) == list(range(n))
        assert shuffle or part == list(range(n))
    rest = stream[len(stream) // n * n :]
    assert len(set(rest)) == len(rest)


def test_wrapped_epochs_by_hand() -> None:
    # Five pairs in threes, unshuffled: an epoch ends with the batch that reaches past the end, the next goes on there.
    pairs = make_pairs(5)
    epochs = [order(list(data_generator(pairs, 3, seed=1, epoch=e, shuffle=False, wrap=True))) for e in range(3)]
    assert epochs == [[[0, 1, 2], [3, 4, 0]], [[1, 2, 3], [4, 0, 1]], [[2, 3, 4], [0, 1, 2]]]


def test_wrapped_shuffles_differ() -> None:
    batches = list(data_generator(make_pairs(20), 20, seed=1, epoch=0, wrap=True))
    batches += data_generator(make_pairs(20), 20, seed=1, epoch=1, wrap=True)
    assert order(batches)[0] != order(batches)[1]


# Labelled non-duplicates


@given(n=st.integers(2, 30), others=st.integers(0, 60), size=st.integers(2, 9), seed=st.integers(0, 99))
def test_negatives_all_appear_once_spread_evenly(n: int, others: int, size: int, seed: int) -> None:
    batches = list(data_generator(make_pairs(n, others), size, seed=seed, negatives=True))
    found = [pairs_of(b.n1, b.n2) for b in batches]
    assert sorted(flat(found)) == list(range(n, n + others))
    numbers = [len(one) for one in found]
    assert max(numbers) - min(numbers) <= 1


def test_negatives_are_shuffled_anew_and_do_not_move_the_duplicates() -> None:
    pairs = make_pairs(10, others=30)
    first, second, without = (
        list(data_generator(pairs, 5, seed=1, epoch=epoch, negatives=negatives))
        for epoch, negatives in ((0, True), (1, True), (0, False))
    )
    assert [pairs_of(b.n1, b.n2) for b in first] != [pairs_of(b.n1, b.n2) for b in second]
    assert order(first) == order(without)
    assert [len(b.n1) + len(b.n2) for b in without] == [0, 0]


# Known duplicates


@given(st.lists(st.integers(0, 4), min_size=2, max_size=12), st.integers(0, 99))
def test_same_marks_the_known_duplicates(clusters: list[int], seed: int) -> None:
    pairs = make_pairs(len(clusters), clusters=clusters)
    for batch in data_generator(pairs, 5, seed=seed, wrap=True):
        numbers = pairs_of(*batch)
        assert batch.clusters.tolist() == [clusters[k] for k in numbers]
        for i, one in enumerate(numbers):
            for j, other in enumerate(numbers):
                # A wrapped batch can hold a pair twice; those two are duplicates as well.
                assert batch.same()[i, j] == (i != j and clusters[one] == clusters[other])
        assert batch.same().dtype == bool


# Padding

questions = st.lists(st.lists(st.integers(2, 99), max_size=20), min_size=1, max_size=8)


def filled(rows: list[list[int]], length: int, pad_id: int) -> list[list[int]]:
    return [row + [pad_id] * (length - len(row)) for row in rows]


def lists(tokens: Tokens) -> list[list[int]]:
    return [tokens[i].tolist() for i in range(len(tokens))]


@given(questions, questions, st.integers(0, 1))
def test_pad(rows1: list[list[int]], rows2: list[list[int]], pad_id: int) -> None:
    b1, b2 = Tokens.of(rows1), Tokens.of(rows2)
    longest1, longest2 = (max([1, *map(len, rows)]) for rows in (rows1, rows2))

    assert tuple(map(lists, pad(b1, b2, "none", pad_id))) == (rows1, rows2)
    assert tuple(map(lists, pad(b1, b2, "longest", pad_id))) == (
        filled(rows1, longest1, pad_id),
        filled(rows2, longest2, pad_id),
    )
    power = 1
    while power < max(longest1, longest2):
        power *= 2
    assert tuple(map(lists, pad(b1, b2, "power-of-two", pad_id))) == (
        filled(rows1, power, pad_id),
        filled(rows2, power, pad_id),
    )


def test_pad_without_any_question() -> None:
    """A batch without labelled non-duplicates pads nothing."""
    for padding in ("none", "longest", "power-of-two"):
        n1, n2 = pad(Tokens.of([]), Tokens.of([]), padding, 1)
        assert len(n1) == len(n2) == len(n1.ids) == len(n2.ids) == 0


def test_published_batches(course: dict[str, Any]) -> None:
    published = course["batches"][0]
    ten = course["vocabulary"]["pairs"]
    assert (published["shuffle"], published["pad"]) == (False, 1)
    pairs = PairTokens(
        Tokens.of(pair["ids1"] for pair in ten),
        Tokens.of(pair["ids2"] for pair in ten),
        np.ones(10, np.int8),
        np.arange(10),
    )
    size, length = published["shape_of_each_side"]
    batches = data_generator(pairs, published["batch_size"], seed=1, shuffle=False, swap=False, wrap=True)
    b1, b2 = next(batches)
    b1, b2 = pad(b1, b2, "power-of-two", published["pad"])
    for side, name in ((b1, "ids1"), (b2, "ids2")):
        assert side.ids.reshape(-1, length).shape == (size, length)
        assert lists(side) == filled([pair[name] for pair in ten[:size]], length, 1)
    # Then pairs 4 to 6 and 7 to 9; the last batch is the tenth pair and the first two again.
    rest = [batch.b1 for batch in batches]
    assert [lists(side) for side in rest] == [
        [ten[k]["ids1"] for k in numbers] for numbers in ((3, 4, 5), (6, 7, 8), (9, 0, 1))
    ]


def test_published_padding(course: dict[str, Any]) -> None:
    published = course["batches"][1]
    one, other = published["question_lengths"]
    b1, b2 = pad(Tokens.of([[5] * one]), Tokens.of([[5] * other]), "power-of-two", 1)
    assert b1.lengths.tolist() == b2.lengths.tolist() == [published["padded_to"]]
