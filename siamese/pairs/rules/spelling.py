"""The same words written otherwise: contractions, typing errors, capitals and punctuation."""

import re
from random import Random

from siamese.pairs.rules.forms import twos
from siamese.pairs.rules.phrases import ANTONYMS, COMPARATIVES, SUPERLATIVES, Phrases
from siamese.pairs.rules.question import Question, capital
from siamese.pairs.rules.words import SETS, WORDS

_CONTRACTIONS = Phrases()
for _long, _short in twos(WORDS["same"]["contractions"]["words"]):
    _CONTRACTIONS.add(_long, [_short])
    _CONTRACTIONS.add(_short, [capital(_long) if _long.startswith("i ") else _long])
CONTRACTED = frozenset(_CONTRACTIONS.longest)


def contraction(q: Question, random: Random) -> str | None:
    """Write what is as what's, or don't as do not; in a question, "why isn't it" as "why is it not"."""
    for start, end, phrase in _CONTRACTIONS.found(q, random):
        new, follows = random.choice(_CONTRACTIONS.others[phrase]), q.after(end - 1)
        if not follows or (phrase.endswith("'s") and (follows.endswith(("ed", "en", "ne")) or follows == "got")):
            continue  # nothing is contracted at the end, and "it's been" is "it has been"
        if not phrase.endswith("n't"):
            return q.put(start, end, new)
        if start and follows in SETS["subjects"]:
            return q.put(start, end + 1, f"{new.removesuffix('not').strip()} {q.words[end]} not")
        if start > 1:
            return q.put(start, end, new)
    return None


_NO_TYPO = frozenset(word for phrases in (ANTONYMS, COMPARATIVES, SUPERLATIVES) for word in phrases.longest)
_NEXT_KEY = dict(zip("asdertioncugbhpl", "sdfrtyopmvihvjok"))


def typo(q: Question, random: Random) -> str | None:
    """Swap, drop, double or mistype a letter of a long word in small letters, never the first."""
    found = [
        i for i, word in enumerate(q.words) if re.fullmatch("[a-z]{6,}", word) and q.gaps[i][-1:] in ("", " ")
    ]  # fmt: skip
    found = [i for i in found if q.words[i] not in _NO_TYPO]
    if not found:
        return None
    i = random.choice(found)
    word = q.words[i]
    at = random.randrange(1, len(word) - 2)
    one, two, start, rest = word[at], word[at + 1], word[:at], word[at + 2 :]
    new = random.choice((two + one, two, one + one + two, _NEXT_KEY.get(one, two) + two))
    return q.put(i, i + 1, start + new + rest)


_CAPITALS_COUNT = re.compile(r"[a-z][A-Z]|[_<>{}\\=]|\b(?:US|IT|WHO)\b")


def case(q: Question, random: Random) -> str | None:
    """Write in capitals or without any, and change the punctuation."""
    if _CAPITALS_COUNT.search(q.text):
        return None
    bare = q.text.rstrip("?.! ")
    asked = bare != q.text.rstrip()
    style = random.randrange(5)
    if style == 0:
        return bare.upper() + ("" if asked else "?")
    if style == 1:
        return bare.lower() + ("" if asked else " ?")
    if style == 2:
        return bare.lower() + random.choice(("??", " ?", "???", "..."))
    if style == 3:
        return re.sub(r"[,\"]|'(?=s )", "", q.text).lower()
    return bare + ("" if asked else "?")
