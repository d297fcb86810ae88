"""Figures. They draw the numbers that they get, and compute nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from siamese.report.tables import kept
from siamese.system.files import replacing

if TYPE_CHECKING:
    from siamese.evaluation.examination import Shares, Slice

DUPLICATE, OTHER, LINE = "#1b7f5f", "#c2552d", "#3b4a6b"  # distinct for colour-blind readers too
SERIES, MARKERS = (LINE, OTHER, DUPLICATE), "osv^DPX*"


@contextmanager
def figure(
    path: Path, width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> Iterator[np.ndarray]:
    """Yield the axes of a new figure, (rows, columns), and write it to `path` as PNG when the block ends.

    Args:
        path: the file.
        width, height: in inches.
        rows, columns: of panels.
        options: of `Figure.subplots`.
    """
    drawn = Figure(figsize=(width, height), layout="constrained")
    yield drawn.subplots(rows, columns, squeeze=False, **options)
    with replacing(path) as temporary:
        drawn.savefig(temporary, format="png", dpi=110)


def _legend_below(axes: Axes) -> None:
    """Put the legend of one panel below the whole figure, in a row, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    axes.figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def _legend_beside(axes: Axes) -> None:
    """Put the legend of a panel to its right, where it covers nothing."""
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _unit(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)


