"""A model as a module of sentence-transformers, the class that --to sentence-transformers-exact names in a folder.

Without such a folder, and without trusting one: `SentenceTransformer(modules=[TowerModule(model)])`.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from sentence_transformers.base.modules import InputModule
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from siamese.model import SiameseModel
from siamese.text import LONGEST
from siamese.training import make_tower


class TowerModule(InputModule):
    """Questions to vectors by the tower of a model, with gradient, on any device.

    Args:
        model: with a tower of LSTM, and no padding in its means. Saved again, it keeps its threshold and calibration,
            which no longer hold where the weights were trained further.
    """

    def __init__(self, model: SiameseModel) -> None:
        super().__init__()
        self.model = model
        self.tokenizer: Any = model.tokenizer  # whom sentence-transformers asks for it gets ours
        self.tower = make_tower(model.config, len(model.tokenizer))
        self.tower.load_state_dict({name: torch.from_numpy(weight) for name, weight in model.weights.items()})

    @property
    def max_seq_length(self) -> int:
        """The words of a question that are read."""
        return LONGEST

    def get_embedding_dimension(self) -> int:
        """The size of a vector."""
        return self.model.config.hidden

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, Tensor]:
        """Questions to `input_ids`, (n, longest) padded, and `attention_mask`, 1 for what is no padding."""
        tokens = self.model.tokenizer.encode([(prompt or "") + question for question in inputs])
        rows = [torch.from_numpy(tokens[i]).long() for i in range(len(tokens))]
        return {
            "input_ids": pad_sequence(rows, batch_first=True, padding_value=self.model.tokenizer.pad),
            "attention_mask": pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
        }

    def forward(self, features: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """Adds `sentence_embedding`, (n, hidden) of length 1, or 0 where no word is known."""
        real = features["attention_mask"].bool()
        return features | {"sentence_embedding": self.tower(features["input_ids"][real], real.sum(1))}

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Write the model folder."""
        weights = {name: weight.detach().cpu().numpy() for name, weight in self.tower.state_dict().items()}
        dataclasses.replace(self.model, weights=weights).save(output_path)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", *args: Any, **kwargs: Any) -> Self:
        """Read the model folder, one of this machine."""
        return cls(SiameseModel.load(Path(model_name_or_path, subfolder)))
