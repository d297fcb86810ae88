"""The ONNX graph of a model with an LSTM tower: token ids in, the vectors of `SiameseModel.encode` out."""

from importlib.resources import files
from typing import Any

import numpy as np

from siamese.model.model import SiameseModel
from siamese.text.tokenizer import Tokenizer


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
