"""Fit a verdict for an existing model folder, and measure what it is worth.

    python -m reports.answers.verdict fit MODEL --out FOLDER --questions questions.tsv.xz
    python -m reports.answers.verdict measure MODEL --bench ../shared/bench

The capabilities of CheckList are split by capabilities.json into those to choose on and those that are only reported,
which `--reported` adds.
"""

import argparse
import csv
import json
import lzma
from operator import attrgetter
from pathlib import Path

import numpy as np

from siamese.errors import UserError
from siamese.evaluation.metrics import average_precision, roc_auc
from siamese.mining.mine import mine
from siamese.model.fitting import QUESTIONS, fit_verdict
from siamese.model.model import SiameseModel
from siamese.model.similarity import same
from siamese.model.verdict import Rule
from siamese.pairs import splits
from siamese.pairs.pairs import Pairs
from siamese.pairs.reading import QUORA
from siamese.report.tables import markdown

OPEN = ("stackexchange", "stackoverflow", "open-qa")  # families under open terms
CAPABILITIES = Path(__file__).with_name("capabilities.json")
SUPPORT, DATA = "data/support.csv", "data/questions.csv"
COLUMNS = (attrgetter("question1"), attrgetter("question2"), lambda pairs: pairs.labels.tolist())
FIRST = 50  # mined pairs whose precision is measured


def fit(model: SiameseModel, data: list[str], questions: str, seed: int) -> SiameseModel:
    """Give a model a verdict, fitted to the validation pairs of files and to near misses of the pile's questions."""
    parts = [splits.to_tune(path, QUORA) for path in data]
    columns = ([value for part in parts for value in column(part)] for column in COLUMNS)
    labelled = Pairs.of(*columns)
    with lzma.open(questions, "rt", encoding="utf-8") as file:
        rows = (line.rstrip("\n").split("\t", 1) for line in file)
        asked = [text for _, (family, text) in zip(range(8 * QUESTIONS), rows) if family in OPEN]
    found = fit_verdict(model, labelled, asked, seed)
    if isinstance(found, str):
        raise UserError(f"no verdict: {found}")
    model.verdict = found
    return model


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
    with open(bench / "checklist_qqp_mft.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    text = ""
    for part in parts:
        chosen = [row for row in rows if row["source"] in split[part]]
        labels = np.array([int(row["is_duplicate"]) for row in chosen])
        source = np.array([row["source"] for row in chosen])
        pairs = Pairs.of([r["question1"] for r in chosen], [r["question2"] for r in chosen], labels.tolist())
        found = scores_of(model, pairs)
        whole = ", ".join(f"{name} {roc_auc(labels, scores):.3f}" for name, scores in found.items())
        text += f"CheckList, {part} ({len(split[part])} capabilities): {whole}\n\n"
        table = [["duplicates", "not duplicates", *found]]
        for same_meaning in sorted(set(source[labels == 1])):
            for other in sorted(set(source[labels == 0])):
                of = (source == same_meaning) | (source == other)
                table.append([same_meaning, other, *(f"{roc_auc(labels[of], s[of]):.3f}" for s in found.values())])
        text += markdown(table, text=2) + "\n"
    return text


def pairs_of_file(model: SiameseModel, data: str) -> str:
    """Return ROC AUC and average precision on the validation pairs of a file."""
    pairs = splits.to_tune(data, QUORA)
    found = scores_of(model, pairs)
    shown = (
        f"{name} {roc_auc(pairs.labels, s):.3f}, average precision {average_precision(pairs.labels, s):.3f}"
        for name, s in found.items()
    )
    return f"{data}, validation: ROC AUC: {'; '.join(shown)}\n"


def support(model: SiameseModel, path: str) -> str:
    """Return the precision of the first pairs mined from a support archive, whose texts differ once clean."""
    with open(path, newline="", encoding="utf-8") as file:
        intent = {row["question"]: row["intent"] for row in csv.DictReader(file)}
    text = ""
    for name, rule in rules(model).items():
        found = mine(list(intent), model, cosine=name == "cosine").pairs
        found = [p for p in found if not same(np.ones(1), [p.question1], [p.question2])[0]]
        right = [intent[p.question1] == intent[p.question2] for p in found]
        precision = np.mean(right[:FIRST]) if right else 0.0
        first = f"the first {FIRST} of {len(right):,} pairs above {rule.threshold:.3f}"
        text += f"{path}, {name}: precision of {first}: {precision:.2f}\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sub = commands.add_parser("fit")
    sub.add_argument("model")
    sub.add_argument("--out", required=True)
    sub.add_argument("--questions", required=True, help="the pile: lines of family, tab, text, in .xz")
    sub.add_argument("--data", nargs="+", default=[DATA], help="files whose validation pairs are the labelled ones")
    sub.add_argument("--seed", type=int, default=0)
    sub = commands.add_parser("measure")
    sub.add_argument("model")
    sub.add_argument("--bench", type=Path, required=True)
    sub.add_argument("--data", default=DATA)
    sub.add_argument("--support", default=SUPPORT)
    sub.add_argument("--reported", action="store_true")
    options = parser.parse_args()
    model = SiameseModel.load(options.model)
    if options.command == "fit":
        fit(model, options.data, options.questions, options.seed).save(options.out)
        print(model.verdict)
    else:
        parts = ["chosen on", *(["only reported"] if options.reported else [])]
        print(support(model, options.support), pairs_of_file(model, options.data), sep="\n")
        print(checklist(model, options.bench, parts))


if __name__ == "__main__":
    main()
