"""Questions of an archive whose text is the same as a query's once both are clean."""

from collections.abc import Collection

import numpy as np

from siamese.archive.database import Database
from siamese.model.similarity import may_be_same
from siamese.text.cleaning import clean


def without_a_known_word(data: Database, wanted: Collection[str]) -> dict[str, list[int]]:
    """Return the rows of the questions without a known word that have one of these clean texts, by text.

    Their vector is 0, so that a search by vectors does not find them.
    """
    found: dict[str, list[int]] = {text: [] for text in wanted}
    if found:
        for row, question in data.execute("SELECT row, question FROM blank JOIN questions USING (row) ORDER BY row"):
            if (text := clean(question)) in found:
                found[text].append(row)
    return found


def equal_to(data: Database, text: str, rows: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """Return which of the rows have this clean text, (n,) bool; `similarity` (n,) to it spares reading most of them."""
    found = may_be_same(similarity)
    for i in np.flatnonzero(found).tolist():
        row = data.stored("row", int(rows[i]))
        found[i] = bool(text) and row is not None and clean(row[2]) == text
    return found
