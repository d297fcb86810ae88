"""Clean the text of questions as people have it: formatting, entities, invisible and compatibility characters.

What carries meaning stays: `<div>` as a subject, `List<int>`, C#, C++, .NET, m², upper case.
"""

import html
import itertools
import re
import unicodedata

# Tags of these are formatting if they have a partner or attributes, since a lone <b> may be what the question is about.
_PAIRED = re.compile(
    "p|a|b|i|u|s|em|strong|li|ul|ol|code|pre|span|font|small|big|blockquote|tt|kbd|h[1-6]|center|del|ins|strike", re.I
)
_SINGLE = re.compile("br|hr|img|p|li", re.I)  # these need no partner
_WRAPPER = re.compile("p|div|ul|ol|pre|blockquote|h[1-6]", re.I)  # a text that begins with one is HTML as a whole
_BLOCK = re.compile("p|div|br|hr|li|ul|ol|pre|blockquote|h[1-6]|img|center", re.I)  # separates words
_TAG = re.compile(r"<(?P<end>/?)(?P<name>[A-Za-z][A-Za-z0-9]*)(?P<rest>[\s/][^<>]*)?>")

_ABOUT_MARKUP = re.compile(r"\b(?:tags?|elements?|entity|entities|x?html5?|xml|css|markup)\b", re.I)
# Words before or after a tag that stands for itself: "does <br> break", "<b> or <strong>".
_BEFORE = re.compile(
    r"""(?:^|\s)(?:an?|the|of|between|and|or|vs\.?|versus|than|like|about|what|how|why|is|are|does|do|use|using|with|without
    |in|inside|into|for|by|add|insert|put|multiple|two|each|every)\s+["'`(]*$""", re.I | re.X
)  # fmt: skip
_AFTER = re.compile(r"""["'`)]*\s+(?:vs\.?|versus|tags?|elements?)\b""", re.I)
_NEAR = 24  # characters around a tag that show what it stands for

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Soft hyphen, grapheme joiner, zero-width space, marks of direction, word joiner and invisible operators, variation
# selectors of emoji, byte-order mark.
_INVISIBLE = re.compile("[\u00ad\u034f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe0e\ufe0f\ufeff]")
# They matter within Persian and Hindi words and between emoji, not beside a Latin letter or at an end.
_JOINERS = re.compile("[\u200c\u200d](?![^\\x00-\u024f])|(?<![^\\x00-\u024f])[\u200c\u200d]")
# Two bytes of UTF-8 that were read as two characters by ISO 8859, Windows or DOS; Greek and Cyrillic letters cannot be
# the second one.
_MOJIBAKE = re.compile(
    "[\x80-\u04ff\u2010-\u25ff\ufb01\ufb02][\x80-\u038f\u03cf-\u040f\u0450-\u04ff\u2010-\u25ff\ufb01\ufb02]"
)
_HYPHENS = re.compile("[\u2010\u2011\u2212]")  # hyphen, that which keeps a line together, minus
_FORMS = re.compile("[\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\u3000\ufb00-\ufb06\uff01-\uffef]")
# Colours of terminals, and other control characters but white space.
_CONTROLS = re.compile("\x1b\\[[0-9;]*[A-Za-z]|[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")

_MANY_MARKS = re.compile(r"[^\w\s]{32}")  # includes all combining marks


def composed(text: str) -> str:
    """Return the normal form NFC, in which é is one character, in linear time for any text.

    `unicodedata.normalize` sorts the marks on a letter in quadratic time: a million of them would take minutes.
    """
    if not text.isascii() and _MANY_MARKS.search(text):
        apart = "".join(unicodedata.normalize("NFD", letter) for letter in text)
        runs = itertools.groupby(apart, lambda letter: unicodedata.combining(letter) > 0)
        text = "".join("".join(sorted(run, key=unicodedata.combining) if marks else run) for marks, run in runs)
    return unicodedata.normalize("NFC", text)


