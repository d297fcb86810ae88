"""Make data/questions.csv from the hand-written wordings in data/intents/.

    python data/make_pairs.py

A file has one topic. A block starts with `= family: intent`. The lines below it are wordings of that intent, so any two
of them are duplicates. The intents of a family are near misses: they share words but not their meaning.

    = weight: lose weight
    How do I lose weight?
    I've put on 10 kg since the baby, any tips to get it off again?

    = weight: gain weight
    How do I gain weight?

The topics came in editions. Those of the first lie in intents/, those of each later one in a folder of its own. A pair
has two questions of one edition, and a later edition changes no row of an earlier one.
"""

import csv
import itertools
import random
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
HERE = Path(__file__).parent
EDITIONS = ("intents", "intents/second", "intents/third")
MINIMUM_WORDINGS = 6
MOST_INTENTS_PER_PATTERN = 3  # a pattern in more intents is a template


@dataclass(frozen=True, eq=False)  # compared by identity, which is fast
class Intent:
    """One thing that people ask, in several wordings."""

    topic: str
    family: str
    name: str
    wordings: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.topic}/{self.family}: {self.name}"


def read_topic(path: Path) -> list[Intent]:
    """Return the intents of one file.

    Raises:
        ValueError: a line cannot be read; the message names file and line.
    """
    intents: list[Intent] = []
    heads: list[tuple[str, str]] = []
    blocks: list[list[str]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if line.startswith("= "):
            family, colon, name = line[2:].partition(": ")
            if not colon:
                raise ValueError(f"{path}:{number}: expected '= family: intent', got {line!r}")
            heads.append((family.strip(), name.strip()))
            blocks.append([])
        elif line and not blocks:
            raise ValueError(f"{path}:{number}: a wording before the first '= family: intent'")
        elif line:
            blocks[-1].append(line)
    for (family, name), wordings in zip(heads, blocks):
        intents.append(Intent(path.stem, family, name, tuple(wordings)))
    return intents


def words(question: str) -> list[str]:
    """Return the words of a question in lower case."""
    return re.findall(r"\w+(?:['’]\w+)*", question.lower())


def jaccard(a: str, b: str) -> float:
    """Return the share of the distinct words of two questions that both have, 0 to 1."""
    x, y = set(words(a)), set(words(b))
    return len(x & y) / len(x | y)


def patterns(question: str) -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return every (beginning, end) of the question with four or more words and one slot between."""
    w = words(question)
    return {
        (tuple(w[:i]), tuple(w[j:])) for i in range(len(w) + 1) for j in range(i + 1, len(w) + 1) if i + len(w) - j >= 4
    }


def templates(intents: list[Intent]) -> dict[str, set[str]]:
    """Return the patterns that occur in more than MOST_INTENTS_PER_PATTERN intents, with those intents."""
    spans = defaultdict(set)
    for intent in intents:
        for wording in intent.wordings:
            for pattern in patterns(wording):
                spans[pattern].add(intent.key)
    return {
        " ".join((*start, "_", *end)): keys
        for (start, end), keys in spans.items()
        if len(keys) > MOST_INTENTS_PER_PATTERN
    }


def near_misses(intents: list[Intent]) -> list[tuple[str, str]]:
    """Return pairs of questions of two intents of one family that share at least half of their words."""
    families = defaultdict(list)
    for intent in intents:
        families[intent.topic, intent.family].append(intent)
    return [
        (a, b)
        for members in families.values()
        for x, y in itertools.combinations(members, 2)
        for a, b in itertools.product(x.wordings, y.wordings)
        if jaccard(a, b) >= 0.5
    ]


def problems(intents: list[Intent]) -> list[str]:
    """Return what is wrong with the wordings, one line each."""
    found = []
    seen: dict[tuple[str, ...], str] = {}
    for intent in intents:
        if len(intent.wordings) < MINIMUM_WORDINGS:
            found.append(f"{intent.key}: {len(intent.wordings)} wordings, {MINIMUM_WORDINGS} needed")
        for wording in intent.wordings:
            if tuple(words(wording)) in seen:
                found.append(f"{intent.key}: {wording!r} occurs twice, also in {seen[tuple(words(wording))]}")
            seen[tuple(words(wording))] = intent.key
    for pattern, keys in sorted(templates(intents).items()):
        found.append(f"template {pattern!r} spans {len(keys)} intents: {', '.join(sorted(keys))}")
    return found


# From wordings to pairs


@dataclass(frozen=True, eq=False)  # compared by identity, which is fast
class Question:
    """A wording with its number and the part that it belongs to."""

    number: int
    text: str
    intent: Intent
    kept: str | None  # "validation", "test", or None for training


def keep(intents: list[Intent], random: random.Random, first: int = 1) -> list[Question]:
    """Number all wordings from `first` on, and keep one of each intent for validation and one for test."""
    questions = []
    for intent in intents:
        validation, test = random.sample(range(len(intent.wordings)), 2)
        kept = {validation: "validation", test: "test"}
        for i, text in enumerate(intent.wordings):
            questions.append(Question(first + len(questions), text, intent, kept.get(i)))
    return questions


def training_pairs(questions: list[Question], random: random.Random) -> list[tuple[Question, Question, int]]:
    """Return every two training wordings of an intent as duplicates, and non-duplicates, near misses first."""
    training = [q for q in questions if q.kept is None]
    families = by(training, lambda q: (q.intent.topic, q.intent.family))
    topics = by(training, lambda q: q.intent.topic)
    groups = by(training, lambda q: q.intent).values()
    pairs = [(a, b, 1) for group in groups for a, b in itertools.combinations(group, 2)]
    for a in training:
        near = [b for b in families[a.intent.topic, a.intent.family] if b.intent != a.intent]
        pairs += [(a, b, 0) for b in near if a.number < b.number and jaccard(a.text, b.text) >= 0.5]
        others = [q for q in topics[a.intent.topic] if q.intent.family != a.intent.family]
        strangers = [random.choice(near), random.choice(others), random.choice(training)]
        pairs += [(a, b, 0) for b in strangers if b.intent != a.intent]
    return pairs


def kept_pairs(questions: list[Question], part: str, random: random.Random) -> list[tuple[Question, Question, int]]:
    """Return four duplicates and at least four non-duplicates for each wording kept for a part.

    Test wordings are also paired with validation wordings, which are not trained on either. In these pairs both
    questions are new.
    """
    known = [q for q in questions if q.kept is None]
    new = [q for q in questions if q.kept == "validation"] if part == "test" else []
    pairs = []
    for a in (q for q in questions if q.kept == part):
        same = [q for q in known if q.intent == a.intent]
        near = [q for q in known + new if q.intent.family == a.intent.family and q.intent.topic == a.intent.topic]
        near = [q for q in near if q.intent != a.intent]
        topic = [q for q in known + new if q.intent.topic == a.intent.topic and q.intent.family != a.intent.family]
        same_new = [q for q in new if q.intent == a.intent]
        pairs += [(a, b, 1) for b in same_new + random.sample(same, 4 - len(same_new))]
        close = [q for q in near if jaccard(a.text, q.text) >= 0.5]
        unlike = [q for q in near if q not in close]
        near_new = [q for q in unlike if q in new]
        chosen = close + near_new + random.sample(unlike, 2) + random.sample(topic, 1)
        chosen += random.sample([q for q in new if q.intent != a.intent] or topic, 1)
        pairs += [(a, b, 0) for b in chosen]
    return pairs


def by(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Return the items grouped by a key."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def pairs_of(questions: list[Question], random: random.Random) -> list[tuple[Question, Question, int, str]]:
    """Return the pairs of an edition with their labels and parts, in the order of the file."""
    parts = {
        "train": training_pairs(questions, random),
        "validation": kept_pairs(questions, "validation", random),
        "test": kept_pairs(questions, "test", random),
    }
    found = []
    for part, pairs in parts.items():
        random.shuffle(pairs)
        seen = set()
        for a, b, label in pairs:
            if random.random() < 0.5:
                a, b = b, a
            if frozenset((a.number, b.number)) not in seen:
                seen.add(frozenset((a.number, b.number)))
                found.append((a, b, label, part))
    return found


def main() -> None:
    """Run the command."""
    editions = [
        [intent for path in sorted((HERE / folder).glob("*.txt")) for intent in read_topic(path)] for folder in EDITIONS
    ]
    intents = [intent for edition in editions for intent in edition]
    if found := problems(intents):
        sys.exit("\n".join(found))
    questions, rows = 0, 0
    with open(HERE / "questions.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "qid1", "qid2", "question1", "question2", "is_duplicate", "split"])
        for edition in editions:
            chance = random.Random(1)  # of its own, so that no edition changes another
            numbered = keep(edition, chance, questions + 1)
            for a, b, label, part in pairs_of(numbered, chance):
                writer.writerow([rows, a.number, b.number, a.text, b.text, label, part])
                rows += 1
            questions += len(numbered)
    print(f"{len(intents)} intents, {questions} questions, {rows} pairs")


if __name__ == "__main__":
    main()
