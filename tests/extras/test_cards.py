"""The cards of exported models by the hub's own library, which parses their metadata strictly, without a network."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from commands import Command
from libraries import needs
from tiny_models import random_model

from siamese.export import cards

needs("huggingface_hub", "onnx", "onnxruntime", "sentence_transformers")

SCORES = {"accuracy": 0.81234567, "f1": 0.75, "average_precision": 0.9, "roc_auc": 0.95, "threshold": 0.5, "pairs": 89}


def read(path: Path) -> Any:
    """Return the metadata of a card; an error if the hub's library would drop or change any of it."""
    from huggingface_hub import ModelCard

    card = ModelCard.load(path, repo_type="model", ignore_metadata_errors=False)
    again = ModelCard(str(card), ignore_metadata_errors=False)
    assert again.data.to_dict() == card.data.to_dict()
    return card.data


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    model = random_model()
    model.facts["validation"] = SCORES
    model.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.slow
@pytest.mark.parametrize(("form", "library"), [("sentence-transformers",) * 2, ("onnx", "onnx")])
def test_both_forms_have_a_card(form: str, library: str, folder: Path, tmp_path: Path, command: Command) -> None:
    for _ in range(2):  # a second export replaces the first one
        code, _, err = command("export", "--to", form, "--out", tmp_path / "out", "--model", folder)
        assert code == 0, err
    data = read(tmp_path / "out" / "README.md")
    assert (data.library_name, data.pipeline_tag, data.license) == (library, "sentence-similarity", None)
    found = {result.metric_type: result.metric_value for result in data.eval_results}
    assert found == {"accuracy": 0.8123, "f1": 0.75, "average_precision": 0.9, "roc_auc": 0.95}
    assert data.model_name == "out" and data.metrics == list(found)
    (tmp_path / "out" / "README.md").write_text("# Mine\n")
    code, _, err = command("export", "--to", form, "--out", tmp_path / "out", "--model", folder)
    assert code == 2 and (tmp_path / "out" / "README.md").read_text() == "# Mine\n"


def a_card(model: Any, name: str = "model", model_name: str = "questions") -> str:
    return cards.card(model, name, model_name, "onnx", "About.", "import onnxruntime")


@pytest.mark.parametrize(
    ("name", "licence", "licence_name"),
    [("pretrained", "cc-by-sa-4.0", None), ("quora", "other", "non-commercial"), ("a folder", None, None)],
)
def test_the_licence_of_the_weights(name: str, licence: str, licence_name: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(a_card(random_model(), name), "utf-8")
    data = read(tmp_path / "README.md")
    assert (data.license, data.license_name) == (licence, licence_name)
    assert data.eval_results is None


def test_names_and_facts_of_a_stranger_change_nothing_else(tmp_path: Path) -> None:
    model = random_model()
    nan, evil = math.nan, "0.5\nlicense: mit"
    model.facts["validation"] = {"accuracy": nan, "f1": evil, "roc_auc": 0.5, "average_precision": [0.5]}
    (tmp_path / "README.md").write_text(a_card(model, model_name="---\nlicense: mit\n#: {x} é"), "utf-8")
    data = read(tmp_path / "README.md")
    assert data.license is None and data.model_name == "---\nlicense: mit\n#: {x} é"
    assert [result.metric_value for result in data.eval_results] == [0.5]
    for wrong in (None, [], "text", {"accuracy": True}):
        model.facts["validation"] = wrong
        (tmp_path / "README.md").write_text(a_card(model), "utf-8")
        assert read(tmp_path / "README.md").eval_results is None


def test_the_metadata_are_json_a_line() -> None:
    lines = a_card(random_model(), "pretrained").split("---\n")[1].splitlines()
    fields = dict(line.split(": ", 1) for line in lines)
    assert json.loads(fields["library_name"]) == "onnx" and fields["pipeline_tag"] == "sentence-similarity"
