"""Read a pile: questions without labels, perhaps in families, of which some are taken."""

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from siamese.errors import DataError
from siamese.pairs.questions import read_records
from siamese.pairs.sources import source_of, text_lines
from siamese.text.cleaning import clean
from siamese.text.ragged import Texts


def read_pile(path: str | Path, families: Collection[str] | None = None) -> Texts:
    """Read the distinct questions of a pile, cleaned, in their order.

    Args:
        path: a .tsv file without names of columns, with a family, a tab and a question on each line; or any file of
            questions as in `read_records`, where a column `family` names the families. Each may be packed.
        families: those to take; None: all.

    Raises:
        DataError: the file cannot be read, has no question, no families, or not all of these.
    """
    found, counts = dict[str, None](), Counter[str]()
    for family, question in _rows(path, families is not None):
        counts[family] += 1
        if (families is None or family in families) and (text := clean(question)):
            found[text] = None
    if missing := sorted(set(families or ()) - counts.keys()):
        has = ", ".join(f"{family} ({count:,})" for family, count in counts.most_common(20))
        raise DataError(f"{path}: no family {', '.join(missing)}; it has {has}")
    if not found:
        raise DataError(f"{path}: no questions")
    return Texts.of(found)


def _rows(path: str | Path, with_families: bool) -> Iterator[tuple[str, str]]:
    """Yield the family, "" if there are none, and the text of each question."""
    if _has_no_names(path):
        for number, line in enumerate(text_lines(path), 1):
            family, tab, question = line.rstrip("\r\n").partition("\t")
            if not tab:
                raise DataError(f"{path}, line {number}: no tab; expected a family, a tab and a question")
            yield family, question
        return
    if with_families and not str(path).startswith("hf:") and source_of(path).suffix == ".txt":
        raise DataError(f"{path}: a question a line, without families; leave out --families")
    for record in read_records(path, id_column="family" if with_families else None):
        yield (record.id or "" if with_families else ""), record.question


def _has_no_names(path: str | Path) -> bool:
    """Return whether a .tsv file has two columns without names, as no column is called `question`."""
    if str(path).startswith("hf:") or source_of(path).suffix != ".tsv":
        return False
    names = next(text_lines(path), "").rstrip("\r\n").split("\t")
    return len(names) == 2 and "question" not in names
