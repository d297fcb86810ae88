"""The examples in guides that need optional libraries."""

from pathlib import Path

import documents
import pytest
from documents import named
from libraries import needs

needs("datasets", "onnxruntime", "ray", "sentence_transformers", "tensorboard")


@pytest.mark.slow
@pytest.mark.parametrize("guide", documents.with_label("extras"), ids=named)
def test_every_command_runs(guide: Path, tmp_path: Path) -> None:
    assert documents.run(guide, tmp_path, "extras")
