"""Make data/questions.csv from the hand-written wordings in data/intents/.

    python data/make_pairs.py

A file holds one topic. A block starts with `= family: intent`; the lines below
it are wordings of that one intent, so any two of them are duplicates. The
intents of a family are near misses: they share words and not meaning.

    = weight: lose weight
    How do I lose weight?
    I've put on 10 kg since the baby, any tips to get it off again?

    = weight: gain weight
    How do I gain weight?
"""

import itertools
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

MINIMUM_WORDINGS = 6
MOST_INTENTS_PER_PATTERN = 3  # more than this and the pattern is a template


@dataclass(frozen=True)
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
    """The intents of one file; ValueError names file and line of what is not understood."""
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
    return re.findall(r"\w+(?:['’]\w+)*", question.lower())


def jaccard(a: str, b: str) -> float:
    """Distinct words that the questions share over distinct words of either."""
    x, y = set(words(a)), set(words(b))
    return len(x & y) / len(x | y)


def patterns(question: str) -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Every (beginning, end) of the question with four or more words and one slot between."""
    w = words(question)
    return {
        (tuple(w[:i]), tuple(w[j:]))
        for i in range(len(w) + 1)
        for j in range(i + 1, len(w) + 1)
        if i + len(w) - j >= 4
    }


def templates(intents: list[Intent]) -> dict[str, set[str]]:
    """Patterns that span more intents than they may, with those intents."""
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
    """Questions of two intents of one family that share half of their words or more."""
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
    """What is wrong with the wordings, a line each; empty when nothing is."""
    found = []
    seen: dict[tuple[str, ...], str] = {}
    for intent in intents:
        if len(intent.wordings) < MINIMUM_WORDINGS:
            found.append(f"{intent.key}: {len(intent.wordings)} wordings, {MINIMUM_WORDINGS} needed")
        for wording in intent.wordings:
            if tuple(words(wording)) in seen:
                found.append(f"{intent.key}: {wording!r} stands twice, also in {seen[tuple(words(wording))]}")
            seen[tuple(words(wording))] = intent.key
    for pattern, keys in sorted(templates(intents).items()):
        found.append(f"template {pattern!r} spans {len(keys)} intents: {', '.join(sorted(keys))}")
    return found
