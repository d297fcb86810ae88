"""The command `export`: a trained model in the formats of other libraries. Light at import."""

import argparse
import json
import os
from pathlib import Path

from siamese.cli.options import Command, add_force, add_model, check_outputs, load_model
from siamese.errors import UserError
from siamese.system.files import replacing
from siamese.system.outputs import Folder, Output, beginning_with
from siamese.towers.places import LIBRARY

FORMS = {
    "sentence-transformers": "a folder for SentenceTransformer(path), which needs none of our code",
    "onnx": "a file for onnxruntime, or a folder with it and a model card for the hub, if PATH has no ending",
}
ONNX_FILE = "model.onnx"  # in a folder for the hub
ONNX = b"\x12\x07siamese"  # at the beginning of our files: field 2 of a ModelProto, its producer


def add_commands(command: Command) -> None:
    """Add `export`."""
    sub = command("export", export, "Write a model in the format of another library.")
    forms = "; ".join(f"{name}: {what}" for name, what in FORMS.items())
    sub.add_argument("--to", required=True, choices=list(FORMS), metavar="FORM", help=forms)
    sub.add_argument("--out", required=True, metavar="PATH", help="the folder or, for onnx, file to write")
    add_force(sub)
    add_model(sub)


def export(options: argparse.Namespace) -> None:
    """Write the form that `--to` names, and print how to load it."""
    from siamese.export import cards

    onnx_folder = options.to == "onnx" and not (Path(options.out).suffix or Path(options.out).is_file())
    if onnx_folder:
        proofs = {ONNX_FILE: beginning_with(ONNX), "README.md": beginning_with(cards.MARK)}
        check_outputs(options, Folder("--out", options.out, tuple(proofs), proofs), inputs=[options.model])
    elif options.to == "onnx":
        check_outputs(options, Output("--out", options.out, beginning_with(ONNX)), inputs=[options.model])
    else:
        check_outputs(options, Folder("--out", options.out, (), {}), inputs=[options.model])
        card = Path(options.out, "README.md")
        if (
            card.parent.is_dir()
            and os.listdir(card.parent)
            and not (card.is_file() and beginning_with(cards.MARK)(card))
        ):
            raise UserError(f"{options.out}: exists already; give a new folder, or that of an earlier export")
    model = load_model(options.model, options.calibrate_on)
    if model.architecture and model.architecture["type"] == LIBRARY:
        raise UserError(f"{options.model}: runs in {LIBRARY}, which can export it itself")
    if model.plugin is not None:
        raise UserError(f"{options.model}: the tower {model.config.tower} is a plug-in; only our own are exported")
    if model.config.padding != "none":
        raise UserError(
            f"{options.model}: the preset {model.config.preset} averages the padding, so a question's vector depends "
            "on its batch, while other libraries need one vector for each question; export a model of another preset"
        )
    about = f"Vectors of questions. Two are duplicates if their cosine is above {model.threshold:.6f}."
    if model.verdict is not None:
        about += " This is the plain threshold: the model's verdict, which weighs what else differs, is not exported."
    if bound := cards.bound(model, options.model):
        about += f" Terms of the weights: {bound}."

    def card_of(library: str, code: str) -> str:
        return cards.card(model, options.model, Path(options.out).name, library, about, code)

    from siamese.export import crc, writing

    out, named = Path(options.out), json.dumps(options.out, ensure_ascii=False)
    if options.to == "onnx":
        if onnx_folder:
            out.mkdir(parents=True, exist_ok=True)
            out, named = out / ONNX_FILE, json.dumps(str(out / ONNX_FILE), ensure_ascii=False)
        writing.write_onnx(model, out, about)
        if onnx_folder:
            code = f"import onnxruntime\n\nsession = onnxruntime.InferenceSession({json.dumps(ONNX_FILE)})"
            with replacing(out.with_name("README.md")) as temporary:
                temporary.write_text(card_of("onnx", code), "utf-8")
        inside = "vectors, tokenizer, the plain threshold and calibration are inside" if model.verdict else (
            "tokenizer, threshold and calibration are inside"
        )  # fmt: skip
        print(f"{out}: load with onnxruntime.InferenceSession({named}); {inside}")
        return
    loading = f"SentenceTransformer({named})"
    code = f"from sentence_transformers import SentenceTransformer\n\nmodel = {loading}"
    writing.write_folder(model, out, card_of(LIBRARY, code))
    differences = ""
    if model.config.tower == "transformer":
        differences = "; there, questions without a known piece get a vector, which is 0 here"
    elif model.config.buckets:
        differences = f"; there, unknown words of more than {crc.LONGEST_WORD} bytes share one vector"
    print(f"{out}: load with {loading}{differences}; give it clean text (siamese.text.cleaning)")
