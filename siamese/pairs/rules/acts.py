"""Who does what to whom: subject and object swapped, and the passive, right and wrong."""

import re
from random import Random
from typing import NamedTuple

from siamese.pairs.rules.forms import entries, forms
from siamese.pairs.rules.question import Question, capital
from siamese.pairs.rules.words import SETS, WORDS

_PARTICIPLES = {verb: forms(verb)[3] for verb in entries(WORDS["verbs"]["passive"])}
VERBS = frozenset(_PARTICIPLES)
_ACT = re.compile(
    r"(?P<wh>(?:(?:how|why|when) )?)(?P<aux>does|do|did|can|could|will|would) (?P<a>[\w'.-]+(?: [\w'.-]+){0,2}?) "
    rf"(?P<verb>{'|'.join(_PARTICIPLES)}) (?P<b>[\w'.-]+(?: [\w'.-]+){{0,2}})(?P<end>[?.! ]*)",
    re.I,
)
_NO_ACT = SETS["no act"] | SETS["base verbs"]


class _Act(NamedTuple):
    wh: str
    aux: str
    a: str
    verb: str
    b: str
    end: str


def _act(q: Question) -> _Act | None:
    """Return the parts of "(Why) does A beat B?"; None if the question is anything else."""
    match = _ACT.fullmatch(q.text)
    if match is None:
        return None
    act = _Act(*match.groups())
    parts = [*act.a.lower().split(), *act.b.lower().split()]
    like = act.verb.lower() == "like" and (act.wh or act.aux.lower() not in ("do", "does"))
    return None if like or not _NO_ACT.isdisjoint(parts) else act._replace(verb=act.verb.lower())


def _is_plural(text: str) -> bool | None:
    """Return whether a noun phrase is plural; None if that is hard to tell, as of a name that ends in s."""
    words = text.lower().split()
    last = words[-1]
    if last in SETS["plurals"]:
        return True
    if words[0] in ("a", "an", "this", "every", "each") or not last.endswith("s"):
        return False
    if last.endswith(("ss", "us", "is", "'s", "ics", "as", "os")) or last in SETS["singular in s"]:
        return False
    return None if text[0].isupper() and len(words) < 3 else True


def _like(old: str, new: str) -> str:
    return capital(new) if old[0].isupper() else new


def subject_and_object(q: Question, random: Random) -> str | None:
    """Swap subject and object: Does A like B? becomes Does B like A?"""
    act = _act(q)
    plural = act and _is_plural(act.b)
    if act is None or plural is None:
        return None
    aux = _like(act.aux, "do" if plural else "does") if act.aux.lower() in ("do", "does") else act.aux
    return f"{act.wh}{aux} {act.b} {act.verb} {act.a}{act.end}"


def _passive(act: _Act, subject: str, agent: str) -> str | None:
    participle, plural = _PARTICIPLES[act.verb], _is_plural(subject)
    if act.aux.lower() not in ("does", "do", "did"):
        return f"{act.wh}{act.aux} {subject} be {participle} by {agent}{act.end}"
    if plural is None:
        return None
    be = ("was", "were") if act.aux.lower() == "did" else ("is", "are")
    return f"{act.wh}{_like(act.aux, be[plural])} {subject} {participle} by {agent}{act.end}"


def right_passive(q: Question, random: Random) -> str | None:
    """Write Does A beat B? as Is B beaten by A?"""
    act = _act(q)
    return None if act is None else _passive(act, act.b, act.a)


def wrong_passive(q: Question, random: Random) -> str | None:
    """Write Does A beat B? as Is A beaten by B?"""
    act = _act(q)
    return None if act is None or act.verb in ("cause", "own") else _passive(act, act.a, act.b)
