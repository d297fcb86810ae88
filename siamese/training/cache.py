"""The vectors that sentence encoders give to questions, on disk: computed once, by several processes, and resumable.

A folder for each encoder, by its name and the checksum of its files, holds blocks of questions. A block is a file of
numpy with the hashes of its questions and then their vectors. It is written to a temporary name, flushed and renamed,
so that a process that is killed leaves whole blocks, and only what they lack is computed again. Blocks are memory maps,
of which no more is read than is used.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from siamese.errors import UserError
from siamese.system import workers
from siamese.system.files import remove_leftovers, replacing
from siamese.towers.encoders import Encode, checksum, load_encoder

CACHE = Path("models/teachers")
QUESTIONS_PER_FILE = 4_096
QUESTIONS_PER_PROCESS = 8_192  # fewer do not pay for loading the encoder once more

Report = Callable[[int, int], None]  # called with the number of questions done, and the number to do


class Vectors:
    """The vectors of n questions by one encoder or several; those of several are joined, of length 1 again."""

    def __init__(self, parts: Sequence["_Stored"]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts[0].places)

    def take(self, which: np.ndarray) -> np.ndarray:
        """Return the vectors of the questions with these numbers, (len(which), d) float32."""
        return np.concatenate([part.take(which) for part in self.parts], 1) / np.float32(len(self.parts) ** 0.5)


def vectors(names: str, questions: Sequence[str], progress: Report, cache: Path = CACHE) -> np.ndarray:
    """Return the vectors of n questions, (n, d) float16; see `stored`."""
    found = stored(names, questions, progress, cache)
    return found.take(np.arange(len(found))).astype(np.float16)


def stored(names: str, questions: Sequence[str], progress: Report, cache: Path = CACHE) -> Vectors:
    """Compute the vectors of questions that are not in the cache yet, and return all of them.

    Args:
        names: an encoder, or several between plus signs, as in `load_encoder`.
        questions: n texts.
        progress: called after each block.
        cache: its folder.

    Raises:
        UserError: an encoder cannot be loaded, the cache cannot be written or read, or a process died.
    """
    hashes = hashes_of(questions)
    return Vectors([_stored(name, questions, hashes, progress, cache) for name in names_in(names)])


def names_in(names: str) -> list[str]:
    """Return the encoders that are joined by plus signs."""
    return [names] if os.path.isdir(names) else names.split("+")


def hashes_of(questions: Sequence[str]) -> np.ndarray:
    """Return a hash of each question, (n,) uint64."""
    digests = (hashlib.blake2b(q.encode("utf-8", "surrogatepass"), digest_size=8).digest() for q in questions)
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


class _Stored:
    """The vectors of n questions in the blocks of one encoder."""

    def __init__(self, folder: Path, hashes: np.ndarray) -> None:
        self.blocks: list[tuple[np.ndarray, np.ndarray]] = []  # hashes (k,) and vectors (k, d)
        for path in sorted(folder.glob("*.npy")):
            try:
                block = np.load(path, mmap_mode="r", allow_pickle=False)
                self.blocks.append((block["hash"][0], block["vector"][0]))
            except (ValueError, TypeError, IndexError, OSError) as error:
                raise UserError(f"{path}: not a block of vectors ({error}); remove it, and it is made again") from error
        self.starts = np.cumsum([0, *(len(known) for known, _ in self.blocks)])
        known = np.concatenate([np.zeros(0, np.uint64), *(known for known, _ in self.blocks)])
        order = np.argsort(known, kind="stable")
        found = np.searchsorted(known, hashes, sorter=order)
        self.places = order[np.minimum(found, len(order) - 1)] if len(order) else np.zeros(len(hashes), int)
        self.missing = np.flatnonzero(known[self.places] != hashes) if len(order) else np.arange(len(hashes))

    def take(self, which: np.ndarray) -> np.ndarray:
        places = self.places[which]
        numbers = np.searchsorted(self.starts, places, side="right") - 1
        taken = np.empty((len(which), self.blocks[0][1].shape[1]), np.float32)
        for number in np.unique(numbers):
            rows = np.flatnonzero(numbers == number)
            taken[rows] = self.blocks[number][1][places[rows] - self.starts[number]]
        return taken


def _stored(name: str, questions: Sequence[str], hashes: np.ndarray, progress: Report, cache: Path) -> _Stored:
    folder = cache / "-".join(filter(None, (re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-"), checksum(name)[:12])))
    found = _Stored(folder, hashes)
    if not len(found.missing):
        return found
    _, first = np.unique(hashes[found.missing], return_index=True)  # a question that occurs twice is encoded once
    missing = found.missing[np.sort(first)]
    parts = [missing[start : start + QUESTIONS_PER_FILE] for start in range(0, len(missing), QUESTIONS_PER_FILE)]
    blocks = ((folder, hashes[part], [questions[i] for i in part]) for part in parts)
    count, done = max(1, min(workers.cores(), len(missing) // QUESTIONS_PER_PROCESS)), 0
    remove_leftovers(folder, r"[0-9a-f]{16}\.npy")
    for size in _made_here(name, blocks) if count == 1 else _made_by(count, name, blocks):
        done += size
        progress(done, len(missing))
    return _Stored(folder, hashes)


Block = tuple[Path, np.ndarray, list[str]]  # the folder, the hashes and the questions


def _made_here(name: str, blocks: Iterator[Block]) -> Iterator[int]:
    encode = load_encoder(name)
    for block in blocks:
        yield _write(encode, *block)


def _made_by(count: int, name: str, blocks: Iterator[Block]) -> Iterator[int]:
    """Yield the size of each block once it is written by one of so many processes."""
    with ProcessPoolExecutor(count, workers.context(__name__), initializer=_begin, initargs=(name,)) as pool:
        try:
            waiting = {pool.submit(_write_in_worker, *block) for block in islice(blocks, 2 * count)}
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield sum(future.result() for future in done)
                waiting |= {pool.submit(_write_in_worker, *block) for block in islice(blocks, len(done))}
        except BrokenProcessPool as error:
            raise UserError(f"{name}: a process that encoded questions died, perhaps for lack of memory; "
                            "the same command continues") from error  # fmt: skip
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(name: str) -> None:
    """Begin a worker."""
    workers.begin()
    torch.set_num_threads(1)
    global _name
    _name = name


_name: str
_encode: Encode | None = None  # of a worker


def _write_in_worker(folder: Path, hashes: np.ndarray, questions: list[str]) -> int:
    global _encode
    _encode = _encode or load_encoder(_name)  # here, because an error of an initializer would not be passed on
    return _write(_encode, folder, hashes, questions)


def _write(encode: Encode, folder: Path, hashes: np.ndarray, questions: list[str]) -> int:
    """Encode a block and write its file."""
    encoded = encode(questions)
    block = np.empty(1, [("hash", "u8", hashes.shape), ("vector", "f2", encoded.shape)])  # one after the other
    block["hash"], block["vector"] = hashes, encoded
    # Named by its content, so that two runs at a time do not overwrite each other's files.
    path = folder / f"{hashlib.blake2b(hashes.tobytes(), digest_size=8).hexdigest()}.npy"
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.save(file, block)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    return len(hashes)
