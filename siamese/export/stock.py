"""A model as a folder that plain `SentenceTransformer(path)` loads: modules of that library alone, none of ours.

    WordEmbeddings → Pooling → Dense → LSTM → Pooling → Dense → Dense → Dense → Normalize

The first pooling gives the mean of the word vectors, x̄. The Dense after it keeps that where the second pooling finds
it, to join it to the mean of the LSTM's outputs, h̄. The next Dense adds the two; it and the two after it make that 0
where no word is of the vocabulary, as `siamese.encoder` does.

The tokenizer numbers words as `siamese.text.Tokenizer` does, by the vocabulary and else by a hash: `siamese.export.crc`
says how.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siamese.errors import UserError
from siamese.export import crc
from siamese.model.model import SiameseModel
from siamese.system.files import sync_file, sync_folder, write_text
from siamese.system.optional import needing
from siamese.text.tokenizer import MOST_WORDS, Tokenizer

# The mean of the vocabulary's mark is MARK / MOST_WORDS at least if one word is in it, and MARK² / MOST_WORDS above 1.
MARK = 512.0
UNKNOWN = "[UNK]"  # no word: the rule takes brackets for themselves
WORDS = rf"[{crc.LETTER}]+|[^{crc.LETTER}{crc.SPACE}]"

# The library's lower case has no final sigma (Unicode, section 3.13).
_CASED, _IGNORED = r"[\p{Cased}&&[^\p{Case_Ignorable}]]", r"\p{Case_Ignorable}*"
FINAL_SIGMA = rf"(?<={_CASED}){_IGNORED}\KΣ(?!{_IGNORED}{_CASED})"


def modules(model: SiameseModel) -> list[Any]:
    """The modules of sentence-transformers that give a model's vectors.

    Args:
        model: with a tower of LSTM, the rule "words", no padding in its means, and 0, 2, 4, ... or 4,096 buckets.

    Raises:
        UserError: sentence-transformers is not installed, or the model is another.
    """
    with needing("export --to sentence-transformers"):
        import torch
        from sentence_transformers.sentence_transformer.modules import LSTM, Dense, Normalize, Pooling, WordEmbeddings
    tokenizer = model.tokenizer
    if not isinstance(tokenizer, Tokenizer) or tokenizer.rule != "words":
        raise UserError("a model that does not cut questions by the rule 'words'; --to onnx writes it")
    if tokenizer.buckets not in (0, *(2**bits for bits in range(1, len(crc.ZERO) + 1))):
        raise UserError(f"a model with {tokenizer.buckets:,} buckets, which is no power of 2 from 2 to "
                        f"{2 ** len(crc.ZERO):,}; --to onnx writes it")  # fmt: skip
    table, hidden = _table(model, tokenizer), model.dimensions
    columns = table.shape[1]  # those of the embedding, and the mark of the vocabulary

    lstm = LSTM(columns, hidden, bidirectional=False)
    state = {f"encoder.{name.removeprefix('lstm.')}": np.asarray(weight, np.float32)
             for name, weight in model.weights.items() if name.startswith("lstm.")}  # fmt: skip
    state["encoder.weight_ih_l0"] = np.pad(state["encoder.weight_ih_l0"], ((0, 0), (0, 1)))
    lstm.load_state_dict({name: torch.from_numpy(weight) for name, weight in state.items()})

    def dense(weight: np.ndarray, bias: np.ndarray | None = None, **settings: Any) -> Any:
        outputs, inputs = weight.shape
        initial = None if bias is None else torch.from_numpy(bias.astype(np.float32))
        return Dense(inputs, outputs, bias=bias is not None, init_weight=torch.from_numpy(weight.astype(np.float32)),
                     init_bias=initial, **settings)  # fmt: skip

    one = np.eye(hidden)
    # (x̄, mark, h̄) to max(v, 0), max(−v, 0) and u = max(1 − MARK · mark, 0), where v = h̄ + x̄ or h̄; u is 1 where no word
    # is of the vocabulary, else 0.
    split = np.zeros((2 * hidden + 1, columns + hidden))
    split[:hidden, columns:] = one
    if model.config.skip:
        split[:hidden, : columns - 1] = one
    split[hidden:-1] = -split[:hidden]
    split[-1, columns - 1] = -MARK
    # Less u times more than any number of v: 0 where u is 1.
    most = 2 * (1 + np.abs(table[:, :-1]).max(initial=0))
    gate = np.hstack([np.eye(2 * hidden), np.full((2 * hidden, 1), -most)])
    return [
        WordEmbeddings(stock_tokenizer(tokenizer), table, max_seq_length=MOST_WORDS),
        Pooling(columns, "mean"),
        # Where a pooling "cls" finds it again.
        dense(np.eye(columns), activation_function=None, module_output_name="cls_token_embeddings"),
        lstm,
        Pooling(hidden, ("cls", "mean")),
        dense(split, np.eye(2 * hidden + 1)[-1], activation_function=torch.nn.ReLU()),
        dense(gate, activation_function=torch.nn.ReLU()),
        dense(np.hstack([one, -one]), activation_function=None),
        Normalize(),
    ]


def _table(model: SiameseModel, tokenizer: Tokenizer) -> np.ndarray:
    """The rows of the embedding; a last column marks the vocabulary's."""
    table = np.pad(np.asarray(model.weights["embedding.weight"], np.float32), ((0, 0), (0, 1)))
    table[tokenizer.first_word :, -1] = MARK
    table[tokenizer.pad] = 0
    if tokenizer.buckets:  # then only words that are too long for a bucket are unknown
        table[tokenizer.unknown] = table[tokenizer.unknown + 1 : tokenizer.first_word].mean(0)
    return table


