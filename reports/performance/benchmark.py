"""How fast this machine trains and encodes, as ratios: ours, other ways, and the limit of the hardware.

    python -m reports.performance.benchmark --data data/questions.csv --quick --out models/benchmark

All ways are measured in turn, a step of each a round, so that each figure has neighbours from the same moment.
"""

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from reports.performance.measuring import TRIPLET, Amount, Corpus, Way, apart, interleave, rate, ratio, timed
from reports.performance.report_writer import Section, Spread, write
from reports.performance.rivals import BATCH, ROOT, Step, Worker, share_data
from reports.performance.training_sections import (
    METRIC,
    approximation,
    breakdown,
    limit,
    loss,
    training,
    training_steps,
)
from siamese import __version__
from siamese.errors import UserError
from siamese.model.calibration import Calibration
from siamese.model.model import SiameseModel
from siamese.pairs.pairs import Pairs
from siamese.towers import lstm_numpy
from siamese.training.loop import make_tower

QUICK = Amount(6, 2, 6, 5_000, 4, 3, 3, 3, 3, (1_000, 5_000, 20_000))
FULL = Amount(30, 4, 30, 20_000, 12, 10, 7, 8, 5, (10_000, 50_000, 164_000))
AXES = {  # tried in rising order, so that the peak of memory belongs to the last size
    "tokens a question": (5, 20, 80, 160, 320),
    "batch size": (64, 512, 2_048, 4_096, 8_192),
    "words in the vocabulary": (10_000, 40_000, 160_000, 320_000, 640_000),
    "numbers a vector": (32, 128, 256, 384, 512),
}
PROBE = ("How can I learn to cook rice?", "What is the best way to learn cooking rice?")


def main() -> None:
    """Measure this machine."""
    parser = argparse.ArgumentParser(prog="python -m reports.performance.benchmark", description=__doc__)
    parser.add_argument("--data", default="data/questions.csv", metavar="PATH", help="labelled pairs (%(default)s)")
    parser.add_argument("--out", default="models/benchmark", type=Path, metavar="DIR", help="for report.md, "
                        "results.json and the figures (%(default)s)")  # fmt: skip
    parser.add_argument("--rivals", action="store_true", help="measure other libraries too: "
                        "pip install -r reports/performance/requirements.txt")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="fewer steps, smaller sizes: about two minutes")
    options = parser.parse_args()
    try:
        run(options.data, options.out, options.rivals, options.quick)
    except UserError as error:
        sys.exit(f"error: {error}")


def run(data: str, out: Path, against: bool, quick: bool) -> None:
    """Measure everything and write report.md, results.json and the figures to `out`.

    Args:
        data: a file of labelled pairs.
        against: other libraries too, where they are installed.
        quick: fewer steps and smaller sizes, and no rivals.
    """
    amount = QUICK if quick else FULL
    corpus = Corpus.read(data)
    with tempfile.TemporaryDirectory() as folder:
        rivals, skipped = _start_rivals(corpus, Path(folder), amount, against and not quick)
        try:
            trained = training_steps(corpus, amount, {k: v for k, v in rivals.items() if "encode" not in k})
            sections = [
                training(trained, corpus),
                limit(trained, amount),
                breakdown(corpus, trained, amount),
                loss(amount, skipped),
                approximation(corpus),
                encoding(corpus, amount, {k: v for k, v in rivals.items() if "encode" in k}),
                cold_start(Path(folder) / "model", amount),
                *growth(corpus, Path(folder), amount),
            ]
        finally:
            for name, worker in rivals.items():
                if worker.why:
                    skipped[name] = worker.why
                worker.close()
    write(out, machine(data, corpus, quick), sections, skipped)
    print(f"{out}/report.md written")


