"""Questions asked in another frame, and sentences around them; the frames are in frames.toml."""

import re
from collections.abc import Callable
from random import Random

from siamese.pairs.rules.question import Question, Rule, capital, small
from siamese.pairs.rules.words import table

_FRAMES = table("frames.toml")
_SLOT = re.compile(r"\{([-+]?)(\w+)\}")
_CHANGES: dict[str, Callable[[str], str]] = {"": str, "+": capital, "-": small}
_OPENINGS: list[str] = _FRAMES["around"]["openings"]
_CLOSINGS: list[str] = _FRAMES["around"]["closings"]
_PREAMBLES: list[str] = _FRAMES["around"]["preambles"]


class _Frame:
    """A pattern of a whole question without its end, and the sentences that may be made of its parts."""

    def __init__(self, kind: str, starts: str, asks: str, gives: list[str], unless: str = "") -> None:
        self.kind, self.gives = kind, gives
        self.starts, self.unless = frozenset(starts.split()), frozenset(unless.split())
        self.asks = re.compile("".join(line.lstrip() for line in asks.splitlines()), re.I)

    def fill(self, q: Question, random: Random) -> str | None:
        if q.lower[0] not in self.starts:
            return None
        body = q.text.rstrip("?.! ")
        match = self.asks.fullmatch(body)
        if match is None:
            return None
        parts = {name: part or "" for name, part in match.groupdict().items()}
        if not self.unless.isdisjoint(re.split(r"[\s,]+", " ".join(parts.values()).lower())):
            return None
        text = _SLOT.sub(lambda slot: _CHANGES[slot[1]](parts[slot[2]]), random.choice(self.gives))
        text = text if text.endswith((".", "?")) else text + q.text[len(body) :]
        if q.text.isupper():
            return text.upper()
        return capital(text) if q.text[0].isupper() else small(text)


_ALL = [_Frame(**entry) for entry in _FRAMES["frame"]]


def frames(kind: str) -> tuple[Rule, frozenset[str]]:
    """Return the rule of a kind's frames, and the words that questions of its patterns start with."""
    own = [frame for frame in _ALL if frame.kind == kind]

    def rule(q: Question, random: Random) -> str | None:
        made = (frame.fill(q, random) for frame in own)
        return next((text for text in made if text is not None), None)

    return rule, frozenset[str]().union(*(frame.starts for frame in own))


def sentences() -> list[str]:
    """Return every sentence of frames.toml, slots and all."""
    return [sentence for frame in _ALL for sentence in frame.gives]


def _with_end(text: str) -> str:
    text = text.rstrip()
    return text if text.endswith((".", "?", "!")) else text + "?"


def polite(q: Question, random: Random) -> str:
    """Add a greeting, an excuse or thanks."""
    if random.random() < 0.5:
        return _with_end(q.text) + random.choice(_CLOSINGS)
    opening = random.choice(_OPENINGS)
    return opening + (q.text if opening.endswith((": ", ". ")) else small(q.text))


def preamble(q: Question, random: Random) -> str:
    """Add a sentence that has nothing to do with the question."""
    sentence = random.choice(_PREAMBLES)
    return f"{sentence} {capital(q.text)}" if random.random() < 0.6 else f"{_with_end(q.text)} {sentence}"
