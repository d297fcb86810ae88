"""The callbacks of the guide for TensorBoard, MLflow and Weights & Biases, without a network: they log the numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT, blocks
from libraries import needs

import siamese
from siamese.pairs.splits import Datasets

needs("tensorboard", "mlflow", "wandb")

GUIDE = ROOT / "siamese" / "training" / "README.md"
SMALL = {"start_from": "none", "embedding": 8, "hidden": 8, "batch_size": 64, "epochs": 2}


def example(name: str) -> Any:
    """Return the class of this name in the guide, of at most twenty lines."""
    (text,) = (block.text for block in blocks(GUIDE) if f"class {name}(Callback)" in block.text)
    assert len(text.splitlines()) <= 22 and sum(bool(line) for line in text.splitlines()) <= 20
    found: dict[str, Any] = {}
    exec(text, found)
    return found[name]


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder in place of a server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())


@pytest.mark.slow
def test_they_log_what_the_training_says(parts: Datasets, tmp_path: Path) -> None:
    import mlflow
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    given = {"TensorBoard": "events", "MLflow": "questions", "WeightsAndBiases": "questions"}
    callbacks = [example(name)(where) for name, where in given.items()]
    model = siamese.train(parts.training, parts.validation, callbacks=callbacks, **SMALL)
    history = model.facts["history"]
    precision = [(record["step"], record["average_precision"]) for record in history]

    read = EventAccumulator("events")
    read.Reload()
    events = [(event.step, event.value) for event in read.Scalars("validation/average_precision")]
    assert events == [(step, pytest.approx(value)) for step, value in precision]
    assert [event.step for event in read.Scalars("training/loss")] == list(range(1, history[-1]["step"] + 1))

    (run,) = mlflow.MlflowClient().search_runs([mlflow.get_experiment_by_name("questions").experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["hidden"] == "8"
    logged = mlflow.MlflowClient().get_metric_history(run.info.run_id, "average_precision")
    assert [(metric.step, metric.value) for metric in logged] == precision
    assert run.data.metrics["chosen_threshold"] == model.threshold

    (folder,) = tmp_path.glob("wandb/offline-run-*")
    (log,) = folder.glob("*.wandb")
    content = log.read_bytes()
    for name in ("training/loss", "validation/average_precision"):
        assert name.encode() in content
    for record in history:
        assert json.dumps(record["average_precision"]).encode() in content
