"""The questions of an archive, exact copies collapsed."""

from dataclasses import dataclass, field
from pathlib import Path

from siamese.errors import DataError
from siamese.pairs.questions import read_records


@dataclass
class Questions:
    """The distinct questions of an archive, in the order of the file.

    Two are the same where their texts are, white space at both ends aside. A
    blank one is left out: it asks nothing.
    """

    texts: list[str] = field(default_factory=list)  # as the first of the copies is written
    ids: list[str] = field(default_factory=list)  # of the first of the copies; none where the file has none
    copies: list[tuple[int, str]] = field(default_factory=list)  # of a later copy: the question's number, its id or ""
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
    def read(cls, path: str | Path, column: str = "question", id_column: str | None = None) -> "Questions":
        """Read a file of questions, as a stream.

        An id may occur again with the same text, as in a file of pairs: that is no copy.

        Raises:
            DataError: a file that cannot be read, an id that two texts have, or ids in some rows only.
        """
        questions = cls()
        number: dict[str, int] = {}  # of each text
        by_id: dict[str, int] = {}
        for record in read_records(path, column, id_column):
            text = record.question.strip()
            if not text:
                questions.blank += 1
                continue
            id, where = record.id, f"{path}, line {record.line}"
            if number and (id is not None) != bool(by_id):
                raise DataError(f"{where}: {'no' if by_id else 'an'} id, unlike the rows before; expected all or none")
            if id in by_id and by_id[id] != number.get(text):
                raise DataError(f"{where}: the id {id!r} was another question's; expected one question an id")
            if text not in number:
                number[text] = len(number)
                questions.texts.append(record.question)
                questions.ids += [id] if id is not None else []
            elif id is None or id not in by_id:
                questions.copies.append((number[text], id or ""))
            if id is not None:
                by_id[id] = number[text]
        return questions
