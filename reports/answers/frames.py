"""List the sentences of near misses whose words, slots removed, equal a template of CheckList.

    python -m reports.answers.frames ../shared/bench/checklist_qqp_mft.csv

The near misses are ours: none of their frames may come from the file that they are measured on. The file holds filled
templates, so their words are found again: those that many questions of a capability share.
"""

import csv
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from siamese.pairs.rules.frames import sentences
from siamese.pairs.rules.made_up import MADE_UP

# A word is a template's if this share of a capability's questions hold it; words that fill slots are rarer.
SHARES = (0.15, 0.3)
_WORD = re.compile(r"[a-z]+(?:['’][a-z]+)?")
_SLOT = re.compile(r"\{[^}]*\}(?:['’]s|s\b)?")


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text without its slots, in small letters; "an" is "a"."""
    return tuple("a" if word == "an" else word for word in _WORD.findall(_SLOT.sub(" ", text).lower()))


def templates(questions: Mapping[str, Sequence[str]]) -> set[tuple[str, ...]]:
    """Return the words of the templates that the questions of each capability were made from.

    Args:
        questions: capability to its questions.
    """
    found = set()
    for texts in questions.values():
        counts = Counter(word for text in texts for word in set(words(text)))
        for share in SHARES:
            fixed = {word for word, count in counts.items() if count >= share * len(texts)}
            found |= {tuple(word for word in words(text) if word in fixed) for text in texts}
    return found


def equal(ours: Iterable[str], questions: Mapping[str, Sequence[str]]) -> list[str]:
    """Return our sentences whose words equal those of a template."""
    theirs = templates(questions)
    return [sentence for sentence in ours if words(sentence) in theirs]


def our_sentences() -> list[str]:
    """Return every sentence that a pair may be made of, slots and all."""
    made_up = [sentence for kind in MADE_UP for meaning in kind.meanings for sentence in meaning]
    return [*sentences(), *made_up]


def main(path: str) -> None:
    """Print how many of our sentences equal a template of a CheckList file, and which."""
    questions: dict[str, list[str]] = defaultdict(list)
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            questions[row["source"]] += [row["question1"], row["question2"]]
    ours = our_sentences()
    found = equal(ours, questions)
    print(f"{len(found)} of {len(ours)} sentences equal one of {len(templates(questions))} templates")
    print("\n".join(found), end="\n" if found else "")


if __name__ == "__main__":
    main(sys.argv[1])
