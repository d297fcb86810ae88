"""Draw the figures of a comparison's report."""

from pathlib import Path

import numpy as np

from siamese.experiment.comparison import Comparison
from siamese.experiment.records import Record
from siamese.experiment.scores import BINS, TITLES
from siamese.experiment.statistics import BAND, MEASURES, POINTS, Contrast, Measure, interval
from siamese.report import plots


def draw(c: Comparison, names: list[str], found: dict[str, list[Contrast]], out: Path) -> None:
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
    found: dict[str, dict[int, list[Record]]] = {}
    for name in names:
        parts = [part for part in name.split(",") if not part.startswith(("training_pairs=", "epochs="))]
        size = c.records[name][0]["config"]["training_pairs"] or every
        found.setdefault(",".join(parts), {})[size] = c.records[name]
    sizes = sorted({size for by_size in found.values() for size in by_size})
    if len(sizes) < 2:
        return False

    def curve(by_size: dict[int, list[Record]], measure: Measure) -> np.ndarray:
        nothing = (np.nan,) * 3
        return np.array([interval([*map(measure, by_size[n])]) if n in by_size else nothing for n in sizes]).T

    panels = {
        title: {name: curve(by_size, MEASURES[title]) for name, by_size in found.items()}
        for title in ("unseen average precision", "accuracy")
    }
    plots.by_size(sizes, panels, out / "sizes.png")
    return True


def _by_epoch(records: list[Record]) -> np.ndarray:
    """Return mean, low and high of the validation average precision, (3, epochs), of the epochs that all seeds have."""
    epochs = zip(*(r["history"] for r in records))
    return np.array([interval([record["average_precision"] for record in seeds]) for seeds in epochs]).T
