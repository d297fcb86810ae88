"""Read the labels that other programs have kept, and write ours for them, as JSON.

dedupe: `{"match": [pair, ...], "distinct": [pair, ...]}`, a pair being two records, each a dictionary of fields.
Label Studio: a list of tasks with `data` and `annotations`, or its short form with the choice beside the data.
Argilla: a list of records with `fields` and `suggestions`, as `dataset.records.from_json` reads it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from siamese.errors import DataError
from siamese.pairs.cells import label_of
from siamese.review.decisions import DIFFERENT, DUPLICATE, SKIP, UNSURE, Decision, Log, latest
from siamese.system.files import write_text

SIDES = ("question1", "question2")
ANSWER = "answer"  # the question that is put to the person, in both programs
WORDS = {
    "duplicate": DUPLICATE, "duplicates": DUPLICATE, "match": DUPLICATE, "same": DUPLICATE,
    "different": DIFFERENT, "distinct": DIFFERENT, "not duplicate": DIFFERENT, "not duplicates": DIFFERENT,
    "unsure": UNSURE, "skip": SKIP,
}  # fmt: skip


def import_labels(path: str | Path, column: str = "question") -> list[Decision]:
    """Return the decisions in a training file of dedupe or an export of Label Studio.

    Args:
        path: the JSON file.
        column: the field of dedupe's records that holds the question; a record with a single text needs no name.

    Raises:
        DataError: the file cannot be read, is neither, or a label has no meaning here.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: no JSON: {error}") from None
    if isinstance(content, dict) and content.keys() & {"match", "distinct"}:
        return list(_of_dedupe(content, str(path), column))
    if isinstance(content, list) and content and all(isinstance(task, dict) for task in content):
        return list(_of_label_studio(content, str(path)))
    raise DataError(f"{path}: expected a training file of dedupe, or tasks exported by Label Studio")


def append_labels(log: Log, labels: Iterable[Decision]) -> tuple[int, int]:
    """Append decisions to an open file, except those that it has and those that are not about two questions.

    Return the numbers of the appended ones and of those about two equal questions, or none.
    """
    known, added, unfit = {about: d.answer for about, d in latest(log.decisions).items()}, [], 0
    for label in labels:
        if len(label.about) != 2:
            unfit += 1
        elif known.get(label.about) != label.answer:
            known[label.about] = label.answer
            added.append(label)
    if added:
        log.append(*added)
    return len(added), unfit


def _of_dedupe(content: Mapping[str, Any], path: str, column: str) -> Iterator[Decision]:
    for key, answer in (("match", DUPLICATE), ("distinct", DIFFERENT)):
        pairs = content.get(key, [])
        if not isinstance(pairs, list):
            raise DataError(f"{path}: {key} is no list; expected a training file of dedupe")
        for place, pair in enumerate(pairs, 1):
            where = f"{path}, {key} {place}"
            pair = pair.get("__value__") if isinstance(pair, dict) else pair  # how dedupe writes a tuple
            if not isinstance(pair, list) or len(pair) != 2:
                raise DataError(f"{where}: expected two records")
            one, two = (_question(record, column, where) for record in pair)
            _check_text(where, one, two)
            yield Decision(one, two, answer)


def _question(record: Any, column: str, where: str) -> str:
    texts = (
        {name: value for name, value in record.items() if isinstance(value, str)} if isinstance(record, dict) else {}
    )
    if column in texts or len(texts) == 1:
        return str(texts[column] if column in texts else next(iter(texts.values())))
    raise DataError(
        f"{where}: no field {column!r}; it has {', '.join(map(repr, texts)) or 'no text'}. Use --question NAME"
    )


def _check_text(where: str, *questions: str) -> None:
    """Raise a DataError if a question has half a character, which JSON can spell, but no file can hold."""
    if any("\ud800" <= c <= "\udfff" for question in questions for c in question):
        raise DataError(f"{where}: a question has half a character; mend or remove it")


def _of_label_studio(tasks: list[dict[str, Any]], path: str) -> Iterator[Decision]:
    for place, task in enumerate(tasks, 1):
        where, data = f"{path}, task {place}", task.get("data", task)
        one, two = (data.get(side) if isinstance(data, dict) else None for side in SIDES)
        if not (isinstance(one, str) and isinstance(two, str) and one.strip() and two.strip()):
            raise DataError(f"{where}: expected texts question1 and question2 in its data")
        _check_text(where, one, two)
        for choice, by, at in _choices(task, where):
            yield Decision(one, two, _answer(choice, where), by=by, at=at)


def _choices(task: dict[str, Any], where: str) -> Iterator[tuple[str, str, str]]:
    """Yield the choices of a task, who made them, and when; none if nobody has answered."""
    if "annotations" not in task:
        if (choice := task.get(ANSWER, task.get("choice"))) is not None:
            yield str(choice), "", ""
        return
    try:
        for made in task["annotations"]:
            for result in made["result"]:
                if result.get("type") == "choices" and not made.get("was_cancelled"):
                    (choice,) = result["value"]["choices"]
                    by = made.get("completed_by") or ""
                    by = by.get("email", "") if isinstance(by, dict) else str(by)
                    yield str(choice), by, str(made.get("created_at") or "")
    except (TypeError, KeyError, ValueError, AttributeError):
        raise DataError(f"{where}: expected annotations with one choice each") from None


def _answer(choice: str, where: str) -> str:
    label = label_of(choice)
    word = choice.strip().lower().replace("_", " ") if label is None else ("different", "duplicate")[label]
    if word not in WORDS:
        raise DataError(f"{where}: choice {choice[:40]!r}; expected one of {', '.join(WORDS)}, 1 or 0")
    return WORDS[word]


def _for_label_studio(decision: Decision) -> dict[str, Any]:
    result = {"from_name": ANSWER, "to_name": SIDES[0], "type": "choices", "value": {"choices": [decision.answer]}}
    made = {"result": [result], **({"created_at": decision.at} if decision.at else {})}
    return {"data": {side: getattr(decision, side) for side in SIDES} | _meta(decision), "annotations": [made]}


def _for_argilla(decision: Decision) -> dict[str, Any]:
    # Responses belong to users of an Argilla server, whom a file cannot know.
    suggestion = {"value": decision.answer, "agent": decision.by or "siamese", "score": None}
    fields = {side: getattr(decision, side) for side in SIDES}
    return {"fields": fields, "metadata": _meta(decision), "suggestions": {ANSWER: suggestion}, "responses": {}}


def _meta(decision: Decision) -> dict[str, Any]:
    return {name: float(value) for name in ("similarity", "probability") if (value := getattr(decision, name))}


PROGRAMS: Mapping[str, Callable[[Decision], dict[str, Any]]] = {
    "label-studio": _for_label_studio, "argilla": _for_argilla,
}  # fmt: skip


def export_labels(decisions: Iterable[Decision], program: str, path: str | Path) -> int:
    """Write the answers that count about pairs, for one of PROGRAMS. Return their number."""
    answers = [PROGRAMS[program](d) for d in latest(decisions).values() if d.question2]
    write_text(path, json.dumps(answers, ensure_ascii=False, indent=1) + "\n")
    return len(answers)
