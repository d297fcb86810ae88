"""The README.md of an exported model: metadata that the Hugging Face hub reads, and how to load it."""

import json
import math
from typing import Any

from siamese.config import terms
from siamese.model.model import SiameseModel
from siamese.report.tables import page

# Found at the beginning of our cards, so the metadata ends with it.
MARK = "pipeline_tag: sentence-similarity\n---\n# A detector of duplicate questions\n"
LICENCES = {"CC BY-SA 4.0": {"license": "cc-by-sa-4.0"}}  # by our terms; the hub's identifiers
OTHER = {"license": "other", "license_name": "non-commercial"}
METRICS = ("accuracy", "f1", "average_precision", "roc_auc")


def card(model: SiameseModel, name: str, model_name: str, library: str, about: str, code: str) -> str:
    """Return the text of a README.md.

    Args:
        model: the model.
        name: of the model as the user gave it, which may be one of the package.
        model_name: for the hub.
        library: that loads it, by the hub's name.
        about: sentences on the model.
        code: Python that loads it.
    """
    metadata = "\n".join(f"{key}: {json.dumps(value)}" for key, value in _metadata(model, name, model_name, library))
    return page("siamese.export", "card.template", metadata=metadata, about=about, code=code, mark=MARK)


def bound(model: SiameseModel, name: str) -> str:
    """Return the terms that bind the weights of a model, or "" if we know of none; `name` as for `card`."""
    return terms(name) or terms(model.config.start_from)


def _metadata(model: SiameseModel, name: str, model_name: str, library: str) -> list[tuple[str, Any]]:
    """Return the fields of the metadata. Values are written as JSON, which is YAML, too, whatever a text holds."""
    fields: dict[str, Any] = {"library_name": library}
    if found := bound(model, name):
        fields |= LICENCES.get(found, OTHER)
        fields["language"] = "en"  # of the packaged models
    fields["tags"] = ["sentence-similarity", "feature-extraction", "duplicate-questions", "siamese-network"]
    if results := _results(model):
        fields["metrics"] = [metric["type"] for result in results for metric in result["metrics"]]
        fields["model-index"] = [{"name": model_name, "results": results}]
    return list(fields.items())


def _results(model: SiameseModel) -> list[dict[str, Any]]:
    """Return the scores on the validation pairs in the hub's form. A stranger's folder may hold anything instead."""
    scores = model.facts.get("validation")
    if not isinstance(scores, dict):
        return []
    found = [
        {"type": name, "name": name.replace("_", " "), "value": round(value, 4)}
        for name in METRICS
        if isinstance(value := scores.get(name), float) and math.isfinite(value)
    ]
    if not found:
        return []
    task = {"type": "binary-classification", "name": "Duplicate questions"}
    return [{"task": task, "dataset": {"type": "unknown", "name": "validation pairs"}, "metrics": found}]