def _start_rivals(
    corpus: Corpus, folder: Path, amount: Amount, against: bool
) -> tuple[dict[str, Worker], dict[str, str]]:
    """The processes of other libraries and of numpy alone, and who is skipped and why."""
    tower = make_tower(TRIPLET, len(corpus.tokenizer))
    weights = {name: weight.detach().numpy() for name, weight in tower.state_dict().items()}
    SiameseModel(TRIPLET, corpus.tokenizer, weights, 0.7, Calibration(8.0, -4.0, 0.5)).save(folder / "model")
    duplicates = corpus.pairs.take(corpus.pairs.labels == 1)
    share_data(folder, corpus.tokens, list(zip(duplicates.question1, duplicates.question2)), corpus.tokenizer.words)
    (folder / "questions.json").write_text(json.dumps(corpus.questions()), encoding="utf-8")
    a_step = {"fast": amount.questions, "slow": 2_000, "slowest": 200}
    (folder / "questions_a_step.json").write_text(json.dumps(a_step), encoding="utf-8")
    wanted: dict[str, tuple[str, dict[str, Any]]] = {"ours, numpy, encode alone": ("numpy encode", {})}
    if any(name.startswith("OPENBLAS_") for name in os.environ):
        wanted["ours, numpy, encode alone, OPENBLAS_* unset"] = ("numpy encode", {"unset": "OPENBLAS_"})
    others = {
        "Keras 3, jax": ("keras", {"KERAS_BACKEND": "jax"}),
        "Keras 3, torch": ("keras", {"KERAS_BACKEND": "torch"}),
        "sentence-transformers, LSTM": ("sentence-transformers", {}),
        "sentence-transformers, LSTM, encode": ("sentence-transformers encode", {}),
        "all-MiniLM-L6-v2, encode": ("MiniLM encode", {}),
    }
    skipped = {}
    if against and len(duplicates) >= BATCH:
        wanted |= others
    else:
        skipped = dict.fromkeys([*others, METRIC], "not asked for (--rivals)")
    if against and len(duplicates) < BATCH:
        skipped = dict.fromkeys(others, f"fewer than {BATCH} duplicates")
    rivals = {}
    for label, (name, options) in tqdm(wanted.items(), desc="starting", file=sys.stderr):
        worker = Worker(name, folder, **options)
        if worker.ready():
            rivals[label] = worker
        else:
            skipped[label] = worker.why
            worker.close()
    return rivals, skipped


def machine(data: str, corpus: Corpus, quick: bool) -> dict[str, Any]:
    """What the figures depend on."""
    from threadpoolctl import threadpool_info

    blas = {f"{pool['internal_api']} {pool.get('version')}, kernels for {pool.get('architecture')}, "
            f"{pool['num_threads']} threads" for pool in threadpool_info() if pool["user_api"] == "blas"}  # fmt: skip
    variables = {k: v for k, v in os.environ.items() if k.startswith(("OPENBLAS_", "OMP_", "MKL_", "MALLOC_"))}
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}; "
        + (f"load at the end {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""),
        "versions": f"siamese {__version__}, Python {platform.python_version()}, torch {torch.__version__} "
        f"({torch.get_num_threads()} threads), numpy {np.__version__}",
        "numpy's BLAS": "; ".join(sorted(blas)) or "unknown",
        "environment": ", ".join(f"{k}={v}" for k, v in sorted(variables.items())) or "nothing that matters is set",
        "data": f"{Path(data).name}: {len(corpus.pairs):,} pairs, {corpus.pairs.duplicates:,} duplicates, "
        f"{len(corpus.tokenizer):,} words, {corpus.tokens.first.lengths.mean():.1f} tokens a question",
        "run": "quick" if quick else "full",
    }


# The sections that do not train


