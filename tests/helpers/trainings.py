"""Trainings of a second or less."""

from pathlib import Path
from typing import Any

from siamese import SiameseModel
from siamese.config import Config
from siamese.pairs.splits import Datasets
from siamese.training.train import train_model

TINY = Config(embedding=16, hidden=16, batch_size=32, epochs=3, learning_rate=0.02)  # 7 steps an epoch of `parts`


def fit(config: Config, parts: Datasets, folder: Path | None = None, **options: Any) -> SiameseModel:
    return train_model(config, parts.training, parts.validation, folder, **options)
