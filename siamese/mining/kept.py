"""The pairs that were found so far, on the disk: so that a run that was stopped goes on, and memory stays bounded."""

import heapq
import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from siamese.mining.found import PAIR, in_order
from siamese.system.files import write_text
from siamese.system.resuming import check_same_run

IDENTITY, PAIRS = "identity.json", "pairs.bin"
HEADER = struct.Struct("<III")  # of a unit: its number, how many pairs, the CRC-32 of their bytes
CHUNK = 65_536  # pairs that are handed on at a time


class Kept:
    """A folder with the pairs of the finished units of work, one unit after the other.

    What a crash leaves of a unit is known by its length or its checksum, and is done again.
    """

    def __init__(self, folder: Path, identity: dict[str, object], resume: bool) -> None:
        """Begin, or go on with, a run.

        Args:
            folder: there is one, and it is this process's.
            identity: everything that the pairs depend on.
            resume: go on where a run was stopped.

        Raises:
            UserError: a run was stopped there, and this is not to go on with it, or is another.
        """
        self.folder, self.path = folder, folder / PAIRS
        known = folder / IDENTITY
        self.units = 0  # that are finished
        if known.exists():
            check_same_run(folder, identity, json.loads(known.read_text(encoding="utf-8")), resume)
            self._cut()
        else:
            self.path.write_bytes(b"")
            write_text(known, json.dumps(identity, indent=2) + "\n")

    def _cut(self) -> None:
        """Count the whole units, and remove what follows the last."""
        end = 0
        for pairs in self:
            self.units += 1
            end += HEADER.size + pairs.nbytes
        with open(self.path, "r+b") as file:
            file.truncate(end)

    def append(self, pairs: np.ndarray) -> None:
        """Keep the pairs of the next unit."""
        data = pairs.tobytes()
        with open(self.path, "ab") as file:
            file.write(HEADER.pack(self.units, len(pairs), zlib.crc32(data)) + data)
        self.units += 1

    def __iter__(self) -> Iterator[np.ndarray]:
        """The pairs of each finished unit."""
        with open(self.path, "rb") as file:
            for expected in range(1 << 32):
                header = file.read(HEADER.size)
                if len(header) < HEADER.size:
                    return
                number, count, checksum = HEADER.unpack(header)
                data = file.read(count * PAIR.itemsize)
                if number != expected or len(data) < count * PAIR.itemsize or zlib.crc32(data) != checksum:
                    return
                yield np.frombuffer(data, PAIR)

    def ranked(self, at_once: int) -> Iterator[np.ndarray]:
        """All pairs, most similar first, equally similar ones by the numbers of their questions; CHUNK at a time.

        Args:
            at_once: pairs that are sorted in memory; more are sorted in parts, which are merged from files.
        """
        runs: list[Path] = []
        waiting: list[np.ndarray] = [np.empty(0, PAIR)]
        for pairs in self:
            for start in range(0, len(pairs), at_once):
                part = pairs[start : start + at_once]
                if sum(map(len, waiting)) + len(part) > at_once:
                    runs.append(self._sorted_run(len(runs), waiting))
                    waiting = []
                waiting.append(part)
        if not runs:
            pairs = in_order(np.concatenate(waiting))
            yield from (pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK))
            return
        runs.append(self._sorted_run(len(runs), waiting))
        del waiting
        merged = heapq.merge(*map(_tuples, runs), key=lambda pair: (-pair[0], pair[1], pair[2]))
        while chunk := list(islice(merged, CHUNK)):
            yield np.array(chunk, PAIR)
        for path in runs:
            path.unlink()

    def _sorted_run(self, number: int, parts: list[np.ndarray]) -> Path:
        path = self.folder / f"sorted-{number}.bin"
        in_order(np.concatenate(parts)).tofile(path)
        return path

    def remove(self) -> None:
        """Remove everything: the pairs have been written where they belong."""
        for path in (self.folder / IDENTITY, self.path, *self.folder.glob("sorted-*.bin")):
            path.unlink(missing_ok=True)


def _tuples(path: Path) -> Iterator[tuple[int, int, int]]:
    with open(path, "rb") as file:
        while len(pairs := np.fromfile(file, PAIR, CHUNK)):
            yield from pairs.tolist()


def limited(chunks: Iterable[np.ndarray], count: int | None) -> Iterator[np.ndarray]:
    """The first `count` pairs; None: all."""
    for chunk in chunks:
        if count is not None:
            chunk, count = chunk[:count], count - len(chunk[:count])
        if not len(chunk):
            return
        yield chunk
