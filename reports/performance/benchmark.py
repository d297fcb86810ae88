"""Measure how fast this machine trains and encodes, beside other ways and the limit of its hardware.

    python -m reports.performance.benchmark --data data/questions.csv --quick --out models/benchmark

All ways are measured in turn, one step of each in a round, so that each figure has neighbours from the same moment.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reports.measured import Spread, machine
from reports.performance.corpus import BATCH, TRIPLET, Corpus
from reports.performance.measuring import Amount, Way, interleave, rate, ratio, timed
from reports.performance.report_writer import Section, write
from reports.performance.rivals import ROOT, Worker, in_parts
from reports.performance.training_sections import breakdown, loss, training, training_steps
from siamese.errors import UserError
from siamese.model.calibration import Calibration
from siamese.model.model import SiameseModel
from siamese.training.start import make_tower

QUICK, FULL = Amount(6, 2, 3), Amount(30, 4, 8)
PROBE = ("How can I learn to cook rice?", "What is the best way to learn cooking rice?")
QUESTIONS = 20_000  # of a step of encoding
NUMPY = "ours, numpy"
Wanted = dict[str, tuple[str, dict[str, str]]]  # by label: the name of a rival, and variables of its environment
TRAINERS: Wanted = {
    "Keras 3, jax": ("keras", {"KERAS_BACKEND": "jax"}),
    "Keras 3, torch": ("keras", {"KERAS_BACKEND": "torch"}),
    "sentence-transformers, LSTM": ("sentence-transformers", {}),
}
ENCODERS: Wanted = {
    "sentence-transformers, LSTM, encode": ("sentence-transformers encode", {}),
    "all-MiniLM-L6-v2, encode": ("MiniLM encode", {}),
}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.performance.benchmark", description=__doc__)
    parser.add_argument("--data", default="data/questions.csv", metavar="PATH", help="labelled pairs (%(default)s)")
    parser.add_argument("--out", default="models/benchmark", type=Path, metavar="DIR", help="for report.md, "
                        "results.json and the figures (%(default)s)")  # fmt: skip
    parser.add_argument("--rivals", action="store_true", help="measure other libraries too: "
                        "pip install -r reports/performance/requirements.txt")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="fewer steps: about a minute")
    options = parser.parse_args()
    try:
        run(options.data, options.out, options.rivals, QUICK if options.quick else FULL)
    except UserError as error:
        sys.exit(f"error: {error}")


def run(data: str, out: Path, rivals: bool, amount: Amount) -> None:
    """Measure everything, and write report.md, results.json and the figures.

    Args:
        data: a file of labelled pairs.
        out: the folder of the report.
        rivals: whether to measure other libraries too.
        amount: how much to measure.
    """
    corpus = Corpus.read(data)
    if rivals and len(corpus.duplicates) < BATCH:
        raise UserError(f"{data}: fewer than {BATCH} duplicates; give a larger file, or leave --rivals out")
    with tempfile.TemporaryDirectory() as folder:
        model = untrained(corpus)
        model.save(Path(folder) / "model")
        trainers = start(TRAINERS if rivals else {}, data, Path(folder) / "model")
        encoders = start({NUMPY: ("numpy encode", {})} | (ENCODERS if rivals else {}), data, Path(folder) / "model")
        workers = trainers | encoders
        try:
            steps = training_steps(corpus, amount, trainers)
            sections = [
                training(steps),
                breakdown(steps),
                loss(amount, rivals),
                encoding(corpus, amount, model, encoders),
                cold_start(Path(folder) / "model", amount),
            ]
        finally:
            for worker in workers.values():
                worker.close()
    missing = {f"not measured: {name}": worker.why for name, worker in workers.items() if worker.why}
    write(out, about(data, corpus) | missing, sections)
    print(f"{out}/report.md written")


def untrained(corpus: Corpus) -> SiameseModel:
    """Return a model of the corpus' vocabulary with its first weights."""
    tower = make_tower(TRIPLET, len(corpus.tokenizer))
    weights = {name: weight.detach().numpy() for name, weight in tower.state_dict().items()}
    return SiameseModel(TRIPLET, corpus.tokenizer, weights, 0.7, Calibration(8.0, -4.0, 0.5))


def start(wanted: Wanted, data: str, model: Path) -> dict[str, Worker]:
    """Return the processes of the rivals, each ready or with the reason why not."""
    workers = {}
    for label, (name, environment) in tqdm(wanted.items(), desc="starting", file=sys.stderr):
        workers[label] = Worker(name, data, model, **environment)
        workers[label].ready()
    return workers


def about(data: str, corpus: Corpus) -> dict[str, str]:
    """Return what the figures depend on."""
    from threadpoolctl import threadpool_info

    blas = {f"{pool['internal_api']} {pool.get('version')}, kernels for {pool.get('architecture')}, "
            f"{pool['num_threads']} threads" for pool in threadpool_info() if pool["user_api"] == "blas"}  # fmt: skip
    variables = {k: v for k, v in os.environ.items() if k.startswith(("OPENBLAS_", "OMP_", "MKL_", "MALLOC_"))}
    return {
        "machine": machine(),
        "load at the end": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
        "numpy's BLAS": "; ".join(sorted(blas)) or "unknown",
        "environment": ", ".join(f"{k}={v}" for k, v in sorted(variables.items())) or "nothing that matters is set",
        "data": f"{Path(data).name}: {len(corpus.pairs):,} pairs, {corpus.pairs.duplicates:,} duplicates, "
        f"{len(corpus.tokenizer):,} words, {corpus.tokens.first.lengths.mean():.1f} tokens a question",
    }


# The sections that do not train


def encoding(corpus: Corpus, amount: Amount, model: SiameseModel, others: Mapping[str, Way]) -> Section:
    """Return questions per second, tokenizing included."""
    parts = in_parts(corpus.questions(), QUESTIONS)

    def ours() -> Any:
        part = next(parts)
        return timed(lambda: model.encode(part), len(part))()

    steps = interleave({"ours, torch": ours, **others}, amount.few, 1, "encoding")
    rows = [
        {"way": name, "questions/s": rate(own), "times ours, numpy": ratio(own, steps[NUMPY])}
        for name, own in steps.items()
        if any(own)
    ]
    text = (
        f"`model.encode` of distinct questions of the file, {QUESTIONS:,} a call if there are so many. "
        "Ours by numpy runs in a process without torch. sentence-transformers gets 2,000 a call, all-MiniLM-L6-v2 200."
    )
    return Section("Encoding", text, rows, bars="questions/s")


def cold_start(model: Path, amount: Amount) -> Section:
    """Return the time of `predict` as a whole process."""
    programs = {
        "predict": ["from siamese.cli import main; main()", "predict", *PROBE, "--model", str(model)],
        'python -c "import torch"': ["import torch"],
        "python that does nothing": ["pass"],
    }
    environment = os.environ | {"PYTHONPATH": ROOT}

    def begun(code: list[str]) -> Callable[[], Any]:
        command = [sys.executable, "-c", *code]
        return lambda: subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)

    ways = {name: timed(begun(code), 1) for name, code in programs.items()}
    steps = interleave(ways, amount.few, 1, "cold start")
    rows = [
        {
            "process": name,
            "seconds": Spread.of([step.seconds for step in own if step]),
            "times as fast as predict": ratio(own, steps["predict"]),
        }
        for name, own in steps.items()
    ]
    size = sum(file.stat().st_size for file in model.iterdir()) / 1e6
    return Section("Cold start", f"Loading and checking a model of {size:.0f} MB included; files in the cache.", rows)


if __name__ == "__main__":
    main()
