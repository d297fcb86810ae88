"""The ONNX graph of a model with an LSTM tower: token ids in, the vectors of `SiameseModel.encode` out."""

from typing import Any

import numpy as np

from siamese.model.model import SiameseModel
from siamese.text.tokenizer import Tokenizer

# Opset 17 and IR 8 are of 2022, so that the runtime need not be the newest. DIMENSION, FIRST_WORD and OUTPUTS are
# filled in. The types of Cast are 1 float, 6 int32, 9 bool, 11 double.
GRAPH = """
<ir_version: 8, opset_import: ["": 17]>
tower (int64[batch, length] ids, int64[batch] lengths) => (float[batch, DIMENSION] vectors)
<int64 zero = {0}, int64 one = {1}, int64[1] axis_0 = {0}, int64[1] axis_1 = {1}, int64[1] last = {-1},
 int64 first_word = {FIRST_WORD}, float nothing = {0}, int64[4] one_row = {0, 0, 1, 0}, int64[2] one_length = {0, 1}>
{
    # An empty question is added, since onnxruntime crashes on an LSTM without any.
    padded = Pad (ids, one_row)
    n = Pad (lengths, one_length)
    words = Transpose <perm = [1, 0]> (padded)  # (length, batch + 1): time first, as LSTM expects
    x = Gather (table, words)  # (length, batch + 1, embedding)
    steps = Cast <to = 6> (n)
    y = LSTM <hidden_size = DIMENSION> (x, W, R, B, steps)  # (length, 1, batch + 1, hidden)
    h = Squeeze (y, axis_1)
    outputs = OUTPUTS

    # Which tokens belong to the question, and whether any of them is in the vocabulary.
    shape = Shape <start = 0, end = 1> (words)
    end = Squeeze (shape)
    t = Range (zero, end, one)
    column = Unsqueeze (t, axis_1)
    real = Less (column, n)  # (length, batch + 1)
    in_vocabulary = GreaterOrEqual (words, first_word)
    known = And (real, in_vocabulary)
    ones = Cast <to = 6> (known)
    count = ReduceSum <keepdims = 0> (ones, axis_0)  # (batch + 1,)
    any_known = Cast <to = 9> (count)

    # The sum of the real outputs, scaled to length 1.
    mask = Unsqueeze (real, last)
    real_outputs = Where (mask, outputs, nothing)
    terms = Cast <to = 11> (real_outputs)
    sum = ReduceSum <keepdims = 0> (terms, axis_0)  # (batch + 1, hidden)
    unit = LpNormalization (sum)
    single = Cast <to = 1> (unit)
    rows = Unsqueeze (any_known, last)
    all_vectors = Where (rows, single, nothing)
    vectors = Slice (all_vectors, axis_0, last)
}
"""


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
    text = GRAPH.replace("DIMENSION", str(model.dimensions)).replace("OUTPUTS", outputs)
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
