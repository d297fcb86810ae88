"""Measure how far the vectors of plain `SentenceTransformer(path)` are from ours, and what that does to the verdicts.

    python -m reports.scale.stock_vectors data/questions.csv ../shared/quora/test.csv

Each file of labelled pairs is measured with the exported folder of the pretrained model.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from reports.measured import table
from siamese import SiameseModel, read_pairs
from siamese.evaluation.metrics import average_precision
from siamese.export import lstm, writing
from siamese.model.similarity import cosine
from siamese.text.tokenizer import Tokenizer

TIMED = 2_000  # questions


def main() -> None:
    """Run the command."""
    model, rows, notes = SiameseModel.pretrained(), [], []
    assert isinstance(model.tokenizer, Tokenizer)
    backend = lstm.stock_tokenizer(model.tokenizer).backend_tokenizer
    for path in sys.argv[1:]:
        pairs = read_pairs(path)
        questions = sorted({*pairs.question1, *pairs.question2})
        number = {question: i for i, question in enumerate(questions)}
        first, second = ([number[question] for question in side] for side in (pairs.question1, pairs.question2))

        start = time.process_time()
        for question in questions[:TIMED]:
            backend.encode(question)
        milliseconds = 1000 * (time.process_time() - start) / len(questions[:TIMED])
        unknown = (model.tokenizer.unknown_words(questions) > 0).mean()
        notes.append(f"{path}: {unknown:.1%} of the questions have an unknown word; cutting one into words takes "
                     f"{milliseconds:.2f} ms of a core")  # fmt: skip

        ours = model.encode(questions)
        expected = cosine(ours, first, second) > model.threshold
        with tempfile.TemporaryDirectory() as folder:
            writing.write_folder(model, Path(folder), "")
            plain = SentenceTransformer(folder, device="cpu").encode(questions)
        for name, vectors in (("(ours)", ours), ("plain", plain)):
            difference = np.abs(vectors - ours).max(1)
            scores = cosine(vectors, first, second)
            verdicts = scores > model.threshold
            rows.append({
                "questions of": f"{Path(path).name}, {len(questions):,}", "folder": name,
                "largest difference": float(difference.max()), "% above 1e-5": 100 * float((difference > 1e-5).mean()),
                "verdicts that differ": int((verdicts != expected).sum()), "of": len(pairs),
                "accuracy": float((verdicts == pairs.labels).mean()),
                "average precision": average_precision(pairs.labels, scores),
            })  # fmt: skip
    print(table(rows), *notes, sep="\n")


if __name__ == "__main__":
    main()
