"""A training run between two epochs, written to one file from which it goes on to the same bits."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from siamese.errors import UserError
from siamese.files import replacing
from siamese.pairs import Pairs
from siamese.tower import Tower


@dataclass
class Run:
    """A training run between two epochs: all that must be kept to go on with it."""

    tower: Tower
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)  # a record an epoch
    best: dict[str, Tensor] = field(default_factory=dict)  # the tower's weights of the best epoch


def fingerprint(pairs: Pairs) -> str:
    """A hash of the questions and labels, which says whether two runs have the same data."""
    digest = hashlib.sha256()
    for column in (pairs.question1, pairs.question2):
        digest.update(column.values.tobytes())
        digest.update(column.starts.tobytes())
    digest.update(pairs.labels.tobytes())
    return digest.hexdigest()


def save_checkpoint(run: Run, path: Path, identity: dict[str, Any]) -> None:
    """Write all of a run to one file, whole or not at all."""
    from safetensors.torch import save_file

    parts = {"tower": run.tower.state_dict(), "objective": run.objective.state_dict(), "best": run.best}
    values = {f"{part}.{name}": tensor for part, state in parts.items() for name, tensor in state.items()}
    for i, state in run.optimizer.state_dict()["state"].items():
        values |= {f"optimizer.{i}.{name}": tensor for name, tensor in state.items()}
    about = {"identity": json.dumps(identity), "history": json.dumps(run.history), "step": str(run.step)}
    with replacing(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in values.items()}, temporary, about)


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
        before = json.loads(about["identity"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a checkpoint of a run ({error}); train without --resume") from error
    for name, now in identity.items():
        if before.get(name) != now:
            what = [k for k in now if before[name].get(k) != now[k]] if name == "config" else [f"the {name}"]
            raise UserError(f"{path}: belongs to a run that differs in {', '.join(what)}; train without --resume")

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}

    run.tower.load_state_dict(part("tower."))
    run.objective.load_state_dict(part("objective."))
    run.best = part("best.")
    state = run.optimizer.state_dict()
    count = sum(len(group["params"]) for group in state["param_groups"])
    state["state"] = {i: part(f"optimizer.{i}.") for i in range(count)}
    run.optimizer.load_state_dict(state)
    run.history, run.step = json.loads(about["history"]), int(about["step"])
