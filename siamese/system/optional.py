"""Import optional libraries, or say how to install them."""

import importlib
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from siamese.errors import UserError
from siamese.system.program import program

# By module name: the name of the library for pip, and the extra of this package that installs it.
LIBRARIES = {
    **{name: (name, "train") for name in ("torch", "scipy", "pandas", "pyarrow", "nltk", "matplotlib")},
    "sklearn": ("scikit-learn", "train"),
    "sentence_transformers": ("sentence-transformers", "transformer"),
    **dict.fromkeys(("tokenizers", "transformers"), ("transformers", "transformer")),
    **{name: (name, "service") for name in ("fastapi", "uvicorn")},
    "prometheus_client": ("prometheus-client", "service"),
    **{name: (name, name) for name in ("datasets", "onnx", "tensorboard")},
    "openpyxl": ("openpyxl", "spreadsheets"),
    "ray": ("ray[data]", "ray"),
}


@contextmanager
def needing(purpose: str) -> Iterator[None]:
    """Turn a missing library within the block into a user error that says how to install it.

    Args:
        purpose: the command, option or function that needs it, for the message.

    Raises:
        UserError: one of LIBRARIES is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (name := _root(error.name or "")) not in LIBRARIES:
            raise
        raise UserError(_advice(purpose, name)) from error


def optional(module: str, purpose: str) -> Any:
    """Import a module of one of LIBRARIES by its dotted name, and return it.

    Raises:
        UserError: the library is not installed, or its import fails.
    """
    with needing(purpose):
        try:
            return importlib.import_module(module)
        except ImportError as error:
            if isinstance(error, ModuleNotFoundError) and _root(error.name or "") in LIBRARIES:
                raise
            raise UserError(f"{_advice(purpose, _root(module))} ({error})") from error


def _root(module: str) -> str:
    return module.partition(".")[0]


def _advice(purpose: str, name: str) -> str:
    package, extra = LIBRARIES[name]
    wanted = f"siamese-questions[{extra}]" if program() == "siamese" else package
    return f"{purpose} needs {package}: pip install {shlex.quote(wanted)}"
