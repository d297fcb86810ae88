"""Take questions, ids and payloads from lists, Series and DataFrames."""

from collections.abc import Iterable, Mapping
from typing import Any

from siamese.archive.changes import Block
from siamese.errors import UserError
from siamese.pairs.cells import Refused, text_of
from siamese.pairs.tables import Frame, column_of, names_of

Payloads = Iterable[Mapping[str, Any]]


def block_of(questions: Iterable[str] | Frame, ids: Iterable[str] | None, payloads: Payloads | None) -> Block:
    """Return questions, ids and payloads as lists, from the columns of a DataFrame if they are not given."""
    texts = texts_of(questions)
    if isinstance(questions, Frame):
        others = [name for name in questions.columns if str(name) not in ("question", "id")]
        if payloads is None and others:
            cells = zip(*(questions[name] for name in others))
            payloads = [dict(zip(map(str, others), row)) for row in cells]
        ids = ids_of(questions) if ids is None else ids
    return Block(texts, None if ids is None else list(ids), None if payloads is None else list(payloads))


def texts_of(questions: Iterable[str] | Frame) -> list[str]:
    """Return questions as a list. Raise UserError if they are one string, or a DataFrame without them."""
    if isinstance(questions, Frame):
        questions = column_of(questions, "question")
    if isinstance(questions, str):
        raise UserError("one string instead of several questions; put it in a list")
    return list(questions)


def ids_of(questions: Iterable[str] | Frame) -> list[str] | None:
    """Return the ids of a DataFrame as text, or None if it has none. Raise UserError if one is no id."""
    if not isinstance(questions, Frame) or "id" not in names_of(questions):
        return None
    try:
        return [text_of(id, "id", whole=True) or "" for id in questions["id"]]
    except Refused as fault:
        raise UserError(f"the DataFrame: {fault}; give text or whole numbers") from None
