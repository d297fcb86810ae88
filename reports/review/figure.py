"""Make the tables and the figure of the simulation from simulation.csv.

python -m reports.review.figure
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reports.measured import table
from reports.review.simulate import CHOSEN_ON, PRECISION, RECALL, WAYS

HERE = Path(__file__).parent
Row = dict[str, str]
NAMES = {"active": "active, in stages", "fixed": "one order from the start", "random": "uniformly random"}


def precision(row: Row) -> float:
    """Return the true precision of the pairs above the threshold, or NaN if there is no threshold."""
    return int(row["hits"]) / int(row["pairs"]) if int(row["pairs"]) else np.nan


def recall(row: Row) -> float:
    """Return the share of the pool's duplicates above the threshold, 0 if there is none."""
    return int(row["hits"]) / int(row["duplicates"])


def possible(row: Row) -> bool:
    """Return whether an oracle's threshold reaches the precision with enough recall."""
    return float(row["oracle"]) >= RECALL


def counts(rows: Sequence[Row]) -> dict[str, object]:
    """Return how many runs end how, and the mean recall."""
    reachable = [row for row in rows if possible(row)]
    given = [row for row in reachable if int(row["pairs"])]
    right = sum(precision(row) >= PRECISION for row in given)
    hopeless = [row for row in rows if not possible(row)]
    return {
        "runs": len(reachable), "right": right, "imprecise": len(given) - right, "empty": len(reachable) - len(given),
        "right %": 100 * right / max(len(reachable), 1), "recall": float(np.mean([recall(row) for row in reachable])),
        "best": float(np.mean([float(row["oracle"]) for row in reachable])),
        "impossible": len(hopeless), "said so": sum(not int(row["pairs"]) for row in hopeless),
    }  # fmt: skip


def main() -> None:
    """Print the tables, and draw the figure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with (HERE / "simulation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    answers = sorted({int(row["answers"]) for row in rows})
    parts = {
        "sets that the design was chosen on": [row for row in rows if row["set"] in CHOSEN_ON],
        "other sets": [row for row in rows if row["set"] not in CHOSEN_ON],
    }
    for name, part in (*parts.items(), ("all sets", rows)):
        of = [(way, n) for n in (40, 60, 100, 200) for way in WAYS]
        chosen = [[row for row in part if row["way"] == way and int(row["answers"]) == n] for way, n in of]
        lines = [{"way": NAMES[way], "answers": str(n)} | counts(own) for (way, n), own in zip(of, chosen)]
        print(f"{name}\n\n{table(lines)}")
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7), sharex=True, sharey="row", layout="constrained")
    for column, (name, part) in zip(axes.T, parts.items()):
        for way, colour in zip(WAYS, ("tab:blue", "tab:green", "tab:orange")):
            own = [[r for r in part if r["way"] == way and int(r["answers"]) == n and possible(r)] for n in answers]
            column[0].plot(
                answers, [np.mean([recall(r) for r in some]) for some in own], "o-", c=colour, label=NAMES[way]
            )
            right = [np.mean([precision(r) >= PRECISION for r in some]) for some in own]
            column[1].plot(answers, right, "o-", c=colour)
            points = [(n, precision(r)) for n, some in zip(answers, own) for r in some if int(r["pairs"])]
            shift = 2 * (list(WAYS).index(way) - 1)
            column[1].scatter([n + shift for n, _ in points], [p for _, p in points], s=9, c=colour, alpha=0.35)
        best = [np.mean([float(r["oracle"]) for r in part if int(r["answers"]) == n and possible(r)]) for n in answers]
        column[0].plot(answers, best, "--", c="grey", label="an oracle's threshold, weights as they are")
        column[0].set_title(name)
        column[1].axhline(PRECISION, c="grey", ls=":")
        column[1].set_xlabel("answers")
    axes[0, 0].set_ylabel("mean recall of the pool's duplicates")
    axes[1, 0].set_ylabel("share of runs that are right (lines)\nprecision of those with a threshold (dots)")
    axes[0, 0].legend()
    figure.savefig(HERE / "simulation.png", dpi=110)


if __name__ == "__main__":
    main()
