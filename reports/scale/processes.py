"""Measures training by several processes: `python -m reports.scale.processes` writes reports/scale/processes.md.

One process and several take the same steps with the same global batch, in turn; beside them the two sums that they
send, of the vectors and of the gradients, alone. From these parts the report works out what communication is to
computing on many GPUs.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.config import Config
from siamese.system.files import write_text
from siamese.system.progress import CountBar

WAYS = ((1, 1), (1, 2), (2, 1))  # processes, and threads of each
BATCHES = (256, 1_024)  # duplicates, all processes together
WARM, STEPS, ROUNDS = 3, 12, 3
GPUS = (1, 2, 8, 16, 32, 64)
LOCAL = 256  # duplicates a GPU, in the reckoning
FASTER = (20, 200)  # times that a GPU computes as fast as one core here: assumed
NODE = 8  # GPUs of a machine
INSIDE, BETWEEN, DELAY = 300e9, 12.5e9, 10e-6  # bytes/s within a machine and between machines, s a message: assumed

Figures = dict[str, Any]

if TYPE_CHECKING:
    from siamese.training.processes import Processes


def work(data: str, batch_size: int) -> Figures | None:
    """The median seconds of a step in this process, with what it consists of; None but in the first process."""
    from siamese.training.loop import denormals_flushed
    from siamese.training.processes import connected

    with connected() as group, denormals_flushed():
        return measured_steps(data, Config(batch_size=batch_size), group)


def measured_steps(data: str, config: Config, group: "Processes") -> Figures | None:
    """`work` of a process that is connected with the others."""
    import torch

    from siamese.pairs import splits
    from siamese.training.batches import data_generator
    from siamese.training.checkpoints import Run
    from siamese.training.objective import Objective
    from siamese.training.optimizers import make_optimizer
    from siamese.training.preparation import Prepared
    from siamese.training.start import make_tower
    from siamese.training.step import Step

    began = time.perf_counter()
    pairs = splits.load(splits.Source(data)).training
    read = time.perf_counter() - began
    prepared = Prepared.of(config, pairs, share=group)
    ready = time.perf_counter() - began - read
    tower, objective = make_tower(config, len(prepared.tokenizer)), Objective(config)
    weights = [*tower.parameters(), *objective.parameters()]
    step = Step(config, Run(tower, objective, make_optimizer(config, weights)), 0, 10**6, group)
    batches = data_generator(prepared.pairs, config.batch_size, seed=1, negatives=True, share=group)
    seconds, count = [], 0
    for _ in range(WARM + STEPS):
        batch = next(batches)
        count += sum(batch.sizes)
        group.wait()
        began = time.perf_counter()
        step(batch)
        seconds.append(time.perf_counter() - began)
    gradients = torch.zeros(sum(weight.numel() for weight in weights))
    vectors = torch.zeros(2 * sum(batch.sizes), config.hidden)

    def alone(values: torch.Tensor) -> float:
        return median_seconds(lambda: torch.distributed.all_reduce(values)) if group.count > 1 else 0.0

    found = {
        "step": statistics.median(seconds[WARM:]),
        "gradients": alone(gradients),
        "vectors": 2 * alone(vectors),  # forwards and backwards
        "gradient_bytes": 4 * gradients.numel(),
        "vector_bytes": 4 * vectors.numel(),
        "pairs": count / (WARM + STEPS),
        "loss": loss_seconds(objective, batch, vectors) if group.count == 1 else None,
        "read": read,
        "prepared": ready,
    }
    return found if group.first else None


def median_seconds(call: Callable[[], object]) -> float:
    """Of several calls, after one that does not count."""
    found = []
    for _ in range(8):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return statistics.median(found[1:])


def loss_seconds(objective: Any, batch: Any, vectors: Any) -> float:
    """The loss of a batch and its gradient, given the vectors."""
    import torch

    leaf = torch.nn.functional.normalize(torch.randn_like(vectors), dim=1).requires_grad_()
    return median_seconds(lambda: objective(batch, leaf).backward())


def measured(data: str, rounds: int, batches: tuple[int, ...]) -> list[Figures]:
    """Each way's medians over the rounds, every way once a round."""
    found: dict[tuple[int, int, int], list[Figures]] = {}
    ways = [(batch, *way) for batch in batches for way in WAYS]
    with CountBar("measurements") as bar:
        for number in range(rounds):
            for i, (batch, count, threads) in enumerate(ways):
                found.setdefault((batch, count, threads), []).append(launched(data, batch, count, threads))
                bar(number * len(ways) + i + 1, rounds * len(ways))
    rows = []
    for (batch, count, threads), runs in found.items():
        about = {"batch": batch, "processes": count, "threads": threads}
        kept = {name: runs[0][name] and statistics.median(run[name] for run in runs) for name in runs[0]}
        # Against one process on one thread in the same round, since the machine is not ours alone.
        base = found[batch, *WAYS[0]]
        speed = statistics.median(one["step"] / run["step"] for one, run in zip(base, runs))
        rows.append({**about, **kept, "speed": speed})
    return rows


