"""Decide what a cell of a file or a table is: text, a label, the name of a part, missing, or refused."""

import re
from decimal import Decimal
from numbers import Real
from typing import Any

from siamese.text.cleaning import is_blank

PART_NAMES = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "development": "validation", "eval": "validation", "evaluation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
NUMBERS: Any = (Real, Decimal)
LABELS = {"false": 0, "no": 0, "true": 1, "yes": 1}
_NUMBER = re.compile(r"([01])([.,]0*)?")  # 1,0 in spreadsheets of many countries


class Refused(ValueError):
    """A cell that cannot be used; the message names its column and its value."""


def is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN or pandas's NA, which do not equal themselves, or blank text."""
    return not value.strip() if isinstance(value, str) else value is None or str(value == value) in ("False", "<NA>")


def text_of(value: Any, name: str, whole: bool = False) -> str | None:
    """Return a cell as text, or None if it is missing, or blank once it is clean.

    Args:
        value: the cell.
        name: the column, for messages.
        whole: accept whole numbers too, such as those of ids and groups.

    Raises:
        Refused: the value is of another type, or has half a character, which JSON can spell.
    """
    if is_missing(value):
        return None
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refused(f"{name} is not text: {value[:40]!r} has half a character") from None
        return None if is_blank(value) else value
    if whole and isinstance(value, NUMBERS) and not isinstance(value, bool) and abs(value) < 2.0**120:
        # Whole numbers become floats if one of their column is missing. They are exact below 2**53.
        exact = not isinstance(value, float) or abs(value) < 2**53
        if exact and value == int(value):
            return str(int(value))
    raise Refused(f"{name} is not text but {type(value).__name__}: {repr(value)[:40]}")


def needed(value: Any, name: str, whole: bool = False) -> str:
    """Return a cell as text, as `text_of`, and raise Refused if it is missing too."""
    if (text := text_of(value, name, whole)) is None:
        raise Refused(f"{name} is missing or empty")
    return text


def label_of(value: Any) -> int | None:
    """Return a label, 0 or 1, or None if it is neither: 0, 1, 0.0, 1.0, true, false, yes and no are labels."""
    text = str(value).strip().lower()
    return int(number[1]) if (number := _NUMBER.fullmatch(text)) else LABELS.get(text)


def label_in(value: Any, name: str) -> int:
    """Return a label, and raise Refused if the cell is none."""
    if (label := label_of(value)) is None:
        raise Refused(f"{name} is {repr(value)[:40]}, expected 0 or 1")
    return label


def part_of(value: Any) -> str | None:
    """Return the part that a split's name means: train, validation or test; None if it means none."""
    return PART_NAMES.get(str(value).strip().lower())
