"""What tells one run from another, so that a stopped one is continued with what it was given and nothing else."""

from collections.abc import Mapping
from typing import Any


def differing(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Return the names of what two runs were given and that differs.

    Args:
        now: JSON values by name; of a mapping, the names of its own fields are returned.
        before: the same of the earlier run; what it lacks differs.
    """
    found = []
    for name, value in now.items():
        other = before.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            found += [field for field in value if field not in other or other[field] != value[field]]
        elif other != value:
            found.append(f"the {name}")
    return found
