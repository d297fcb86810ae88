"""Measure training by several processes.

    python -m reports.scale.processes --data ../shared/quora/train.csv

One process and several take the same steps with the same global batch, in turn; the two sums that they send, of the
vectors and of the gradients, are also measured alone. From these parts the second table calculates how sending compares
with computing on many GPUs.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import chain, count, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.measured import machine, table, write_json
from siamese.config import Config
from siamese.system.progress import CountBar, Progress

WAYS = ((1, 1), (1, 2), (2, 1))  # processes, and threads of each
BATCHES = (256, 1_024)  # duplicates, all processes together
WARM, STEPS = 3, 12
GPUS = (1, 2, 8, 16, 32, 64)
LOCAL = 256  # duplicates a GPU, in the calculation
FASTER = (20, 200)  # times that a GPU computes as fast as one core here: assumed
NODE = 8  # GPUs of a machine
INSIDE, BETWEEN, DELAY = 300e9, 12.5e9, 10e-6  # bytes/s within a machine and between machines, s a message: assumed

Figures = dict[str, Any]

if TYPE_CHECKING:
    from siamese.training.processes import Processes


def work(data: str, config: Config, group: "Processes") -> Figures:
    """Return the median seconds of a step in this process, and what the step consists of."""
    import torch

    from siamese.pairs import splits
    from siamese.training.batches import Prepared, data_generator
    from siamese.training.start import start

    parts = splits.load(splits.Source(data))
    began = time.perf_counter()
    prepared = Prepared.of(config, parts.training, share=group)
    ready = time.perf_counter() - began
    step = start(config, parts.training, parts.validation, None, False, None, prepared, Progress(), group).step
    tower, objective = step.run.tower, step.run.objective
    batches = chain.from_iterable(
        data_generator(prepared.pairs, config.batch_size, seed=1, epoch=epoch, negatives=True, share=group)
        for epoch in count()
    )
    seconds, seen = [], 0
    for _ in range(WARM + STEPS):
        batch = next(batches)
        seen += sum(batch.sizes)
        group.wait()
        began = time.perf_counter()
        step(batch)
        seconds.append(time.perf_counter() - began)
    gradients = torch.zeros(sum(weight.numel() for weight in (*tower.parameters(), *objective.parameters())))
    vectors = torch.zeros(2 * sum(batch.sizes), tower.state_dict()["lstm.weight_hh_l0"].shape[1])

    def alone(values: torch.Tensor) -> float:
        return median_seconds(lambda: torch.distributed.all_reduce(values)) if group.count > 1 else 0.0

    def loss() -> None:
        leaf = torch.nn.functional.normalize(torch.randn_like(vectors), dim=1).requires_grad_()
        objective(batch, leaf).backward()

    return {
        "step": statistics.median(seconds[WARM:]),
        "gradients": alone(gradients),
        "vectors": 2 * alone(vectors),  # forwards and backwards
        "gradient_bytes": 4 * gradients.numel(),
        "vector_bytes": 4 * vectors.numel(),
        "pairs": seen / (WARM + STEPS),
        "loss": median_seconds(loss) if group.count == 1 else None,
        "prepared": ready,
    }


def median_seconds(call: Callable[[], object]) -> float:
    """Return the median time of seven calls, after one that does not count."""
    found = []
    for _ in range(8):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return statistics.median(found[1:])


def measured(data: str, rounds: int) -> list[Figures]:
    """Return each way's medians over the rounds; each round takes every way once."""
    ways = [(batch, *way) for batch in BATCHES for way in WAYS]
    found: dict[tuple[int, int, int], list[Figures]] = {way: [] for way in ways}
    with CountBar("measurements") as bar:
        for i, way in enumerate(ways * rounds):
            found[way].append(launched(data, *way))
            bar(i + 1, rounds * len(ways))
    rows = []
    for (batch, processes, threads), runs in found.items():
        kept = {name: runs[0][name] and statistics.median(run[name] for run in runs) for name in runs[0]}
        # Relative to one process on one thread in the same round, since other programs use the machine too.
        speed = statistics.median(one["step"] / run["step"] for one, run in zip(found[batch, *WAYS[0]], runs))
        rows.append({"batch": batch, "processes": processes, "threads": threads, **kept, "speed": speed})
    return rows


