"""Write a model as an ONNX file or as a folder of sentence-transformers, whole or not at all.

The metadata of the ONNX file are JSON: `tokenizer`, the arguments of `siamese.text.Tokenizer` or, for a transformer,
the text for `SubwordTokenizer`; `threshold`; and `calibration`, the fields of `Calibration`.
"""

import dataclasses
import importlib
import json
import secrets
import shutil
from pathlib import Path
from typing import Any

from siamese.errors import UserError
from siamese.model.model import SiameseModel
from siamese.system.files import replacing, sync_file, sync_folder, write_text
from siamese.system.optional import optional
from siamese.text.tokenizer import Tokenizer

LARGEST_FILE = (2 << 30) - 1  # bytes of an ONNX file


def write_onnx(model: SiameseModel, path: Path, about: str) -> None:
    """Write a model as an ONNX file.

    Args:
        model: one that does not average the padding.
        path: the file.
        about: description of the model, for the file's doc_string.

    Raises:
        UserError: onnx is not installed, or the file would be larger than 2 GiB.
        OSError: the file cannot be written.
    """
    onnx = optional("onnx", "export --to onnx")
    size = sum(weight.nbytes for weight in model.weights.values())
    if size > LARGEST_FILE - (64 << 20):  # the vocabulary takes 16 MiB at most
        raise UserError(f"{path}: the weights have {size:,} bytes, but an ONNX file has at most {LARGEST_FILE:,}")
    tokenizer = model.tokenizer
    if isinstance(tokenizer, Tokenizer):
        settings = {"words": tokenizer.words, "rule": tokenizer.rule, "buckets": tokenizer.buckets}
        text = json.dumps(settings, ensure_ascii=False)
    else:
        text = tokenizer.text()
    built = _form(model).graph(model)
    built.producer_name, built.doc_string = "siamese", about
    calibration = json.dumps(dataclasses.asdict(model.calibration))
    metadata = {"tokenizer": text, "threshold": json.dumps(model.threshold), "calibration": calibration}
    onnx.helper.set_model_props(built, metadata)
    onnx.checker.check_model(built, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(built.SerializeToString())


def write_folder(model: SiameseModel, folder: Path, card: str) -> None:
    """Write a model as a folder for `SentenceTransformer(folder)`, in place of an earlier one.

    Args:
        model: as for `modules` of its tower.
        folder: one that does not exist, is empty, or has only files with the names of those that are written.
        card: the text of its README.md.

    Raises:
        UserError: sentence-transformers is not installed, the model does not fit, or `folder` has other files.
        OSError: the folder cannot be written.
    """
    parts = _form(model).modules(model)
    from sentence_transformers import SentenceTransformer

    folder = folder.resolve()  # so that a link that a person named stays
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary, earlier = (folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{end}") for end in ("", ".old"))
    temporary.mkdir()
    try:
        encoder = SentenceTransformer(modules=parts, device="cpu", similarity_fn_name="cosine")
        encoder.save(str(temporary), create_model_card=False)
        write_text(temporary / "README.md", card)
        mode = (temporary / "README.md").stat().st_mode
        for path in temporary.rglob("*"):
            if path.is_file():
                path.chmod(mode)  # safetensors lets only the owner read them
                sync_file(path)
        if folder.exists():
            new = {path.relative_to(temporary) for path in temporary.rglob("*")}
            if other := [path for path in sorted(folder.rglob("*")) if path.relative_to(folder) not in new]:
                raise UserError(f"{other[0]}: not a file of an export, and not replaced; give a new or an empty folder")
            temporary.chmod(folder.stat().st_mode)
            folder.rename(earlier)
        temporary.rename(folder)
        sync_folder(folder.parent)
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        if earlier.exists() and not folder.exists():
            earlier.rename(folder)
        shutil.rmtree(temporary, ignore_errors=True)


def _form(model: SiameseModel) -> Any:
    """Return the module that has `graph` and `modules` for the model's tower: lstm or transformer."""
    return importlib.import_module(f"siamese.export.{model.config.tower}")
