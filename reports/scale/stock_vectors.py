"""How far the vectors of plain `SentenceTransformer(path)` are from ours, and what that does to the verdicts.

    python -m reports.scale.stock_vectors data/questions.csv ../shared/quora/test.csv

Each file of labelled pairs is measured with the folder of the pretrained model.
"""

import csv
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from siamese import SiameseModel
from siamese.evaluation.metrics import average_precision
from siamese.export import stock
from siamese.model.similarity import cosine

model = SiameseModel.pretrained()
backend = stock.stock_tokenizer(model.tokenizer).backend_tokenizer
said_last = []
print(
    "| questions of | folder | largest difference | above 1e-5 | verdicts that differ | accuracy | average precision |"
)
print("| --- | --- | --: | --: | --: | --: | --: |")
for path in sys.argv[1:]:
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = np.array([int(row["is_duplicate"]) for row in rows])
    questions = sorted({row[name] for row in rows for name in ("question1", "question2")})
    number = {question: i for i, question in enumerate(questions)}
    first, second = ([number[row[name]] for row in rows] for name in ("question1", "question2"))

    start = time.process_time()
    for question in questions[:2_000]:
        backend.encode(question)
    milliseconds = (time.process_time() - start) / 2  # a question
    unknown = (model.tokenizer.unknown_words(questions) > 0).mean()
    said_last.append(f"{path}: {unknown:.1%} have an unknown word; cutting one takes {milliseconds:.2f} ms of a core")

    ours = model.encode(questions)
    expected = cosine(ours, first, second) > model.threshold
    with tempfile.TemporaryDirectory() as folder:
        stock.write_folder(stock.modules(model), Path(folder), "")
        found = {"(ours)": ours, "plain": SentenceTransformer(folder, device="cpu").encode(questions)}
    for name, vectors in found.items():
        difference = np.abs(vectors - ours).max(1)
        scores = cosine(vectors, first, second)
        said = scores > model.threshold
        print(
            f"| {Path(path).name}, {len(questions):,} | {name} "
            f"| {difference.max():.2g} | {(difference > 1e-5).mean():.1%} "
            f"| {(said != expected).sum():,} of {len(rows):,} | {(said == labels).mean():.4f} "
            f"| {average_precision(labels, scores):.4f} |"
        )
print("", *said_last, sep="\n")
