"""Rows of different lengths in one array, against plain lists."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from siamese.text.ragged import ROWS_AT_A_TIME, Ragged, Texts, Tokens

ids = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=6), max_size=12)
# Any text, and text of surrogates, which look like a character of UTF-16 when two of them meet.
texts = st.lists(st.text() | st.text("aé\ud83d\ude00\udfff"), max_size=12)


def lists(tokens: Tokens) -> list[list[int]]:
    return [tokens[i].tolist() for i in range(len(tokens))]


@given(ids)
def test_tokens_hold_what_they_were_given(rows: list[list[int]]) -> None:
    tokens = Tokens.of(iter(row) for row in rows)
    assert lists(tokens) == rows
    assert tokens.lengths.tolist() == [len(row) for row in rows]
    assert tokens.ids.tolist() == [i for row in rows for i in row]
    assert (tokens.ids.dtype, tokens.starts.dtype) == (np.int32, np.int64)


@given(ids.filter(len), st.data())
def test_take_is_indexing(rows: list[list[int]], data: st.DataObject) -> None:
    which = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=20))  # any order, some more than once
    taken = Tokens.of(rows).take(np.array(which, np.int64))
    assert lists(taken) == [rows[i] for i in which]
    assert taken.ids.dtype == np.int32


@pytest.mark.slow
def test_take_of_more_rows_than_are_copied_at_a_time() -> None:
    rows = [[i] * (i % 3) for i in range(100)]
    which = np.random.default_rng(1).integers(0, 100, 2 * ROWS_AT_A_TIME + 3)
    taken = Tokens.of(rows).take(which)
    assert lists(taken) == [rows[i] for i in which]


@given(ids, ids, ids)
def test_join_is_addition(a: list[list[int]], b: list[list[int]], c: list[list[int]]) -> None:
    assert lists(Tokens.of(a).join(Tokens.of(b)).join(Tokens.of(c))) == a + b + c


@given(ids, st.integers(0, 3), st.integers(0, 9))
def test_padded_fills_every_row_up(rows: list[list[int]], more: int, pad: int) -> None:
    length = max(map(len, rows), default=0) + more
    padded = Tokens.of(rows).padded(length, pad)
    assert lists(padded) == [row + [pad] * (length - len(row)) for row in rows]
    assert padded.ids.dtype == np.int32


@given(texts)
@example(["\ud83d", "\ude00", "", "\ud83d\ude00", "\U0001f600", "\0"])
def test_texts_give_back_any_unicode(strings: list[str]) -> None:
    stored = Texts.of(iter(strings))
    assert list(stored) == strings
    assert [stored[i] for i in range(len(stored))] == strings


@given(texts.filter(len), texts, st.data())
def test_texts_are_taken_and_joined_like_lists(a: list[str], b: list[str], data: st.DataObject) -> None:
    which = data.draw(st.lists(st.integers(0, len(a) - 1), max_size=20))
    result = Texts.of(a).take(np.array(which, np.int64)).join(Texts.of(b))
    assert isinstance(result, Texts)
    assert list(result) == [a[i] for i in which] + b


@pytest.mark.parametrize("empty", [Texts.of([]), Tokens.of([])], ids=["texts", "tokens"])
def test_nothing_at_all(empty: Ragged) -> None:
    assert len(empty) == 0
    assert len(empty.take(np.array([], np.int64))) == 0
    assert len(empty.join(empty)) == 0


def test_past_the_end_is_an_error() -> None:
    with pytest.raises(IndexError):
        Texts.of(["one", "two"])[2]
    with pytest.raises(IndexError):
        Tokens.of([[1], [2]])[2]
