"""Figures. They draw the numbers that they get, and compute nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from siamese.system.files import replacing

if TYPE_CHECKING:
    from siamese.evaluation.examination import Shares, Slice

DUPLICATE, OTHER, LINE = "#1b7f5f", "#c2552d", "#3b4a6b"  # distinct for colour-blind readers too
SERIES, MARKERS = (LINE, OTHER, DUPLICATE), "osv^DPX*"


def training_curve(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw loss and validation scores by epoch."""
    epochs = [record["epoch"] for record in history]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [record["loss"] for record in history], color=LINE, marker=".")
    left.set(title="Training loss", xlabel="epoch")
    best = max(history, key=lambda record: record["average_precision"])
    for name, colour in (("average_precision", DUPLICATE), ("roc_auc", LINE), ("accuracy", OTHER)):
        right.plot(epochs, [record[name] for record in history], color=colour, marker=".", label=name.replace("_", " "))
    right.axvline(best["epoch"], color="grey", linestyle=":", label="kept epoch")
    right.set(title="Validation pairs", xlabel="epoch")
    right.legend()
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    _save(figure, path)


def similarity_histogram(labels: np.ndarray, similarity: np.ndarray, threshold: float, path: Path) -> None:
    """Draw histograms of the similarity of duplicates and of non-duplicates, with the threshold; arrays (n,)."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    bins = np.linspace(min(0, float(similarity.min())), 1, 51).tolist()
    axes.hist(similarity[labels == 0], bins, color=OTHER, alpha=0.65, label="not duplicate")
    axes.hist(similarity[labels == 1], bins, color=DUPLICATE, alpha=0.65, label="duplicate")
    axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.2f}")
    axes.set(title="Similarity of validation pairs", xlabel="cosine", ylabel="pairs")
    axes.legend()
    _save(figure, path)


def ranking_curves(curves: dict[str, np.ndarray], average_precision: float, auc: float, path: Path) -> None:
    """Draw precision against recall, and the ROC curve; `curves` of `evaluation.metrics.curves`."""
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(curves["recall"], curves["precision"], color=LINE)
    left.set(title=f"Precision-recall (average precision {average_precision:.3f})", xlabel="recall", ylabel="precision")
    _unit(left)
    right.plot(curves["false_positive_rate"], curves["recall"], color=LINE)
    right.plot([0, 1], [0, 1], color="grey", linestyle=":")
    right.set(title=f"ROC (area {auc:.3f})", xlabel="false positive rate", ylabel="true positive rate")
    _unit(right)
    _save(figure, path)


def heat_map(scores: np.ndarray, path: Path) -> None:
    """Draw S of a batch of duplicates, (B, B); the diagonal should stand out."""
    figure = Figure(figsize=(5.4, 4.6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(scores, cmap="viridis", vmin=min(0, float(scores.min())), vmax=1)
    axes.set(title="S = v1 · v2ᵀ of a validation batch", xlabel="question 2", ylabel="question 1")
    figure.colorbar(image, label="cosine")
    _save(figure, path)


def _unit(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def bars(names: Sequence[str], values: np.ndarray, title: str, unit: str, path: Path) -> None:
    """Draw a bar for each of n names; values (n, 3): median, 10th and 90th percentile."""
    figure = Figure(figsize=(8, 1.2 + 0.36 * len(names)), layout="constrained")
    axes = figure.subplots()
    errors = np.abs(values[:, 1:] - values[:, :1]).T
    axes.barh(list(names), values[:, 0], xerr=errors, color=LINE, ecolor=OTHER, capsize=3)
    axes.invert_yaxis()
    axes.set(title=title, xlabel=unit)
    axes.grid(axis="x", alpha=0.3)
    _save(figure, path)


def growth(x: np.ndarray, seconds: np.ndarray, memory: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Draw time and memory against a size, on logarithmic axes; `names` of the size, the time and the memory."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, y, name in zip(figure.subplots(1, 2), (seconds, memory), names[1:3]):
        axes.loglog(x, y, color=LINE, marker="o")
        axes.loglog(x, y[-1] * x / x[-1], color="grey", linestyle=":", label="in proportion")
        axes.set(title=name, xlabel=names[0])
        axes.set_xticks(x, [f"{size:,}" for size in x])
        axes.minorticks_off()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def intervals(
    names: Sequence[str], panels: dict[str, dict[str, np.ndarray]], path: Path, band: float | None = None
) -> None:
    """Draw means with their intervals, a line for each of n names.

    Args:
        names: n labels.
        panels: by title, then by series: (n, 3) mean, low, high; nan if there is none.
        band: half the width of a grey band around 0; None: no band.
    """
    height = 1.4 + 0.3 * len(names) * max(name.count("\n") + 1 for name in names)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    words = 0.08 * max(len(line) for name in names for line in name.split("\n"))
    figure = Figure(figsize=(0.8 + words + 4.2 * columns, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, (title, series) in zip(grid.flat, panels.items()):
        for i, (label, values) in enumerate(series.items()):
            y = np.arange(len(names)) + 0.16 * (2 * i - len(series) + 1)
            errors = np.abs(values[:, 1:] - values[:, :1]).T
            axes.errorbar(values[:, 0], y, xerr=errors, fmt="o", ms=4, capsize=3, color=SERIES[i], label=label)
        if band is not None:
            axes.axvspan(-band, band, color="grey", alpha=0.2, label=f"equal within {band:g}")
            axes.axvline(0, color="grey", linewidth=0.8)
        axes.set(title=title)
        axes.set_yticks(np.arange(len(names)), list(names))
        axes.grid(axis="x", alpha=0.3)
    grid[0, 0].invert_yaxis()
    handles, labels = grid[0, 0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    _save(figure, path)


def bands(panels: dict[str, dict[str, np.ndarray]], unit: str, path: Path) -> None:
    """Draw curves by epoch, with bands.

    Args:
        panels: by title, then by name: (3, epochs) mean, low, high.
        unit: of the vertical axis.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(6 * columns, 4.2 * rows), layout="constrained")
    colours = colormaps["tab10"]
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, (title, curves) in zip(grid.flat, panels.items()):
        for i, (name, (mean, low, high)) in enumerate(curves.items()):
            epochs = np.arange(1, len(mean) + 1)
            axes.plot(epochs, mean, color=colours(i % 10), marker=MARKERS[i % len(MARKERS)], ms=4, label=name)
            axes.fill_between(epochs, low, high, color=colours(i % 10), alpha=0.15)
        axes.set_title(title, fontsize=10, wrap=True)
        axes.set(xlabel="epoch", ylabel=unit)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    for axes in grid.flat[len(panels) :]:
        axes.axis("off")
    _save(figure, path)


