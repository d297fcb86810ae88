"""Fixtures of these tests."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture()
def tmp_path() -> Iterator[Path]:
    """Return a folder in memory, if there is one: each answer is synced, which takes long on a busy disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder)