def clean(text: str) -> str:
    """Return the text of a question without markup, entities and characters that only change how it looks.

    - Tags that are formatting are removed, those of blocks in favour of a space.
    - Entities are read, once.
    - Full-width letters, ligatures and curly quotes become plain, wrongly decoded UTF-8 is decoded (by ftfy), and İ
      becomes I, whose lower case is one character, and hyphens and minus signs are one.
    - Soft hyphens, zero-width characters and control characters are removed, runs of white space become one space.
    """
    if text.isascii() and text.isprintable() and not ("<" in text or "&" in text or "  " in text):
        return text.strip(" ")  # nearly all questions, at two million a second
    if "<" in text or "&" in text:
        text = _without_markup(text)
    if not text.isascii():
        text = _plain_characters(text)
    return " ".join(_CONTROLS.sub("", text).split())


def _plain_characters(text: str) -> str:
    """Return text without characters that only change how it looks.

    `ftfy.fix_text` does as much, but ten times as slowly, and in quadratic time for a million marks on a letter.
    """
    import ftfy  # 50 ms, which ASCII text does not need
    from ftfy import fixes

    text = _JOINERS.sub("", _INVISIBLE.sub("", text)).replace("\x85", " ")  # a line end, to Python
    if _MOJIBAKE.search(text):
        text = ftfy.fix_encoding(text)
    text = _HYPHENS.sub("-", fixes.uncurl_quotes(fixes.fix_c1_controls(text)))
    if _FORMS.search(text):
        text = fixes.fix_character_width(fixes.fix_latin_ligatures(text))
    return _INVISIBLE.sub("", composed(text)).replace("\u0130", "I").replace("i\u0307", "i")


def is_blank(text: str) -> bool:
    """Return whether nothing is left of a text once it is clean."""
    return not text[:1].isalnum() and not clean(text)


def _without_markup(text: str) -> str:
    """Return text without its formatting tags, and with its entities read."""
    tags = list(_TAG.finditer(text))
    begun, ended = ({tag["name"].lower() for tag in tags if bool(tag["end"]) is end} for end in (False, True))
    names = begun & ended
    first = tags[0]["name"].lower() if tags and not text[: tags[0].start()].strip() else ""
    is_html = first in names and _WRAPPER.fullmatch(first) is not None
    about = not is_html and _ABOUT_MARKUP.search(_TAG.sub(" ", text)) is not None

    def for_itself(tag: re.Match[str]) -> bool:
        start, end = tag.span()
        before, after = text[max(start - _NEAR, 0) : start], text[end : end + _NEAR]
        glued = tag["name"].lower() not in names and after[:1].isalnum()  # the beginning of a paragraph
        return not glued and bool(_BEFORE.search(before) or _AFTER.match(after))

    subjects = set()  # names of tags of which one stands for itself
    for tag in tags if not is_html else ():
        name = tag["name"].lower()
        empty = name not in names or text.startswith(f"</{name}", tag.end())
        if not tag["end"] and (about or empty) and for_itself(tag):
            subjects.add(name)

    def replaced(tag: re.Match[str]) -> str:
        name = tag["name"].lower()
        paired = name in names and ((is_html and name == "div") or _PAIRED.fullmatch(name))
        attributes = _PAIRED.fullmatch(name) and "=" in (tag["rest"] or "")
        generic = tag[0] == "<P>" and text[tag.start() - 1 : tag.start()].isalnum()  # such as Optional<P>
        single = _SINGLE.fullmatch(name) and (name in names or not (about or generic))
        if name not in subjects and (paired or attributes or single):
            return " " if _BLOCK.fullmatch(name) else ""
        return tag[0]

    def read(entity: re.Match[str]) -> str:
        found = html.unescape(entity[0])
        # A space or nothing, in a question about markup, is what the question is about.
        return entity[0] if about and not _INVISIBLE.sub("", found).strip() else found

    return _ENTITY.sub(read, _TAG.sub(replaced, text))
