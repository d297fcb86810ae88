"""The report on a trained model with its figures, and the model card."""

from pathlib import Path
from typing import Any

import numpy as np

from siamese.config import Config, encoder_of, terms
from siamese.evaluation import metrics
from siamese.evaluation.results import Evaluation
from siamese.losses import registry
from siamese.model.calibration import reliability
from siamese.model.model import SiameseModel
from siamese.pairs.splits import Datasets
from siamese.report.tables import answer, inert, kept, markdown, markdown_table, page, recall_table
from siamese.system.files import write_text
from siamese.system.program import joined, program
from siamese.text.tokenizer import Tokenizer

HEAT_MAP_PAIRS = 32
REPORT = "report.md"
RECIPE = "- recipe: preset `"  # in each card
FIGURES = ("training.png", "similarity.png", "reliability.png", "curves.png", "prior.png", "heat-map.png")


def write_report(model: SiameseModel, data: Datasets, result: Evaluation | None, folder: Path) -> None:
    """Write report.md and its figures.

    Args:
        model: the trained model, with the history in its facts.
        data: its training, validation and test pairs. The figures show the validation pairs.
        result: the evaluation of the test pairs, if there are any.
        folder: where to write.
    """
    from siamese.report import plots

    validation, scores, history = data.validation, model.facts["validation"], model.facts["history"]
    labels, similarity = validation.labels, model.similarity(validation.question1, validation.question2)
    if history:
        plots.training_curve(history, folder / "training.png")
    plots.similarity_histogram(labels, similarity, model.threshold, folder / "similarity.png")
    rule = model.rule()
    judged = rule.scores(validation.question1, validation.question2, similarity)
    plots.reliability(reliability(labels, rule.probability(judged)), folder / "reliability.png")
    curves, ap, auc = metrics.curves(labels, judged), scores["average_precision"], scores["roc_auc"]
    plots.ranking_curves(curves, ap, auc, folder / "curves.png")
    priors = np.geomspace(0.001, 0.5, 40)
    thresholds = {
        "the model's threshold": np.full(len(priors), rule.threshold),
        "moved by --prior": np.array([model.rule(prior=float(prior)).threshold for prior in priors]),
    }
    by_prior = {name: metrics.precision_by_prior(labels, judged, t, priors) for name, t in thresholds.items()}
    plots.by_prior(priors, by_prior, rule.calibration.prior, folder / "prior.png")
    pairs = validation.take(np.flatnonzero(labels == 1)[:HEAT_MAP_PAIRS])
    vectors = model.encode([*pairs.question1, *pairs.question2])
    plots.heat_map(vectors[: len(pairs)] @ vectors[len(pairs) :].T, folder / "heat-map.png")

    parts = {
        "head": f"{answer(result)}\n" if result else "",
        "card": card(model, data),
        "test": _test_section(result),
        "training": _epochs(history),
    }
    write_text(folder / REPORT, page("siamese.report", "report.template", **parts))


def write_card(model: SiameseModel, data: Datasets, result: Evaluation | None, folder: Path, about: str) -> None:
    """Write README.md, the model card: `about`, then `card`, then the scores on the test pairs."""
    write_text(folder / "README.md", f"{about}\n{card(model, data)}\n{_test_section(result)}".rstrip() + "\n")


def _test_section(result: Evaluation | None) -> str:
    return f"## Test pairs\n\n{markdown_table(result)}\n{recall_table(result)}\n" if result else ""


