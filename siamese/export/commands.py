"""The command `export`: a trained model in the forms of other libraries. Light at import."""

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.config import PRETRAINED
from siamese.errors import UserError
from siamese.options import add_model, default_model, load_model

if TYPE_CHECKING:
    from siamese.model import SiameseModel

MODULE = "siamese.export.module.TowerModule"  # what the folders of --to sentence-transformers-exact name
FORMS = {
    "sentence-transformers": "a folder for SentenceTransformer(path), which needs nothing of ours",
    "sentence-transformers-exact": "a folder that names our class, for any word; needs siamese and trust_remote_code",
    "onnx": "a file for onnxruntime",
}


def add_commands(commands: Any) -> None:
    """Add `export` to the parsers of the command line."""
    text = "Write a model in the form of another library."
    sub = commands.add_parser("export", help=text, description=text)
    sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
    sub.add_argument("--to", required=True, choices=list(FORMS), metavar="FORM",
                     help="; ".join(f"{name}: {what}" for name, what in FORMS.items()))  # fmt: skip
    sub.add_argument("--out", required=True, metavar="PATH", help="the folder or, of onnx, the file")
    sub.add_argument("--questions", metavar="FILE", help="of --to sentence-transformers: a file, of questions or of "
                     "pairs, whose words the folder shall know; all others outside of the vocabulary share a vector "
                     "there")  # fmt: skip
    add_model(sub)
    group = sub.add_argument_group("columns", "names of the file's columns; both of the pairs where it has no question")
    for name in ("question", "question1", "question2"):
        group.add_argument(f"--{name}", default=name, dest=f"{name}_column", metavar="NAME")
    sub.set_defaults(run=export)


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
    transformer = model.config.tower == "transformer"
    if options.questions and (options.to != "sentence-transformers" or transformer or not model.config.buckets):
        raise UserError("--questions: goes with --to sentence-transformers of a model with buckets, in which not all "
                        "words outside of the vocabulary are alike")  # fmt: skip
    if options.to == "onnx":
        said = onnx_file(model, out, about)
    elif options.to == "sentence-transformers-exact":
        if transformer:
            raise UserError(f"{name}: a transformer, which --to sentence-transformers writes exactly")
        said = exact_folder(model, out, about)
    else:
        said = stock_folder(model, out, about, options)
    print(said)


def stock_folder(model: "SiameseModel", folder: Path, about: str, options: argparse.Namespace) -> str:
    """Write a folder of the library's own modules; how to read it, and what it does not know."""
    from siamese.export import stock
    from siamese.text import Tokenizer

    reading = f'SentenceTransformer("{folder}")'
    said = f"{folder}: read by {reading}"
    card = CARD.format(about=about, reading=reading)
    tokenizer = model.tokenizer
    if not isinstance(tokenizer, Tokenizer):
        from siamese.export import subwords

        stock.write_folder(subwords.modules(model), folder, card)
        return f"{said}; questions of unknown words alone have vectors there, which are 0 here"
    added = stock.new_words(tokenizer, questions(options)) if options.questions else []
    stock.write_folder(stock.modules(model, added), folder, card)
    said += f"\nit knows {len(tokenizer.words):,} words"
    if options.questions:
        said += f", and {len(added):,} more, so all of {options.questions}"
    if not tokenizer.buckets:
        return f"{said}; other words share one vector, as in the model: all vectors are the same"
    said += f"; other words share one vector, where the model has {tokenizer.buckets:,}: questions with such words "
    said += "get other vectors than here"
    return said if options.questions else f"{said} (--questions FILE adds the words of a file)"


def questions(options: argparse.Namespace) -> Iterator[str]:
    """The questions of the file of --questions: of its column, or both of a file of pairs."""
    from siamese.reading import open_file
    from siamese.streams import read_questions

    path, columns = Path(options.questions), [options.question_column]
    if path.suffix.lower() != ".txt":
        names, pair = open_file(path).names, [options.question1_column, options.question2_column]
        if options.question_column not in names and set(pair) <= set(names):
            columns = pair
    for column in columns:
        yield from read_questions(path, column)


def exact_folder(model: "SiameseModel", folder: Path, about: str) -> str:
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
