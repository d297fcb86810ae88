"""Measure what a model's verdict is worth beside its cosine.

    python -m reports.answers.verdict MODEL [--bench ../shared/bench]

The capabilities of CheckList are split by capabilities.json into those to choose on and those that are only reported,
which `--reported` adds, with all of them together.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from reports.answers.board import CHECKLIST, DATA, SUPPORT, GroupSet, PairSet, mining, on_board, read_sets, rows_of
from siamese.evaluation.metrics import average_precision, roc_auc
from siamese.model.calibration import calibration_error
from siamese.model.model import SiameseModel
from siamese.model.verdict import Rule
from siamese.pairs import splits
from siamese.pairs.pairs import Pairs
from siamese.pairs.reading import QUORA
from siamese.report.tables import markdown

CAPABILITIES = Path(__file__).with_name("capabilities.json")


def rules(model: SiameseModel) -> dict[str, Rule]:
    """Return how pairs are judged, by name: by the cosine, and by the verdict if the model has one."""
    return {"cosine": model.rule(cosine=True)} | ({"verdict": model.rule()} if model.verdict else {})


def scores_of(model: SiameseModel, pairs: Pairs) -> dict[str, np.ndarray]:
    """Return the scores of pairs by each rule, (n,) each."""
    similarity = model.similarity(pairs.question1, pairs.question2)
    return {name: rule.scores(pairs.question1, pairs.question2, similarity) for name, rule in rules(model).items()}


def checklist(model: SiameseModel, bench: Path, parts: list[str]) -> str:
    """Return ROC AUC on each part of the capabilities, and of each capability with label 1 against each with 0."""
    split = json.loads(CAPABILITIES.read_text("utf-8"))
    rows = rows_of(bench / f"{CHECKLIST}.csv")
    text = ""
    split["all"] = [name for part in parts for name in split[part]]
    for part in [*parts, *(["all"] if len(parts) > 1 else [])]:
        chosen = [row for row in rows if row["source"] in split[part]]
        labels = np.array([int(row["is_duplicate"]) for row in chosen])
        source = np.array([row["source"] for row in chosen])
        pairs = Pairs.of([r["question1"] for r in chosen], [r["question2"] for r in chosen], labels.tolist())
        found = scores_of(model, pairs)
        whole = ", ".join(f"{name} {roc_auc(labels, scores):.3f}" for name, scores in found.items())
        text += f"CheckList, {part} ({len(split[part])} capabilities): {whole}\n\n"
        if part == "all":
            break
        table = [["duplicates", "not duplicates", *found]]
        for same_meaning in sorted(set(source[labels == 1])):
            for other in sorted(set(source[labels == 0])):
                of = (source == same_meaning) | (source == other)
                table.append([same_meaning, other, *(f"{roc_auc(labels[of], s[of]):.3f}" for s in found.values())])
        text += markdown(table, text=2) + "\n"
    return text


def pair_sets(model: SiameseModel, bench: Path) -> str:
    """Return average precision and accuracy by each rule on the sets of pairs, and log loss and calibration error.

    The last two are of the probabilities at the share of duplicates that each set has.
    """
    table = [["set", "by", "AP", "accuracy", "log loss", "calibration error"]]
    means: dict[str, list[list[float]]] = {}
    for name, each in read_sets(bench, None).items():
        if isinstance(each, PairSet) and on_board(name):
            pairs = Pairs.of(each.question1, each.question2, each.labels.tolist())
            share = float(np.mean(each.labels))
            for by, scores in scores_of(model, pairs).items():
                rule = rules(model)[by]
                p = np.clip(rule.calibration.probability(scores, share), 1e-9, 1 - 1e-9)
                loss = -float(np.mean(np.log(np.where(each.labels == 1, p, 1 - p))))
                accuracy = float(np.mean((scores > rule.threshold) == each.labels))
                row = [average_precision(each.labels, scores), accuracy, loss, calibration_error(each.labels, p)]
                table.append([name, by, *(f"{value:.3f}" for value in row)])
                means.setdefault(by, []).append(row)
    for by, found in means.items():
        table.append(["mean", by, *(f"{value:.3f}" for value in np.mean(found, axis=0))])
    return markdown(table, text=2)


def pairs_of_file(model: SiameseModel, data: Path) -> str:
    """Return ROC AUC and average precision on the validation pairs of a file."""
    pairs = splits.to_tune(str(data), QUORA)
    found = scores_of(model, pairs)
    shown = (
        f"{name} {roc_auc(pairs.labels, s):.3f}, average precision {average_precision(pairs.labels, s):.3f}"
        for name, s in found.items()
    )
    return f"{data}, validation: ROC AUC: {'; '.join(shown)}\n"


def support(model: SiameseModel, path: Path) -> str:
    """Return how all pairs of a support archive are ranked, and how many each rule calls duplicates."""
    rows = rows_of(path)
    questions = [row["question"] for row in rows]
    i, j, labels = GroupSet(questions, np.array([row["intent"] for row in rows])).pairs()
    vectors = model.encode(questions)
    similarity = np.einsum("nd,nd->n", vectors[i], vectors[j])
    text = ""
    for name, rule in rules(model).items():
        scores = rule.scores([questions[k] for k in i], [questions[k] for k in j], similarity)
        found = "; ".join(
            f"{what.removeprefix('support, ')} {value:.2f}" for what, value in mining(labels, scores).items()
        )
        said = scores > rule.threshold
        text += (
            f"{path}, {name}: {found}; {said.sum():,} pairs above {rule.threshold:.3f}, {labels[said].sum():,} right\n"
        )
    return text


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.answers.verdict", description=__doc__.split("\n")[0])
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--bench", type=Path, default="../shared/bench", metavar="DIR", help="the sets (%(default)s)")
    parser.add_argument("--reported", action="store_true", help="also the capabilities that are only reported")
    options = parser.parse_args()
    model = SiameseModel.load(options.model)
    parts = ["chosen on", *(["only reported"] if options.reported else [])]
    print(support(model, SUPPORT), pairs_of_file(model, DATA), pair_sets(model, options.bench), sep="\n")
    print(checklist(model, options.bench, parts))


if __name__ == "__main__":
    main()