def card(model: SiameseModel, data: Datasets) -> str:
    """Return the facts of a model as a list: recipe, tower, losses, data, threshold, probability, scores."""
    c, scores, fitted, training = model.config, model.facts["validation"], model.calibration, data.training
    if isinstance(model.tokenizer, Tokenizer):
        tower = f"Embedding {c.embedding} → LSTM {model.dimensions} → mean → normalize"
        tower += f"{', plus the embedding of each word' if c.skip else ''}; "
        tower += f"{len(model.tokenizer.words):,} words ({c.tokens})"
        tower += f", and {c.buckets:,} rows shared by all other words" if c.buckets else ""
    else:
        tower = f"transformer {_name(encoder_of(c))} → mean over tokens ({model.dimensions} dimensions) → normalize; "
        tower += f"{len(model.tokenizer):,} subwords"
    losses = [] if c.loss == "none" else [_loss(c, c.loss)]
    losses += [] if c.labelled == "none" else [f"{c.labelled_weight:g} × {_loss(c, c.labelled)}"]
    if c.teacher or c.unlabelled:
        whose = " and ".join(map(_name, c.teacher.split("+"))) if c.teacher else "the model it started from"
        losses += [f"{c.teacher_weight:g} × distance from the vectors of {whose}"]
    trained = [f"{len(training):,} pairs, {training.duplicates:,} of them duplicates"] if len(training) else []
    if c.unlabelled:
        losses += [f"{c.neighbour_weight:g} × distance from the neighbours they give"]
        of = f" (families {inert(c.families)})" if c.families else ""
        trained[:0] = [f"{model.facts['unlabelled']['questions']:,} questions without labels{of}"]
    bound = terms(c.start_from)
    drawn = f"; {c.training_pairs:,} of these, drawn by the seed" if c.training_pairs else ""
    chosen, unseen = model.facts.get("chosen_threshold"), model.facts.get("unseen")
    if c.threshold is not None:
        why = "as published" + (f"; chosen on the validation pairs it would be {chosen:.3f}" if chosen else "")
    elif chosen is None:
        why = "not fitted"
    elif c.goal == "probability":
        why = "where the probability crosses one half"
    else:
        why = f"chosen for {c.goal} on the validation pairs"
    holds = (
        f"fitted on the validation pairs: it holds if about {fitted.prior:.0%} of the pairs are duplicates, as among "
        "these; `--prior` converts it to another share"
    )
    new = f"of these, {unseen['pairs']:,} have no question of the training pairs: {_scores(unseen)}" if unseen else (
        "each of these has a question of the training pairs, so their scores are too good"
    )  # fmt: skip
    verdict = f"verdict: {model.verdict}; it decides, unless a threshold is given" if model.verdict else ""
    text = page(
        "siamese.report", "card.template", config=c, fitted=fitted, trained=", and on ".join(trained),
        tower=tower + ("; weights of int8 and float16" if c.compact else ""),
        started=f"started from {_name(c.start_from)}{bound and f', so {bound}'}" if c.start_from else "",
        vectors=f"word vectors at the start: {_name(c.word_vectors)}" if c.word_vectors else "",
        losses=" + ".join(losses), how=inert(data.how), drawn=drawn, threshold=model.threshold, why=why,
        holds="not fitted" if chosen is None else holds,
        verdict=verdict, validation=scores["pairs"], scores=_scores(scores), new=new,
        warnings="\n- ".join(f"**warning**: {inert(warning)}" for warning in model.warnings),
    )  # fmt: skip
    return text.replace("- \n", "")  # of an empty field


def _name(path: str) -> str:
    return inert(Path(path).name)


def _scores(scores: dict[str, Any]) -> str:
    names = {"accuracy": "accuracy", "f1": "F1", "average_precision": "average precision", "roc_auc": "ROC AUC"}
    return ", ".join(f"{shown} {scores[name]:.3f}" for name, shown in names.items() if scores[name] is not None)


def _loss(config: Config, name: str) -> str:
    """Return the name of a loss with its settings."""
    settings = [
        f"{field.replace('_', ' ')} {getattr(config, field)}" for field in registry.find(name).settings.values()
    ]
    return f"{name} ({', '.join(settings)})" if settings else name


def _epochs(history: list[dict[str, Any]]) -> str:
    if not history:
        return ""
    rows = [["epoch", "loss", "average precision", "ROC AUC", "accuracy", "seconds", "pairs/s"]]
    for r in history:
        scores = [f"{r[name]:.4f}" for name in ("loss", "average_precision", "roc_auc", "accuracy")]
        rows.append([str(r["epoch"]), *scores, f"{r['seconds']:.1f}", f"{r['pairs_per_second']:,.0f}"])
    return f"## Training\n\n![loss and validation scores](training.png)\n\n{markdown(rows, text=0)}\n"


def summary(model: SiameseModel, result: Evaluation | None, folder: str) -> str:
    """Return the text that training prints at its end: scores, model folder, and a command to try."""
    scores, history = model.facts.get("validation"), model.facts["history"]
    done = f"epoch {kept(history)['epoch']} kept" if history else "not trained"
    if history and "cosine" in history[-1]:
        done = f"cosine to the teacher's vectors on held-out questions {history[-1]['cosine']:.3f}"
    if scores:
        done += (
            f"; validation pairs: average precision {scores['average_precision']:.3f}, "
            f"accuracy {scores['accuracy']:.3f} at threshold {model.threshold:.3f}"
        )
    tests = f"\ntest pairs:\n{result}\n" if result else ""
    option = [] if folder == "models/latest" else ["--model", folder]
    if model.plugin is not None:
        option += ["--tower", f"{model.plugin.__module__}:{model.plugin.__qualname__}"]
    return (
        f"{done}\n{tests}\nmodel: {folder}{', with report.md and its figures' if scores else ''}\n"
        f'try:   {program()} predict "How old are you?" "What is your age?" {joined(*option)}'.rstrip()
    )
