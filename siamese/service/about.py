"""What the service says of its model: the name, the licence and the card."""

import re
from contextlib import suppress
from pathlib import Path

from siamese.config import PACKAGED, terms
from siamese.model.encoders import source_of
from siamese.model.model import SiameseModel
from siamese.model.packaged import model_folder_of
from siamese.service.messages import About
from siamese.towers.places import folder_of

CARD = "README.md"
LONGEST = 1 << 17  # characters of a card


def about(model: SiameseModel, name: str | None) -> About:
    """Return what is known of a model.

    Args:
        model: the model that answers.
        name: by which it was loaded: a folder, a packaged model or a sentence encoder.
    """
    card = _card(name) if name else None
    front, body = _split(card or "")
    found = re.search(r"^license: *([\w.+-]+) *$", front, re.MULTILINE)
    own = model.facts.get("licence")  # of a sentence encoder
    licence = (
        terms(name) or (own if isinstance(own, str) else "") or (found and found[1]) or terms(model.config.start_from)
    )
    shown = name if name is None or name in PACKAGED or not Path(name).is_dir() else Path(name).resolve().name
    return About(
        name=shown, licence=licence or None, card=body.strip() or None, dimensions=model.dimensions,
        threshold=model.threshold,
    )  # fmt: skip


def _card(name: str) -> str | None:
    """Return the text of the card of a model by its name, or None."""
    folder = model_folder_of(name) if name in PACKAGED else folder_of(source_of(name))
    if folder is not None and (folder / CARD).is_file():
        with suppress(OSError, UnicodeError), (folder / CARD).open(encoding="utf-8") as file:
            return file.read(LONGEST)
    return None


def _split(card: str) -> tuple[str, str]:
    """Return the front matter of a card, or "", and what follows it."""
    found = re.match(r"---\n(.*?)\n---\n?", card, re.DOTALL)
    return (found[1], card[found.end() :]) if found else ("", card)
