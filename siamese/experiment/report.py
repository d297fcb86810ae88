"""Write the report of a comparison, from its records."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from siamese.config import Config
from siamese.experiment.comparison import Comparison
from siamese.experiment.records import RESULTS, TRAININGS, Record
from siamese.experiment.scores import BINS, METRICS, TITLES
from siamese.experiment.statistics import BAND, POINTS, Contrast, Interval, contrast, contrasts, holm, interval, values
from siamese.experiment.variants import differing
from siamese.experiment.verdicts import constant
from siamese.pairs.pairs import Pairs
from siamese.pairs.splits import Datasets
from siamese.report import plots
from siamese.report.tables import code, inert, markdown, page
from siamese.system.files import write_text
from siamese.system.outputs import beginning_with, json_with

REPORT = "report.md"
COMPUTED = "<!-- `compare` computes what follows. What stands above was written by hand, and is kept. -->"
OUTPUTS = {  # of `compare`, with what shows that we wrote them
    TRAININGS: json_with("variant", "config"), RESULTS: beginning_with("variant,seed,epoch,"),
    REPORT: beginning_with(COMPUTED),
}  # fmt: skip
FIGURES = tuple(f"{name}.png" for name in ("scores", "differences", "curves", "histograms", "time", "sizes"))
PURPOSES = {
    "a verdict on a pair (accuracy, all test pairs)": "accuracy",
    "ranking pairs (average precision, unseen pairs)": "unseen average precision",
    "mining an archive (average precision among all pairs of the unseen questions)": "mining",
}


def write(c: Comparison, data: Datasets, out: Path, command: str) -> None:
    """Write report.md and its figures.

    Args:
        c: the records.
        data: the pairs that the variants were trained and scored on.
        out: the folder. If its report.md has the line COMPUTED, the text above it is kept: a person's title and answer.
        command: the command line that writes this report.
    """
    names = [v.name for v in c.variants if c.records[v.name]]
    found = contrasts(c)
    draw_figures(c, names, found, out)
    with_sizes = draw_sizes(c, names, len(data.training), out)
    assert data.test is not None
    sizes = "## By the number of training pairs\n\n![scores by the number of training pairs](sizes.png)"
    text = page(
        "siamese.experiment", "report.template", computed=COMPUTED, conclusion=conclusion(c),
        purposes=_purposes(c, names), base=_base(c.study.base), seeds=max(map(len, c.records.values())),
        training=len(data.training), duplicates=data.training.duplicates, validation=len(data.validation),
        test=len(data.test), command=command, majority=_majority(c, data.test), unseen=_scores(c, names, "unseen"),
        all=_scores(c, names, "all"), constant="\n".join(f"- {warning}" for warning in constant(c, data.test)),
        differences=_differences(c, found) if any(found.values()) else "",
        sizes=sizes if with_sizes else "", cost=_cost(c, names), chosen=_chosen(c), failures=_failures(c),
    )  # fmt: skip
    title = _by_hand(out / REPORT) or f"# {c.study.questions[0].text}"
    write_text(out / REPORT, f"{title}\n\n" + re.sub("\n{3,}", "\n\n", text).strip() + "\n")


def _by_hand(report: Path) -> str:
    """Return the text that a person wrote above the computed part of an earlier report."""
    text = report.read_text("utf-8") if report.exists() else ""
    return text.partition(COMPUTED)[0].strip() if COMPUTED in text else ""


def _points(i: Interval, sign: str = "") -> str:
    half = (i.high - i.low) / 2 * POINTS
    mean = round(i.mean * POINTS, 2) + 0.0  # without the minus of -0.00
    return f"{mean:{sign}.2f}" + ("" if np.isnan(half) else f" ± {half:.2f}")


def _sentence(c: Contrast) -> str:
    d = c.main
    return (
        f"{c}: **{d.verdict}** ({_points(d.interval, '+')} points of unseen average precision, "
        f"{'p' if np.isnan(d.holm) else 'corrected p'} {_p(d.shown_p)}; "
        f"accuracy {_points(c.by['accuracy'].interval, '+')}, mining {_points(c.by['mining'].interval, '+')})"
    )


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def conclusion(c: Comparison) -> str:
    """Return an answer to each question of the study, computed from the scores."""
    lines = []
    for question, several in contrasts(c).items():
        lines.append(f"- {question}")
        for x in several:
            lines.append(f"  - {'Primary contrast: ' if x.primary else ''}{_sentence(x)}")
        if not several:
            lines.append("  - not answered: the trainings failed")
    return "\n".join(lines)


def _purposes(c: Comparison, names: list[str]) -> str:
    """Return the best variant for each purpose, and those not shown to be worse."""
    if len(names) < 3:
        return ""
    lines = ["Which serves what:", ""]
    for purpose, name in PURPOSES.items():
        best = max(names, key=lambda n: float(np.mean(values(c, n, name))))
        others = [n for n in names if n != best]
        found = [contrast(c, n, best).by[name] for n in others]
        corrected = [replace(d, holm=p) for d, p in zip(found, holm([d.p for d in found]))]
        near = [code(n) for n, d in zip(others, corrected) if not d.verdict.startswith("lower")]
        lines.append(
            f"- {purpose}: {code(best)}, {_points(interval(values(c, best, name)))}; "
            + (f"not shown to be worse: {', '.join(near)}" if near else "all others are lower")
        )
    return "\n".join(lines)


def _base(base: Config) -> str:
    """Return in words the recipe that the variants change."""
    epochs = f"{base.epochs} epochs" if base.epochs else "4 epochs or more, until 500 steps are done,"
    parts = [
        "Embedding {} → LSTM {} → mean → normalize".format(*base.sizes) + (" with skip" if base.skip else ""),
        f"batch {base.batch_size}",
        f"margin {base.margin:g}",
        f"{epochs} of which the best on the validation pairs is kept",
        f"stopped after {base.patience} epochs without a better score there" if base.patience else "",
        f"{base.optimizer} at {base.learning_rate:g} ({base.schedule})",
        base.precision,
        "sides swapped at random" if base.swap else "no swapping of sides",
        f"words seen less than {base.min_count} times share {base.buckets:,} embeddings" if base.buckets else "",
        f"a labelled loss beside another counts {base.labelled_weight:g} times",
        f"{base.teacher_weight:g} × distance from the vectors of {base.teacher}" if base.teacher else "",
    ]
    return ", ".join(filter(None, parts))


def _majority(c: Comparison, test: Pairs) -> str:
    """Return the accuracy of always giving the more frequent answer, to compare accuracies with."""
    unseen = np.sum(next(r for records in c.records.values() for r in records)["histogram"], axis=1)
    every = np.bincount(test.labels, minlength=2)
    shares = [counts.max() / counts.sum() * POINTS for counts in (unseen, every)]
    return "Always giving the more frequent answer has an accuracy of {:.2f} (unseen) and {:.2f} (all).".format(*shares)


def _scores(c: Comparison, names: list[str], part: str) -> str:
    """Return the table of the scores on the unseen test pairs, or on all."""
    mining = ["mining"] if part == "unseen" else []
    rows = [[f"{part} test pairs", "seeds", *TITLES.values(), *mining]]
    for name in names:
        scores = [[r[part][metric] for r in c.records[name]] for metric in METRICS]
        scores += [values(c, name, measure) for measure in mining]
        rows.append([code(name), str(len(c.records[name])), *(_points(interval(x)) for x in scores)])
    return markdown(rows, text=1)


def _resampled(c: Comparison, primary: Contrast) -> str:
    """Return how the primary difference varies with the test pairs, which the intervals over seeds take as given."""
    pairs = zip(*c.shared(primary.one, primary.other))
    differences = np.mean([np.subtract(*(np.array(r["resamples"], float) for r in pair)) for pair in pairs], axis=0)
    low, high = np.nanpercentile(differences, (2.5, 97.5)) * POINTS
    return (
        "These intervals are about other seeds, on the same test pairs. With other test pairs "
        f"({len(differences)} bootstrap samples of the unseen pairs, means over the seeds compared), the primary "
        f"difference would lie between {low:+.2f} and {high:+.2f} points 95 times in a hundred."
    )


def _differences(c: Comparison, found: dict[str, list[Contrast]]) -> str:
    rows = [["contrast", "unseen AP", "d", "p", "verdict", "accuracy", "", "mining", ""]]
    every = [x for several in found.values() for x in several]
    for x in every:
        d, name = x.main, f"{x}{' (primary)' if x.primary else ''}"
        others = [cell for o in (x.by["accuracy"], x.by["mining"]) for cell in (_points(o.interval, "+"), o.verdict)]
        effect = "–" if np.isnan(d.effect) else f"{d.effect:+.2f}"
        rows.append([name, _points(d.interval, "+"), effect, _p(d.shown_p), d.verdict, *others])
    table, resampled = markdown(rows, text=1), "\n\n".join(_resampled(c, x) for x in every if x.primary)
    template = ("siamese.experiment", "differences.template")
    return page(*template, band=BAND * POINTS, table=table, resampled=resampled)


def _cost(c: Comparison, names: list[str]) -> str:
    """Return the table of seconds per epoch, and of their ratio to the first variant's with the same seed."""
    rows = [["variant", "seconds an epoch", f"times {code(names[0])}"]]
    by_name = {name: {r["config"]["seed"]: r["seconds_an_epoch"] for r in c.records[name]} for name in names}
    first = by_name[names[0]]
    for name, seconds in by_name.items():
        ratios = [seconds[seed] / first[seed] for seed in seconds if seed in first]
        rows.append([code(name), f"{np.median(list(seconds.values())):.1f}", f"{np.median(ratios):.2f}"])
    return markdown(rows, text=1)


