"""Check that a stopped run is resumed with the same inputs."""

import json
from collections.abc import Mapping
from typing import Any

from siamese.errors import UserError


def differing(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Return the names of the inputs that differ between two runs.

    Args:
        now: JSON values by name. If a value is a mapping, the names of its differing fields are returned.
        before: the values of the earlier run. A missing one differs.
    """
    found = []
    for name, value in now.items():
        other = before.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            found += [field for field in value if field not in other or other[field] != value[field]]
        elif other != value:
            found.append(f"the {name}")
    return found


def check_same_run(place: object, identity: Mapping[str, Any], before: Mapping[str, Any], resume: bool) -> None:
    """Allow a stopped run to be resumed only if the user asked for it and the inputs are the same.

    Args:
        place: the folder or file of the stopped run, for the message.
        identity: all inputs that the result depends on.
        before: those of the stopped run, read from JSON.
        resume: whether the user asked to resume.

    Raises:
        UserError: the user did not ask for it, or inputs differ; the message names them.
    """
    if not resume:
        raise UserError(f"{place}: a run was stopped there; continue it with --resume, or remove it to begin again")
    if what := differing(json.loads(json.dumps(identity)), before):
        raise UserError(f"{place}: holds another run ({', '.join(what)} differ); repeat its inputs, or remove it")
