"""A training run between two steps, written to one file from which it goes on to the same bits.

Random states are not kept: the first weights depend on the seed alone, the batches
of an epoch on seed and epoch, and nothing else is drawn.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from siamese.errors import DivergedError, UserError
from siamese.system.files import remove_leftovers, replacing
from siamese.system.resuming import differing

CHECKPOINT = "checkpoint.safetensors"
INTERVAL = 300.0  # seconds of work that a crash can cost, at most
PLAIN = ("step", "history", "losses", "seen", "seconds")  # fields of a run that are kept as JSON


@dataclass
class Run:
    """A training run between two steps: all that must be kept to go on with it."""

    tower: nn.Module
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0  # steps done, which give the place in the schedule too
    history: list[dict[str, Any]] = field(default_factory=list)  # a record an epoch
    losses: list[float] = field(default_factory=list)  # of the epoch under way, one a step
    seen: int = 0  # pairs in that epoch
    seconds: float = 0.0  # of training in it
    best: dict[str, Tensor] = field(default_factory=dict)  # the tower's weights of the best epoch


class Checkpoint:
    """The file from which a run goes on; where there is no folder, nothing is kept."""

    def __init__(
        self, folder: str | Path | None, identity: dict[str, Any], kept: Callable[[int], None], writes: bool = True
    ) -> None:
        """Nothing is read or written yet.

        Args:
            folder: of the file.
            identity: what tells this run from others: JSON, with the recipe as "config".
            kept: told the step whenever the file holds one.
            writes: False in all but one of the processes of a run.
        """
        self.path = Path(folder) / CHECKPOINT if folder else None
        self.identity, self.kept, self.writes = identity, kept, writes
        self.last = time.monotonic()
        if self.path and writes:
            remove_leftovers(self.path)  # of a run that was killed while it wrote

    def load(self, run: Run) -> bool:
        """Put a run back to where the file was written; False where there is no file.

        Raises:
            UserError: the file is damaged, or belongs to another recipe or other data.
        """
        if self.path is None or not self.path.exists():
            return False
        load_checkpoint(run, self.path, self.identity)
        self.kept(run.step)
        return True

    def save(self, run: Run) -> None:
        """Write the file; the old one stays until the new one is whole and on the disk.

        Raises:
            DivergedError: the weights are not finite; the old file stays.
            UserError: it cannot be written, such as to a full disk; the old file stays.
        """
        check_weights(run)
        if self.path and self.writes:
            save_checkpoint(run, self.path, self.identity)
            self.kept(run.step)
        self.last = time.monotonic()

    def save_if_due(self, run: Run, interval: float) -> None:
        """Write the file where it is so many seconds old."""
        if self.path and self.writes and time.monotonic() - self.last >= interval:
            self.save(run)

    def check_new(self) -> None:
        """Refuse to begin a run anew that was stopped: going on with it ends with the same bits, and sooner.

        Raises:
            UserError: the file is this run's.
        """
        from safetensors import SafetensorError, safe_open

        if self.path is None:
            return
        try:
            with safe_open(self.path, framework="pt") as file:
                about = file.metadata()
            same, step = json.loads(about["identity"]) == self.identity, json.loads(about["step"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):  # nothing to go on with
            return
        if same:
            raise UserError(f"{self.path}: this run was stopped after step {step:,}; go on with --resume, "
                            "or remove the file to begin anew")  # fmt: skip


def remove_checkpoint(folder: str | Path) -> None:
    """A run is finished and its model saved: its checkpoint, four times as large, goes."""
    (Path(folder) / CHECKPOINT).unlink(missing_ok=True)


def check_weights(run: Run) -> None:
    """Refuse weights that are not finite.

    Raises:
        DivergedError: with the step and what to do.
    """
    if not all(torch.isfinite(weight).all() for weight in [*run.tower.parameters(), *run.objective.parameters()]):
        raise diverged(run, run.step, "weights are no longer finite")


def diverged(run: Run, step: int, what: str) -> DivergedError:
    """The error of a run that cannot go on: the step, what is wrong, the learning rate and what to do."""
    rate = run.optimizer.param_groups[0]["lr"]
    return DivergedError(f"step {step}: {what} at a learning rate of {rate:.3g}; try a lower --learning-rate")


def save_checkpoint(run: Run, path: Path, identity: dict[str, Any]) -> None:
    """Write all of a run to one file, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    from safetensors.torch import save

    parts = {"tower": run.tower.state_dict(), "objective": run.objective.state_dict(), "best": run.best}
    values = {f"{part}.{name}": tensor for part, state in parts.items() for name, tensor in state.items()}
    for i, state in run.optimizer.state_dict()["state"].items():
        values |= {f"optimizer.{i}.{name}": tensor for name, tensor in state.items()}
    values = {name: tensor.detach().cpu().contiguous() for name, tensor in values.items()}
    about = {"identity": json.dumps(identity)} | {name: json.dumps(getattr(run, name)) for name in PLAIN}
    try:
        with replacing(path) as temporary:
            # Not by its save_file, which writes to a temporary file of its own that stays where it is killed.
            temporary.write_bytes(save(values, about | {"sha256": _checksum(values, about)}))
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def load_checkpoint(run: Run, path: Path, identity: dict[str, Any]) -> None:
    """Put a run back to where the checkpoint was written.

    Raises:
        UserError: the file is damaged, or belongs to another recipe or other data.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about, names = file.metadata(), list(file.keys())
            values = {name: file.get_tensor(name) for name in names}
        if about.pop("sha256") != _checksum(values, about):
            raise ValueError("its SHA-256 is not the one it names: damaged")
        if what := differing(identity, json.loads(about["identity"])):
            raise UserError(f"{path}: belongs to a run that differs in {', '.join(what)}; train without --resume")
        plain = {name: json.loads(about[name]) for name in PLAIN}

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}

        run.tower.load_state_dict(part("tower."))
        run.objective.load_state_dict(part("objective."))
        run.best = part("best.")
        state = run.optimizer.state_dict()
        count = sum(len(group["params"]) for group in state["param_groups"])
        state["state"] = {i: part(f"optimizer.{i}.") for i in range(count)}
        run.optimizer.load_state_dict(state)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"{path}: not a checkpoint of a run ({error}); train without --resume") from error
    for name, value in plain.items():
        setattr(run, name, value)


def _checksum(values: dict[str, Tensor], about: dict[str, str]) -> str:
    """The SHA-256 of all that a file holds."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(values):
        digest.update(name.encode())
        digest.update(values[name].numpy().data)
    return digest.hexdigest()
