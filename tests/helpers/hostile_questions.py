"""Hostile questions, and models to ask."""

from functools import cache

from hypothesis import strategies as st
from tiny_models import random_model

from siamese import SiameseModel
from siamese.config import PRESETS

WORDS = ["how", "old", "are", "you", "?", "caf\u00e9", "駅", "7", "'", "ส", "👩", "x"]

# Each is one question. The second, if any, is another spelling of the first.
HOSTILE: dict[str, tuple[str, ...]] = {
    "empty": ("",),
    "spaces": (" \t\r\n\u00a0\u2003\u3000\x85\u2028 ",),
    "a letter": ("x",),
    "an unknown letter": ("q",),
    "NUL": ("how\0old", "\0"),
    "half a surrogate pair": ("\ud800", "how \udfff old \ud800\ud800"),
    "the halves in the wrong order": ("\udc69\ud83d how",),
    "bidi marks": ("\u202ehow\u202c old\u200f", "\u2066\u2067\u2068\u2069", "\u061c\u200e"),
    "a byte order mark": ("\ufeffhow old",),
    "joiners": ("👩\u200d👩\u200d👧\u200d👦", "👩🏽\u200d🚀 how", "🏳️\u200d🌈", "\u200d\u200d", "🇫🇷🇫"),
    "numbers": ("7", "-1e308", "3.14159", "1,000,000", "٣٤", "½ ² Ⅷ", "9" * 1_000, "NaN inf"),
    "scripts without spaces": ("駅はどこですか", "你叫什么名字？", "สถานีอยู่ที่ไหน", "ကျွန်တော်", "ស្ថានីយ៍"),
    "marks without a letter": ("\u0301", "\u0301" * 1_000, "\u20dd how"),
    "a letter with many marks": ("e" + "\u0323\u0301" * 500, "Z̷̢̛̗͈͍a̸̢̰l̶̘g̴o"),
    "Hangul in parts": ("\u1112\u1161\u11ab",),
    "other line ends": ("how\u2028old\u2029are\x0byou\x0c\x1c\x1d\x1e\x85",),
    "no characters": ("\ufffe\uffff\U0010ffff\ue000\ufdd0",),
    "tags": ("\U000e0001\U000e0068how",),
    "code": ("'; DROP TABLE questions; --", "{{7*7}} ${x} `id` $(id) %s %n {0}", "<script>how</script>", "=1+1|cmd"),
    "quotes": ('"', '""how" old"', "'" * 99, "“how” ‘old’"),
    "NLTK's contractions": ("cannot gonna 'tis d'ye more'n wanna lemme gimme gotta don't we'll",),
    "case that changes the length": ("İSTANBUL ŞİŞLİ", "STRASSE ẞ ŉ ΐ ﬃ", "ΣΑΣ ΌΣΟΣ"),
}
QUESTIONS = [question for several in HOSTILE.values() for question in several]
anything = st.text(st.characters(exclude_categories=()), max_size=60)  # half surrogates as well


@cache
def model_of(name: str) -> SiameseModel:
    """Return the shipped model, or a small one of a preset's kind."""
    return SiameseModel.pretrained() if name == "shipped" else random_model(PRESETS[name], WORDS)
