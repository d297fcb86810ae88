"""Clean the text of questions as people have it: entities, formatting, invisible and compatibility characters.

What carries meaning stays: `<div>` as a subject, `List<int>`, C#, C++, .NET, m², upper case.
"""

import html
import re

# A tag of these is formatting if it has its partner or attributes, since a lone <b> may be what the question is about.
PAIRED = "p|a|b|i|u|s|em|strong|li|ul|ol|code|pre|span|font|small|big|blockquote|tt|kbd|h[1-6]|center|del|ins|strike"
# These need no partner.
SINGLE = "br|hr|img|p|li"
MARKUP_AS_SUBJECT = re.compile(r"\b(?:tags?|elements?|html|xml|css|markup)\b", re.IGNORECASE)

_TAG = re.compile(r"<(?P<end>/?)(?P<name>[A-Za-z][A-Za-z0-9]*)(?P<rest>[\s/][^<>]*)?>")
_PAIRED, _SINGLE = (re.compile(f"(?:{names})", re.IGNORECASE) for names in (PAIRED, SINGLE))
_BLOCK = re.compile("p|br|hr|li|ul|ol|pre|blockquote|h[1-6]|img|center", re.IGNORECASE)
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")  # soft hyphen, zero-width space, word joiner, byte-order mark
_JOINERS = re.compile("(?<=[\\x00-\u024f])[\u200c\u200d](?=[\\x00-\u024f])")  # they matter in Persian, Hindi and emoji
_SPACES = re.compile(r"\s+")
# Colours of terminals, and other control characters but white space.
_CONTROLS = re.compile("\x1b\\[[0-9;]*[A-Za-z]|[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")


def clean(text: str) -> str:
    """Return the text of a question without markup, entities and characters that only change how it looks.

    - Tags that are formatting are removed, those of blocks in favour of a space.
    - Entities are read, once.
    - Full-width letters, ligatures and curly quotes become plain, wrongly decoded UTF-8 is decoded (by ftfy), and İ
      becomes I, whose lower case is one character.
    - Soft hyphens, zero-width spaces and control characters are removed, runs of white space become one space.
    """
    if "<" in text:
        text = _without_formatting(text)
    if "&" in text:
        text = html.unescape(text)
    if not text.isascii():
        import ftfy  # 50 ms, which ASCII text does not need

        text = ftfy.fix_text(text, unescape_html=False, explain=False)
        text = _JOINERS.sub("", _INVISIBLE.sub("", text)).replace("\u0130", "I")
    return _SPACES.sub(" ", _CONTROLS.sub("", text)).strip()


def _without_formatting(text: str) -> str:
    """Return text without its formatting tags."""
    tags = list(_TAG.finditer(text))
    begun = {tag["name"].lower() for tag in tags if not tag["end"]}
    ended = {tag["name"].lower() for tag in tags if tag["end"]}
    subject = MARKUP_AS_SUBJECT.search(_TAG.sub(" ", text)) is not None

    def replaced(tag: re.Match[str]) -> str:
        name = tag["name"].lower()
        paired = _PAIRED.fullmatch(name) and (name in begun & ended or (tag["rest"] or "").strip(" /"))
        if paired or (_SINGLE.fullmatch(name) and not subject):
            return " " if _BLOCK.fullmatch(name) else ""
        return tag[0]

    return _TAG.sub(replaced, text)