def _chosen(c: Comparison) -> str:
    """Return the table of the settings that were tried, with the chosen ones."""
    if not c.tried:
        return ""
    rows = [["variant", "setting", "validation average precision", ""]]
    varied = {v.name: differing(v.settings[0], v.settings[-1]) for v in c.variants}
    for record in c.tried:
        if (variant := record["variant"]) not in varied:  # a record that an earlier run wrote under another name
            continue
        setting = ", ".join(f"{name} {record['config'][name]}" for name in varied[variant])
        score = "failed" if "error" in record else f"{record['validation'] * POINTS:.2f}"
        rows.append([code(variant), inert(setting), score, "taken" if record in c.records[variant] else ""])
    return (
        "## Settings\n\nEach was trained with the first seed; the one with the highest average precision on the "
        f"validation pairs is compared.\n\n{markdown(rows, text=2)}"
    )


def _failures(c: Comparison) -> str:
    if not c.failed:
        return ""
    lines = [f"- {code(r['variant'])}, seed {r['config']['seed']}: {inert(r['error'])}" for r in c.failed]
    return "## Trainings that failed\n\n" + "\n".join(lines)


def draw_figures(c: Comparison, names: list[str], found: dict[str, list[Contrast]], out: Path) -> None:
    """Draw scores, differences, learning curves, similarities and times of the variants `names` into a folder."""
    panels = {
        title: {
            f"{part} test pairs": np.array([interval([r[part][metric] for r in c.records[name]]) for name in names])
            for part in ("unseen", "all")
        }
        for metric, title in TITLES.items()
    }
    plots.intervals(names, panels, out / "scores.png")
    if every := [x for several in found.values() for x in several]:
        spans = {"difference, 95 % interval": np.array([x.main.interval for x in every]) * POINTS}
        labels = [f"{x.one}\n– {x.other}" for x in every]
        title = "Difference of unseen average precision, points"
        plots.intervals(labels, {title: spans}, out / "differences.png", BAND * POINTS)
        curves = {
            question: {name: _by_epoch(c.records[name]) for x in several for name in (x.other, x.one)}
            for question, several in found.items()
            if several
        }
        plots.bands(curves, "average precision", out / "curves.png")
    counts = np.array([np.sum([r["histogram"] for r in c.records[name]], axis=0) for name in names])
    plots.histograms(names, counts, BINS, out / "histograms.png")
    seconds = [np.percentile([r["seconds_an_epoch"] for r in c.records[name]], (50, 10, 90)) for name in names]
    plots.bars(names, np.array(seconds), "Time of an epoch", "seconds", out / "time.png")


