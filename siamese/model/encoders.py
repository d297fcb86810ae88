"""Sentence encoders as models: loaded by name, with a threshold and a probability fitted on labelled pairs.

An encoder whose vectors are the mean of a transformer's states becomes a model like those trained here. Any other runs
in sentence-transformers. The calibration is fitted on the pairs that are given; else it comes from the table of tested
encoders; else it is fitted on the pairs of calibration.csv. What was fitted is kept in the user's cache.
"""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from siamese.errors import ModelError, UserError
from siamese.model.calibration import Calibration, calibrate, unfit
from siamese.pairs.pairs import Pairs, checksum
from siamese.pairs.reading import read_pairs
from siamese.system.files import write_text
from siamese.system.strict_json import strict_json
from siamese.text.subwords import MOST_TOKENS, SUBWORD_TABLE, SubwordTokenizer, writable
from siamese.towers.places import LIBRARY, MODULES, carried, folder_of

PAIRS = Path(__file__).with_name("calibration.csv")  # rows of data/questions.csv, none of its test pairs
HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")  # owner/name
PATHS = (".", "..", "models")
OWNER = "sentence-transformers"  # on the hub, of the tested encoders
UNFITTED = Calibration(12.0, -9.6, 0.5)  # as of a model with too few validation pairs: one half at 0.8
PROMPTS = ("STS", "sts", "similarity", "query")  # names, best first, if an encoder has no default: both are questions

Note = Callable[[str], None]
Similarity = Callable[[Iterable[str], Iterable[str]], np.ndarray]  # of n pairs: their cosines, (n,)
Encode = Callable[[Sequence[str]], np.ndarray]  # n questions to (n, d) float32, rows of length 1 or 0


@dataclass(frozen=True)
class Tested:
    """A tested encoder."""

    licence: str
    checksum: str  # fingerprint of the model
    calibration: Calibration
    package: str | None = None  # that contains it


@cache
def known_encoders() -> dict[str, Tested]:
    """Return the tested encoders by name."""
    with open(Path(__file__).with_suffix(".toml"), "rb") as file:
        table = tomllib.load(file)
    found = {}
    for name, fields in table.items():
        calibration = Calibration(*(fields.pop(number) for number in ("slope", "intercept", "prior")))
        found[name] = Tested(**fields, calibration=calibration)
    return found


def is_encoder(name: str) -> bool:
    """Return whether a name is that of a sentence encoder, rather than of a model folder."""
    if os.path.lexists(name):
        return os.path.isfile(os.path.join(name, MODULES))
    if HUB.fullmatch(name):  # unless it is a path with a typing error
        return os.path.dirname(name) not in PATHS and not os.path.isdir(os.path.dirname(name))
    if name in known_encoders():
        return True
    return carried(name) is not None


@dataclass(frozen=True)
class Encoder:
    """The parts of a sentence encoder that a model has, too."""

    tokenizer: SubwordTokenizer
    weights: dict[str, np.ndarray]  # of the transformer's tower, or of the whole encoder
    architecture: dict[str, Any]  # of the transformer; else its type is LIBRARY
    encode: Encode | None  # None: by a transformer's tower


def read_encoder(name: str) -> Encoder:
    """Load a sentence encoder by its name, as in `SiameseModel.load_encoder`. Raise UserError if there is none."""
    from siamese.towers.encoders import load_sentence_encoder, parts_of

    sentence = load_sentence_encoder(source_of(name), None).float()
    if not _prompt(sentence):
        with suppress(ModelError):
            parts = parts_of(sentence)
            weights = {name: weight.cpu().numpy() for name, weight in parts.weights.items()}
            return Encoder(parts.tokenizer, weights, dict(parts.architecture), None)
    return _of_another_kind(sentence, name)


def source_of(name: str) -> str:
    """Return the package or the hub's name of a tested encoder; other names as they are."""
    if os.path.isdir(name) or name not in known_encoders():
        return name
    package = known_encoders()[name].package
    return package if package and carried(package) else f"{OWNER}/{name}"


