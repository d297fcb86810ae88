"""The command `export`: a trained model in the forms of other libraries. Light at import."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.cli.options import Command, add_model, default_model, load_model
from siamese.config import PRETRAINED
from siamese.errors import UserError

if TYPE_CHECKING:
    from siamese.model.model import SiameseModel

FORMS = {
    "sentence-transformers": "a folder for SentenceTransformer(path), which needs nothing of ours",
    "onnx": "a file for onnxruntime",
}


def add_commands(command: Command) -> None:
    """Add `export` to the command line."""
    sub = command("export", export, "Write a model in the form of another library.")
    sub.add_argument("--to", required=True, choices=list(FORMS), metavar="FORM",
                     help="; ".join(f"{name}: {what}" for name, what in FORMS.items()))  # fmt: skip
    sub.add_argument("--out", required=True, metavar="PATH", help="the folder or, of onnx, the file")
    add_model(sub)


def export(options: argparse.Namespace) -> None:
    """Write what `--to` asks for, and say how it is read."""
    model, name = load_model(options.model), options.model or default_model()
    if model.config.padding != "none":
        raise UserError(
            f"{name}: a model of the preset {model.config.preset} averages the padding, so "
            "that a question's vector depends on its batch; other libraries want one vector a question"
        )
    about = f"Vectors of questions; two are duplicates where the cosine is above {model.threshold:.6f}."
    if PRETRAINED in (name, model.config.start_from):
        about += " Trained on Quora's question pairs, so for non-commercial use."
    out = Path(options.out)
    print(onnx_file(model, out, about) if options.to == "onnx" else stock_folder(model, out, about))


def stock_folder(model: "SiameseModel", folder: Path, about: str) -> str:
    """Write a folder of the library's own modules; how to read it, and where its vectors are others."""
    from siamese.export import crc, stock

    reading = f'SentenceTransformer("{folder}")'
    card = CARD.format(about=about, reading=reading)
    if model.config.tower == "transformer":
        from siamese.export import subwords

        stock.write_folder(subwords.modules(model), folder, card)
        but = "; questions of unknown words alone have vectors there, which are 0 here"
    else:
        stock.write_folder(stock.modules(model), folder, card)
        long = f"; words of more than {crc.LONGEST_WORD} bytes outside of the vocabulary are all alike there"
        but = long if model.config.buckets else ""
    return f"{folder}: read by {reading}{but}"


def onnx_file(model: "SiameseModel", path: Path, about: str) -> str:
    """Write the ONNX file; how to read it."""
    if model.config.tower == "transformer":
        from siamese.export import subwords

        subwords.write_onnx(model, path, about)
    else:
        from siamese.export import graph

        graph.write_onnx(model, path, about)
    return f'{path}: read by onnxruntime.InferenceSession("{path}"); tokenizer, threshold and calibration are inside'


CARD = """\
---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
---
# A detector of duplicate questions

{about}

```python
from sentence_transformers import SentenceTransformer

model = {reading}
```
"""
