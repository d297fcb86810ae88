"""Forms of English verbs and nouns."""

import tomllib
from pathlib import Path

_OPPOSITES = tomllib.loads((Path(__file__).parents[1] / "opposites.toml").read_text("utf-8"))
OPPOSITES: dict[str, str] = _OPPOSITES["opposites"]
_INFLECTION: dict[str, str] = _OPPOSITES["inflection"]


def entries(text: str) -> list[str]:
    """Return the entries of a list separated by commas, with spaces for underscores."""
    return [" ".join(entry.split()).replace("_", " ") for entry in text.split(",") if entry.strip()]


def twos(text: str) -> list[tuple[str, str]]:
    """Return the entries of a list of two words each."""
    divided = [entry.split() for entry in text.split(",") if entry.strip()]
    return [(one.replace("_", " "), two.replace("_", " ")) for one, two in divided]


_DOUBLED = frozenset(entries(_INFLECTION["doubled"]))
_IRREGULAR = {entry.split()[0]: entry.split() for entry in entries(_INFLECTION["irregular"])}
_PLURALS = dict(twos(_INFLECTION["plurals"]))


def forms(verb: str) -> tuple[str, str, str, str, str]:
    """Return a verb's base, third person, past, participle and -ing form. What follows its first word stays."""
    verb, space, rest = verb.partition(" ")
    y = verb.endswith("y") and verb[-2] not in "aeiou"
    if verb in _IRREGULAR:
        _, past, participle, ing = _IRREGULAR[verb]
    else:
        stem = verb + verb[-1] if verb in _DOUBLED else verb
        past = participle = verb[:-1] + "ied" if y else stem + ("d" if verb.endswith("e") else "ed")
        ing = (verb[:-1] if verb.endswith("e") and not verb.endswith(("ee", "ye", "oe")) else stem) + "ing"
    third = verb[:-1] + "ies" if y else verb + ("es" if verb.endswith(("s", "sh", "ch", "x", "z", "o")) else "s")
    rest = space + rest
    return verb + rest, third + rest, past + rest, participle + rest, ing + rest


def plural(noun: str) -> str:
    """Return a noun's plural."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return _PLURALS.get(noun, noun + ("es" if noun.endswith(("s", "sh", "ch", "x")) else "s"))
