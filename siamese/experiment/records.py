"""Records of the finished trainings of a comparison, in files."""

import csv
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from siamese.config import Config
from siamese.errors import UserError
from siamese.experiment.scores import METRICS
from siamese.system.files import write_text

TRAININGS, RESULTS = "trainings.jsonl", "results.csv"
FIELDS = (  # of the recipe, in results.csv
    "loss", "anchors", "closest", "combine", "margin", "temperature", "squared",
    "labelled", "labelled_weight", "labelled_margin", "swap", "batch_size", "leave_out_known", "learning_rate",
)  # fmt: skip
ONCE = {"buckets": 0}  # values in recipes from before these fields existed
Record = dict[str, Any]


@dataclass
class Records:
    """The finished trainings of a folder: trainings.jsonl, and results.csv made from it.

    Raises:
        UserError: a record is damaged or belongs to other data.
    """

    out: Path
    data: dict[str, str]  # checksums of the training, validation and test pairs

    def __post_init__(self) -> None:
        self.all: list[Record] = []
        path, data = self.out / TRAININGS, self.data
        if not path.exists():
            return
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                record = json.loads(line)
                other = [name for name in data if record["data"][name] != data[name]]
                # Fields that a record lacks had their default value, except those of ONCE.
                config = {**asdict(Config()), **ONCE, **record["config"]}
                record |= {"config": config, "variant": str(record["variant"])}
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path}, line {number}: not a record of a training ({error})") from error
            if other:
                raise UserError(f"{path}: belongs to other {' and '.join(other)} pairs; choose another --out")
            self.all.append(record)

    def get(self, config: Config) -> Record:
        """Return the record of a finished training."""
        record = self.find(config)
        assert record is not None
        return record

    def find(self, config: Config) -> Record | None:
        """Return the record of the training with this recipe and seed, or None."""
        wanted = asdict(config)
        return next((record for record in self.all if record["config"] == wanted), None)

    def add(self, record: Record) -> None:
        """Add a record, and write the files."""
        self.all.append(record | {"data": self.data})
        write_text(self.out / TRAININGS, "".join(json.dumps(r) + "\n" for r in self.all))
        self.write_table()

    def write_table(self) -> None:
        """Write results.csv, unless it has this content already."""
        rows = [_row(record) for record in self.all]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        path = self.out / RESULTS
        if not path.exists() or path.read_text("utf-8") != text.getvalue():
            write_text(path, text.getvalue())


def _row(record: Record) -> dict[str, Any]:
    row = {"variant": record["variant"], "seed": record["config"]["seed"], "epoch": record.get("epoch", "")}
    row |= {name: record["config"][name] for name in FIELDS}
    for part in ("unseen", "all"):
        row |= {f"{part}_{name}": _rounded(record.get(part, {}).get(name)) for name in METRICS}
    row |= {name: _rounded(record.get(name)) for name in ("mining", "validation", "seconds_an_epoch")}
    return row | {"error": record.get("error", "")}


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
