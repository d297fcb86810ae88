"""Files that tests write, read and compare, and a disk to fill."""

import csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

QUESTIONS = Path(__file__).parents[2] / "data" / "questions.csv"


def write_csv(path: Path, rows: Iterable[Sequence[object]], names: str = "question1,question2,is_duplicate") -> Path:
    """Write rows below a line of column names, which commas separate. Return the path."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names.split(","), *rows])
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file, each by column name."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def saved(folder: Path) -> list[object]:
    """Return what a model folder holds but for the times that training took, and so for the checksum over them."""
    clock = re.compile(r'"(seconds|pairs_per_second)": [\d.e+]+|"config.json": "[0-9a-f]{64}"')
    return [
        *((folder / name).read_bytes() for name in ("model.safetensors", "vocabulary.txt")),
        clock.sub("", (folder / "config.json").read_text("utf-8")),
    ]


class Room:
    """A small file system in memory that a test can fill. The fixture `room` mounts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, but: int = 0) -> None:
        """Fill it up, but for so many bytes."""
        with open(self.folder / "rest", "ab", buffering=0) as file:
            while (count := os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_bsize - but) > 0:
                file.write(bytes(count))

    def make(self) -> None:
        """Make room again."""
        (self.folder / "rest").unlink()
