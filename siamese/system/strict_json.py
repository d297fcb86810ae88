"""Parse JSON without repeated fields, of which two parsers may take different values."""

import json
from typing import Any


def strict_json(text: str, **options: Any) -> Any:
    """Parse JSON with the options of `json.loads`.

    Raises:
        ValueError: `text` is not JSON, or an object has a field twice.
    """
    return json.loads(text, object_pairs_hook=_distinct, **options)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(fields := dict(pairs)) != len(pairs):
        raise ValueError("an object with a field twice")
    return fields
