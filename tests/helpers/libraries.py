"""Optional libraries."""

from importlib.util import find_spec

import pytest


def needs(*libraries: str) -> None:
    """Skip the test or the test file that calls this if a library is missing. Nothing is imported."""
    for library in libraries:
        if find_spec(library) is None:
            pytest.skip(f"needs {library}: pip install -r tests/extras/requirements.txt", allow_module_level=True)
