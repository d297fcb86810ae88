"""The command `export`: a trained model in the forms of other libraries. Light at import."""

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.config import PRETRAINED
from siamese.errors import UserError
from siamese.options import add_model, default_model, load_model

if TYPE_CHECKING:
    from siamese.model import SiameseModel

MODULE = "siamese.export.module.TowerModule"  # what the folders of sentence-transformers name


def add_commands(commands: Any) -> None:
    """Add `export` to the parsers of the command line."""
    text = "Write a model in the form of another library."
    sub = commands.add_parser("export", help=text, description=text)
    sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
    sub.add_argument("--to", required=True, choices=list(FORMS), help="the library that shall read it")
    sub.add_argument("--out", required=True, metavar="PATH", help="the folder (sentence-transformers) or file (onnx)")
    add_model(sub)
    sub.set_defaults(run=export)


def export(options: argparse.Namespace) -> None:
    """Write what `--to` asks for, and say how it is read."""
    model = load_model(options.model)
    if model.config.padding != "none":
        raise UserError(
            f"{options.model or default_model()}: a model of the preset {model.config.preset} averages the padding, so "
            "that a question's vector depends on its batch; other libraries want one vector a question"
        )
    pretrained = PRETRAINED in (options.model or default_model(), model.config.start_from)
    about = f"Vectors of questions; two are duplicates where the cosine is above {model.threshold:.6f}."
    if pretrained:
        about += " Trained on Quora's question pairs, so for non-commercial use."
    print(FORMS[options.to](model, Path(options.out), about))


def lstm_folder(model: "SiameseModel", folder: Path, about: str) -> str:
    """Write the model folder, and beside it what makes it one of sentence-transformers; how to read it."""
    from siamese.files import write_text

    # In full: what sentence-transformers trains further and saves would be rounded.
    dataclasses.replace(model, config=model.config.replace(compact=False)).save(folder)
    reading = f'SentenceTransformer("{folder}", trust_remote_code=True)'
    settings = {"model_type": "SentenceTransformer", "similarity_fn_name": "cosine"}
    write_text(folder / "config_sentence_transformers.json", json.dumps(settings, indent=2) + "\n")
    write_text(folder / "README.md", CARD.format(about=about, reading=reading))
    modules = [{"idx": 0, "name": "0", "path": "", "type": MODULE}]
    write_text(folder / "modules.json", json.dumps(modules, indent=2) + "\n")
    return f"{folder}: read by {reading}, where siamese is installed"


def lstm_onnx(model: "SiameseModel", path: Path, about: str) -> str:
    """Write the ONNX file; how to read it."""
    from siamese.export import graph

    graph.write_onnx(model, path, about)
    return f'{path}: read by onnxruntime.InferenceSession("{path}"); tokenizer, threshold and calibration are inside'


# What writes a model with a tower of LSTM: model, path and what the model is, to what is printed.
FORMS: dict[str, Callable[["SiameseModel", Path, str], str]] = {
    "sentence-transformers": lstm_folder,
    "onnx": lstm_onnx,
}

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