def training_curve(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw loss and validation scores by epoch."""
    epochs = [record["epoch"] for record in history]
    best = kept(history)
    with figure(path, 9, 3.6, 1, 2) as ((left, right),):
        left.plot(epochs, [record["loss"] for record in history], color=LINE, marker=".")
        left.set(title="Training loss", xlabel="epoch")
        for name, colour in (("average_precision", DUPLICATE), ("roc_auc", LINE), ("accuracy", OTHER)):
            scores = [record[name] for record in history]
            right.plot(epochs, scores, color=colour, marker=".", label=name.replace("_", " "))
        right.axvline(best["epoch"], color="grey", linestyle=":", label="kept epoch")
        right.set(title="Validation pairs", xlabel="epoch")
        _legend_beside(right)
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)


def similarity_histogram(labels: np.ndarray, similarity: np.ndarray, threshold: float, path: Path) -> None:
    """Draw histograms of the similarity of duplicates and of non-duplicates, with the threshold; arrays (n,)."""
    bins = np.linspace(min(0, float(similarity.min())), 1, 51).tolist()
    with figure(path, 7, 3.6) as ((axes,),):
        for label, colour, name in ((0, OTHER, "not duplicate"), (1, DUPLICATE, "duplicate")):
            axes.hist(similarity[labels == label], bins, color=colour, alpha=0.65, label=name)
        axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.2f}")
        axes.set(title="Similarity of validation pairs", xlabel="cosine", ylabel="pairs")
        _legend_below(axes)


def ranking_curves(curves: dict[str, np.ndarray], average_precision: float, auc: float, path: Path) -> None:
    """Draw precision against recall, and the ROC curve; `curves` of `evaluation.metrics.curves`."""
    with figure(path, 9, 3.9, 1, 2) as ((left, right),):
        left.plot(curves["recall"], curves["precision"], color=LINE)
        title = f"Precision-recall (average precision {average_precision:.3f})"
        left.set(title=title, xlabel="recall", ylabel="precision")
        right.plot(curves["false_positive_rate"], curves["recall"], color=LINE)
        right.plot([0, 1], [0, 1], color="grey", linestyle=":")
        right.set(title=f"ROC (area {auc:.3f})", xlabel="false positive rate", ylabel="true positive rate")
        _unit(left)
        _unit(right)


def heat_map(scores: np.ndarray, path: Path) -> None:
    """Draw S of a batch of duplicates, (B, B); the diagonal should stand out."""
    with figure(path, 5.4, 4.6) as ((axes,),):
        image = axes.imshow(scores, cmap="viridis", vmin=min(0, float(scores.min())), vmax=1)
        axes.set(title="S = v1 · v2ᵀ of a validation batch", xlabel="question 2", ylabel="question 1")
        axes.figure.colorbar(image, label="cosine")


def bars(names: Sequence[str], values: np.ndarray, title: str, unit: str, path: Path) -> None:
    """Draw a bar for each of n names; values (n, 3): median, 10th and 90th percentile."""
    with figure(path, 8, 1.2 + 0.36 * len(names)) as ((axes,),):
        errors = np.abs(values[:, 1:] - values[:, :1]).T
        axes.barh(list(names), values[:, 0], xerr=errors, color=LINE, ecolor=OTHER, capsize=3)
        axes.invert_yaxis()
        axes.set(title=title, xlabel=unit)
        axes.grid(axis="x", alpha=0.3)


def intervals(
    names: Sequence[str], panels: dict[str, dict[str, np.ndarray]], path: Path, band: float | None = None
) -> None:
    """Draw means with their intervals, a line for each of n names.

    Args:
        names: n labels.
        panels: by title, then by series: (n, 3) mean, low, high; nan if there is none.
        band: half the width of a grey band around 0; None: no band, and no value below 0.
    """
    height = 1.4 + 0.3 * len(names) * max(name.count("\n") + 1 for name in names)
    words = 0.08 * max(len(line) for name in names for line in name.split("\n"))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with figure(path, 0.8 + words + 4.2 * columns, height * rows, rows, columns, sharey=True) as grid:
        for axes, (title, series) in zip(grid.flat, panels.items()):
            for i, (label, values) in enumerate(series.items()):
                y = np.arange(len(names)) + 0.16 * (2 * i - len(series) + 1)
                if band is None:  # scores, none of which is below 0, whatever the interval
                    values = np.maximum(values, 0)
                errors = np.abs(values[:, 1:] - values[:, :1]).T
                axes.errorbar(values[:, 0], y, xerr=errors, fmt="o", ms=4, capsize=3, color=SERIES[i], label=label,
                              clip_on=False)  # fmt: skip
            if band is not None:
                axes.axvspan(-band, band, color="grey", alpha=0.2, label=f"equal within {band:g}")
                axes.axvline(0, color="grey", linewidth=0.8)
            else:
                axes.set_xlim(left=max(0, axes.get_xlim()[0]))
            axes.set(title=title, ylim=(len(names) - 0.4, -0.6))
            axes.set_yticks(np.arange(len(names)), list(names))
            axes.grid(axis="x", alpha=0.3)
        if len(grid[0, 0].get_legend_handles_labels()[1]) > 1:
            _legend_below(grid[0, 0])


def bands(panels: dict[str, dict[str, np.ndarray]], unit: str, path: Path) -> None:
    """Draw curves by epoch, with bands.

    Args:
        panels: by title, then by name: (3, epochs) mean, low, high.
        unit: of the vertical axis.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    words = 0.075 * max(len(name) for curves in panels.values() for name in curves)
    with figure(path, (5 + words) * columns, 3.8 * rows, rows, columns, sharey=True) as grid:
        for axes, (title, curves) in zip(grid.flat, panels.items()):
            for i, (name, (mean, low, high)) in enumerate(curves.items()):
                epochs, colour = np.arange(1, len(mean) + 1), colormaps["tab10"](i % 10)
                axes.plot(epochs, mean, color=colour, marker=MARKERS[i % len(MARKERS)], ms=4, label=name)
                axes.fill_between(epochs, low, high, color=colour, alpha=0.15)
            axes.set_title(title, fontsize=10, wrap=True)
            axes.set(xlabel="epoch", ylabel=unit)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            _legend_beside(axes)
        for axes in grid.flat[len(panels) :]:
            axes.axis("off")


def by_size(sizes: Sequence[int], panels: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Draw scores by the number of training pairs.

    Args:
        sizes: numbers of training pairs, ascending.
        panels: by title, then by name: (3, sizes) mean, low, high; nan if there is none.
    """
    with figure(path, 5.5 * len(panels), 4.2, 1, len(panels)) as (row,):
        for axes, (title, curves) in zip(row, panels.items()):
            for (name, (mean, low, high)), colour, marker in zip(curves.items(), SERIES, MARKERS):
                errors = mean - low, high - mean
                axes.errorbar(sizes, mean, errors, color=colour, marker=marker, capsize=3, label=name)
            axes.set(title=title, xlabel="training pairs", xscale="log")
            axes.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=30)
            axes.minorticks_off()
            axes.grid(alpha=0.3)
        _legend_below(row[0])


def histograms(names: Sequence[str], counts: np.ndarray, bins: np.ndarray, path: Path) -> None:
    """Draw shares of non-duplicates and duplicates by similarity, a panel for each of n names; counts (n, 2, bins)."""
    lowest = int(np.flatnonzero(counts.any(axis=(0, 1)))[0])
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    with figure(path, 2.75 * max(2, columns), 0.6 + 1.9 * rows, rows, columns, sharex=True) as grid:
        for axes, name, (others, duplicates) in zip(grid.flat, names, counts):
            for values, colour, label in ((others, OTHER, "not duplicate"), (duplicates, DUPLICATE, "duplicate")):
                axes.stairs(values / max(1, values.sum()), bins, color=colour, fill=True, alpha=0.6, label=label)
            axes.set_title(name, fontsize=8, wrap=True)
            axes.set(yticks=[], xlim=(bins[lowest], bins[-1]))
            axes.tick_params(axis="x", labelsize=8)
        for axes in grid.flat[max(0, len(names) - columns) : len(names)]:  # the lowest of each column
            axes.tick_params(axis="x", labelbottom=True)
        for axes in grid.flat[len(names) :]:
            axes.axis("off")
        _legend_below(grid[0, 0])


def reliability(bins: np.ndarray, path: Path) -> None:
    """Draw the share of duplicates against the probability; bins (n, 3) of `calibration.reliability`."""
    used, edges = bins[bins[:, 0] > 0], np.linspace(0, 1, len(bins) + 1)
    with figure(path, 5, 4.6, 2, 1, sharex=True, height_ratios=(3, 1)) as ((upper,), (lower,)):
        upper.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect calibration")
        upper.plot(used[:, 1], used[:, 2], color=LINE, marker="o", label="this model")
        upper.set(title="Reliability of the probability", ylabel="share of duplicates")
        _unit(upper)
        _legend_below(upper)
        lower.bar(edges[:-1], bins[:, 0], width=1 / len(bins), align="edge", color=LINE, alpha=0.7)
        lower.set(xlabel="probability", ylabel="pairs")


def by_prior(priors: np.ndarray, found: dict[str, tuple[np.ndarray, np.ndarray]], fitted: float, path: Path) -> None:
    """Draw precision and recall by the share of duplicates, (k,); `fitted` is the share among the validation pairs."""
    with figure(path, 9, 3.9, 1, 2) as (row,):
        for k, (axes, title) in enumerate(zip(row, ("Precision", "Recall"))):
            for (name, values), colour in zip(found.items(), SERIES):
                axes.semilogx(priors, values[k], color=colour, label=name)
            axes.axvline(fitted, color="grey", linestyle=":", label="share among the validation pairs")
            axes.set(title=title, xlabel="share of duplicates among the pairs", ylim=(0, 1.02))
            axes.set_xticks((0.001, 0.01, 0.1, 0.5), ("0.1 %", "1 %", "10 %", "50 %"))
            axes.grid(alpha=0.3)
        _legend_below(row[0])


def slices(panels: "dict[str, dict[str, list[Slice]]]", path: Path) -> None:
    """Draw scores by kind of pair: a column for each property, the keys of `panels`, and a row for each part."""
    parts = list(dict.fromkeys(part for columns in panels.values() for part in columns))
    size = 4.1 * len(panels), 0.5 + 3.3 * len(parts)
    with figure(path, *size, len(parts), len(panels), sharey=True) as grid:
        for (what, by_part), column in zip(panels.items(), grid.T):
            for part, axes in zip(parts, column):
                rows = by_part.get(part, [])
                names = [row.slice for row in rows]
                axes.bar(names, [row.share for row in rows], color="grey", alpha=0.3, label="share of the pairs")
                for key, label, style in (
                    ("duplicates", "share of duplicates", {"color": "black", "marker": "_", "ms": 14, "ls": ""}),
                    ("accuracy", "accuracy", {"color": OTHER, "marker": "s", "ms": 5}),
                    ("average_precision", "average precision", {"color": LINE, "marker": "o", "ms": 5}),
                ):  # None becomes nan
                    axes.plot(names, np.array([getattr(row, key) for row in rows], float), label=label, **style)
                axes.set(title=f"{part} pairs by {what}", ylim=(0, 1.03))
                axes.grid(axis="y", alpha=0.3)
        _legend_below(grid[0, 0])


def features(panels: "dict[str, dict[str, Shares]]", path: Path) -> None:
    """Draw the frequency of features among confident mistakes and correct verdicts; panels by title, then feature."""
    names = list(next(iter(panels.values())))
    with figure(path, 5 * len(panels) + 2, 1.4 + 0.36 * len(names), 1, len(panels), sharey=True) as (row,):
        for axes, (title, rows) in zip(row, panels.items()):
            for shift, key, colour, label in ((-0.19, "wrong", OTHER, "mistakes"), (0.19, "right", DUPLICATE, "right")):
                shares = [100 * (getattr(rows[name], key) or 0.0) for name in names]
                axes.barh(np.arange(len(names)) + shift, shares, 0.36, color=colour, label=label)
            axes.set(title=title, xlabel="% of the verdicts")
            axes.set_yticks(np.arange(len(names)), names)
            axes.grid(axis="x", alpha=0.3)
        row[0].set_ylim(len(names) - 0.4, -0.6)
        _legend_below(row[0])