def encoding(corpus: Corpus, amount: Amount, rivals: dict[str, Worker]) -> Section:
    """Questions a second, tokenizing included."""
    tower = make_tower(TRIPLET, len(corpus.tokenizer))
    weights = {name: weight.detach().numpy() for name, weight in tower.state_dict().items()}
    questions, tokenizer = corpus.questions(), corpus.tokenizer

    def ours(how: Callable[..., np.ndarray]) -> Way:
        def encode(chosen: list[str]) -> np.ndarray:
            tokens = tokenizer.encode(chosen)
            return how(weights, tokens, skip=False, known=tokenizer.knows(tokens))

        first = 0

        def way() -> Step:
            nonlocal first
            chosen = questions[first : first + amount.questions]
            first = (first + amount.questions) % max(1, len(questions) - amount.questions + 1)
            return timed(lambda: encode(chosen), len(chosen))()

        return way

    ways: dict[str, Way] = {"ours, numpy": ours(lstm_numpy.encode)}
    if hasattr(lstm_numpy, "encode_torch"):
        ways["ours, torch"] = ours(lstm_numpy.encode_torch)
    ways |= rivals
    steps = interleave(ways, amount.encode_rounds, 1, "encoding")
    few = tokenizer.encode(questions[:500])
    with torch.inference_mode():
        exact = tower(torch.from_numpy(few.ids).long(), torch.from_numpy(few.lengths)).numpy()
    error = np.abs(lstm_numpy.encode(weights, few, skip=False, known=tokenizer.knows(few)) - exact).max()
    rows = [
        {"way": name, "questions/s": rate(own), "times ours, numpy": ratio(own, steps["ours, numpy"])}
        for name, own in steps.items()
        if any(own)
    ]
    text = (
        f"Distinct questions of the file, {amount.questions:,} a call, to vectors of 128; `alone` is a process without "
        "torch, by `model.encode`. sentence-transformers gets 2,000 a call, all-MiniLM-L6-v2 200. numpy's vectors "
        f"differ from the tower in torch by {error:.1e} at most. numpy's BLAS and its kernel stand at the top."
    )
    return Section("Encoding", text, rows, bars="questions/s")


def cold_start(model: Path, amount: Amount) -> Section:
    """`predict` as a whole process."""
    run_it = "from siamese.cli import main; main()"
    programs = {
        "predict": [run_it, "predict", *PROBE, "--model", str(model)],
        'python -c "import torch"': ["import torch"],
        "python that does nothing": ["pass"],
    }
    environment = os.environ | {"PYTHONPATH": ROOT}

    def start(code: list[str]) -> Way:
        command = [sys.executable, "-c", *code]
        return timed(lambda: subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True), 1)

    ways = {name: start(code) for name, code in programs.items()}
    steps = interleave(ways, amount.cold, min(1, amount.cold - 1), "cold start")
    rows = [
        {"process": name, "seconds": Spread.of([s.seconds for s in own if s]), "times as fast as predict":
         ratio(own, steps["predict"])} for name, own in steps.items()
    ]  # fmt: skip
    size = sum(file.stat().st_size for file in model.iterdir()) / 1e6
    return Section("Cold start", f"Loading and checking a model of {size:.0f} MB included; files in the cache.", rows)


def growth(corpus: Corpus, folder: Path, amount: Amount) -> list[Section]:
    """Time and memory against each size; every curve in a process of its own."""
    sections = []
    sizes = [min(n, len(corpus.pairs)) for n in amount.pairs]
    paths = []
    for n in dict.fromkeys(sizes):
        paths.append(str(folder / f"{n}.jsonl"))
        with open(paths[-1], "w", encoding="utf-8") as file:
            for a, b, label in itertools.islice(_rows(corpus.pairs), n):
                print(json.dumps({"question1": a, "question2": b, "is_duplicate": label}), file=file)
    bar = tqdm(total=1 + len(AXES), desc="growth", file=sys.stderr)
    rows = [
        {"pairs": n, "seconds": seconds, "peak MB": memory}
        for n, (seconds, memory) in zip(dict.fromkeys(sizes), apart("preparation", paths))
    ]
    bar.update()
    text = "Reading, tokenizing and preparing the training data; the peak counts Python and torch too."
    sections.append(Section("Growth with pairs", text, rows, growth="pairs"))
    for axis, values in AXES.items():
        chosen = list(values[: amount.points])
        rows = [
            {axis: size, "seconds a step": Spread.of(seconds), "peak MB": memory}
            for size, (seconds, memory) in zip(chosen, apart("generated", axis, chosen, amount.growth_steps))
        ]
        bar.update()
        text = "A training step of ours on generated words; otherwise batch 512, 12 tokens, 40,000 words, 128 numbers."
        sections.append(Section(f"Growth with {axis}", text, rows, growth=axis))
    bar.close()
    return sections


def _rows(pairs: Pairs) -> Iterator[tuple[str, str, int]]:
    yield from zip(pairs.question1, pairs.question2, pairs.labels.tolist())


if __name__ == "__main__":
    main()
