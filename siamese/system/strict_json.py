"""JSON without an object that has a field twice, which two readers would take differently."""

import json
from typing import Any


def strict_json(text: str, **options: Any) -> Any:
    """Parse JSON text.

    Args:
        text: the document.
        options: of `json.loads`.

    Raises:
        ValueError: not JSON, or an object has a field twice.
    """
    return json.loads(text, object_pairs_hook=_distinct, **options)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(fields := dict(pairs)) != len(pairs):
        raise ValueError("an object with a field twice")
    return fields
