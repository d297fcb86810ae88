"""The pairs found so far, on disk, so that a stopped run can continue and memory stays bounded."""

import heapq
import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from siamese.mining.found import JUDGED, PAIR, Recall, in_order
from siamese.system.files import write_text
from siamese.system.outputs import no_follow, refuse_links
from siamese.system.resuming import check_same_run

IDENTITY, PAIRS = "identity.json", "pairs.bin"
HEADER = struct.Struct("<III")  # of a unit: its number, how many pairs, the CRC-32 of their bytes
CHUNK = 65_536  # pairs that are yielded at a time


@dataclass
class Kept:
    """A folder with the pairs of the finished units of work, one unit after the other.

    A unit that a crash cut short has a wrong length or checksum, and is done again.

    Raises:
        UserError: another run was stopped there, or one that `resume` does not allow to continue.
    """

    folder: Path  # exists, and belongs to this process
    identity: dict[str, object]  # everything that the pairs depend on
    resume: bool  # continue the run that was stopped there
    at_once: int  # pairs that are sorted in memory; more are sorted in parts and merged from files
    max_pairs: int | None = None  # pairs that `ranked` yields
    recall: Recall | None = None  # of an approximate search
    accepted: int | None = None  # lowest score, in millionths, of the pairs that `ranked` yields; None: all are PAIR

    def __post_init__(self) -> None:
        self.path, known = self.folder / PAIRS, self.folder / IDENTITY
        self.kind = PAIR if self.accepted is None else JUDGED
        self.units = 0  # finished ones
        refuse_links(self.folder, IDENTITY, PAIRS)
        if not known.exists():
            if not self.path.is_file() or self.path.stat().st_size:  # an empty one is from a run that was killed here
                open(self.path, "xb").close()
            write_text(known, json.dumps(self.identity, indent=2) + "\n")
            return
        check_same_run(self.folder, self.identity, json.loads(known.read_text(encoding="utf-8")), self.resume)
        end = 0
        for pairs in self:
            self.units += 1
            end += HEADER.size + pairs.nbytes
        os.truncate(self.path, end)  # after the last whole unit

    def append(self, pairs: np.ndarray) -> None:
        """Append the pairs of the next unit."""
        data = pairs.tobytes()
        with open(self.path, "ab", opener=no_follow) as file:
            file.write(HEADER.pack(self.units, len(pairs), zlib.crc32(data)) + data)
        self.units += 1

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the pairs of each finished unit."""
        with open(self.path, "rb") as file:
            for expected in range(1 << 32):
                header = file.read(HEADER.size)
                if len(header) < HEADER.size:
                    return
                number, count, checksum = HEADER.unpack(header)
                data = file.read(count * self.kind.itemsize)
                if number != expected or len(data) < count * self.kind.itemsize or zlib.crc32(data) != checksum:
                    return
                yield np.frombuffer(data, self.kind)

    def ranked(self) -> Iterator[np.ndarray]:
        """Yield the accepted pairs in chunks, those of the highest scores first, equal ones by their questions."""
        left = self.max_pairs
        for chunk in self._sorted():
            if not len(chunk := chunk[:left]):
                return
            left = None if left is None else left - len(chunk)
            yield chunk

    def removed(self) -> Iterator[np.ndarray]:
        """Yield the pairs that are not accepted, in the same order."""
        yield from self._sorted(accepted=False)

    def _of(self, pairs: np.ndarray, accepted: bool) -> np.ndarray:
        return pairs if self.accepted is None else pairs[(pairs["score"] >= self.accepted) == accepted]

    def _sorted(self, accepted: bool = True) -> Iterator[np.ndarray]:
        runs: list[Path] = []
        waiting: list[np.ndarray] = [np.empty(0, self.kind)]
        for found in self:
            pairs = self._of(found, accepted)
            for start in range(0, len(pairs), self.at_once):
                part = pairs[start : start + self.at_once]
                if sum(map(len, waiting)) + len(part) > self.at_once:
                    runs.append(self._sorted_run(len(runs), waiting))
                    waiting = []
                waiting.append(part)
        if not runs:
            pairs = in_order(np.concatenate(waiting))
            yield from (pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK))
            return
        runs.append(self._sorted_run(len(runs), waiting))
        del waiting
        score = 0 if self.accepted is None else 3  # place in a pair
        merged = heapq.merge(*map(self._tuples, runs), key=lambda pair: (-pair[score], pair[1], pair[2]))
        while chunk := list(islice(merged, CHUNK)):
            yield np.array(chunk, self.kind)
        for path in runs:
            path.unlink()

    def _sorted_run(self, number: int, parts: list[np.ndarray]) -> Path:
        path = self.folder / f"sorted-{number}.bin"
        path.unlink(missing_ok=True)  # from a run that was killed
        with open(path, "xb") as file:
            in_order(np.concatenate(parts)).tofile(file)
        return path

    def remove(self) -> None:
        """Remove all files."""
        for path in (self.folder / IDENTITY, self.path, *self.folder.glob("sorted-*.bin")):
            path.unlink(missing_ok=True)

    def _tuples(self, path: Path) -> Iterator[tuple[int, ...]]:
        with open(path, "rb") as file:
            while len(pairs := np.fromfile(file, self.kind, CHUNK)):
                yield from pairs.tolist()
