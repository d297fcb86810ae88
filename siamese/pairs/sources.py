"""Open what people have, as bytes or text: files, pipes, one packed file, and the encodings of spreadsheets."""

import codecs
import gzip
import io
import lzma
import os
import shutil
import stat
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from siamese.errors import DataError, UserError

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".xlsx")
SUFFIXES = f"{', '.join(name for name in FORMATS[:-1] if name != '.ndjson')} or {FORMATS[-1]}"
PIPE = "-"
LONGEST_LINE = 1 << 26  # characters; more would be a bomb in a packed file
SAMPLE = 1 << 16  # bytes by which an encoding is guessed
BLOCK = 1 << 20  # bytes
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
# The encodings of spreadsheets and old systems in wide use. The detector knows 90, and takes one for another.
GUESSED = [
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "koi8_r", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr",
]  # fmt: skip
SURELY = 0.05  # by which another must look better than Windows-1252, the commonest


# That the user forces on all text files; None lets the file decide.
ENCODING, DELIMITER = (
    ContextVar[str | None]("ENCODING", default=None),
    ContextVar[str | None]("DELIMITER", default=None),
)


@contextmanager
def reading_as(encoding: str | None = None, delimiter: str | None = None) -> Iterator[None]:
    r"""Read the text files that are opened in the block in this encoding, and with this delimiter of columns.

    Raises:
        UserError: Python has no such encoding, or the delimiter is not one character, `tab` or `\t`.
    """
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter or "", delimiter)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise UserError(f"--delimiter {delimiter!r}: expected one character, such as ';', or tab")
    try:
        "".encode(encoding or "utf-8")
    except (LookupError, UnicodeError, ValueError):
        raise UserError(f"--encoding {encoding}: expected an encoding, such as utf-16 or windows-1252") from None
    forced = ENCODING.set(encoding), DELIMITER.set(delimiter)
    try:
        yield
    finally:
        ENCODING.reset(forced[0])
        DELIMITER.reset(forced[1])


@dataclass(frozen=True)
class Source:
    """A file or pipe, or the one file packed in it."""

    path: str  # for messages
    suffix: str  # that names the format, in lower case
    open: Callable[[], IO[bytes]]


def source_of(path: str | Path) -> Source:
    """Return what a path stands for: a file, a pipe, `-` for standard input, or the file in a .gz, .xz or .zip.

    Raises:
        DataError: there is nothing, a folder, or a .zip of several files.
    """
    name, path = str(path), Path(path)
    if name != PIPE and not path.exists():
        raise DataError(f"{name}: no such file; expected a {SUFFIXES} file")
    if name != PIPE and path.is_dir():
        raise DataError(f"{name}: a folder, expected a {SUFFIXES} file")
    piped = name == PIPE or not path.is_file()
    source = Source(name, path.suffix.lower(), lambda: _spooled(path) if piped else open(path, "rb"))  # noqa: SIM115
    with source.open() as file:
        start = file.read(4)
    if start[:2] == b"\x1f\x8b":
        source = _unpacked(source, Path(path.stem).suffix, lambda packed: gzip.GzipFile(fileobj=packed))
    elif start == b"\xfd7zX":
        source = _unpacked(source, Path(path.stem).suffix, lzma.LZMAFile)
    elif start == b"PK\3\4" and source.suffix != ".xlsx":
        source = _zipped(source)
    if source.suffix in (*FORMATS, ".txt") or not (piped or source.suffix in ("", ".gz", ".xz", ".zip")):
        return source
    return Source(name, _suffix_by_content(source), source.open)


def _unpacked(source: Source, suffix: str, unpack: Callable[[IO[bytes]], Any]) -> Source:
    def opened() -> IO[bytes]:
        packed = source.open()
        return io.BufferedReader(_Whole(source.path, unpack(packed), packed))

    return Source(source.path, suffix.lower(), opened)


def _zipped(source: Source) -> Source:
    try:
        with source.open() as file:
            entries = [one for one in zipfile.ZipFile(file).infolist() if not one.is_dir()]
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise DataError(f"{source.path}: a damaged .zip: {error}") from None
    if any(one.filename == "xl/workbook.xml" for one in entries):
        return Source(source.path, ".xlsx", source.open)
    entries = [one for one in entries if not one.filename.startswith("__MACOSX/")]
    if len(entries) != 1:
        raise DataError(f"{source.path}: {len(entries)} files in it, expected one; unpack it and give the file")
    inner = entries[0]
    if inner.flag_bits & 1:
        raise DataError(f"{source.path}: encrypted; unpack it and give the file")
    return _unpacked(source, Path(inner.filename).suffix, lambda packed: zipfile.ZipFile(packed).open(inner))


class _Whole(io.RawIOBase):
    """A packed file whose damage is a DataError."""

    def __init__(self, path: str, file: Any, packed: IO[bytes]) -> None:
        self.path, self.file, self.packed = path, file, packed

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        super().close()
        self.packed.close()

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        try:
            data = self.file.read(len(buffer))
        except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise DataError(f"{self.path}: cannot be unpacked: {error}") from None
        buffer[: len(data)] = data
        return len(data)


