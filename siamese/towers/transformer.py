"""The transformer tower: token embeddings by a BERT → mean → normalize.

Its architecture, a few numbers in the model folder, determines the shapes. The library transformers builds the model of
them, by classes named here, and downloads nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from siamese.errors import ModelError
from siamese.system.optional import optional
from siamese.text.ragged import Tokens
from siamese.text.subwords import SubwordTokenizer
from siamese.towers.forks import torch_runs

TOKENS_AT_A_TIME = 1_024  # padded tokens that run together, so that they fit a core's cache

Architecture = Mapping[str, Any]  # "type" and the fields of that type, named as in the library

_BERT = ("vocab_size", "max_position_embeddings", "hidden_size", "num_hidden_layers", "num_attention_heads",
         "intermediate_size", "pad_token_id", "hidden_act", "layer_norm_eps")  # fmt: skip
FIELDS: dict[str, tuple[str, ...]] = {
    "bert": (*_BERT, "type_vocab_size"),
    "roberta": (*_BERT, "type_vocab_size"),
    "mpnet": (*_BERT, "relative_attention_num_buckets"),
    "distilbert": ("vocab_size", "max_position_embeddings", "dim", "n_layers", "n_heads", "hidden_dim", "pad_token_id",
                   "activation"),
}  # fmt: skip
CLASSES = {"bert": "Bert", "roberta": "Roberta", "mpnet": "MPNet", "distilbert": "DistilBert"}
LIMITS = {
    "vocab_size": 1 << 20, "max_position_embeddings": 1 << 14, "hidden_size": 4_096, "dim": 4_096,
    "num_hidden_layers": 24, "n_layers": 24, "num_attention_heads": 64, "n_heads": 64, "intermediate_size": 1 << 14,
    "hidden_dim": 1 << 14, "type_vocab_size": 16, "relative_attention_num_buckets": 256,
}  # fmt: skip
ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu")
NO_DROPOUT = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"), 0.0)


class TransformerTower(nn.Module):
    """Token ids to unit vectors, called like `Tower`.

    There is no dropout: the vectors depend on the weights and tokens alone, so that a run can be resumed, its gradients
    cached and its batches shared among processes, with the same result.

    Args:
        architecture: a checked architecture.
        products: dtype of the matrix products on a CPU, by autocast; None: that of the weights.
    """

    def __init__(self, architecture: Architecture, products: torch.dtype | None = None) -> None:
        super().__init__()
        self.architecture = architecture
        self.model = _model(architecture)
        self.pad: int = architecture["pad_token_id"]
        self.products = products

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Encode n questions.

        Args:
            ids: (total,) int64, the token ids of all questions, one after the other.
            lengths: (n,) int64, tokens per question; 0 is allowed.

        Returns:
            (n, d) rows of length 1, or 0 for a question without a token. Even without any token, the weights get
            gradients, of 0, since processes that share a batch wait for them.
        """
        torch_runs()
        starts = lengths.cumsum(0) - lengths
        parts = [torch.from_numpy(part).to(ids.device) for part in padded_parts(lengths.cpu().numpy())]
        found = [self._encode(ids, starts[rows], lengths[rows]) for rows in parts]
        if not found:
            parts = [lengths.new_zeros(0)]
            found = [self._encode(ids.new_full((1,), self.pad), ids.new_zeros(1), ids.new_ones(1))[:0]]
        vectors = torch.cat(found)
        return vectors.new_zeros(len(lengths), vectors.shape[1]).index_copy(0, torch.cat(parts), vectors)

    def _encode(self, ids: Tensor, starts: Tensor, lengths: Tensor) -> Tensor:
        """Return the vectors of questions with tokens, padded to the longest of them."""
        steps = torch.arange(int(lengths.max()), device=ids.device)
        inside = steps < lengths[:, None]  # (rows, longest)
        padded = ids[(starts[:, None] + steps).clamp(max=len(ids) - 1)].masked_fill(~inside, self.pad)
        with _products(ids.device.type, self.products):
            states = self.model(input_ids=padded, attention_mask=inside.long()).last_hidden_state
        states = states.to(self.model.dtype)  # (rows, longest, d)
        means = (states * inside[:, :, None]).sum(1) / lengths[:, None]
        return nn.functional.normalize(means, dim=1)


