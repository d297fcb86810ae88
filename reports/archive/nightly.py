"""Measure nights of an archive: how long adding and mining new questions takes, beside mining everything anew.

    python -m reports.archive.nightly

It prints a table and keeps its figures in nightly.json. Times are CPU seconds of one thread.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from reports.archive.mining import texts
from reports.measured import Row, keep, table

ROOT = Path(__file__).parents[2]

# A process inherits the peak memory of the one that starts it, so a small one does.
LAUNCH = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
said = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True, check=True).stdout
used = resource.getrusage(resource.RUSAGE_CHILDREN)
seconds = used.ru_utime + used.ru_stime
print(json.dumps({"CPU s": seconds, "s": time.perf_counter() - began, "MB": used.ru_maxrss / 1024, "said": said}))
"""


def run(name: str, *words: object) -> Row:
    """Run a command in a process of its own, and return its name, time, memory and what it printed."""
    line = [sys.executable, "-c", LAUNCH, sys.executable, str(ROOT / "run.py"), *map(str, words)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(line, env=one_thread, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    print(f"{name}: {found['CPU s']:.1f} CPU s\n{found.pop('said')}", file=sys.stderr, flush=True)
    return {"step": name, **found}


def write(path: Path, rows: Iterable[tuple[int, str]]) -> Path:
    """Write questions with ids."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("id", "question"), *rows])
    return path


def measure(shared: Path, count: int, night: int, folder: Path) -> list[Row]:
    """Return the steps: an archive of `count` questions, two nights with `night` more each, and everything anew."""
    rows = list(enumerate(texts(shared, count + 2 * night), 1))
    step = len(rows) // (2 * night)
    new = rows[::step][: 2 * night]
    ids = {id for id, _ in new}
    old = write(folder / "old.csv", (row for row in rows if row[0] not in ids))
    nights = [write(folder / f"night-{i}.csv", new[i::2]) for i in range(2)]
    archive, pairs = folder / "archive", ("--out", folder / "pairs.csv")
    clusters = ("--clusters", folder / "clusters.csv")
    return [
        run("archive build", "archive", "build", old, "--out", archive, "--model", "pretrained"),
        run("first mining of the archive", "mine", "--against", archive, *pairs, *clusters),
        run("a night: --add, pairs", "mine", nights[0], "--against", archive, "--add", *pairs),
        run("a night: --add, pairs and clusters", "mine", nights[1], "--against", archive, "--add", *pairs, *clusters),
        run("a night against a file", "mine", nights[1], "--against", old, "--model", "pretrained", *pairs),
        run("everything anew", "mine", write(folder / "all.csv", rows), "--model", "pretrained", *pairs, *clusters),
    ]


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared" / "quora", metavar="DIR")
    parser.add_argument("--count", type=int, default=537_000, metavar="N")
    parser.add_argument("--night", type=int, default=1_000, metavar="N", help="new questions of each of two nights")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options.shared, options.count, options.night, Path(folder))
    print(table(rows))
    keep(Path(__file__).with_suffix(".json"), f"{options.count} and {options.night}", rows)


if __name__ == "__main__":
    main()
