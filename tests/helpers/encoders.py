"""Small random sentence encoders, as sentence-transformers saves them. They need that library."""

from pathlib import Path
from typing import Any

from siamese import SiameseModel

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789?.,'-"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *("##" + letter for letter in LETTERS),
         "how", "what", "is", "the", "my", "do", "to", "of"]  # fmt: skip
QUESTIONS = ["How old are you?", "What is my age?", "", "how", "Do I tell the naïve lie of a 5-year-old? 🜀 " * 3]
KINDS = ["bert", "distilbert", "mpnet", "roberta"]


def make_encoder(folder: Path, kind: str, **changes: Any) -> Path:
    """Save a sentence encoder of two layers and 16 dimensions with random weights. Return its folder.

    Args:
        folder: where to make the folders "plain" (of transformers) and "encoder" (of sentence-transformers).
        kind: one of KINDS.
        changes: to the configuration of transformers; `pooling` is "mean" or "cls".
    """
    import sentence_transformers
    import torch
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


def make_transformer(folder: Path, kind: str) -> SiameseModel:
    """Make a model of two layers and 16 dimensions with random weights, through an encoder in `folder`."""
    from siamese.config import preset
    from siamese.model.calibration import Calibration
    from siamese.towers.encoders import load_parts

    encoder = load_parts(str(make_encoder(folder / "encoder", kind)))
    weights = {name: weight.numpy() for name, weight in encoder.weights.items()}
    config = preset("transformer").replace(encoder="encoder")
    calibration = Calibration(6.0, -3.0, 0.4)
    return SiameseModel(config, encoder.tokenizer, weights, 0.5, calibration, architecture=encoder.architecture)
