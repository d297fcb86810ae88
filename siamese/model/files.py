"""Run a model on a file: write the vectors of its questions, or the verdicts on its pairs."""

from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path

import numpy as np

from siamese.model.differences import differs
from siamese.model.model import SiameseModel
from siamese.pairs.cells import needed, text_of
from siamese.pairs.formats import Faults, watched
from siamese.pairs.pairs import Columns
from siamese.pairs.questions import blocks_of, count_rows, whole_rows
from siamese.pairs.reading import QUORA
from siamese.system.csv_output import cells_for, names_beside, writing_csv
from siamese.system.files import replacing

AT_A_TIME = 65_536  # questions or pairs in memory
ADDED = ("similarity", "probability", "is_duplicate", "fault")  # to the columns of a file of pairs
DIFFERS = "differs"
PREFIX = "predicted_"  # of those that the file has already
HEADER = 256  # bytes of the header of vectors; numpy takes 128 for it, which shows whose file it is


def header(count: int, dimensions: int) -> bytes:
    """Return the beginning of a .npy file of float32, (count, dimensions)."""
    descr = np.lib.format.dtype_to_descr(np.dtype(np.float32))
    text = repr({"descr": descr, "fortran_order": False, "shape": (count, dimensions)})
    magic = np.lib.format.magic(1, 0)
    length = HEADER - len(magic) - 2
    return magic + length.to_bytes(2, "little") + text.encode().ljust(length - 1) + b"\n"


def is_ours(path: Path) -> bool:
    """Return whether `encode_file` wrote a .npy file, as the size of its header shows."""
    with open(path, "rb") as file:
        start = file.read(HEADER)
    return start[:10] == header(0, 0)[:10] and start[-1:] == b"\n"


def encode_file(
    model: SiameseModel, path: str | Path, out: str | Path, column: str = "question",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Faults:  # fmt: skip
    """Write the vectors of a file's questions as a .npy array (n, d) float32: row i is that of the file's row i.

    The file need not fit in memory. It is read twice, first to count its questions. A blank question has the zero
    vector, and so has a faulty row.

    Returns:
        The number of rows, of faulty ones, and of questions without a known word.

    Raises:
        DataError: the file cannot be read or changes meanwhile, or all its rows (of the first block) are faulty.
    """
    faults, check_unchanged = Faults(str(path)), watched(path)
    with replacing(out) as temporary, open(temporary, "wb") as file:
        total = count_rows(path, column)
        file.write(header(total, model.dimensions))
        _, rows = whole_rows(path, [column], faults, lambda row: text_of(row.get(column), column) or "", others=False)
        while block := [question or "" for _, question, _ in islice(rows, AT_A_TIME)]:
            vectors = model.encode(block)
            zero = np.flatnonzero(~vectors.any(axis=1))  # without a known word, or without a question
            faults.unknown += int(model.without_a_known_word(block[i] for i in zero).sum())
            file.write(vectors.astype(np.float32, copy=False).tobytes())
            progress(faults.rows, total)
        faults.check_any()
        check_unchanged()
    return faults


def write_predictions(
    model: SiameseModel, path: str | Path, out: str | Path | None, columns: Columns = QUORA,
    threshold: float | None = None, prior: float | None = None, cosine: bool = False,
) -> tuple[int, Faults]:  # fmt: skip
    """Write a file of pairs again, in its order, with the columns ADDED. A faulty row has no verdict but the reason.

    A model with a verdict adds the column DIFFERS before them.

    Args:
        model: the detector.
        path: the pairs; labels are not looked at. The file need not fit in memory.
        out: the file, replaced only once it is complete, whose ending names its format; None prints CSV.
        columns: the names of the columns of questions.
        threshold, prior, cosine: as in `SiameseModel.predict`.

    Returns:
        The number of duplicates, and the number of rows, of faulty ones and of questions without a known word.

    Raises:
        DataError: the file cannot be read or changes meanwhile, or all its rows (of the first block) are faulty.
    """
    rule, duplicates, faults = model.rule(threshold, prior, cosine), 0, Faults(str(path))
    more = [] if model.verdict is None else [DIFFERS]
    sides = [columns.question1, columns.question2]
    names, rows = whole_rows(path, sides, faults, lambda row: [needed(row.get(name), name) for name in sides])
    blocks = blocks_of(rows, AT_A_TIME)
    beginning = next(blocks, [])
    faults.check_any()  # before anything is printed
    with writing_csv(out, names_beside(names, (*more, *ADDED), PREFIX)) as writer:
        for block in chain([beginning], blocks):
            pairs = [pair for _, pair, _ in block if pair]
            first, second = [a for a, _ in pairs], [b for _, b in pairs]
            similarity = model.similarity(first, second)
            # A question without a known word has similarity 0, or 1 to one of the same text.
            doubtful = [question for pair, s in zip(pairs, similarity) if s in (0, 1) for question in pair]
            faults.unknown += int(model.without_a_known_word(doubtful).sum())
            scores = rule.scores(first, second, similarity)
            is_duplicate = scores > rule.threshold
            verdicts = zip(similarity.tolist(), rule.probability(scores).tolist(), is_duplicate.tolist())
            for cells, pair, fault in block:
                added: list[object] = [None, None, None, fault]
                if pair:
                    s, p, verdict = next(verdicts)
                    added = [round(s, 6), round(p, 6), int(verdict), None]
                differing = [differs(*pair) if pair else None for _ in more]
                writer.writerow([*cells_for(out, cells), *differing, *added])
            duplicates += int(is_duplicate.sum())
    return duplicates, faults
