"""Cleaning removes what changes only the look of a question, and nothing that carries its meaning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.text.cleaning import clean


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
        ("donâ€™t", "don't"),
        ("it’s “quoted”", 'it\'s "quoted"'),
        ("zero\u200bwidth soft\u00adhyphen \ufeffbom", "zerowidth softhyphen bom"),
        ("a\u200db", "ab"),
        ("İstanbul", "Istanbul"),
        ("bell\x07 \x1b[31mred\x1b[0m", "bell red"),
        ("", ""),
        ("\u200b", ""),
    ],
)
def test_what_changes_the_look_alone(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "How do I center a <div>?", "What is List<int> in C#?", "Map<String, List<Integer>>", "C++ or C or C#?",
        ".NET 4.8 or NET?", "How large is 1 m² in m?", "Can US citizens help us?", "What does <b> do?",
        "What does the <br> tag do?", "the difference between the <p> and <li> elements", "if a < b and c > d",
        "a<b>c", "x &y= z", "AT&T", "नमस्\u200dते", "👨\u200d👩\u200d👧", "naïve façade", "5 × 3 – 2", "x_1 <- y", "<3",
    ],
)  # fmt: skip
def test_what_carries_meaning_stays(text: str) -> None:
    assert clean(text) == text


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
