"""The model folder: three files that are replaced together, and that may come from a stranger.

`config.json` holds the format's version, the settings, and the SHA-256 of each file; its own is taken over its bytes
with zeros in place of that checksum. The words are in `vocabulary.txt`, those of a transformer in `tokenizer.json`.
Nothing in a file makes the reader open another file or import a name, and the memory it needs is bounded by the sizes
of the files, each of which has a limit.
"""

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from siamese.errors import ModelError, UserError
from siamese.system.files import remove_leftovers, replacing, sync_folder
from siamese.system.outputs import Folder, Ours, check_folder, json_with
from siamese.system.strict_json import strict_json
from siamese.towers.places import MODULES

FORMAT = 3  # format 2 is the same without checksums
CONFIG, VOCABULARY, WEIGHTS = FILES = ("config.json", "vocabulary.txt", "model.safetensors")
TOKENIZER = "tokenizer.json"  # of a transformer, in place of the vocabulary
MOST_BYTES = {CONFIG: 4 << 20, VOCABULARY: 16 << 20, TOKENIZER: 16 << 20, WEIGHTS: 2 << 30}  # written or read
HEADER = 1 << 16  # most bytes of the header of the weights
LARGEST = 1e9  # magnitude of a weight, so that sums of products are finite in float32
FIELDS = {"format", "config", "threshold", "calibration", "facts"}
ARCHITECTURE, VERDICT = "architecture", "verdict"  # additional fields, of a transformer and of a model with a verdict
ZEROS = "0" * 64
MOST_CHARACTERS = 400  # of a message that may quote a file
# By the names of safetensors.
TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "I8": np.dtype("i1")}

Layout = Mapping[str, tuple[str, tuple[int, ...]]]  # the type of each tensor, a key of TYPES, and its shape


def write(
    folder: Path, settings: Mapping[str, Any], words: str, tensors: Mapping[str, np.ndarray], force: bool = False
) -> None:
    """Write a model folder. A crash at any moment leaves the old model or the new one.

    Vocabulary and weights are first written to names with their checksums, by which `place` finds them once config.json
    holds these: replacing that one file replaces the model. Then they are renamed.

    Args:
        folder: created if it does not exist.
        settings: for config.json; all FIELDS but the format, and ARCHITECTURE and VERDICT if the model has them.
        words: the text of the vocabulary, or of a transformer's tokenizer.
        tensors: for the file of weights.
        force: replace files of these names that are not those of a model.

    Raises:
        ModelError: a number or a size would be refused by the reader.
        UserError: the folder has files of these names that are not those of a model.
    """
    from safetensors.numpy import save

    check_numbers(tensors)
    data = {
        words_file(settings): words.encode("utf-8"),
        WEIGHTS: save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}),
    }
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in data.items()}
    config = sealed({"format": FORMAT, **settings}, sums)
    for name, content in {**data, CONFIG: config}.items():
        if len(content) > MOST_BYTES[name]:
            raise ModelError(f"{folder / name}: {len(content):,} bytes, expected {MOST_BYTES[name]:,} at most")
    check_folder(output(folder), force)
    folder.mkdir(parents=True, exist_ok=True)
    earlier = _settle(folder)  # after a process that was killed
    try:
        for name, content in data.items():
            with replacing(_waiting(folder, name, sums[name]), like=folder / name) as new:
                new.write_bytes(content)
        with replacing(folder / CONFIG) as new:
            new.write_bytes(config)
    except OSError as error:
        error.filename, error.filename2 = str(folder), None  # not the temporary name, which nobody chose
        raise
    finally:
        _settle(folder)
    for name in {VOCABULARY, TOKENIZER} & earlier - sums.keys():  # the words of an earlier model of the other kind
        (folder / name).unlink(missing_ok=True)


def output(folder: str | Path, option: str = "out", more: Mapping[str, Ours | None] = {}) -> Folder:
    """Return a model folder as an output.

    Args:
        folder: the folder.
        option: that names it.
        more: the names of further files in it, and what shows that we wrote one, if not the config.json beside it.
    """
    proofs = {CONFIG: json_with("format", "threshold", "calibration"), **{n: ours for n, ours in more.items() if ours}}
    return Folder(option, str(folder), (*FILES, TOKENIZER, *more), proofs)


def is_model(folder: str | Path) -> bool:
    """Return whether a folder holds a model, or something in its place, rather than a sentence encoder or nothing."""
    return os.path.lexists(Path(folder, CONFIG)) and not os.path.lexists(Path(folder, MODULES))