def by_size(sizes: Sequence[int], panels: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Draw scores by the number of training pairs.

    Args:
        sizes: numbers of training pairs, ascending.
        panels: by title, then by name: (3, sizes) mean, low, high; nan if there is none.
    """
    figure = Figure(figsize=(5.5 * len(panels), 4.2), layout="constrained")
    for axes, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False).flat, panels.items()):
        for (name, (mean, low, high)), colour, marker in zip(curves.items(), SERIES, MARKERS):
            axes.errorbar(sizes, mean, (mean - low, high - mean), color=colour, marker=marker, capsize=3, label=name)
        axes.set(title=title, xlabel="training pairs", xscale="log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=30)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    _save(figure, path)


def histograms(names: Sequence[str], counts: np.ndarray, bins: np.ndarray, path: Path) -> None:
    """Draw shares of non-duplicates and duplicates by similarity, a panel for each of n names; counts (n, 2, bins)."""
    columns, lowest = 4, int(np.flatnonzero(counts.any(axis=(0, 1)))[0])
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(11, 0.6 + 1.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axes, name, (others, duplicates) in zip(grid.flat, names, counts):
        for values, colour, label in ((others, OTHER, "not duplicate"), (duplicates, DUPLICATE, "duplicate")):
            axes.stairs(values / max(1, values.sum()), bins, color=colour, fill=True, alpha=0.6, label=label)
        axes.set_title(name, fontsize=8)
        axes.set(yticks=[], xlim=(bins[lowest], bins[-1]))
    for axes in grid.flat[len(names) :]:
        axes.axis("off")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    _save(figure, path)


def reliability(bins: np.ndarray, path: Path) -> None:
    """Draw the share of duplicates against the probability; bins (n, 3) of `calibration.reliability`."""
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    used = bins[bins[:, 0] > 0]
    upper.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect calibration")
    upper.plot(used[:, 1], used[:, 2], color=LINE, marker="o", label="this model")
    upper.set(title="Reliability of the probability", ylabel="share of duplicates")
    _unit(upper)
    upper.legend()
    edges = np.linspace(0, 1, len(bins) + 1)
    lower.bar(edges[:-1], bins[:, 0], width=1 / len(bins), align="edge", color=LINE, alpha=0.7)
    lower.set(xlabel="probability", ylabel="pairs")
    _save(figure, path)


def by_prior(priors: np.ndarray, found: dict[str, tuple[np.ndarray, np.ndarray]], fitted: float, path: Path) -> None:
    """Draw precision and recall by the share of duplicates; `found`: by name (precision, recall), like `priors`."""
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    for k, (axes, title) in enumerate(zip(figure.subplots(1, 2), ("precision", "recall"))):
        for (name, values), colour in zip(found.items(), SERIES):
            axes.semilogx(priors, values[k], color=colour, label=name)
        axes.axvline(fitted, color="grey", linestyle=":", label="share among the validation pairs")
        axes.set(title=title.capitalize(), xlabel="share of duplicates among the pairs", ylim=(0, 1.02))
        axes.set_xticks((0.001, 0.01, 0.1, 0.5), ("0.1 %", "1 %", "10 %", "50 %"))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    _save(figure, path)


def slices(panels: "dict[str, dict[str, list[Slice]]]", path: Path) -> None:
    """Draw scores by kind of pair: a row of panels for each part of the pairs, a column for each property.

    Args:
        panels: by property, then by part.
    """
    parts = list(dict.fromkeys(part for columns in panels.values() for part in columns))
    figure = Figure(figsize=(4.1 * len(panels), 0.5 + 3.3 * len(parts)), layout="constrained")
    grid = figure.subplots(len(parts), len(panels), sharey=True, squeeze=False)
    for (what, by_part), column in zip(panels.items(), grid.T):
        for part, axes in zip(parts, column):
            rows = by_part.get(part, [])
            names = [row.slice for row in rows]

            def values(key: str, rows: "list[Slice]" = rows) -> list[float]:
                return [np.nan if getattr(row, key) is None else getattr(row, key) for row in rows]

            axes.bar(names, values("share"), color="grey", alpha=0.3, label="share of the pairs")
            axes.plot(names, values("duplicates"), color="black", marker="_", ms=14, ls="", label="share of duplicates")
            axes.plot(names, values("accuracy"), color=OTHER, marker="s", ms=5, label="accuracy")
            axes.plot(names, values("average_precision"), color=LINE, marker="o", ms=5, label="average precision")
            axes.set(title=f"{part} pairs by {what}", ylim=(0, 1.03))
            axes.grid(axis="y", alpha=0.3)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    _save(figure, path)


def features(panels: "dict[str, dict[str, Shares]]", path: Path) -> None:
    """Draw how frequent features are among confident mistakes and among correct verdicts.

    Args:
        panels: by title, then by feature.
    """
    names = list(next(iter(panels.values())))
    figure = Figure(figsize=(5 * len(panels) + 2, 1.4 + 0.36 * len(names)), layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, rows) in zip(grid, panels.items()):
        for shift, key, colour, label in ((-0.19, "wrong", OTHER, "mistakes"), (0.19, "right", DUPLICATE, "right")):
            shares = [100 * (getattr(rows[name], key) or 0.0) for name in names]
            axes.barh(np.arange(len(names)) + shift, shares, 0.36, color=colour, label=label)
        axes.set(title=title, xlabel="% of the verdicts")
        axes.set_yticks(np.arange(len(names)), names)
        axes.grid(axis="x", alpha=0.3)
    grid[0].set_ylim(len(names) - 0.4, -0.6)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    _save(figure, path)
