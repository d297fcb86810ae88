"""A model with a transformer tower as modules of sentence-transformers, and as an ONNX graph."""

import io
import tempfile
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from siamese.model.model import SiameseModel
from siamese.system.optional import needing
from siamese.text.subwords import SubwordTokenizer
from siamese.towers import transformer


def modules(model: SiameseModel) -> list[Any]:
    """Return Transformer → Pooling → Normalize, the modules of sentence-transformers that give a model's vectors.

    Only a question without a known piece gets another vector: 0 here, that of its special tokens there.

    Raises:
        UserError: sentence-transformers is not installed.
    """
    with needing("export --to sentence-transformers"):
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
        from tokenizers import Tokenizer
        from transformers import PreTrainedTokenizerFast
        from transformers.utils.logging import disable_progress_bar
    assert isinstance(model.tokenizer, SubwordTokenizer) and model.architecture is not None
    disable_progress_bar()
    tower: Any = _tower(model).model
    # The library expects a pooler in the file of weights, although nothing reads its outputs.
    full = type(tower)(tower.config)
    full.load_state_dict(tower.state_dict(), strict=False)
    for name, weight in full.named_parameters():
        if name.startswith("pooler."):
            nn.init.zeros_(weight)
    tokenizer = Tokenizer.from_str(model.tokenizer.text())
    tokens = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=model.tokenizer.longest,
        pad_token=tokenizer.id_to_token(model.architecture["pad_token_id"]),
        model_input_names=["input_ids", "attention_mask"],
    )
    with tempfile.TemporaryDirectory() as folder:
        full.save_pretrained(folder)
        tokens.save_pretrained(folder)
        words = Transformer(folder, max_seq_length=model.tokenizer.longest)
    return [words, Pooling(model.dimensions, "mean"), Normalize()]


class Padded(nn.Module):
    """The tower on a padded batch, as the ONNX graph computes it."""

    def __init__(self, tower: transformer.TransformerTower) -> None:
        super().__init__()
        self.model, self.pad = tower.model, tower.pad

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the vectors (batch, d) of padded ids and their mask, both (batch, length) int64."""
        batch, length = ids.shape
        # Attention needs a row and a column: an empty batch gets a question of padding, an empty length a token of it.
        ids = torch.cat([ids, ids.new_full((1, length), self.pad)[batch:]])
        ids = torch.cat([ids, torch.full_like(ids.sum(1, keepdim=True), self.pad)[:, length:]], 1)
        mask = torch.cat([mask, mask.new_zeros((1, length))[batch:]])
        mask = torch.cat([mask, torch.zeros_like(mask.sum(1, keepdim=True))[:, length:]], 1)
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        means = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return nn.functional.normalize(means, dim=1)[:batch]


def graph(model: SiameseModel) -> Any:
    """Return the graph of a model with a transformer tower, an onnx.ModelProto.

    Inputs:
        ids: (batch, length) int64, each row padded at the end by any id.
        attention_mask: (batch, length) int64, 1 for a question's tokens, else 0.

    Output:
        vectors: (batch, d) float32, rows of length 1, or 0 for a question without a token.
    """
    import onnx

    padded, file = Padded(_tower(model)).eval(), io.BytesIO()
    ids, mask = torch.full((3, 5), padded.pad), torch.ones(3, 5, dtype=torch.int64)
    mask[1, 2:] = 0
    sizes = {0: "batch", 1: "length"}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # about sizes taken as constants; the tests show that they are not
        # The exporter of torch 2.0 to 2.x, since the newer one needs another package.
        torch.onnx.export(
            padded, (ids, mask), file,  # type: ignore[arg-type]  # a stream, which the older exporter takes
            dynamo=False, opset_version=17,
            input_names=["ids", "attention_mask"], output_names=["vectors"],
            dynamic_axes={"ids": sizes, "attention_mask": sizes, "vectors": {0: "batch"}},
        )  # fmt: skip
    built = onnx.load_from_string(file.getvalue())
    built.ir_version = 8
    built.graph.output[0].type.tensor_type.shape.dim[1].dim_value = model.dimensions
    return built


def _tower(model: SiameseModel) -> transformer.TransformerTower:
    assert model.architecture is not None
    return transformer.of_weights(model.architecture, model.weights)
