"""Libraries that the base installation does not have."""

import importlib
import shlex
from typing import Any

from siamese.errors import UserError


def optional(module: str, purpose: str, package: str) -> Any:
    """Import a library that only some commands need.

    Args:
        module: its dotted name, such as "sentence_transformers".
        purpose: what needs it, for the message: "--teacher", "serve".
        package: what pip installs, such as "sentence-transformers" or "siamese-questions[train]".

    Returns:
        The module.

    Raises:
        UserError: the library, or one that it needs, is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{purpose} needs {package} ({error}): pip install {shlex.quote(package)}") from error
