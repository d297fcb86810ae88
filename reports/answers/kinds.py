"""Measure what near misses do, kind by kind, on pairs made of questions that no kind was learned from.

    python -m reports.answers.kinds [MODEL...] --questions questions.tsv.xz
    python -m reports.answers.kinds --start-from models/distilled --train-without GROUP... --questions questions.tsv.xz

The first measures models, named as for `reports.answers.board`, on pairs of each kind. The second trains shortly on
near misses, without one group of kinds after the other ("nothing" leaves out none), and measures what is then missing.
Both keep their figures in --out, skip a training whose figures are there, and write kinds.md.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reports.answers.board import CHECKLIST, ByVectors, measure, on_board, read_sets, rows_of
from reports.answers.pretrained import OPEN, read
from reports.answers.verdict import CAPABILITIES, scores_of
from reports.measured import keep
from reports.measured import read as figures_of
from siamese.config import recipe
from siamese.errors import UserError
from siamese.evaluation.metrics import roc_auc
from siamese.model.model import SiameseModel
from siamese.model.verdict import Rule
from siamese.pairs.near_misses import KINDS, Made, near_misses
from siamese.pairs.pairs import Pairs
from siamese.pairs.sources import text_lines
from siamese.report.tables import markdown
from siamese.system.files import write_text

HELD, MOST = 60_000, 200  # last questions of the pile, and the most pairs of a kind
LEARNED, STEPS, BATCH = 30_000, 120, 256  # first questions of the pile, and the length of a short training
NOTHING, START = "nothing", "start"
GROUPS = {  # the kinds without "made-up" and "reworded"
    "opposites": "antonym, comparative, superlative, with or without, quantifier, quantity, feature, place and act, "
                 "not the opposite",
    "directions and order": "direction, than, symmetric order, comparison, before and after, travel, distance, "
                            "symmetric relation",
    "numbers, versions and codes": "number, version, year, code, unit, number writing, prices",
    "names, places and things": "place, technology, person, family or profession, nationality or belief, "
                                "day or month, animal, food, thing, field, profession, two attributes",
    "negation": "negation, not an adjective, permission",
    "who does what": "subject and object, wrong passive, right passive, pronoun, hiring, opinion, according to, "
                     "who does what, who did what to a thing, relation, who and pronoun",
    "time, modifiers, question words": "time, tense, question word, restriction, modifier",
    "frames, words and spelling": "how frame, what frame, other frame, synonym, abbreviation, spelling, contraction, "
                                  "typo, case, polite, preamble",
}  # fmt: skip
_GROUP = {kind: group for group, kinds in GROUPS.items() for kind in kinds.split(", ")}


def group_of(kind: str) -> str:
    """Return the group of a kind of KINDS."""
    return _GROUP[kind.removeprefix("made-up ").removesuffix(", reworded")]


def made_of(path: str) -> list[Made]:
    """Return at most MOST pairs of each kind, made of the last HELD questions of the open families of the pile."""
    rows = (line.rstrip("\n").split("\t", 1) for line in text_lines(path))
    questions = [text for family, text in rows if family in OPEN][-HELD:]
    counts, made = Counter[str](), []
    for pair in near_misses(questions, seed=1):
        counts[pair.kind] += 1
        if counts[pair.kind] <= MOST:
            made.append(pair)
    return made


def told(made: Sequence[Made], scores: np.ndarray, threshold: float) -> dict[str, dict[str, float]]:
    """Return how well the pairs of each kind are told from all those of the other label.

    Args:
        made: n pairs.
        scores: (n,) the higher, the more alike.
        threshold: pairs above it are called duplicates.

    Returns:
        By kind the number of its `pairs`, the ROC AUC of these and all pairs of the other label, and the share that is
        `right` at the threshold.
    """
    kinds = np.array([pair.kind for pair in made])
    labels = np.array([pair.is_duplicate for pair in made])
    found = {}
    for kind in KINDS:
        of = kinds == kind
        if of.any():
            beside = of | (labels != KINDS[kind].is_duplicate)
            right = (scores[of] > threshold) == KINDS[kind].is_duplicate
            auc = roc_auc(labels[beside], scores[beside])
            found[kind] = {"pairs": int(of.sum()), "auc": auc, "right": float(right.mean())}
    return found


def by_rule(model: SiameseModel, made: Sequence[Made]) -> dict[str, dict[str, dict[str, float]]]:
    """Return what `told` returns, for the cosine and for the verdict if the model has one."""
    pairs = Pairs.of([m.question1 for m in made], [m.question2 for m in made], [int(m.is_duplicate) for m in made])
    rules: dict[str, Rule] = {"cosine": model.rule(cosine=True), "verdict": model.rule()}
    return {name: told(made, scores, rules[name].threshold) for name, scores in scores_of(model, pairs).items()}


def train_without(group: str, start: str, questions: Sequence[str], out: Path, seed: int) -> SiameseModel:
    """Train shortly on near misses of all groups but one, as the second training of `train --unlabelled`."""
    from siamese.pairs.pile import read_pile
    from siamese.training.pile import with_near_misses
    from siamese.training.train import train_model

    file = out / "kinds.txt"
    write_text(file, "\n".join(questions[:LEARNED]) + "\n")
    model = SiameseModel.load(start)
    changes = {
        "unlabelled": str(file), "start_from": start, "seed": seed, "question_steps": STEPS * BATCH / 1e6,
        "unlabelled_batch": BATCH, "teacher_weight": 4.0, "neighbour_weight": 0.3, "learning_rate": 0.002,
    }  # fmt: skip
    config, none = recipe(None, changes, model.config), Pairs.of([], [], [])
    kinds = [kind for kind in KINDS if group_of(kind) != group]
    return train_model(config, with_near_misses(config, read_pile(file), none, kinds), none, start_from=model)


def without(model: SiameseModel, made: Sequence[Made], bench: Path) -> dict[str, Any]:
    """Return what a short training gives: on CheckList's capabilities to choose on, the twelve sets, and each kind."""
    chosen_on = json.loads(CAPABILITIES.read_text("utf-8"))["chosen on"]
    rows = [row for row in rows_of(bench / f"{CHECKLIST}.csv") if row["source"] in chosen_on]
    similarity = model.similarity([row["question1"] for row in rows], [row["question2"] for row in rows])
    sets = {name: each for name, each in read_sets(bench, None).items() if on_board(name)}
    return {
        "checklist": roc_auc(np.array([int(row["is_duplicate"]) for row in rows]), similarity),
        "mean": measure(sets, ByVectors(model.encode))["mean"],
        "kinds": by_rule(model, made)["cosine"],
    }


