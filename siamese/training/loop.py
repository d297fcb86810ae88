"""The training loop. It knows a tower, a loss and batches, but not where they come from."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from siamese.config import Config
from siamese.system.progress import Progress
from siamese.system.stopping import Stopped, stopping_when_asked
from siamese.training.batches import Batch
from siamese.training.checkpoints import INTERVAL, Checkpoint, check_weights
from siamese.training.optimizers import learning_rate
from siamese.training.step import Step

Batches = Callable[[int, int], Iterator[Batch]]


@contextmanager
def fast_and_repeatable() -> Iterator[None]:
    """Within the block, flush denormal numbers to 0 and, on CPUs, let torch add in a fixed order.

    Denormals make a step up to 1.27 times as long. The order costs nothing: our losses and towers use no operator that
    has a faster form without it, and any that did would give other weights with the same seed.
    """
    memory: Any = torch.utils.deterministic
    fixed, filled = torch.get_deterministic_debug_mode(), memory.fill_uninitialized_memory
    torch.set_flush_denormal(True)
    memory.fill_uninitialized_memory = False  # it finds bugs, and takes time
    # Unlike use_deterministic_algorithms, this does not import torch.compile, as slow as all the rest of torch.
    torch.set_deterministic_debug_mode(fixed if torch.cuda.is_available() else "error")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        memory.fill_uninitialized_memory = filled
        torch.set_deterministic_debug_mode(fixed)


def train_epochs(
    config: Config, step: Step, batches: Batches, epochs: int, validate: Callable[[], dict[str, float]],
    checkpoint: Checkpoint, progress: Progress, stop: Callable[[], bool] | None = None,
) -> None:  # fmt: skip
    """Train until the last epoch, or until the patience runs out.

    The weights of the best epoch are `step.run.best`. A run on unlabelled questions has none: its last weights count.
    Ctrl-C and SIGTERM wait for the end of a step. The errors are those of `train_model`.

    Args:
        config: the recipe.
        step: takes a step on a batch, in this process or in several; `step.run` is the state of the run.
        batches: returns the batches of an epoch, given its number and the number of the first ones to skip.
        epochs: of the whole run, including those that `step.run` has done.
        validate: returns the scores of the tower. Called in the first process only.
        checkpoint: written after each epoch, every five minutes, and before the run stops.
        progress: callbacks.
        stop: called after each step; if it returns True in any process, the run stops.
    """
    run, processes = step.run, step.processes
    with stopping_when_asked() as signalled:

        def after_step() -> None:
            asked = int(processes.largest(signalled() or (signal.SIGINT if stop and stop() else 0)))
            checkpoint.save_if_due(run, 0 if asked else INTERVAL)
            if asked:
                processes.wait()  # torchrun ends all processes when one has ended
                raise Stopped(asked)

        while len(run.history) < epochs and not _patience_is_over(run.history, config.patience):
            record = _train_epoch(config, step, batches, progress, after_step)
            record |= processes.collected(validate() if processes.first else {})[0]
            run.history.append(record)
            run.losses, run.seen, run.seconds = [], 0, 0.0
            if not config.unlabelled and all(
                record["average_precision"] > earlier["average_precision"] for earlier in run.history[:-1]
            ):
                run.best = {name: weight.detach().cpu().clone() for name, weight in run.tower.state_dict().items()}
            checkpoint.save(run)
            progress.epoch(record)
            if asked := int(processes.largest(signalled())):
                raise Stopped(asked)


def _train_epoch(
    config: Config, step: Step, batches: Batches, progress: Progress, after_step: Callable[[], None]
) -> dict[str, Any]:
    """Train on the batches that are left of the epoch. Return the record of the epoch."""
    run = step.run
    began = time.perf_counter()
    for batch in batches(len(run.history), len(run.losses)):
        run.losses.append(step(batch))
        run.seen += sum(batch.sizes) + len(batch.unlabelled or ())
        now = time.perf_counter()
        run.seconds, began = run.seconds + now - began, now
        progress.step(run.losses[-1])
        after_step()
    check_weights(run)
    return {
        "epoch": len(run.history) + 1,
        "step": run.step,
        "loss": float(np.mean(run.losses)),
        "learning_rate": learning_rate(config, run.step, step.steps),
        "seconds": run.seconds,
        "pairs_per_second": run.seen / run.seconds,
    }


def _patience_is_over(history: list[dict[str, Any]], patience: int | None) -> bool:
    if patience is None:
        return False
    scores = [record["average_precision"] for record in history]
    return len(scores) > patience and max(scores[-patience:]) <= max(scores[:-patience])
