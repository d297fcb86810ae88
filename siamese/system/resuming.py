"""Go on with a run that was stopped, if it is the same run."""

import json
from collections.abc import Mapping
from typing import Any

from siamese.errors import UserError


def check_same_run(place: object, identity: Mapping[str, Any], before: Mapping[str, Any], resume: bool) -> None:
    """Refuse to go on with a run that was stopped unless the user asked for it and it is the same run.

    Args:
        place: where the run was stopped, for the message.
        identity: everything that the result depends on, as JSON has it.
        before: the same of the run that was stopped, read from a file.
        resume: whether the user asked to go on.

    Raises:
        UserError: the user did not ask for it, or the two differ; the message names the settings that differ.
    """
    if not resume:
        raise UserError(f"{place}: a run was stopped there; go on with --resume, or remove it to begin again")
    identity = json.loads(json.dumps(identity))
    if differing := [name for name in identity if identity[name] != before.get(name)]:
        raise UserError(
            f"{place}: of another run ({', '.join(differing)} differ); give what it was given, or remove it to begin "
            "again"
        )