def mean_of(found: dict[str, dict[str, float]], group: str, what: str, labels: Sequence[bool]) -> float:
    """Return the mean of a figure over the kinds of a group with these labels, each weighing the same."""
    kinds = [kind for kind in found if group_of(kind) == group and KINDS[kind].is_duplicate in labels]
    return float(np.mean([found[kind][what] for kind in kinds]))


def write(out: Path) -> None:
    """Write kinds.md: the groups and all kinds by each model, and the short trainings."""
    models = {name: part["found"] for name, part in figures_of(out / "kinds.json").items()}
    runs = {name: part["found"] for name, part in figures_of(out / "without.json").items()}
    text = "# Near misses, group by group and kind by kind\n\n"
    text += "AUC: of the pairs and all pairs of the other label. Right: share at the model's threshold.\n\n"
    if models:
        columns = [(name, rule) for name, found in models.items() for rule in found]
        first = next(iter(models.values()))["cosine"]
        names = [f"{name}, {rule}" for name, rule in columns]
        head = ["pairs", *(f"AUC: {name}" for name in names), *(f"right: {name}" for name in names)]

        def cells(found: Any) -> list[str]:
            return [f"{found(*column, what):.3f}" for what in ("auc", "right") for column in columns]

        groups, kinds = [["group", "label", *head]], [["kind", "label", *head]]
        for group in GROUPS:
            for label in (False, True):
                of = [kind for kind in first if group_of(kind) == group and KINDS[kind].is_duplicate is label]
                if of:
                    count = f"{sum(int(first[kind]['pairs']) for kind in of):,}"
                    mean = cells(lambda name, rule, what: mean_of(models[name][rule], group, what, [label]))  # noqa: B023
                    groups.append([group, str(int(label)), count, *mean])
        for kind, facts in first.items():
            each = cells(lambda name, rule, what: models[name][rule][kind][what])  # noqa: B023
            kinds.append([kind, str(int(KINDS[kind].is_duplicate)), str(int(facts["pairs"])), *each])
        text += f"{markdown(groups, text=1)}\n{markdown(kinds, text=1)}\n"
    if whole := runs.get(NOTHING):
        rows = [["trained without", "CheckList, chosen on", "mean", "the group's pairs", "the same with all kinds"]]
        for name, found in runs.items():
            of = [found["kinds"], whole["kinds"]] if name in GROUPS else []
            auc = [f"{mean_of(each, name, 'auc', [False, True]):.3f}" for each in of] or ["-", "-"]
            rows.append([name, f"{found['checklist']:.3f}", f"{found['mean']:.3f}", *auc])
        text += markdown(rows, text=1)
    write_text(out / "kinds.md", text)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m reports.answers.kinds", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help="to measure")
    add("--questions", required=True, metavar="PATH", help="the pile: family, tab, text; .xz")
    add("--start-from", metavar="MODEL", help="of the short trainings: a model that saw no near miss")
    add("--train-without", nargs="+", default=[], choices=[NOTHING, *GROUPS], metavar="GROUP",
        help=f"groups of kinds to leave out, one after the other: {NOTHING}, {'; '.join(GROUPS)}")  # fmt: skip
    add("--seed", type=int, default=1, help="of the short trainings (%(default)s)")
    add("--bench", type=Path, default="../shared/bench", metavar="DIR", help="the sets (%(default)s)")
    add("--out", type=Path, default="models/answers", metavar="DIR", help="of the figures (%(default)s)")
    options = parser.parse_args()
    if options.train_without and not options.start_from:
        parser.error("--train-without needs --start-from MODEL")
    try:
        made = made_of(options.questions)
        for argument in options.models:
            name, _, model = argument.rpartition("=")
            keep(options.out / "kinds.json", name or model, by_rule(SiameseModel.load(model), made))
        questions = read(options.questions) if options.train_without else []
        if options.start_from and "start" not in figures_of(options.out / "without.json"):
            keep(
                options.out / "without.json",
                "start",
                without(SiameseModel.load(options.start_from), made, options.bench),
            )
        for group in options.train_without:
            part = group if options.seed == 1 else f"{group}, seed {options.seed}"
            if part not in figures_of(options.out / "without.json"):
                model = train_without(group, options.start_from, questions, options.out, options.seed)
                keep(options.out / "without.json", part, found := without(model, made, options.bench))
                print(f"{part}: CheckList {found['checklist']:.3f}, mean {found['mean']:.3f}", flush=True)
        write(options.out)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
