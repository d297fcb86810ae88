"""Cleaning removes what changes only the look of a question, and nothing that carries its meaning."""

from itertools import chain

import pytest
from ftfy import chardata
from hypothesis import given
from hypothesis import strategies as st

from siamese.text.cleaning import clean, is_blank
from siamese.text.keys import identity, key


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How are you?", "How are you?"),
        ("  How\tare \n you? ", "How are you?"),
        ("<p>Why does it <b>fail</b>?</p><br>Thanks", "Why does it fail? Thanks"),
        ("see <a href='http://x.org/?a=1&b=2'>here</a>", "see here"),
        ("<ul><li>one</li><li>two</li></ul>", "one two"),
        ("use <code>List&lt;int&gt;</code>", "use List<int>"),
        ("Tom &amp; Jerry&nbsp;&#39;s", "Tom & Jerry 's"),
        ("&amp;lt;", "&lt;"),  # entities are read once
        ("Ｈｏｗ　ａｒｅ ﬁne", "How are fine"),
        ("donâ€™t don\x92t", "don't don't"),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚ РџСЂРёРІРµС‚", "Привет Привет"),
        ("it’s “quoted”", 'it\'s "quoted"'),
        ("zero\u200bwidth soft\u00adhyphen \ufeffbom", "zerowidth softhyphen bom"),
        ("a\u200db end\u200d \u200e(LTR)\u202c", "ab end (LTR)"),
        ("re\u2011do it \u22121", "re-do it -1"),
        ("I ❤\ufe0f it", "I ❤ it"),
        ("İstanbul i\u0307stanbul I\u0307stanbul", "Istanbul istanbul Istanbul"),
        ("ｅ\u0301t\u00e9", "\u00e9t\u00e9"),
        ("How do I reset<br>my password?<br/>", "How do I reset my password?"),
        ("<div>How do I <b>reset</b> it?</div><div><br></div>", "How do I reset it?"),
        ("<p>What does the <b>HTML</b> tag &lt;b&gt; do?</p>", "What does the HTML tag <b> do?"),
        ("Why is my <b>XML</b> file empty?", "Why is my XML file empty?"),
        ("What does the <b>red</b> light mean?", "What does the red light mean?"),
        ("see http://x.org/?a=1&region=2&copy=3", "see http://x.org/?a=1&region=2&copy=3"),
        ("bell\x07 \x1b[31mred\x1b[0m", "bell red"),
        ("", ""),
        ("\u200b", ""),
        ("<p>&nbsp;</p>", ""),
    ],
)
def test_what_changes_the_look_alone(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "How do I center a <div>?", "What is List<int> in C#?", "Map<String, List<Integer>>", "C++ or C or C#?",
        ".NET 4.8 or NET?", "How large is 1 m² in m?", "Can US citizens help us?", "What does <b> do?",
        "Optional<P> or P?",
        "What does <br> do?", "What does <hr> do?", "Should I use <p> or <br>?", "What does <p></p> do?",
        "<br> vs <hr>",
        "the difference between <b>text</b> and <strong>text</strong> in HTML", "What is &nbsp; in HTML?",
        'the html ""<a href>"" tag',
        "What does the <br> tag do?", "the difference between the <p> and <li> elements", "if a < b and c > d",
        "a<b>c", "x &y= z", "AT&T", "नमस्\u200dते", "👨\u200d👩\u200d👧", "naïve façade", "5 × 3 – 2", "x_1 <- y", "<3",
    ],
)  # fmt: skip
def test_what_carries_meaning_stays(text: str) -> None:
    assert clean(text) == text


def test_what_carries_meaning_is_told_apart() -> None:
    texts = [
        "C", "C#", "C++", "NET", ".NET", "m", "m²", "m2", "US", "us", "List", "List<int>", "List<long>",
        "<div>", "<div></div>", "div", "#1", "1", "$5", "5", "€5", "-1", "½", "1/2", "x < y", "x > y", "naïve", "naive",
    ]  # fmt: skip
    assert len(set(map(clean, texts))) == len(texts)


def test_texts_that_are_equal_once_clean_have_one_key_and_identity() -> None:
    pair = ["<p>How &quot;old&quot;</p>\u200b", 'How "old"']
    assert len(set(map(key, pair))) == len(set(map(identity, pair))) == 1
    assert identity("C#") != identity("C") != identity("c")


@given(st.text() | st.text(st.sampled_from("a<>/p &;\u200b\xa0")))
def test_blank(text: str) -> None:
    assert is_blank(text) == (clean(text) == "")


def test_every_character_whose_form_ftfy_changes_is_found() -> None:
    for character in map(chr, chain(chardata.LIGATURES, chardata.WIDTH_MAP)):
        assert character not in clean(f"a{character}b"), hex(ord(character))


@given(st.text())
def test_cleaning_again_changes_nothing_but_entities(text: str) -> None:
    once = clean(text)
    assert "\x1b" not in once
    assert once == once.strip()
    if "&" not in once and "<" not in once:
        assert clean(once) == once


@given(st.text(st.sampled_from("<>/bpai &;=\"'")))
def test_hostile_markup(text: str) -> None:
    clean(text * 1_000)  # in linear time
