"""Measure `archive build` and `archive add` beside encoding the same questions, in seconds of the processor.

    python -m reports.archive.building --repeat 3

The file has ids, questions and three further columns, all of which the archive keeps. The whole commands count, with
their start; of encoding, `encode` alone. They are run in turns, since a busy machine changes its speed. At the end
conditions on columns are measured without and with an index.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
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


WHERE = """
import json, statistics, sys, time
from siamese import Archive

def median(where):
    with archive._database.reading():
        seconds = []
        for _ in range(5):
            began = time.process_time()
            rows = archive._database.rows_where(where)
            seconds.append(time.process_time() - began)
    return statistics.median(seconds) * 1000, len(rows)

with Archive.open(sys.argv[1]) as archive:
    wheres, before = [{"author": "user7"}, {"created": "2026-03-03"}], []
    before = [median(where) for where in wheres]
    for name in ("author", "created"):
        archive.index(name)
    print(json.dumps([(*one, median(where)[0]) for one, where in zip(before, wheres)]))
"""
NIGHT = 500  # questions that are new, changed and gone in a night


def write(path: Path, questions: Sequence[str], night: bool = False) -> None:
    """Write questions as an export of a forum has them, of the first day or of the next."""
    n = len(questions) - NIGHT
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "question", "author", "created", "url"])
        for i in range(NIGHT, len(questions)) if night else range(n):
            text = f"{questions[i]} again" if night and i % (n // NIGHT) == 0 else questions[i]
            writer.writerow([i, text, f"user{i % 9_973}", f"2026-{1 + i % 12:02}-{1 + i % 28:02}", f"/questions/{i}"])


def cpu(*words: object) -> float:
    """Run a command; return the seconds of the processor that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(shared: Path, count: int, repeat: int, model: str) -> tuple[list[Row], list[Row]]:
    """Return the seconds of encoding, building and following, with their ratios; and those of conditions."""
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file, next_file, archive = Path(folder) / "a.csv", Path(folder) / "b.csv", Path(folder) / "a"
        questions = list(texts(shared, count + NIGHT))
        write(file, questions)
        write(next_file, questions, night=True)
        for _ in range(repeat):
            words = [sys.executable, "-c", ENCODE, str(file), model]
            encoded = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)
            build = ("run.py", "archive", "build", file, "--model", model, "--out", archive, "--force")
            add = ("run.py", "archive", "add", "--archive", archive, "--known", "update", "--remove-missing")
            for name, seconds in (
                ("encoding", encoded),
                ("archive build --keep none", cpu(*build, "--keep", "none")),
                ("archive build", cpu(*build)),
                ("archive add of the same file", cpu(*add, file)),
                (f"archive add with {NIGHT} new, changed and gone", cpu(*add, next_file)),
            ):
                figures.setdefault(name, []).append(seconds)
                print(f"{name}: {seconds:.1f} s", file=sys.stderr)
        words = [sys.executable, "-c", WHERE, str(archive)]
        asked = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)
    conditions: list[Row] = [
        {"condition": name, "questions": rows, "ms": slow, "ms with an index": fast}
        for name, (slow, rows, fast) in zip(("author", "created"), asked)
    ]
    return [_row(name, values, figures["encoding"]) for name, values in figures.items()], conditions


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
    for name, found in zip(
        ("commands", "conditions"), measure(options.shared, options.count, options.repeat, options.model)
    ):
        keep(options.out / "building.json", f"{name}, {options.model}, {options.count} questions", found)
        print(table(found))


if __name__ == "__main__":
    main()