def launched(data: str, batch: int, processes: int, threads: int) -> Figures:
    """Run several processes, connected as by torchrun, and return what the first one measures."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environment = os.environ | {
        "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive",
    }  # fmt: skip
    command = [sys.executable, "-m", "reports.scale.processes", "--data", data, "--work", str(batch)]
    begun = [
        subprocess.Popen(command, env=environment | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(processes)
    ]
    printed = [process.communicate()[0] for process in begun]
    if any(process.returncode for process in begun):
        sys.exit(f"error: {processes} processes failed to train on {data}; what they printed says why")
    first: Figures = json.loads(printed[0])
    return first


def step_on(one: Figures, gpus: int, faster: float) -> Figures:
    """Calculate a step on many GPUs, each with LOCAL duplicates: computing and sending.

    Args:
        one: one process on one thread with a batch of LOCAL.
        gpus: how many.
        faster: times that each is as fast as that thread.
    """
    # Everything but the loss depends on the GPU's own pairs; its rows of S grow with the pairs of all.
    computing = (one["step"] + one["loss"] * (gpus - 1)) / faster
    gradients, vectors = ring(one["gradient_bytes"], gpus), 2 * ring(gpus * one["vector_bytes"], gpus)
    return {
        "a GPU in cores": faster, "GPUs": gpus, "global batch": gpus * LOCAL, "computing, ms": 1e3 * computing,
        "gradients, ms": 1e3 * gradients, "vectors, ms": 1e3 * vectors,
        "sending to computing": (gradients + vectors) / computing,
    }  # fmt: skip


def ring(size: float, gpus: int) -> float:
    """Return the seconds of a tensor's sum by a ring: 2 (n − 1) messages of 1/n of its bytes, over the slowest link."""
    if gpus == 1:
        return 0.0
    return 2 * (gpus - 1) * (size / gpus / (INSIDE if gpus <= NODE else BETWEEN) + DELAY)


def tables(rows: list[Figures]) -> str:
    """Return the two tables of the report."""
    names = {"gradients": "ms of the sum of gradients alone", "vectors": "ms of the sum of vectors alone"}
    steps = [
        {
            "global batch": row["batch"], "processes": row["processes"], "threads": row["threads"],
            "ms a step": 1e3 * row["step"], "speed": row["speed"],
            **{name: 1e3 * row[part] for part, name in names.items()}, "s cutting into words": row["prepared"],
        }
        for row in rows
    ]  # fmt: skip
    one = next(row for row in rows if row["batch"] == LOCAL and (row["processes"], row["threads"]) == WAYS[0])
    about = (
        f"A batch of {LOCAL} duplicates has {one['pairs']:,.0f} pairs with its non-duplicates; the gradients take "
        f"{one['gradient_bytes'] / 1e6:.1f} MB, the vectors of a batch {one['vector_bytes'] / 1e6:.2f} MB.\n"
    )
    many = [step_on(one, gpus, faster) for faster, gpus in product(FASTER, GPUS)]
    return "\n".join((table(steps), about, table(many)))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.scale.processes", description=__doc__)
    parser.add_argument("--data", default="../shared/quora/train.csv", metavar="PATH", help="pairs (%(default)s)")
    parser.add_argument("--out", default="models/processes.json", type=Path, metavar="PATH", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default %(default)s)")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        from siamese.training.loop import fast_and_repeatable
        from siamese.training.processes import connected

        with connected() as group, fast_and_repeatable():
            found = work(options.data, Config(batch_size=options.work), group)
            if group.first:
                print(json.dumps(found))
        return
    rows = measured(options.data, options.rounds)
    write_json(options.out, {"machine": machine(), "rows": rows})
    print(tables(rows))


if __name__ == "__main__":
    main()