def launched(data: str, batch: int, count: int, threads: int) -> Figures:
    """What the first of so many processes measures; connected as torchrun does it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environment = os.environ | {
        "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive",
    }  # fmt: skip
    command = [sys.executable, "-m", "reports.scale.processes", "--data", data, "--work", str(batch)]
    begun = [
        subprocess.Popen(command, env=environment | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(count)
    ]
    printed = [process.communicate()[0] for process in begun]
    if any(process.returncode for process in begun):
        raise SystemExit(f"{count} processes: failed")
    first: Figures = json.loads(printed[0])
    return first


def reckoned(one: Figures, gpus: int, faster: float) -> Figures:
    """Seconds of a step on so many GPUs, each with LOCAL pairs of duplicates: computing, and sending.

    Args:
        one: one process on one thread with a batch of LOCAL.
        gpus: how many.
        faster: times that each is as fast as that thread.
    """
    # All but the loss goes with a GPU's own pairs; of S it has its own rows, which grow with all.
    computing = (one["step"] + one["loss"] * (gpus - 1)) / faster
    return {
        "gpus": gpus,
        "faster": faster,
        "computing": computing,
        "gradients": ring(one["gradient_bytes"], gpus),
        "vectors": 2 * ring(gpus * one["vector_bytes"], gpus),
    }


def ring(size: float, gpus: int) -> float:
    """Seconds of the sum of a tensor by a ring: 2 (n − 1) messages of 1/n of its bytes, over the slowest link."""
    if gpus == 1:
        return 0.0
    return 2 * (gpus - 1) * (size / gpus / (INSIDE if gpus <= NODE else BETWEEN) + DELAY)


def text(figures: Figures) -> str:
    """The tables of the report."""
    rows = figures["rows"]
    steps = [
        [
            f"{row['batch']:,}", f"{row['processes']} × {row['threads']}", f"{row['step'] * 1e3:.0f}",
            f"{row['speed']:.2f}", f"{row['gradients'] * 1e3:.1f}", f"{row['vectors'] * 1e3:.1f}",
            f"{row['prepared']:.1f}",
        ]
        for row in rows
    ]  # fmt: skip
    one = next(row for row in rows if row["batch"] == LOCAL and (row["processes"], row["threads"]) == WAYS[0])
    many = []
    for faster in FASTER:
        for gpus in GPUS:
            part = reckoned(one, gpus, faster)
            times = [part[name] for name in ("computing", "gradients", "vectors")]
            ratio = (times[1] + times[2]) / times[0]
            many.append(
                [str(faster), str(gpus), f"{gpus * LOCAL:,}", *(f"{t * 1e3:.2f}" for t in times), f"{ratio:.2f}"]
            )
    sums = "ms of the sum of {} alone"
    return "\n\n".join((
        table(["global batch", "processes × threads", "ms a step", "speed", sums.format("gradients"),
               sums.format("vectors"), "s cutting into words"], steps),
        f"A batch of {LOCAL} duplicates has {one['pairs']:,.0f} pairs with its non-duplicates; the gradients take "
        f"{one['gradient_bytes'] / 1e6:.1f} MB, the vectors of a batch {one['vector_bytes'] / 1e6:.2f} MB.",
        table(["a GPU in cores", "GPUs", "global batch", "computing, ms", "gradients, ms", "vectors, ms",
               "sending to computing"], many),
    )) + "\n"  # fmt: skip


def table(names: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown, numbers to the right."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [names, ["--:"] * len(names), *rows])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m reports.scale.processes", description=__doc__)
    parser.add_argument("--data", default="../shared/quora/train.csv", help="pairs to train on")
    parser.add_argument("--out", default="models/processes.json", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        if found := work(options.data, options.work):
            print(json.dumps(found))
        return
    figures = {"rows": measured(options.data, options.rounds, BATCHES)}
    write_text(options.out, json.dumps(figures, indent=2) + "\n")
    print(text(figures))


if __name__ == "__main__":
    main()
