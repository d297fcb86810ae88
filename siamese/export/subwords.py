"""A model with a transformer tower as modules of sentence-transformers, and as one ONNX file."""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from siamese.export.graph import OPSET, check_size, finish
from siamese.model.model import SiameseModel
from siamese.system.files import replacing
from siamese.system.optional import needing
from siamese.text.subwords import SubwordTokenizer
from siamese.towers import transformer


def modules(model: SiameseModel) -> list[Any]:
    """Transformer → Pooling → Normalize, the modules of sentence-transformers that give a model's vectors.

    The same vectors, but for a question without a known word: ours is 0, theirs that of the special tokens.

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
    # With the pooler that the library expects in a file of weights; its outputs are not read.
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
    """The tower of a padded batch, as the ONNX file has it."""

    def __init__(self, tower: transformer.TransformerTower) -> None:
        super().__init__()
        self.model, self.pad = tower.model, tower.pad

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Padded ids and their mask, both (batch, length) int64, to vectors (batch, d)."""
        batch, length = ids.shape
        # No question at all, or none with a token, gets one of padding: no attention is without rows.
        ids = torch.cat([ids, ids.new_full((1, length), self.pad)[batch:]])
        ids = torch.cat([ids, torch.full_like(ids.sum(1, keepdim=True), self.pad)[:, length:]], 1)
        mask = torch.cat([mask, mask.new_zeros((1, length))[batch:]])
        mask = torch.cat([mask, torch.zeros_like(mask.sum(1, keepdim=True))[:, length:]], 1)
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        means = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return nn.functional.normalize(means, dim=1)[:batch]


def write_onnx(model: SiameseModel, path: Path, about: str) -> None:
    """Write a model as an ONNX file, whole or not at all.

    Inputs:
        ids: (batch, length) int64, each row filled up behind its question by any id.
        attention_mask: (batch, length) int64, 1 for a question's tokens, else 0.

    Output:
        vectors: (batch, d) float32, rows of length 1, or 0 for a question without a token.

    The metadata are those of `siamese.export.graph`; `tokenizer` is the JSON of the library tokenizers, which
    `siamese.subwords.SubwordTokenizer` reads.

    Args:
        model: with a transformer tower.
        path: the file.
        about: what the model is, for the file's doc_string.

    Raises:
        UserError: onnx is not installed, or the file would have more than 2 GiB.
        OSError: it cannot be written.
    """
    check_size(model, path)
    import onnx

    assert isinstance(model.tokenizer, SubwordTokenizer)
    padded = Padded(_tower(model)).eval()
    ids, mask = torch.full((3, 5), padded.pad), torch.ones(3, 5, dtype=torch.int64)
    mask[1, 2:] = 0
    sizes = {0: "batch", 1: "length"}
    with replacing(path) as temporary:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # that sizes are taken as constants, which the tests see are not
            # The exporter of torch 2.0 to 2.x, since the newer one needs one more package.
            torch.onnx.export(
                padded, (ids, mask), str(temporary), dynamo=False, opset_version=OPSET,
                input_names=["ids", "attention_mask"], output_names=["vectors"],
                dynamic_axes={"ids": sizes, "attention_mask": sizes, "vectors": {0: "batch"}},
            )  # fmt: skip
        built = onnx.load(temporary)
        built.graph.output[0].type.tensor_type.shape.dim[1].dim_value = model.dimensions
        finish(built, model, model.tokenizer.text(), about)
        onnx.checker.check_model(built, full_check=True)
        temporary.write_bytes(built.SerializeToString())


def _tower(model: SiameseModel) -> transformer.TransformerTower:
    assert model.architecture is not None
    return transformer.of_weights(model.architecture, model.weights)
