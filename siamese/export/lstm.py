"""A model with an LSTM tower as modules of sentence-transformers, none of them ours, and as an ONNX graph.

    WordEmbeddings → Pooling → Dense → LSTM → Pooling → Dense → Dense → Dense → Normalize

The first pooling gives the mean of the word vectors, x̄. The Dense after it stores x̄ where the second pooling reads it
and joins it to the mean of the LSTM's outputs, h̄. The next Dense adds the two. Together with the two Dense after it, it
makes the sum 0 if no word is in the vocabulary, as `SiameseModel.encode` does.

The tokenizer numbers words as `siamese.text.Tokenizer` does: by the vocabulary, and otherwise by a hash
(`siamese.export.crc`) or in pieces. But it does not clean the text.
"""

from importlib.resources import files
from typing import Any

import numpy as np

from siamese.errors import UserError
from siamese.export import crc
from siamese.model.model import SiameseModel
from siamese.system.optional import needing
from siamese.text.tokenizer import INSIDE, LONGEST_CUT, MOST_WORDS, Tokenizer

# If one word is in the vocabulary, the mean of its mark is at least MARK / MOST_WORDS; MARK² / MOST_WORDS is above 1.
MARK = 512.0
UNKNOWN = "[UNK]"  # not a word, since the rule splits off brackets
WORDS = rf"[{crc.LETTER}]+|[^{crc.LETTER}{crc.SPACE}]"

# The library's Lowercase has no final sigma (Unicode, section 3.13).
_CASED, _IGNORED = r"[\p{Cased}&&[^\p{Case_Ignorable}]]", r"\p{Case_Ignorable}*"
FINAL_SIGMA = rf"(?<={_CASED}){_IGNORED}\KΣ(?!{_IGNORED}{_CASED})"


def modules(model: SiameseModel) -> list[Any]:
    """Return the modules of sentence-transformers that give a model's vectors.

    Args:
        model: one with an LSTM tower, means without padding, and the rule "words" with 0, 2, 4, ... or 4,096 buckets,
            or "pieces" without buckets.

    Raises:
        UserError: sentence-transformers is not installed, or the model does not fit.
    """
    with needing("export --to sentence-transformers"):
        import torch
        from sentence_transformers.sentence_transformer.modules import LSTM, Dense, Normalize, Pooling, WordEmbeddings
    tokenizer = model.tokenizer
    if not isinstance(tokenizer, Tokenizer) or tokenizer.rule not in ("words", "pieces"):
        raise UserError("the model does not split questions by the rule 'words' or 'pieces'; use --to onnx")
    if tokenizer.rule == "pieces" and tokenizer.buckets:
        raise UserError(f"the model has pieces of words and {tokenizer.buckets:,} buckets; use --to onnx")
    if tokenizer.buckets not in (0, *(2**bits for bits in range(1, len(crc.ZERO) + 1))):
        expected = f"a power of 2 from 2 to {2 ** len(crc.ZERO):,}"
        raise UserError(f"the model has {tokenizer.buckets:,} buckets, expected {expected}; use --to onnx")
    table, hidden = _table(model, tokenizer), model.dimensions
    columns = table.shape[1]  # of the embedding, and one that marks the vocabulary

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
    # (x̄, mark, h̄) to max(v, 0), max(−v, 0) and u = max(1 − MARK · mark, 0), where v = h̄ + x̄ or h̄; u is 1 if no word is
    # in the vocabulary, else 0.
    split = np.zeros((2 * hidden + 1, columns + hidden))
    split[:hidden, columns:] = one
    if model.config.skip:
        split[:hidden, : columns - 1] = one
    split[hidden:-1] = -split[:hidden]
    split[-1, columns - 1] = -MARK
    # Subtracts u times a bound on |v|, so that the result is 0 if u is 1.
    most = 2 * (1 + np.abs(table[:, :-1]).max(initial=0))
    gate = np.hstack([np.eye(2 * hidden), np.full((2 * hidden, 1), -most)])
    return [
        WordEmbeddings(stock_tokenizer(tokenizer), table, max_seq_length=MOST_WORDS),
        Pooling(columns, "mean"),
        # Stores it where the pooling "cls" reads it.
        dense(np.eye(columns), activation_function=None, module_output_name="cls_token_embeddings"),
        lstm,
        Pooling(hidden, ("cls", "mean")),
        dense(split, np.eye(2 * hidden + 1)[-1], activation_function=torch.nn.ReLU()),
        dense(gate, activation_function=torch.nn.ReLU()),
        dense(np.hstack([one, -one]), activation_function=None),
        Normalize(),
    ]


