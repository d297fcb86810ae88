"""Small models with random weights."""

import numpy as np

from siamese import SiameseModel
from siamese.config import Config
from siamese.model.calibration import Calibration
from siamese.text.tokenizer import Tokenizer

WORDS = ["how", "old", "are", "you", "is", "your", "age", "what", "?", "where", "the", "station"]


def random_model(
    config: Config | None = None, words: list[str] = WORDS, threshold: float = 0.5, seed: int = 1, size: int = 8
) -> SiameseModel:
    """Make an LSTM model of a recipe's kind (without buckets if None); 8 dimensions tell all questions apart."""
    config = (config or Config(buckets=0)).replace(embedding=size, hidden=size)
    tokenizer = Tokenizer(words, config.tokens, config.buckets)
    shapes = {
        "embedding.weight": (len(tokenizer), size),
        "lstm.weight_ih_l0": (4 * size, size),
        "lstm.weight_hh_l0": (4 * size, size),
        "lstm.bias_ih_l0": (4 * size,),
        "lstm.bias_hh_l0": (4 * size,),
    }
    random = np.random.default_rng(seed)
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    calibration = Calibration(6.0, -3.0, 0.4)
    return SiameseModel(config, tokenizer, weights, threshold, calibration, {"history": [], "note": "é"})
