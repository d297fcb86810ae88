"""A "not" more, a "not" less, and opposites that a "not" turns round."""

import re
from random import Random

from siamese.pairs.rules.forms import OPPOSITES, forms, twos
from siamese.pairs.rules.question import Question
from siamese.pairs.rules.words import SETS

_POSITIVE = {"can": "can't", "does": "doesn't", "do": "don't", "did": "didn't", "is": "isn't", "are": "aren't",
             "was": "wasn't", "were": "weren't", "will": "won't", "could": "couldn't", "should": "shouldn't",
             "would": "wouldn't", "has": "hasn't", "have": "haven't"}  # fmt: skip
_NEGATIVE = {negative: positive for positive, negative in _POSITIVE.items()} | {"cannot": "can"}
NEGATIONS = frozenset([*_NEGATIVE, "not", "why", "can", "should", "must", "could", "will"])
_WH = frozenset(["why", "what", "which", "who", "when", "where", "how"])


def negation(q: Question, random: Random) -> str | None:
    """Add or remove a "not" where the question does not mean the same without it; never at the start, as in Isn't."""
    lower, found = q.lower, []
    if not SETS["no negation"].isdisjoint(lower) or " at all" in q.text:
        return None
    negated = "not" in lower or not _NEGATIVE.keys().isdisjoint(lower)
    for i in range(1, len(lower) - 1):
        word, before, after = lower[i], lower[i - 1], lower[i + 1]
        acts = after in SETS["base verbs"]
        if word in _NEGATIVE:
            if (i == 1 and before in _WH) or word not in ("don't", "doesn't", "didn't"):
                found.append(q.put(i, i + 1, _NEGATIVE[word]))
            elif word == "don't" and before in SETS["subjects"]:
                found.append(q.drop(i))
            elif word == "doesn't" and acts and after != "have":
                found.append(q.put(i, i + 2, forms(after)[1]))
        elif word == "not" and i > 1 and before in SETS["before not"] and after not in SETS["after not"]:
            found.append(q.drop(i))
        elif negated:
            continue
        elif i == 1 and before == "why" and word in ("does", "do", "is", "are", "was", "were", "did"):
            if after != "there":
                found.append(q.put(i, i + 1, _POSITIVE[word]))
        elif word in ("can", "should", "must", "could", "will"):
            asks = (i == 1 and before in _WH - {"why", "how"}) or (i < 4 and lower[0] in ("what", "which"))
            if asks and after in SETS["subjects"] and word in ("should", "must") and lower[i + 2 : i + 3] != ["do"]:
                found.append(q.put(i + 1, i + 2, f"{q.words[i + 1]} not"))
            elif i > 1 and acts and word in ("can", "should", "will") and before not in ("and", "or"):
                found.append(q.put(i, i + 1, _POSITIVE[word]))
    return random.choice(found) if found else None


_COMPLEMENTS = dict(twos(OPPOSITES["complements"]))
_OPPOSITE = {negative: positive for positive, negative in _COMPLEMENTS.items()}
ADJECTIVES = frozenset([*_COMPLEMENTS, *_OPPOSITE])
OPPOSITE_ADJECTIVES = frozenset(_OPPOSITE)
_AFTER_ADJECTIVE = frozenset(["", "to", "for", "in", "when", "if", "on", "at", "with", "of"])


def _predicative(q: Question, i: int) -> bool:
    """Return whether an adjective stands alone after "is" and its noun, as in "why is it legal to"."""
    copula = q.lower[i - 1] in SETS["copulas"] or q.lower[1] in ("is", "are", "was", "were")
    attribute = q.lower[i - 1] in SETS["before an attribute"] | SETS["determiners"] or q.lower[i - 1].endswith("ly")
    alone = q.words[i].islower() and q.gaps[i] == " " and q.after(i) in _AFTER_ADJECTIVE
    return i > 1 and q.lower[0] in _WH and copula and alone and not attribute


def not_adjective(q: Question, random: Random) -> str | None:
    """Put a "not" before an adjective: why is it legal to, why is it not legal to."""
    for i, word in enumerate(q.lower):
        if word in ADJECTIVES and _predicative(q, i) and re.search(r"\bnot\b|n['’]t\b", q.text) is None:
            return q.put(i, i + 1, f"not {q.words[i]}")
    return None


def not_the_opposite(q: Question, random: Random) -> str | None:
    """Write illegal as not legal, in questions that ask more than yes or no."""
    for i, word in enumerate(q.lower):
        if word in _OPPOSITE and _predicative(q, i):
            return q.put(i, i + 1, f"not {_OPPOSITE[word]}")
    return None