def _of_another_kind(sentence: Any, name: str) -> Encoder:
    """Return a SentenceTransformer that encodes by itself."""
    from siamese.towers.encoders import normalized

    given = getattr(sentence.tokenizer, "backend_tokenizer", sentence.tokenizer)
    longest = min(sentence.max_seq_length or MOST_TOKENS, MOST_TOKENS)
    try:
        tokenizer = SubwordTokenizer.of(given, longest, strict=False)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{name}: its tokenizer, {type(given).__name__}, is not of the library tokenizers") from error
    weights = {name: weight.cpu().numpy() for name, weight in sentence.state_dict().items()}
    table = (weight for weight in weights.values() if weight.ndim == 2 and len(weight) >= len(tokenizer))
    weights[SUBWORD_TABLE] = next(table, np.zeros((len(tokenizer), 1), np.float32))
    modules: list[Any] = [[type(module).__name__, getattr(module, "get_config_dict", dict)()] for module in sentence]
    prompt, size = _prompt(sentence), normalized(sentence, ["?"]).shape[1]
    about = {"type": LIBRARY, "dimensions": size, "prompt": prompt, "modules": modules}

    def encode(questions: Sequence[str]) -> np.ndarray:
        texts = [writable(question) for question in questions]
        known = np.flatnonzero(tokenizer.knows(tokenizer.encode(texts)))
        vectors = np.zeros((len(texts), size), np.float32)
        if len(known):
            vectors[known] = normalized(sentence, [texts[i] for i in known], prompt or None)
        return vectors

    return Encoder(tokenizer, weights, json.loads(json.dumps(about, default=str)), encode)


def _prompt(sentence: Any) -> str:
    """Return the text that an encoder wants before each question, or ""."""
    prompts = getattr(sentence, "prompts", None) or {}
    names = [name for name in (sentence.default_prompt_name, *PROMPTS) if prompts.get(name)]
    return prompts[names[0]] if names else ""


def _licence(source: str) -> str | None:
    """Return the licence in the card of an encoder, or None."""
    if (folder := folder_of(source)) is None:
        return None
    with suppress(OSError, UnicodeError):
        card = re.match(r"---\n(.*?)\n---", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
        if card and (found := re.search(r"^license: *([\w.+-]+) *$", card[1], re.MULTILINE)):
            return found[1]
    return None


def calibrated(
    name: str,
    key: str,
    similarity: Similarity,
    pairs: Pairs | None,
    note: Note,
) -> tuple[Calibration, dict[str, Any]]:
    """Return the calibration of a sentence encoder, and the facts of the model that it becomes.

    Args:
        name, pairs, note: as in `SiameseModel.load_encoder`.
        key: fingerprint of the model.
        similarity: gives the cosine of each pair.

    Raises:
        UserError: the pairs do not suffice to fit a threshold.
    """
    known = next((one for one in known_encoders().values() if one.checksum == key), None)
    on = "2,000 English pairs that come with the package" if pairs is None else f"{len(pairs):,} pairs given"
    facts: dict[str, Any] = {"calibrated_on": on, "licence": known.licence if known else _licence(source_of(name))}
    fitted: Calibration | str
    if known and pairs is None:
        fitted = known.calibration
    else:
        message = f"{name}: threshold and probability are fitted on {on}, once"
        fitted = _fitted(key, similarity, read_pairs(PAIRS) if pairs is None else pairs, lambda: note(message))
    if isinstance(fitted, Calibration):
        return fitted, facts | {"chosen_threshold": fitted.threshold()}
    if pairs is not None:
        raise UserError(f"{name}: no threshold can be fitted: {fitted}")
    return UNFITTED, facts | {"warnings": [f"no threshold can be fitted: {fitted}; {UNFITTED.threshold():g} is used"]}


def _fitted(key: str, similarity: Similarity, pairs: Pairs, note: Callable[[], None]) -> Calibration | str:
    """Return the calibration on these pairs, from the cache if it is there, or why there is none."""
    name = hashlib.sha256(f"{key} {checksum(pairs)}".encode()).hexdigest()
    path = cache_folder() / f"{name}.json"
    with suppress(OSError, ValueError, TypeError, UserError):
        if (kept := Calibration(**strict_json(path.read_text(encoding="utf-8")))).slope > 0:
            return kept
    note()
    labelled = pairs.take(pairs.labels >= 0)
    fitted = calibrate(labelled.labels, similarity(labelled.question1, labelled.question2))
    if reason := unfit(labelled.labels, fitted):
        return reason
    with suppress(OSError):  # a folder that cannot be written costs time alone
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(fitted)))
    return fitted


def cache_folder() -> Path:
    """Return the user's folder of fitted calibrations."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "siamese-questions", "calibrations")