def draw_sizes(c: Comparison, names: list[str], every: int, out: Path) -> bool:
    """Draw scores by the number of training pairs. Return False if the variants do not differ in it."""
    found: dict[str, dict[int, str]] = {}  # variants, by the rest of their names and by size
    for name in names:
        parts = [part for part in name.split(",") if not part.startswith(("training_pairs=", "epochs="))]
        size = c.records[name][0]["config"]["training_pairs"] or every
        found.setdefault(",".join(parts), {})[size] = name
    sizes = sorted({size for by_size in found.values() for size in by_size})
    if len(sizes) < 2:
        return False

    def curve(by_size: dict[int, str], measure: str) -> np.ndarray:
        nothing = (np.nan,) * 3
        return np.array([interval(values(c, by_size[n], measure)) if n in by_size else nothing for n in sizes]).T

    panels = {
        title: {name: curve(by_size, title) for name, by_size in found.items()}
        for title in ("unseen average precision", "accuracy")
    }
    plots.by_size(sizes, panels, out / "sizes.png")
    return True


def _by_epoch(records: list[Record]) -> np.ndarray:
    """Return mean, low and high of the validation average precision, (3, epochs), of the epochs that all seeds have."""
    epochs = zip(*(r["history"] for r in records))
    return np.array([interval([record["average_precision"] for record in seeds]) for seeds in epochs]).T