@contextmanager
def _products(device: str, dtype: torch.dtype | None) -> Iterator[None]:
    """Compute matrix products in this dtype, by autocast; None: in that of the weights."""
    if dtype is None:
        yield
        return
    # On a CPU, the backward pass of torch's default attention takes 15 times as long in bfloat16.
    with torch.autocast(device, dtype), sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext():
        yield


def padded_parts(lengths: np.ndarray) -> list[np.ndarray]:
    """Return the numbers of the questions that run together: of similar lengths, TOKENS_AT_A_TIME padded, or one alone.

    The longest come first. Questions without a token are left out.
    """
    order = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    parts = []
    while len(order):
        rows = max(1, TOKENS_AT_A_TIME // int(lengths[order[0]]))
        parts.append(order[:rows])
        order = order[rows:]
    return parts


def encode(tower: TransformerTower, tokens: Tokens) -> np.ndarray:
    """Return the vectors of n questions, (n, d) float32, rows of length 1 or 0."""
    with torch.inference_mode():
        return tower(torch.from_numpy(tokens.ids).long(), torch.from_numpy(tokens.lengths)).float().numpy()


def of_weights(architecture: Architecture, weights: Mapping[str, np.ndarray]) -> TransformerTower:
    """Return a tower that shares the memory of the given weights."""
    tower = TransformerTower(architecture)
    tower.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()}, assign=True)
    return tower


def dimensions(architecture: Architecture) -> int:
    """Return the dimension of a question vector."""
    return architecture["dim" if architecture["type"] == "distilbert" else "hidden_size"]


def shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight, without allocating any."""
    with torch.device("meta"):
        tower = TransformerTower(architecture)
    return {name: tuple(weight.shape) for name, weight in tower.state_dict().items()}


def check_architecture(architecture: Any, tokenizer: SubwordTokenizer | None = None) -> None:
    """Raise ModelError if an architecture is not accepted, or too small for a tokenizer's ids and lengths."""
    kind = architecture["type"]
    if kind not in FIELDS:
        raise ModelError(f"a transformer of type {kind!r}; accepted are {', '.join(FIELDS)}")
    if architecture.keys() != {"type", *FIELDS[kind]}:
        raise ModelError(f"architecture: fields {', '.join(architecture)}; expected type, {', '.join(FIELDS[kind])}")
    for name, value in architecture.items():
        if name in LIMITS and not (type(value) is int and 1 <= value <= LIMITS[name]):
            raise ModelError(f"{name} {value!r}: expected an integer from 1 to {LIMITS[name]:,}")
        if name in ("hidden_act", "activation") and value not in ACTIVATIONS:
            raise ModelError(f"{name} {value!r}; accepted are {', '.join(ACTIVATIONS)}")
        if name == "layer_norm_eps" and not (type(value) is float and 0 < value <= 1):
            raise ModelError(f"{name} {value!r}: expected a number above 0, up to 1")
    pad = architecture["pad_token_id"]
    if not (type(pad) is int and 0 <= pad < architecture["vocab_size"]):
        raise ModelError(f"pad_token_id {pad!r}: expected an id of the vocabulary")
    size, heads = dimensions(architecture), architecture["n_heads" if kind == "distilbert" else "num_attention_heads"]
    if size % heads:
        raise ModelError(f"{size} dimensions cannot be divided among {heads} heads")
    if tokenizer is not None:
        if len(tokenizer) > architecture["vocab_size"]:
            raise ModelError(f"the tokenizer has {len(tokenizer):,} ids, the model {architecture['vocab_size']:,}")
        if tokenizer.longest > (longest := most_tokens(architecture)):
            raise ModelError(f"the tokenizer reads {tokenizer.longest:,} tokens, the model {longest:,}")


def most_tokens(architecture: Architecture) -> int:
    """Return the number of positions, the most tokens of a question."""
    skipped = architecture["pad_token_id"] + 1 if architecture["type"] in ("roberta", "mpnet") else 0
    return architecture["max_position_embeddings"] - skipped


def _model(architecture: Architecture) -> nn.Module:
    transformers = optional("transformers", "a model with a transformer")
    kind = architecture["type"]
    fields = {name: value for name, value in architecture.items() if name != "type"}
    config = getattr(transformers, CLASSES[kind] + "Config")(**fields, **NO_DROPOUT)
    pooler = {} if kind == "distilbert" else {"add_pooling_layer": False}
    return getattr(transformers, CLASSES[kind] + "Model")(config, **pooler).eval()
