"""Whether a stopped run is continued with what it was given and nothing else."""

import json
from collections.abc import Mapping
from typing import Any

from siamese.errors import UserError


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


def check_same_run(place: object, identity: Mapping[str, Any], before: Mapping[str, Any], resume: bool) -> None:
    """Refuse to go on with a stopped run unless the user asked for it and it is the same run.

    Args:
        place: where the run was stopped, for the message.
        identity: everything that the result depends on.
        before: the same of the run that was stopped, read from a file of JSON.
        resume: whether the user asked to go on.

    Raises:
        UserError: the user did not ask for it, or the two differ; the message names what differs.
    """
    if not resume:
        raise UserError(f"{place}: a run was stopped there; go on with --resume, or remove it to begin again")
    if what := differing(json.loads(json.dumps(identity)), before):
        raise UserError(
            f"{place}: of another run ({', '.join(what)} differ); give what it was given, or remove it to begin again"
        )
