"""Twenty steps of several recipes in float64, and a training that stops and resumes. Used by test_processes.py.

By one process, by two and by three.
"""

import os
import shutil
import socket
import sys
import traceback
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from siamese.config import Config, preset
from siamese.errors import UserError
from siamese.pairs import splits
from siamese.system.progress import Progress
from siamese.system.stopping import Stopped
from siamese.text.ragged import Tokens
from siamese.training.batches import PairTokens, data_generator
from siamese.training.checkpoints import Run
from siamese.training.loop import fast_and_repeatable
from siamese.training.objective import Objective
from siamese.training.optimizers import make_optimizer
from siamese.training.processes import Processes, connected
from siamese.training.start import make_tower
from siamese.training.step import Step
from siamese.training.train import train_model

WORDS, SIZE, STEPS = 60, 8, 20
# 34 duplicates make batches of 8, 8, 8, 8 and 2: of three processes one has nothing of the last.
DUPLICATES, OTHERS, BATCH = 34, 11, 8
TINY = Config(embedding=SIZE, hidden=SIZE, batch_size=BATCH, seed=3, buckets=0)
SIDES = ({"anchors": "rows"}, {"anchors": "columns"}, {"anchors": "both"}, {"anchors": "both", "combine": "pooled"})
RECIPES = {
    **{
        f"triplet {' '.join(side.values())} {closest} {reduction}": TINY.replace(
            labelled="none", closest=closest, reduction=reduction, **side
        )
        for side, (closest, reduction) in product(SIDES, (("hardest", "mean"), ("semi-hard", "sum")))
    },
    **{
        f"matrix-softmax {anchors}": TINY.replace(loss="matrix-softmax", labelled="none", anchors=anchors)
        for anchors in ("rows", "columns", "both")
    },
    "known duplicates as negatives": TINY.replace(leave_out_known=False),
    "best": TINY,
    "best with a teacher": TINY.replace(teacher="none that is asked"),
    "matrix-bce and online-contrastive": TINY.replace(loss="matrix-bce", labelled="online-contrastive"),
    "triplet-euclidean and contrastive": TINY.replace(loss="triplet-euclidean", labelled="contrastive"),
    "labelled alone": TINY.replace(loss="none"),
}


def some_pairs(random: np.random.Generator, targets: bool) -> PairTokens:
    """Make pairs of invented questions. Some duplicates belong to one cluster."""
    n = DUPLICATES + OTHERS
    first, second = (Tokens.of([random.integers(1, WORDS, random.integers(1, 9)).tolist() for _ in range(n)])
                     for _ in range(2))  # fmt: skip
    labels = np.r_[np.ones(DUPLICATES), np.zeros(OTHERS)].astype(np.int8)
    vectors = random.normal(size=(n, 2, SIZE))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    return PairTokens(first, second, labels, random.integers(0, 12, n), vectors if targets else None)


def twenty_steps(config: Config, group: Processes) -> dict[str, np.ndarray]:
    """Return the loss of each step, the sum of the gradients, and the weights after the last step."""
    pairs = some_pairs(np.random.default_rng(5), config.teacher is not None)
    tower, objective = make_tower(config, WORDS), Objective(config)
    if config.encoder:
        tower = encoders.load_parts(config.encoder).tower().double()
    run = Run(tower, objective, make_optimizer(config, [*tower.parameters(), *objective.parameters()]))
    step, weights = Step(config, run, 0, STEPS, group), dict([*tower.named_parameters(), *objective.named_parameters()])
    losses, gradients, epoch = [], {name: np.zeros(weight.shape) for name, weight in weights.items()}, 0

    def add_gradients(*_: object) -> None:
        for name, weight in weights.items():
            gradients[name] += weight.grad.numpy()

    run.optimizer.register_step_pre_hook(add_gradients)
    while len(losses) < STEPS:
        for batch in data_generator(pairs, BATCH, seed=3, epoch=epoch, negatives=True, share=group):
            losses.append(step(batch))
        epoch += 1
    assert len(losses) == STEPS
    found = {"losses": np.array(losses)} | {f"gradient {name}": value for name, value in gradients.items()}
    return found | {f"weight {name}": weight.detach().numpy() for name, weight in weights.items()}


class Losses(Progress):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def step(self, loss: float) -> None:
        self.seen.append(loss)


def trained(data: str, folder: Path, group: Processes, stop_at: int = 0, resume: bool = False) -> list[float]:
    """Return the losses of the steps of a training that stops after one of them or resumes."""
    parts = splits.load(splits.Source(data))
    config = Config(embedding=SIZE, hidden=SIZE, batch_size=32, epochs=3, seed=2)
    losses = Losses()
    # On the last process alone: all stop if one is asked to.
    last = group.rank == group.count - 1
    try:
        train_model(
            config, parts.training, parts.validation, folder, resume=resume, progress=losses, processes=group,
            stop=lambda: last and len(losses.seen) == stop_at,
        )  # fmt: skip
    except Stopped:
        assert stop_at
    return losses.seen


def take_part(
    recipes: dict[str, Config], out: Path, data: str = "", stopped: Path | None = None, resumed: Path | None = None
) -> None:
    """Train the recipes, and in those folders, as one of the processes; write out/COUNT-RANK.npz."""
    with fast_and_repeatable(), connected() as group:
        found = {f"{name}: {what}": values for name, config in recipes.items()
                 for what, values in twenty_steps(config, group).items()}  # fmt: skip
        if stopped:
            found["training: stopped"] = np.array(trained(data, stopped, group, stop_at=7))
        elif resumed:
            found["training: losses"] = np.array(trained(data, out / "alone", group))
        if resumed:
            found["training: resumed"] = np.array(trained(data, resumed, group, resume=True))
        group.check_same("of all")
        try:
            group.check_same(f"of {group.rank}")
            found["told apart"] = np.array(False)
        except UserError:
            found["told apart"] = np.array(True)
        np.savez(out / f"{group.count}-{group.rank}.npz", **found)


def launch(count: int, *words: Any) -> None:
    """So many processes that take part, connected as torchrun does it; forked, so that torch is loaded once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    os.environ |= {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    begun = []
    for rank in range(count):
        begun.append(os.fork())
        if not begun[-1]:
            os.environ["RANK"] = str(rank)
            try:
                take_part(*words)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
    ends = [os.waitpid(process, 0)[1] for process in begun]
    if any(ends):
        sys.exit(1)


if __name__ == "__main__":
    data, out = sys.argv[1], Path(sys.argv[2])  # a file of pairs, or an encoder's folder
    torch.set_default_dtype(torch.float64)
    if Path(data).is_dir():
        from siamese.towers import encoders, transformer

        transformer.TOKENS_AT_A_TIME = 20  # so that a batch has several parts
        config = preset("transformer").replace(encoder=data, batch_size=BATCH, learning_rate=0.001)
        for count in (1, 2, 3):
            launch(count, {"in parts": config, "at once": config.replace(gradient_caching=False)}, out)
    else:  # two stop, and one goes on, and three do
        launch(2, RECIPES, out, data, out / "for one", None)
        shutil.copytree(out / "for one", out / "for three")
        launch(1, RECIPES, out, data, None, out / "for one")
        launch(3, RECIPES, out, data, out / "by three", out / "for three")