def stock_tokenizer(tokenizer: Tokenizer) -> Any:
    """A tokenizer of the rule "words" as one of transformers, with the same ids."""
    from tokenizers import Regex, models, normalizers, pre_tokenizers
    from tokenizers import Tokenizer as Backend
    from transformers import PreTrainedTokenizerFast

    small = [normalizers.Replace(Regex(FINAL_SIGMA), "ς"), normalizers.Lowercase(), normalizers.NFC()]
    if tokenizer.buckets:
        bits = tokenizer.buckets.bit_length() - 1
        ids, merges = crc.vocabulary(tokenizer.words, tokenizer.buckets)
        # A word that is in the vocabulary as it stands is not cut; of others, letters that are not in it are left out.
        backend = Backend(models.BPE(ids, merges, ignore_merges=True))
        backend.normalizer = normalizers.Sequence([*small, *crc.steps(bits)])
        pattern = crc.words(bits)
    else:
        ids = {crc.PADDING: tokenizer.pad, UNKNOWN: tokenizer.unknown}
        ids |= {word: id for id, word in enumerate(tokenizer.words, tokenizer.first_word)}
        backend = Backend(models.WordLevel(ids, UNKNOWN))
        backend.normalizer = normalizers.Sequence(small)
        pattern = WORDS
    # What the pattern finds is kept, and the spaces between are not.
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    # None of its special tokens are named: these would be found in the text of a question.
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def write_folder(modules: Sequence[Any], folder: Path, card: str) -> None:
    """Write modules of sentence-transformers as a folder that is not there yet, whole or not at all.

    Args:
        modules: of that library.
        folder: one that is not there or empty.
        card: the text of its README.md.

    Raises:
        UserError: there is something else.
        OSError: it cannot be written.
    """
    from sentence_transformers import SentenceTransformer

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: there already; expected a new folder, or an empty one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        SentenceTransformer(modules=list(modules), device="cpu", similarity_fn_name="cosine").save(
            str(temporary), create_model_card=False
        )
        write_text(temporary / "README.md", card)
        for path in temporary.rglob("*"):
            if path.is_file():
                path.chmod(0o644)  # safetensors makes them the owner's alone
                sync_file(path)
        temporary.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