class _Spooled(io.RawIOBase):
    """The content of a pipe, from its start; others may read it at other places."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        end = self.file.seek(0, os.SEEK_END)
        self.at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: end}[whence]
        return self.at

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        self.file.seek(self.at)
        size = self.file.readinto(buffer)  # type: ignore[attr-defined]
        self.at += size
        return size


_PIPES: dict[tuple[int, int], tuple[IO[bytes], int]] = {}  # what each held, and when it was last written to


def _spooled(path: Path) -> IO[bytes]:
    """Return what a pipe holds. It can be read once, so a file without a name keeps it for those who read it twice."""
    stdin = str(path) == PIPE
    if stdin and sys.stdin is None:
        raise DataError(f"{PIPE}: standard input is closed")
    target = sys.stdin.fileno() if stdin else path
    key, written = _state(target)  # without opening it, which waits for somebody who writes
    if key not in _PIPES or _PIPES[key][1] != written:
        file = tempfile.TemporaryFile()  # noqa: SIM115
        with nullcontext(sys.stdin.buffer) if stdin else open(path, "rb") as pipe:
            shutil.copyfileobj(pipe, file)
        _PIPES[key] = file, _state(target)[1]
    return io.BufferedReader(_Spooled(_PIPES[key][0]))


def _state(target: Path | int) -> tuple[tuple[int, int], int]:
    state = os.stat(target)
    return (state.st_dev, state.st_ino), state.st_mtime_ns


def _suffix_by_content(source: Source) -> str:
    with source.open() as file:
        start = file.read(BLOCK)
    if start[:4] == b"PAR1":
        return ".parquet"
    return {b"{": ".jsonl", b"[": ".json"}.get(start.removeprefix(codecs.BOM_UTF8).lstrip()[:1], ".csv")


def text_lines(path: str | Path | Source, guess: bool = True) -> Iterator[str]:
    """Yield the lines of a text file in UTF-8, or in the encoding that `reading_as`, its first bytes or a guess name.

    Raises:
        DataError: it is in another encoding, with the first line that is, a line is too long, or the file changes.
    """
    source = path if isinstance(path, Source) else source_of(path)
    check_unchanged = watched(source.path)
    with io.TextIOWrapper(source.open(), _encoding(source, guess), newline="") as file:
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE:
                raise DataError(f"{source.path}, line {number}: longer than {LONGEST_LINE:,} characters")
            yield line
    check_unchanged()


def say(path: str, assumed: str) -> None:
    """Say in a line how a file is read, if not as UTF-8 and as its ending says."""
    warnings.warn(f"{path}: read as {assumed}; --encoding and --delimiter would say otherwise", stacklevel=2)


def _encoding(source: Source, guess: bool) -> str:
    """Return the encoding of a text file, all of which can be read in it."""
    with source.open() as file:
        start = file.read(SAMPLE)
    encoding = ENCODING.get() or next((name for bom, name in BOMS.items() if start.startswith(bom)), None)
    zeros = [start[first::2].count(0) for first in (0, 1)]  # of Latin text in UTF-16 every other byte is 0
    if not encoding and 5 * max(zeros) > len(start) and not min(zeros):
        encoding = "utf-16-be" if zeros[0] else "utf-16-le"
    fault = _first_fault(source, encoding or "utf-8-sig")
    if fault is None:
        if encoding and encoding.startswith("utf-16") and not ENCODING.get():
            say(source.path, "UTF-16")
        return encoding or "utf-8-sig"
    line, reason, sample = fault
    if guess and not encoding and sample and (guessed := _guessed(sample)) and not _first_fault(source, guessed):
        say(source.path, guessed.replace("cp125", "Windows-125"))
        return guessed
    known = (encoding or "utf-8").upper().removesuffix("-SIG")
    advice = f"expected a {SUFFIXES} file in {known}; --encoding NAME reads another"
    raise DataError(f"{source.path}, line {line}: not {known} text ({reason}); {advice}")


def _first_fault(source: Source, encoding: str) -> tuple[int, str, bytes] | None:
    """Return the first line that is not in an encoding, the reason, and a sample if what precedes is ASCII."""
    decoder, line, ascii = codecs.getincrementaldecoder(encoding)(), 1, True
    with source.open() as file:
        while True:
            block = file.read(BLOCK)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeError as error:
                start, object_ = getattr(error, "start", 0), getattr(error, "object", block)
                line += object_[:start].count(b"\n")
                # Lines with other characters than ASCII, from this one on.
                rest = object_[object_.rfind(b"\n", 0, start) + 1 :] + file.read(BLOCK)
                sample = b"".join(one for one in rest.splitlines(True) if not one.isascii())[:SAMPLE]
                pure = ascii and object_[:start].isascii() and not any(sample.count(byte) for byte in range(8))
                return line, getattr(error, "reason", str(error)), sample if pure else b""
            if not block:
                return None
            line += text.count("\n")
            ascii = ascii and text.isascii()


def _guessed(sample: bytes) -> str | None:
    import charset_normalizer

    scores: dict[str, float] = {}
    for match in charset_normalizer.from_bytes(sample, cp_isolation=GUESSED):
        for one in (match, *match.submatch):  # of which some decode to the same text
            scores.setdefault(one.encoding, match.coherence - match.chaos)
    if not scores:
        return "cp1252"
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] > scores.get("cp1252", -1) + SURELY else "cp1252"


def watched(path: str | Path) -> Callable[[], None]:
    """Return a function that raises DataError if a file has changed by then, so that what was read may be neither."""

    def state() -> tuple[int, ...]:
        try:
            found = os.stat(path)
        except OSError:
            return ()
        return (found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else ()

    def check() -> None:
        if state() != before:
            raise DataError(f"{path}: changed while it was read; run the command again")

    before = state()
    return check
