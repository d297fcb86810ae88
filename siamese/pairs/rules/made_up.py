"""Pairs whose two questions are both made up, from the sentences of made_up.toml."""

import re
from random import Random

from siamese.pairs.rules.forms import entries
from siamese.pairs.rules.question import capital, mend_articles
from siamese.pairs.rules.words import NAMES, table

_SLOT = re.compile(r"\{([a-z]+)(?:\.(\d))?\}")
_LISTS = {
    "profession": [entry[0] for entry in NAMES["professions"]],
    "professions": [entry[0] for entry in NAMES["professions, plural"]],
    "nationality": [entry[0] for group in ("nationalities", "nationalities with a language") for entry in NAMES[group]],
    "country": [entry[0] for entry in NAMES["countries"]],
    "city": [entry[0] for entry in NAMES["cities"]],
    "first": [entry[0] for group in ("men", "women") for entry in NAMES[group]],
    "last": [entry[0] for entry in NAMES["surnames"]],
}


class MadeUp:
    """Draws two sentences of one meaning, or of two, and fills their slots.

    Args:
        kind: name of the pairs.
        meanings: sentences of one meaning each; the first meaning is the one that the others vary.
        lists: slot to the words that may fill it; of "up_down", "taller shorter" fills {up} and {down} together.
    """

    def __init__(self, kind: str, meanings: list[list[str]], lists: dict[str, str] | None = None) -> None:
        self.kind, self.meanings = kind, meanings
        # Slot to the list that fills it and the place of its word within an entry.
        self._lists: dict[str, tuple[list[tuple[str, ...]], int]] = {
            name: ([(word,) for word in words], 0) for name, words in _LISTS.items()
        }
        for name, text in (lists or {}).items():
            slots = name.split("_")
            if len(slots) == 1:
                self._lists[name] = [(word,) for word in entries(text)], 0
                continue
            forms = [tuple(form.replace("_", " ") for form in entry.split()) for entry in text.split(",")]
            self._lists.update({slot: (forms, place) for place, slot in enumerate(slots)})

    def pair(self, same: bool, random: Random) -> tuple[str, str]:
        """Return two questions, which mean the same or do not."""
        if same:
            one, two = random.sample(random.choice([meaning for meaning in self.meanings if len(meaning) > 1]), 2)
        else:
            first, second = self.meanings[0], random.choice(self.meanings[1:])
            if random.random() < 0.3:
                first, second = random.sample(self.meanings, 2)
            at = random.randrange(min(len(first), len(second)))
            one, two = first[at], second[at]  # mostly sentences of one frame
            if random.random() < 0.3:
                one, two = random.choice(first), random.choice(second)
        filled: dict[str, tuple[str, ...]] = {}
        return self._fill(one, filled, random), self._fill(two, filled, random)

    def _fill(self, sentence: str, filled: dict[str, tuple[str, ...]], random: Random) -> str:
        def word(match: re.Match[str]) -> str:
            name, number = match[1], match[2] or "1"
            if name == "person":
                last = f"last.{number}"
                if last not in filled and random.random() < 0.7:
                    filled[last] = ("",)
                return f"{draw('first', number)} {draw('last', number)}".strip()
            return draw(name, number)

        def draw(name: str, number: str) -> str:
            choices, place = self._lists[name]
            slot = f"{id(choices)}.{number}" if len(choices[0]) > 1 else f"{name}.{number}"
            if slot not in filled:
                filled[slot] = random.choice([entry for entry in choices if entry not in filled.values()])
            return filled[slot][place]

        return capital(mend_articles(_SLOT.sub(word, sentence)))


MADE_UP = [MadeUp(**entry) for entry in table("made_up.toml")["made"]]
