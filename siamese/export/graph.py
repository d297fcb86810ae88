"""A model as one ONNX file, its tokenizer, threshold and calibration included.

The graph takes token ids and gives the vectors of `SiameseModel.encode`; the lines that run it, with onnxruntime and
no PyTorch, are in README.md under "Export". The metadata, all of them JSON: `tokenizer`, the arguments of
`siamese.text.Tokenizer`; `threshold`; `calibration`, the fields of `siamese.calibration.Calibration`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from siamese.errors import UserError
from siamese.model.model import SiameseModel
from siamese.system.files import replacing
from siamese.system.optional import optional
from siamese.text.tokenizer import Tokenizer

OPSET, IR = 17, 8  # of 2022: what runs it need not be the newest
MOST = (2 << 30) - 1  # bytes of an ONNX file


def write_onnx(model: SiameseModel, path: Path, about: str) -> None:
    """Write a model as an ONNX file, whole or not at all.

    Args:
        model: with a tower of LSTM, and no padding in its means.
        path: the file.
        about: what the model is, for the file's doc_string.

    Raises:
        UserError: onnx is not installed, or the file would have more than 2 GiB.
        OSError: it cannot be written.
    """
    check_size(model, path)
    import onnx

    built = build(model, about)
    onnx.checker.check_model(built, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(built.SerializeToString())


def check_size(model: SiameseModel, path: Path) -> None:
    """UserError where onnx is not installed, or a file has no room for the weights."""
    optional("onnx", "export --to onnx")
    size = sum(weight.nbytes for weight in model.weights.values())
    if size > MOST - (64 << 20):  # the vocabulary has 16 MiB at most
        raise UserError(f"{path}: weights of {size:,} bytes, and an ONNX file has at most {MOST:,}")


def finish(built: Any, model: SiameseModel, tokenizer: str, about: str) -> None:
    """Give an onnx.ModelProto its doc_string and metadata, `tokenizer` as JSON."""
    from onnx import helper

    built.producer_name, built.doc_string, built.ir_version = "siamese", about, IR
    calibration = json.dumps(dataclasses.asdict(model.calibration))
    helper.set_model_props(
        built, {"tokenizer": tokenizer, "threshold": json.dumps(model.threshold), "calibration": calibration}
    )


def build(model: SiameseModel, about: str = "") -> Any:
    """The graph of a model, an onnx.ModelProto.

    Inputs:
        ids: (batch, length) int64 in [0, V), each row filled up behind its question by any id.
        lengths: (batch,) int64, tokens a question, 0 to `length`.

    Output:
        vectors: (batch, hidden) float32, rows of length 1, or 0 where no word is known.

    With x_t the word vectors, h_t the outputs of the LSTM and T the length, a vector is Σ_t (h_t + x_t) or, without
    `skip`, Σ_t h_t, divided by its own length; the T of the mean cancels. The sum is in float64, since in float32 that
    of thousands of words is off by more than 1e-5.
    """
    from onnx import TensorProto, helper, numpy_helper

    H = model.dimensions
    w = model.weights
    tokenizer = model.tokenizer
    assert isinstance(tokenizer, Tokenizer)
    constants = {
        "table": w["embedding.weight"],
        "W": _by_onnx(w["lstm.weight_ih_l0"])[None],
        "R": _by_onnx(w["lstm.weight_hh_l0"])[None],
        # ONNX adds both, as torch does.
        "B": np.concatenate([_by_onnx(w["lstm.bias_ih_l0"]), _by_onnx(w["lstm.bias_hh_l0"])])[None],
        "first word": np.array(tokenizer.first_word),
        "zero": np.array(0),
        "one": np.array(1),
        "[0]": np.array([0]),
        "[1]": np.array([1]),
        "[-1]": np.array([-1]),
        "tiny": np.array(1e-12),
        "nothing": np.array(0, np.float32),
        "a row": np.array([0, 0, 1, 0]),
        "a length": np.array([0, 1]),
    }

    def step(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        return helper.make_node(kind, inputs, [output], **attributes)

    nodes = [
        # One empty question more than there are: an LSTM of none at all ends the process of onnxruntime.
        step("Pad", ["ids", "a row"], "padded"),
        step("Pad", ["lengths", "a length"], "all lengths"),
        # Time first, as LSTM wants it.
        step("Transpose", ["padded"], "words", perm=[1, 0]),  # (length, batch + 1)
        step("Gather", ["table", "words"], "x"),  # (length, batch + 1, embedding)
        step("Cast", ["all lengths"], "steps", to=TensorProto.INT32),
        step("LSTM", ["x", "W", "R", "B", "steps"], "y", hidden_size=H),  # (length, 1, batch + 1, hidden)
        step("Squeeze", ["y", "[1]"], "h"),
        step("Add", ["h", "x"], "outputs") if model.config.skip else step("Identity", ["h"], "outputs"),
        # Which of the tokens are those of the question, and whether one of them is a word of the vocabulary.
        step("Shape", ["words"], "shape", start=0, end=1),
        step("Squeeze", ["shape"], "end"),
        step("Range", ["zero", "end", "one"], "t"),
        step("Unsqueeze", ["t", "[1]"], "t as a column"),
        step("Less", ["t as a column", "all lengths"], "real"),  # (length, batch + 1)
        step("GreaterOrEqual", ["words", "first word"], "in vocabulary"),
        step("And", ["real", "in vocabulary"], "known words"),
        step("Cast", ["known words"], "known as numbers", to=TensorProto.INT32),
        step("ReduceSum", ["known as numbers", "[0]"], "known", keepdims=0),  # (batch + 1,)
        # The sum of the real outputs, of length 1.
        step("Unsqueeze", ["real", "[-1]"], "real ones"),
        step("Where", ["real ones", "outputs", "nothing"], "real outputs"),
        step("Cast", ["real outputs"], "terms", to=TensorProto.DOUBLE),
        step("ReduceSum", ["terms", "[0]"], "sum", keepdims=0),  # (batch + 1, hidden)
        step("ReduceL2", ["sum"], "norm", axes=[1]),
        step("Max", ["norm", "tiny"], "at least tiny"),
        step("Div", ["sum", "at least tiny"], "unit"),
        step("Cast", ["unit"], "exact", to=TensorProto.FLOAT),
        step("Cast", ["known"], "known or not", to=TensorProto.BOOL),
        step("Unsqueeze", ["known or not", "[-1]"], "known rows"),
        step("Where", ["known rows", "exact", "nothing"], "all vectors"),
        step("Slice", ["all vectors", "[0]", "[-1]"], "vectors"),
    ]
    graph = helper.make_graph(
        nodes,
        "tower",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
        ],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", H])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    words = {"words": tokenizer.words, "rule": tokenizer.rule, "buckets": tokenizer.buckets}
    finish(built, model, json.dumps(words, ensure_ascii=False), about)
    return built


def _by_onnx(weight: np.ndarray) -> np.ndarray:
    """The rows of an LSTM's four gates in the order of ONNX, input, output, forget, cell; torch's is i, f, c, o."""
    i, f, c, o = np.split(np.asarray(weight, np.float32), 4)
    return np.concatenate([i, o, f, c])
