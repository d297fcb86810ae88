"""Write a training run between two steps to one file, and continue from it to the same bits.

Random states are not kept: the first weights depend only on the seed, the batches of an epoch only on seed and epoch,
and nothing else is random.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from siamese.errors import DivergedError, UserError
from siamese.system.files import remove_leftovers, replacing
from siamese.system.resuming import differing

CHECKPOINT = "checkpoint.safetensors"
INTERVAL = 300.0  # the most seconds of work that a crash can cost
PLAIN = ("step", "history", "losses", "seen", "seconds")  # fields of a run that are JSON


@dataclass
class Run:
    """A training run between two steps: everything needed to continue it."""

    tower: nn.Module
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0  # steps done
    history: list[dict[str, Any]] = field(default_factory=list)  # one record per epoch
    losses: list[float] = field(default_factory=list)  # one per step of the current epoch
    seen: int = 0  # pairs of the current epoch so far
    seconds: float = 0.0  # of training in the current epoch
    best: dict[str, Tensor] = field(default_factory=dict)  # weights of the tower in the best epoch


def is_checkpoint(path: Path) -> bool:
    """Return whether a file has the header of a checkpoint."""
    with open(path, "rb") as file:
        return b'"identity"' in file.read(min(int.from_bytes(file.read(8), "little"), 1 << 26))


@dataclass
class Checkpoint:
    """The file from which a run continues. Without a folder, nothing is written.

    What killed runs left is removed at once.
    """

    folder: str | Path | None
    identity: dict[str, Any]  # JSON that distinguishes this run from others, with the recipe as "config"
    kept: Callable[[int], None]  # called with the step of the file after each load and save
    writes: bool = True  # False in all but one of the processes of a run

    def __post_init__(self) -> None:
        self.path = Path(self.folder) / CHECKPOINT if self.folder else None
        self.last = time.monotonic()
        if self.path and self.writes:
            remove_leftovers(self.path.parent, re.escape(CHECKPOINT))

    def save(self, run: Run) -> None:
        """Replace the file atomically. On an error the old file stays.

        Raises:
            DivergedError: the weights are not finite.
            UserError: the file cannot be written, for example because the disk is full.
        """
        from safetensors.torch import save

        check_weights(run)
        if not self.path or not self.writes:
            return
        parts = {"tower": run.tower.state_dict(), "objective": run.objective.state_dict(), "best": run.best}
        parts |= {f"optimizer.{i}": state for i, state in run.optimizer.state_dict()["state"].items()}
        values = {
            f"{part}.{name}": tensor.detach().cpu().contiguous()
            for part, state in parts.items()
            for name, tensor in state.items()
        }
        about = {"identity": json.dumps(self.identity)} | {name: json.dumps(getattr(run, name)) for name in PLAIN}
        with writing(self.path), replacing(self.path) as temporary:
            # save_file would write to a temporary file of its own, and leave it behind if killed.
            temporary.write_bytes(save(values, about | {"sha256": _checksum(values, about)}))
        self.kept(run.step)
        self.last = time.monotonic()

    def save_if_due(self, run: Run, interval: float) -> None:
        """Write the file if it is `interval` seconds old."""
        if self.path and self.writes and time.monotonic() - self.last >= interval:
            self.save(run)

    def load(self, run: Run) -> bool:
        """Restore a run from the file. Return False if there is none.

        Raises:
            UserError: the file is damaged, or belongs to another recipe or other data.
        """
        from safetensors import SafetensorError, safe_open

        if self.path is None or not self.path.exists():
            return False
        try:
            with safe_open(self.path, framework="pt") as file:
                about, names = file.metadata(), list(file.keys())
                values = {name: file.get_tensor(name) for name in names}
            if about.pop("sha256") != _checksum(values, about):
                raise ValueError("damaged: its SHA-256 is not the one it names")
            if what := differing(self.identity, _identity(about)):
                raise UserError(f"{self.path}: belongs to a run that differs in {', '.join(what)}; "
                                "train without --resume")  # fmt: skip
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
            raise UserError(f"{self.path}: not a checkpoint of a run ({error}); train without --resume") from error
        for name, value in plain.items():
            setattr(run, name, value)
        self.kept(run.step)
        return True

    def check_new(self) -> None:
        """Raise a UserError if the file belongs to this run: to continue it gives the same model, sooner."""
        from safetensors import SafetensorError, safe_open

        if self.path is None:
            return
        try:
            with safe_open(self.path, framework="pt") as file:
                about = file.metadata()
            same, step = _identity(about) == self.identity, json.loads(about["step"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError):  # nothing to continue
            return
        if same:
            raise UserError(f"{self.path}: this run was stopped after step {step:,}; continue with --resume, "
                            "or remove the file to start over")  # fmt: skip


def _identity(about: dict[str, str]) -> dict[str, Any]:
    """Return the identity of the run that wrote a file. Before 0.2 there was one way to compute, the fast one."""
    found: dict[str, Any] = json.loads(about["identity"])
    found["config"].setdefault("plain", False)
    return found


def check_weights(run: Run) -> None:
    """Raise a DivergedError if a weight is infinite or nan."""
    if not all(torch.isfinite(weight).all() for weight in [*run.tower.parameters(), *run.objective.parameters()]):
        raise diverged(run, run.step, "weights are no longer finite")


def diverged(run: Run, step: int, what: str) -> DivergedError:
    """Return the error of a run that cannot continue, with its step and learning rate."""
    rate = run.optimizer.param_groups[0]["lr"]
    return DivergedError(f"step {step}: {what} at a learning rate of {rate:.3g}; try a lower --learning-rate")


@contextmanager
def writing(path: Path | None = None) -> Iterator[None]:
    """Turn an OSError in the block into a user error that names the path, or else the file of the OSError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path or error.filename2 or error.filename}: cannot be written: {error.strerror}") from error


def _checksum(values: dict[str, Tensor], about: dict[str, str]) -> str:
    """Return the SHA-256 of the content of a checkpoint."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(values):
        digest.update(name.encode())
        digest.update(values[name].numpy().data)
    return digest.hexdigest()
