"""Encode a file of questions that need not fit in memory."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

from siamese.model.model import SiameseModel
from siamese.pairs.questions import read_questions
from siamese.system.files import replacing

QUESTIONS_AT_A_TIME = 65_536  # questions that are held at a time


def encode_file(
    model: SiameseModel,
    path: str | Path,
    out: str | Path,
    column: str = "question",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write the vectors of a file's questions as a .npy array (n, d) float32; the number of questions.

    The file is read twice, first to count; at most 65,536 questions are held.
    """
    total = sum(1 for _ in read_questions(path, column))
    questions, done = read_questions(path, column), 0
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False}
    with replacing(out) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (total, model.dimensions)})
        while block := list(islice(questions, QUESTIONS_AT_A_TIME)):
            file.write(model.encode(block).astype(np.float32, copy=False).tobytes())
            done += len(block)
            progress(done, total)
    return total
