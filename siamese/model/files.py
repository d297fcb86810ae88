"""Run a model on a file: write the vectors of its questions, or the verdicts on its pairs."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

from siamese.model.model import SiameseModel
from siamese.pairs.pairs import Pairs
from siamese.pairs.reading import read_records
from siamese.system.csv_output import writing_csv
from siamese.system.files import replacing

QUESTIONS_AT_A_TIME = 65_536  # questions in memory


def encode_file(
    model: SiameseModel, path: str | Path, out: str | Path, column: str = "question",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:  # fmt: skip
    """Write the vectors of a file's questions as a .npy array (n, d) float32, and return n.

    The file need not fit in memory. It is read twice, first to count its questions.
    """
    total = sum(1 for _ in read_records(path, column))
    questions, done = (record.question for record in read_records(path, column)), 0
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False}
    with replacing(out) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (total, model.dimensions)})
        while block := list(islice(questions, QUESTIONS_AT_A_TIME)):
            file.write(model.encode(block).astype(np.float32, copy=False).tobytes())
            done += len(block)
            progress(done, total)
    return total


def write_predictions(
    model: SiameseModel, pairs: Pairs, path: str | Path | None, threshold: float | None = None,
    prior: float | None = None,
) -> int:  # fmt: skip
    """Write question1, question2, similarity, probability, is_duplicate as CSV, and return the number of duplicates.

    Args:
        model: the detector.
        pairs: n pairs, whose labels are ignored.
        path: the file, replaced only once it is complete; None prints the rows.
        threshold, prior: as in `SiameseModel.predict`.
    """
    threshold = model.threshold_for(threshold, prior)
    similarity = model.similarity(pairs.question1, pairs.question2)
    probability = model.probability(similarity, prior)
    with writing_csv(path, ["question1", "question2", "similarity", "probability", "is_duplicate"]) as writer:
        for q1, q2, s, p in zip(pairs.question1, pairs.question2, similarity.tolist(), probability.tolist()):
            writer.writerow([q1, q2, round(s, 6), round(p, 6), int(s > threshold)])
    return int((similarity > threshold).sum())
