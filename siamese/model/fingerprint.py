"""What tells whether two models make the same vectors."""

import hashlib
import json

import numpy as np

from siamese.model.model import SiameseModel


def fingerprint(model: SiameseModel) -> str:
    """SHA-256 of all that decides a model's vectors: its weights, its words and how it cuts and joins them."""
    config = model.config
    digest = hashlib.sha256(repr((config.tokens, config.buckets, config.skip, config.padding)).encode())
    if model.architecture is not None:
        digest.update(json.dumps(model.architecture, sort_keys=True).encode())
    digest.update(model.tokenizer.text().encode("utf-8", "surrogatepass"))
    for name, weight in sorted(model.weights.items()):
        digest.update(f"{name} {weight.dtype} {weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()
