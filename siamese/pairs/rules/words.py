"""The word lists that the rules read."""

import tomllib
from pathlib import Path
from typing import Any

from siamese.pairs.rules.forms import entries


def table(name: str) -> dict[str, Any]:
    """Return the content of a TOML file beside this module."""
    return tomllib.loads((Path(__file__).parent / name).read_text("utf-8"))


WORDS = table("words.toml")
SETS: dict[str, frozenset[str]] = {name: frozenset(text.split()) for name, text in WORDS["sets"].items()}
_NAMES: dict[str, str] = table("names.toml")["names"]
NOT_NAMES = _NAMES.pop("fixed")
# Lists of names, each name with its other forms.
NAMES = {group: [entry.split("|") for entry in entries(text)] for group, text in _NAMES.items()}
GROUPS_OF: dict[str, set[str]] = {}
for _group, _entries in NAMES.items():
    for _name in (name for entry in _entries for name in entry):
        GROUPS_OF.setdefault(_name.lower(), set()).add(_group)
PROPER = frozenset(
    name.split(" ")[0] for group in NAMES.values() for entry in group for name in entry if name[0].isupper()
)