def words_file(settings: Mapping[str, Any]) -> str:
    """Return the name of the file with the words, given the settings."""
    return TOKENIZER if ARCHITECTURE in settings else VOCABULARY


def place(folder: Path, name: str, checksum: str | None) -> Path:
    """Return the path of the file with this checksum: that of its own name, except after a crash."""
    waiting = _waiting(folder, name, checksum) if checksum else folder / name
    return waiting if os.path.lexists(waiting) else folder / name


def _waiting(folder: Path, name: str, checksum: str) -> Path:
    return folder / f".{name}.{checksum}"


def _settle(folder: Path) -> set[str]:
    """Rename the files that config.json asks for, and return their names. Remove other files of unfinished saves."""
    sums: dict[str, str] = {}
    with suppress(ModelError), refusing(folder / CONFIG):
        sums = read_settings(folder / CONFIG)[1]
    for name, checksum in sums.items():
        with suppress(FileNotFoundError):
            os.replace(_waiting(folder, name, checksum), folder / name)
    sync_folder(folder)  # before removals: on the disk, the last copy of a file may still have its other name
    waiting = rf"\.({'|'.join(map(re.escape, (*FILES, TOKENIZER)))})\.[0-9a-f]{{64}}"
    remove_leftovers(folder, waiting)
    remove_leftovers(folder, re.escape(CONFIG))
    for path in folder.iterdir():
        if re.fullmatch(waiting, path.name):
            path.unlink()
    return set(sums)


def sealed(settings: Mapping[str, Any], sums: Mapping[str, str]) -> bytes:
    """Return the bytes of a config.json with these settings, the checksums of the other files, and its own."""
    # Precedes anything that could hold the same zeros.
    first = {"format": settings["format"], "sha256": {CONFIG: ZEROS, **sums}}
    text = json.dumps(first | {name: value for name, value in settings.items() if name != "format"}, indent=2) + "\n"
    return text.replace(ZEROS, hashlib.sha256(text.encode()).hexdigest(), 1).encode()


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn any fault of a model's file into a ModelError of one line that names the file."""
    try:
        yield
    except UserError as error:
        raise ModelError(f"{path}: {_line(str(error))}") from error
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise ModelError(f"{path}: not a model file: {type(error).__name__}: {_line(str(error))}") from error