def _table(model: SiameseModel, tokenizer: Tokenizer) -> np.ndarray:
    """Return the embedding, with a last column that marks the rows of the vocabulary."""
    table = np.pad(np.asarray(model.weights["embedding.weight"], np.float32), ((0, 0), (0, 1)))
    table[tokenizer.first_word :, -1] = MARK
    table[tokenizer.pad] = 0
    if tokenizer.buckets:  # only words too long for a bucket are unknown then
        table[tokenizer.unknown] = table[tokenizer.unknown + 1 : tokenizer.first_word].mean(0)
    return table


def stock_tokenizer(tokenizer: Tokenizer) -> Any:
    """Return a tokenizer of transformers that gives clean text the same ids as one of the rule "words" or "pieces"."""
    from tokenizers import Regex, models, normalizers, pre_tokenizers
    from tokenizers import Tokenizer as Backend
    from transformers import PreTrainedTokenizerFast

    small = [normalizers.Replace(Regex(FINAL_SIGMA), "ς"), normalizers.Lowercase(), normalizers.NFC()]
    if tokenizer.buckets:
        bits = tokenizer.buckets.bit_length() - 1
        ids, merges = crc.vocabulary(tokenizer.words, tokenizer.buckets)
        # Words of the vocabulary are not split. Other words lose the characters that are not in it.
        backend = Backend(models.BPE(ids, merges, ignore_merges=True))
        backend.normalizer = normalizers.Sequence([*small, *crc.normalizers(bits)])
        pattern = crc.word_pattern(bits)
    else:
        ids = {crc.PADDING: tokenizer.pad, UNKNOWN: tokenizer.unknown}
        ids |= {word: id for id, word in enumerate(tokenizer.words, tokenizer.first_word)}
        if tokenizer.rule == "pieces":
            backend = Backend(
                models.WordPiece(
                    ids, unk_token=UNKNOWN, max_input_chars_per_word=LONGEST_CUT, continuing_subword_prefix=INSIDE
                )
            )
        else:
            backend = Backend(models.WordLevel(ids, UNKNOWN))
        backend.normalizer = normalizers.Sequence(small)
        pattern = WORDS
    # Keeps the matches of the pattern and removes the spaces between.
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    # Names no special tokens, since the library would also find them in the text of a question.
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def graph(model: SiameseModel) -> Any:
    """Return the graph of a model, an onnx.ModelProto.

    Inputs:
        ids: (batch, length) int64 in [0, V), each row padded at the end by any id.
        lengths: (batch,) int64, tokens in each question, 0 to `length`.

    Output:
        vectors: (batch, hidden) float32, rows of length 1, or 0 if no word is known.

    With x_t the word vectors, h_t the outputs of the LSTM and T the length, a vector is Σ_t (h_t + x_t) or, without
    `skip`, Σ_t h_t, divided by its norm; the T of the mean cancels. The sum is in float64, since in float32 the error
    over thousands of words exceeds 1e-5.
    """
    from onnx import numpy_helper, parser

    assert isinstance(model.tokenizer, Tokenizer)
    outputs = "Add (h, x)" if model.config.skip else "Identity (h)"
    # Opset 17 and IR 8 are of 2022, so that the runtime need not be the newest. The types of Cast are 1 float, 6 int32,
    # 9 bool, 11 double.
    text = files("siamese.export").joinpath("lstm.onnx.template").read_text("utf-8")
    text = text.replace("DIMENSION", str(model.dimensions)).replace("OUTPUTS", outputs)
    built = parser.parse_model(text.replace("FIRST_WORD", str(model.tokenizer.first_word)))
    w, kinds = model.weights, ("ih", "hh")
    W, R = (_onnx_order(w[f"lstm.weight_{kind}_l0"])[None] for kind in kinds)
    B = np.concatenate([_onnx_order(w[f"lstm.bias_{kind}_l0"]) for kind in kinds])[None]  # both are added, as in torch
    constants = {"table": w["embedding.weight"], "W": W, "R": R, "B": B}
    tensors = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
    built.graph.initializer.extend(tensors)
    return built


def _onnx_order(weight: np.ndarray) -> np.ndarray:
    """Reorder the rows of an LSTM's four gates from torch's i, f, c, o to the i, o, f, c of ONNX."""
    i, f, c, o = np.split(np.asarray(weight, np.float32), 4)
    return np.concatenate([i, o, f, c])
