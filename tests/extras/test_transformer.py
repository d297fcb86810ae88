"""The transformer tower, on tiny encoders with random weights. Needs sentence-transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sentence_transformers = pytest.importorskip(
    "sentence_transformers", reason="needs sentence-transformers: pip install -r tests/extras/requirements.txt"
)

from siamese.transformer import encode, load_encoder

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789?.,'-"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *("##" + letter for letter in LETTERS),
         "how", "what", "is", "the", "my", "do", "to", "of"]  # fmt: skip
QUESTIONS = ["How old are you?", "What is my age?", "", "how", "Do I tell the naïve lie of a 5-year-old? 🜀 " * 3]


def make_encoder(folder: Path, kind: str, **changes: Any) -> Path:
    """A sentence encoder of two layers of 16 numbers, with random weights, as sentence-transformers saves one."""
    import transformers
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    plain = folder / "plain"
    plain.mkdir(parents=True)
    torch.manual_seed(1)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    if kind == "roberta":
        from tokenizers import ByteLevelBPETokenizer

        bpe = ByteLevelBPETokenizer()
        bpe.train_from_iterator(QUESTIONS * 3, 300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
        bpe.save_model(str(plain))
        tokenizer = transformers.RobertaTokenizer.from_pretrained(plain)
        config = transformers.RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=34, **shape)
        model = transformers.RobertaModel(config)
    else:
        names = {"bert": "Bert", "mpnet": "MPNet", "distilbert": "DistilBert"}[kind]
        words = WORDS if kind != "mpnet" else ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *WORDS[5:]]
        (plain / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
        tokenizer = getattr(transformers, names + "Tokenizer").from_pretrained(plain)
        config = getattr(transformers, names + "Config")(
            vocab_size=len(tokenizer), max_position_embeddings=34, **{**shape, **changes}
        )
        model = getattr(transformers, names + "Model")(config)
    with torch.no_grad():  # as they come the first vectors are all alike
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.normal_(std=0.3)
    model.save_pretrained(plain)
    tokenizer.save_pretrained(plain)
    word = Transformer(str(plain), max_seq_length=32)
    pooling = Pooling(word.get_embedding_dimension(), pooling_mode=changes.get("pooling", "mean"))
    sentence_transformers.SentenceTransformer(modules=[word, pooling, Normalize()], device="cpu").save(
        str(folder / "encoder")
    )
    return folder / "encoder"


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def encoder(kind: str) -> Path:
        if kind not in made:
            made[kind] = make_encoder(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return encoder


KINDS = ["bert", "distilbert", "mpnet", "roberta"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_vectors_are_those_of_sentence_transformers(kind: str, encoders: Callable[[str], Path]) -> None:
    encoder = load_encoder(str(encoders(kind)))
    theirs = sentence_transformers.SentenceTransformer(str(encoders(kind)), device="cpu").encode(QUESTIONS)
    ours = encode(encoder.tower(), encoder.tokenizer.encode(QUESTIONS))
    which = [i for i, question in enumerate(QUESTIONS) if question]
    np.testing.assert_allclose(ours[which], theirs[which], atol=1e-5)
    assert len(np.unique(ours[which].round(3), axis=0)) == len(which)  # the test can tell them apart
    assert not ours[QUESTIONS.index("")].any()
