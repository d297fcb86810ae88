"""The questions of an archive, exact copies collapsed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from siamese.errors import DataError


@dataclass
class Questions:
    """The distinct questions of an archive, in the order of the file.

    Two are the same where their texts are, white space at both ends aside. A
    blank one is left out: it asks nothing.
    """

    texts: list[str] = field(default_factory=list)  # as the first of the copies is written
    ids: list[str] | None = None  # of the first of the copies
    copies: list[tuple[int, str]] = field(default_factory=list)  # of a later copy the question's number, and its id or ""
    blank: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def copies_of(self) -> dict[int, list[str]]:
        """Of each question that has later copies their ids."""
        ids: dict[int, list[str]] = {}
        for question, id in self.copies:
            ids.setdefault(question, []).append(id)
        return ids

    @classmethod
    def of(cls, records: Iterable[tuple[str | None, str]]) -> "Questions":
        """Collapse records (id, question); the ids of all are None, or of none."""
        questions = cls()
        number: dict[str, int] = {}
        ids: list[str] = []
        for id, text in records:
            key = text.strip()
            if not key:
                questions.blank += 1
            elif key in number:
                questions.copies.append((number[key], id or ""))
            else:
                number[key] = len(number)
                questions.texts.append(text)
                if id is not None:
                    ids.append(id)
        questions.ids = ids if ids else None
        return questions

    @classmethod
    def read(cls, path: str | Path, column: str, id_column: str | None) -> "Questions":
        """Read a file of questions.

        Raises:
            DataError: a file that cannot be read, or an id twice.
        """
        from siamese.streams import read_records

        seen: set[str] = set()

        def records() -> Iterable[tuple[str | None, str]]:
            for record in read_records(path, column, id_column):
                if record.id is not None:
                    if record.id in seen:
                        raise DataError(f"{path}, line {record.line}: the id {record.id!r} a second time; expected one question each")
                    seen.add(record.id)
                yield record.id, record.question

        return cls.of(records())