def read_settings(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the FIELDS of config.json, and the checksums of the other files by name (none in format 2).

    ARCHITECTURE and VERDICT are additional fields, in format 3 alone.

    Raises:
        UserError, or what `refusing` turns into one; so do the functions below.
    """
    data = _read(path, MOST_BYTES[CONFIG])
    settings = strict_json(data.decode("utf-8"))
    if type(settings["format"]) is not int or settings["format"] not in (2, FORMAT):
        raise ModelError(f"format {settings['format']!r}; this version reads format 2 and {FORMAT}")
    sums: dict[str, str] = {}
    if settings["format"] == FORMAT:
        sums, files = settings.pop("sha256"), (CONFIG, words_file(settings), WEIGHTS)
        if not isinstance(sums, dict) or sums.keys() != set(files):
            raise ModelError(f"sha256: expected a checksum for each of {', '.join(files)}")
        for checksum in sums.values():
            if not re.fullmatch("[0-9a-f]{64}", checksum):
                raise ModelError(f"sha256: {checksum!r} is not a checksum; expected 64 digits, 0 to 9 and a to f")
        own = sums.pop(CONFIG)
        _check_sum(own, data.replace(own.encode(), ZEROS.encode(), 1))
    allowed = FIELDS | ({ARCHITECTURE, VERDICT} & settings.keys() if sums else set())
    if wrong := settings.keys() ^ allowed:
        raise ModelError(f"field {min(wrong)!r} is {'missing' if min(wrong) in FIELDS else 'not known'}")
    if not isinstance(settings["facts"], dict):
        raise ModelError(f"facts: {settings['facts']!r}: expected an object")
    return settings, sums


def read_words(path: Path, most: int, checksum: str | None) -> str:
    """Return the text of vocabulary.txt, for `words_of`, or of tokenizer.json.

    Args:
        path: the file.
        most: its limit in bytes.
        checksum: its SHA-256, or None to skip the comparison.
    """
    data = _read(path, most)
    _check_sum(checksum, data)
    return data.decode("utf-8")


def lines_of(words: Sequence[str]) -> str:
    """Return the text of vocabulary.txt. Raise ModelError if the reader would refuse it."""
    text = "".join(word + "\n" for word in words)
    if words_of(text) != list(words) or len(set(words)) != len(words):
        raise ModelError("vocabulary: a word with white space in it, or twice")
    return text


def words_of(text: str) -> list[str]:
    """Return the words of a vocabulary, one per line. Raise ModelError if they are not such as the tokenizers make."""
    words = text.split()
    if "\n".join([*words, ""]) != text:
        raise ModelError("a vocabulary with an empty word, white space in a word, or no newline at its end")
    if "\0" in text:
        raise ModelError("a vocabulary with a NUL in a word")
    return words


def read_tensors(path: Path, layout: Layout, checksum: str | None) -> dict[str, np.ndarray]:
    """Return the tensors of a file of weights, which must be exactly those of the layout.

    The file is read once, so that the checked bytes are the ones in use. It is never memory-mapped, since a mapped file
    that shrinks kills the process.
    """
    with _opened(path, MOST_BYTES[WEIGHTS]) as (file, size):
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(HEADER, size - 8):
            raise ModelError(f"not a model file: {size:,} bytes, with a header of {length:,}")
        header = file.read(length)
        data = np.empty(size - 8 - length, np.uint8)
        places = _places(strict_json(header.decode("utf-8")), layout, len(data))
        if file.readinto(data.data) != len(data):
            raise ModelError("the file changed while it was read")
    _check_sum(checksum, start, header, data)
    tensors = {}
    for name, first in places.items():
        kind, shape = TYPES[layout[name][0]], layout[name][1]
        tensor = data[first : first + _bytes(layout, name)].view(kind).reshape(shape)
        tensors[name] = np.require(tensor, requirements="A")  # odd offsets are allowed, but slow
    return tensors


def check_numbers(tensors: Mapping[str, np.ndarray]) -> None:
    """Raise ModelError if a number is not finite, or so large that sums may not be."""
    for name, tensor in tensors.items():
        # min and max pass on NaN, which no comparison holds for.
        if tensor.size and not max(-float(tensor.min()), float(tensor.max())) <= LARGEST:
            raise ModelError(f"weights: {name} holds a number that is not finite, or beyond {LARGEST:g}")


def _places(header: Any, layout: Layout, size: int) -> dict[str, int]:
    """Return the offset of each tensor in the `size` bytes after the header."""
    if not isinstance(header, dict):
        raise TypeError("the header is not an object")
    header.pop("__metadata__", None)
    found = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
    if wrong := [name for name in {**layout, **found} if found.get(name) != layout.get(name)]:
        has, wanted = found.get(wrong[0], "missing"), layout.get(wrong[0], "no such tensor")
        raise ModelError(f"weights {wrong[0]!r}: {has}, expected {wanted}")
    places, end = {}, 0
    for name in sorted(layout, key=lambda name: header[name]["data_offsets"]):
        places[name], end = end, end + _bytes(layout, name)
        if header[name]["data_offsets"] != [places[name], end]:
            raise ModelError(f"weights {name!r}: bytes {header[name]['data_offsets']}, expected {[places[name], end]}")
    if end != size:
        raise ModelError(f"weights of {size:,} bytes, expected {end:,}")
    return places


def _bytes(layout: Layout, name: str) -> int:
    kind, shape = layout[name]
    return math.prod(shape) * TYPES[kind].itemsize


def _check_sum(checksum: str | None, *parts: Any) -> None:
    digest = hashlib.sha256()
    if checksum is not None:
        for part in parts:
            digest.update(part)
        if digest.hexdigest() != checksum:
            raise ModelError(f"its SHA-256 is not the one in {CONFIG}: damaged, edited, or not saved completely")


def _read(path: Path, most: int) -> bytes:
    with _opened(path, most) as (file, size):
        return file.read(size)


@contextmanager
def _opened(path: Path, most: int) -> Iterator[tuple[BufferedReader, int]]:
    """Open a model file of at most `most` bytes, and yield it with its size.

    Links are refused, since they may lead out of the folder, and pipes, since they may never end.
    """
    kind = os.lstat(path).st_mode
    if not stat.S_ISREG(kind):
        raise ModelError(f"{'a symbolic link' if stat.S_ISLNK(kind) else 'not a file'}: expected the file itself")
    # Also refuse a link or pipe that replaces the file right now.
    flags = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ModelError("not a file: expected the file itself")
        if status.st_size > most:
            raise ModelError(f"{status.st_size:,} bytes, expected {most:,} at most")
        yield file, status.st_size


def _line(text: str) -> str:
    """Return a text that may quote a file, shortened and without line breaks and control characters."""
    shown = text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + " …"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)
