"""A model as a folder that plain `SentenceTransformer(path)` loads: modules of that library alone, none of ours.

    WordEmbeddings → Pooling → Dense → LSTM → Pooling → Dense → Dense → Dense → Normalize

The first pooling gives the mean of the word vectors, x̄. The Dense after it keeps it where the second pooling finds it,
to join it to the mean of the LSTM's outputs, h̄. The next Dense adds the two; it and the two after it make that 0 where
no word is of the vocabulary, as `siamese.encoder` does.

What no tokenizer of a file can do is number a word by a hash of its spelling. So words outside of the vocabulary share
one row here, but for those that the folder is given: each of these has a row of its own, that of its bucket.
"""

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siamese.errors import UserError
from siamese.files import sync_file, sync_folder, write_text
from siamese.model import SiameseModel
from siamese.text import LONGEST, Tokenizer

PADDING, UNKNOWN = "[PAD]", "[UNK]"  # no words: the rule takes brackets for themselves
# The mean of the vocabulary's mark is MARK / LONGEST at least where one word is of it, and MARK² / LONGEST above 1.
MARK = 512.0

# What `siamese.text` does, for the regular expressions of the library tokenizers. Its \w has the combining marks too,
# its \s lacks four of Python's spaces, and its lower case has no final sigma (Unicode, section 3.13).
WORDS = r"[\p{L}\p{N}_]+|[^\p{L}\p{N}_\s\x1c-\x1f]"
_CASED, _IGNORED = r"[\p{Cased}&&[^\p{Case_Ignorable}]]", r"\p{Case_Ignorable}*"
FINAL_SIGMA = rf"(?<={_CASED}){_IGNORED}\KΣ(?!{_IGNORED}{_CASED})"


def new_words(tokenizer: Tokenizer, questions: Iterable[str]) -> list[str]:
    """The words of questions that are not in the vocabulary, in the order of first sight; one at most of each."""
    found: dict[str, None] = {}
    for question in questions:
        found.update(dict.fromkeys(tokenizer.split(question)))
    vocabulary = set(tokenizer.words)
    # Half a surrogate pair can be in no file, and is in no text that the library tokenizers takes.
    return [word for word in found if word not in vocabulary and not any("\ud800" <= c <= "\udfff" for c in word)]


def modules(model: SiameseModel, added: Sequence[str] = ()) -> list[Any]:
    """The modules of sentence-transformers that give a model's vectors.

    Args:
        model: with a tower of LSTM, the rule "words", and no padding in its means.
        added: words outside of the vocabulary that get the row of their bucket.

    Raises:
        UserError: sentence-transformers is not installed, or the model has another rule.
    """
    try:
        import torch
        from sentence_transformers.sentence_transformer.modules import LSTM, Dense, Normalize, Pooling, WordEmbeddings
    except ModuleNotFoundError:
        raise UserError(
            "export --to sentence-transformers needs that library: pip install sentence-transformers"
        ) from None
    tokenizer = model.tokenizer
    if not isinstance(tokenizer, Tokenizer) or tokenizer.rule != "words":
        raise UserError("a model that does not cut questions by the rule 'words'; --to sentence-transformers-exact "
                        "writes it")  # fmt: skip
    table, hidden = _table(model, tokenizer, added), model.config.hidden
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
        WordEmbeddings(stock_tokenizer(tokenizer.words, added), table, max_seq_length=LONGEST),
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


def _table(model: SiameseModel, tokenizer: Tokenizer, added: Sequence[str]) -> np.ndarray:
    """The rows of padding, of the unknown word, of the vocabulary and of the added words; a last column marks the
    vocabulary's."""
    embedding = np.asarray(model.weights["embedding.weight"], np.float32)
    buckets = embedding[tokenizer.first_word - tokenizer.buckets : tokenizer.first_word]
    unknown = buckets.mean(0) if tokenizer.buckets else embedding[tokenizer.unknown]
    rows = [np.zeros_like(unknown)[None], unknown[None], embedding[tokenizer.first_word :]]
    if len(added):
        rows.append(embedding[[tokenizer.bucket(word) for word in added]])
    table = np.pad(np.concatenate(rows), ((0, 0), (0, 1)))
    table[2 : 2 + len(tokenizer.words), -1] = MARK
    return table


def stock_tokenizer(words: Sequence[str], added: Sequence[str]) -> Any:
    """The rule "words" and a vocabulary as a tokenizer of transformers."""
    from tokenizers import Regex, models, normalizers, pre_tokenizers
    from tokenizers import Tokenizer as Backend
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: id for id, word in enumerate([PADDING, UNKNOWN, *words, *added])}
    tokenizer = Backend(models.WordLevel(vocabulary, UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(FINAL_SIGMA), "ς"), normalizers.Lowercase(), normalizers.NFC()]
    )
    # What the pattern finds is kept, and the spaces between are not.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), "removed", invert=True)
    # None of its special tokens are named: these would be found in the text of a question.
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


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
