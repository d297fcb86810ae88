"""The further columns of a question: a JSON object beside its text, by which a search can be narrowed.

A missing or blank cell is no member of the object. Numbers and booleans, which JSON lines and Parquet have, stay.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from siamese.errors import UserError
from siamese.pairs.cells import Refused, is_missing

EMPTY = "{}"
MOST = 1 << 120  # a whole number below it is kept
# Not the functions of `json`, which make an encoder at each call. SQLite finds names that are written as they are.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str).encode

Payload = Mapping[str, Any]


def cell(value: Any, name: str) -> Any:
    """Return a cell as a value of JSON, or None if it is missing or blank.

    Raises:
        Refused: it is bytes, or has half a character.
    """
    if is_missing(value):
        return None
    if isinstance(value, int) and abs(value) >= MOST:
        raise Refused(f"{name} is a number of more than {MOST.bit_length() - 1} bits")
    if isinstance(value, str | int):
        found = value
    elif isinstance(value, bytes):
        raise Refused(f"{name} is bytes, which no archive keeps; leave the column out (keep)")
    elif isinstance(value, list | dict):
        try:
            found = json.loads(_encode(value))
        except (ValueError, TypeError, RecursionError) as error:
            raise Refused(f"{name} cannot be kept: {error}") from None
    else:
        value = value.item() if hasattr(value, "item") else value  # of numpy
        plain = isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value))
        found = value if plain else str(value)  # a date
    try:
        if not isinstance(found, bool | int | float):
            (found if isinstance(found, str) else _encode(found)).encode()
    except UnicodeEncodeError:
        raise Refused(f"{name} is not text: {str(value)[:40]!r} has half a character") from None
    return found


def merged(earlier: Payload, cells: Payload) -> dict[str, Any]:
    """Return a payload with new cells; those that are missing go, and what the cells do not name stays."""
    found = {**earlier, **{name: cell(value, name) for name, value in cells.items()}}
    return {name: value for name, value in found.items() if value is not None}


def text_of(payload: Payload) -> str:
    """Return the JSON text of a payload."""
    return _encode(payload) if payload else EMPTY


def parse(text: str) -> dict[str, Any]:
    """Return the payload of a JSON text."""
    found: dict[str, Any] = {} if text == EMPTY else json.loads(text)
    return found


def field(name: str) -> str:
    """Return SQL for the value of a payload as text, NULL if it has none.

    Raises:
        UserError: SQLite cannot ask for a name with quotes, backslashes or control characters.
    """
    if not name.isprintable() or '"' in name or "\\" in name or not name:
        raise UserError(f"a condition on the column {name!r}: its name cannot be asked for; rename it in the file")
    path = f"""'$."{name.replace("'", "''")}"'"""
    # JSON's true would be 1.
    return (
        f"CASE json_type(payload, {path}) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' "
        f"ELSE CAST(json_extract(payload, {path}) AS TEXT) END"
    )


def condition(connection: sqlite3.Connection, where: Payload, columns: Sequence[str]) -> tuple[str, list[str | None]]:
    """Return SQL that holds for payloads with all of these values, and its parameters.

    Args:
        connection: to write numbers as SQLite does.
        where: name to value. None and "" mean that there is none. Numbers and booleans are compared as text.
        columns: the names that occur in payloads.

    Raises:
        UserError: no payload has a name, or a value is none that a payload could have.
    """
    for name in where:
        if name not in columns:
            has = ", ".join(map(repr, columns[:20])) or "none"
            raise UserError(f"no question of the archive has a column {name!r}; kept columns: {has}")
    values = [_text(connection, value) for value in where.values()]
    return " AND ".join(f"({field(name)}) IS ?" for name in where) or "1", values


def _text(connection: sqlite3.Connection, value: Any) -> str | None:
    """Return a value as `field` has it, if it is stored."""
    try:
        value = cell(value, "a value of a condition")
    except Refused as fault:
        raise UserError(str(fault)) from None
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        raise UserError(f"a condition on {value!r}: expected text, a number, a boolean or None")
    if isinstance(value, int) and abs(value) >= 1 << 63:  # which SQLite reads as a float
        value = float(value)
    text: str = connection.execute("SELECT CAST(? AS TEXT)", (value,)).fetchone()[0]
    return text


def index(connection: sqlite3.Connection, name: str) -> None:
    """Make an index of a column, unless there is one."""
    connection.execute(f"""CREATE INDEX IF NOT EXISTS "{_PREFIX}{name}" ON questions({field(name)})""")


def indexed(connection: sqlite3.Connection) -> list[str]:
    """Return the columns that have an index."""
    found: Iterable[tuple[str]] = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")
    return [name.removeprefix(_PREFIX) for (name,) in found if name.startswith(_PREFIX)]


_PREFIX = "by "
