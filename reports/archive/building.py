"""Measure `archive build` beside encoding the same questions, in seconds of the processor.

    python -m reports.archive.building --repeat 3

The file has ids, questions and three further columns, all of which the archive keeps. The whole command counts, with
its start; of encoding, `encode` alone. The two are run in turns, since a busy machine changes its speed.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from reports.archive.mining import texts
from reports.measured import Row, Spread, keep, table
from siamese.config import PRETRAINED

ENCODE = """
import csv, json, sys, time
from siamese import SiameseModel
with open(sys.argv[1], encoding="utf-8", newline="") as file:
    questions = [row["question"] for row in csv.DictReader(file)]
model = SiameseModel.load(sys.argv[2])
model.encode(questions[:1_000])
began = time.process_time()
for start in range(0, len(questions), 16_384):
    model.encode(questions[start : start + 16_384])
print(json.dumps(time.process_time() - began))
"""


def write(path: Path, questions: Iterable[str]) -> None:
    """Write questions as an export of a forum has them."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "question", "author", "created", "url"])
        for i, text in enumerate(questions):
            writer.writerow([i, text, f"user{i % 9_973}", f"2026-{1 + i % 12:02}-{1 + i % 28:02}", f"/questions/{i}"])


def cpu(*words: object) -> float:
    """Run a command; return the seconds of the processor that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(shared: Path, count: int, repeat: int, model: str) -> list[Row]:
    """Return the seconds of encoding and of building with and without the further columns, and their ratios."""
    figures: dict[str, list[float]] = {"encoding": [], "build": [], "build --keep none": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "questions.csv"
        write(file, texts(shared, count))
        for _ in range(repeat):
            words = [sys.executable, "-c", ENCODE, str(file), model]
            encoded = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
            figures["encoding"].append(json.loads(encoded))
            build = ("run.py", "archive", "build", file, "--model", model, "--out", Path(folder) / "a", "--force")
            figures["build"].append(cpu(*build))
            figures["build --keep none"].append(cpu(*build, "--keep", "none"))
            print({name: values[-1] for name, values in figures.items()}, file=sys.stderr)
    return [_row(name, values, figures["encoding"]) for name, values in figures.items()]


def _row(name: str, values: Sequence[float], encoding: Sequence[float]) -> Row:
    ratios = [value / other for value, other in zip(values, encoding)]
    return {"what": name, "CPU seconds": Spread.of(values), "× encoding": Spread.of(ratios)}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.archive.building", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--shared", default="../shared/quora", type=Path, metavar="DIR", help="Quora's pairs")
    parser.add_argument("--out", default="models/archive-building", type=Path, metavar="DIR", help="(%(default)s)")
    parser.add_argument("--model", default=PRETRAINED, metavar="NAME", help="(%(default)s)")
    parser.add_argument("--count", default=537_000, type=int, metavar="N", help="questions (%(default)s)")
    parser.add_argument("--repeat", default=3, type=int, metavar="N", help="(%(default)s)")
    options = parser.parse_args()
    found = measure(options.shared, options.count, options.repeat, options.model)
    keep(options.out / "building.json", f"{options.model}, {options.count} questions", found)
    print(table(found))


if __name__ == "__main__":
    main()
