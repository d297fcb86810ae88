"""The rules for cutting a question into words, and the vocabulary."""

import itertools
import json
import string
import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import UserError
from siamese.text.cleaning import clean, composed
from siamese.text.tokenizer import RULES, Tokenizer

ALL = sorted(RULES)


@pytest.fixture(scope="module")
def splitters() -> dict:
    return {rule: RULES[rule].split() for rule in RULES}


@pytest.fixture(params=["stand-ins", pytest.param("quora", marks=pytest.mark.shared)])
def vocabulary(course: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the published vocabulary, of Quora's questions or of as many invented words in the same order."""
    if request.param == "quora":
        path = request.getfixturevalue("shared") / "conformance" / "course.json"
        return json.loads(path.read_text("utf-8"))["vocabulary"]
    pairs = [
        pair | {f"question{side}": " ".join(f"w{token}" for token in pair[f"ids{side}"]) for side in (1, 2)}
        for pair in course["vocabulary"]["pairs"]
    ]
    return course["vocabulary"] | {"pairs": pairs}


def test_vocabulary_of_the_course(vocabulary: dict[str, Any]) -> None:
    pairs = vocabulary["pairs"]
    tokenizer = Tokenizer.learn((pair[side] for pair in pairs for side in ("question1", "question2")), "nltk")
    for side, ids in (("question1", "ids1"), ("question2", "ids2")):
        tokens = tokenizer.encode(pair[side] for pair in pairs)
        assert [tokens[i].tolist() for i in range(len(pairs))] == [pair[ids] for pair in pairs]
    # The published count has <PAD> and the words; ours has the unknown word besides.
    assert len(tokenizer.words) + 1 == vocabulary["entries"]
    assert len(tokenizer) == vocabulary["entries"] + 1
    assert (tokenizer.pad, tokenizer.unknown) == (1, 0)


AWKWARD = [
    # question, words, nltk, spaces
    ("What's it?", "what|'|s|it|?", "What|'s|it|?", "Whats|it"),
    ("Don't I?", "don|'|t|i|?", "Do|n't|I|?", "Dont|I"),
    ("cannot, can't, gonna", "cannot|,|can|'|t|,|gonna", "can|not|,|ca|n't|,|gon|na", "cannot|cant|gonna"),
    ("the master’s “x”", 'the|master|\'|s|"|x|"', "the|master|’|s|“|x|”", "the|master’s|“x”"),
    ('Is "this" (really) new?', 'is|"|this|"|(|really|)|new|?', "Is|``|this|''|(|really|)|new|?", "Is|this|really|new"),
    ("C++ or C#, 3.14 %", "c|+|+|or|c|#|,|3|.|14|%", "C++|or|C|#|,|3.14|%", "C|or|C|314"),
    ("my_var re-do", "my_var|re|-|do", "my_var|re-do", "myvar|redo"),
    ("a...b $5", "a|.|.|.|b|$|5", "a|...|b|$|5", "ab|5"),
    ("One. Two three. Four", "one|.|two|three|.|four", "One.|Two|three.|Four", "One|Two|three|Four"),
    ("Caf\u00e9", "caf\u00e9", "Caf\u00e9", "Caf\u00e9"),  # composed
    ("Cafe\u0301", "caf\u00e9", "Caf\u00e9", "Caf\u00e9"),  # decomposed
    ("GROSSE Straße", "grosse|straße", "GROSSE|Straße", "GROSSE|Straße"),
    ("a\0b c", "ab|c", "a\0b|c", "a\0b|c"),
    ("I ♥ 🚉!", "i|♥|🚉|!", "I|♥|🚉|!", "I|♥|🚉"),
    ("\ud800 x", "\ud800|x", "\ud800|x", "\ud800|x"),  # half of a surrogate pair, as JSON can hold
    (" a\t b\r\nc ", "a|b|c", "a|b|c", "a|b|c"),
    ("駅はどこ", "駅はどこ", "駅はどこ", "駅はどこ"),
    ("<b>Ｈｏｗ</b>&amp;", "how|&", "<|b|>|Ｈｏｗ|<|/b|>|&|amp|;", "bＨｏｗbamp"),  # cleaned, or as published
    ("?!", "?|!", "?|!", ""),
    ("", "", "", ""),
    (" \n ", "", "", ""),
]


@pytest.mark.parametrize("rule", ["words", "nltk", "spaces"])
@pytest.mark.parametrize("row", AWKWARD, ids=[ascii(row[0]) for row in AWKWARD])
def test_awkward_questions(splitters: dict, rule: str, row: tuple[str, str, str, str]) -> None:
    expected = row[1 + ["words", "nltk", "spaces"].index(rule)]
    assert splitters[rule](row[0]) == (expected.split("|") if expected else [])


@pytest.mark.slow
@pytest.mark.parametrize("rule", ALL)
def test_a_question_of_100_000_words(rule: str) -> None:
    tokenizer = Tokenizer.learn(["a b"], rule)
    tokens = tokenizer.encode(["a b " * 50_000, "b"])
    assert tokens.lengths.tolist() == [100_000, 1]
    assert np.array_equal(tokens[0], np.tile([2, 3], 50_000))
    for buckets in (0, 7):  # and no word after these is read
        tokenizer = Tokenizer(["a", "b"], rule, buckets)
        assert tokenizer.encode(["a " * 99_999 + "b b a"]).ids.tolist() == [2 + buckets] * 99_999 + [3 + buckets]


@given(st.text())
def test_words_by_a_plain_loop(question: str) -> None:
    found, word = [], ""
    for sign in unicodedata.normalize("NFC", clean(question).lower()) + " ":
        if sign.isalnum() or sign == "_":
            word += sign
            continue
        found += [word] if word else []
        word = ""
        found += [] if sign.isspace() else [sign]
    assert RULES["words"].split()(question) == found


@given(st.text(), st.sampled_from(["NFC", "NFD"]), st.sampled_from(ALL))
def test_words_do_not_depend_on_the_form_of_accents(question: str, form: str, rule: str) -> None:
    split = RULES[rule].split()
    assert split(unicodedata.normalize(form, question)) == split(question)


# Marks of the classes 1, 129, 130, 220, 230 (two) and 240, two in one sign, and letters that begin or end with some
MARKS = "\u0338\u0f71\u0f72\u0323\u0301\u0308\u0345\u0344\u0f73"
marked = st.text(MARKS, min_size=1, max_size=4) | st.text(MARKS + "ae\u1f82\u1100\u1161\ud800 ?", max_size=4)


@given(st.lists(st.tuples(marked, st.sampled_from([1, 2, 40])), max_size=4))
def test_composed_is_nfc(parts: list[tuple[str, int]]) -> None:
    text = "".join(letters * times for letters, times in parts)
    assert composed(text) == unicodedata.normalize("NFC", text)


@given(st.text(st.sampled_from(string.printable + "éß“”–")))
def test_spaces_as_keras_strips(question: str) -> None:
    # TextVectorization's default, "lower_and_strip_punctuation", strips the 32 signs of
    # string.punctuation; the course kept the case.
    stripped = "".join(sign for sign in unicodedata.normalize("NFC", question) if sign not in string.punctuation)
    assert RULES["spaces"].split()(question) == stripped.split()


@given(st.text())
def test_nltk_rule_is_the_word_tokenizer(question: str) -> None:
    from nltk.tokenize import NLTKWordTokenizer

    assert RULES["nltk"].split()(question) == NLTKWordTokenizer().tokenize(unicodedata.normalize("NFC", question))


@pytest.mark.parametrize(("rule", "pad", "unknown"), [("words", 0, 1), ("nltk", 1, 0), ("spaces", 0, 1)])
def test_special_ids(rule: str, pad: int, unknown: int) -> None:
    tokenizer = Tokenizer.learn(["one two"], rule)
    assert (tokenizer.pad, tokenizer.unknown, len(tokenizer)) == (pad, unknown, 4)
    tokens = tokenizer.encode(["two zzz one", "zzz", ""])
    assert [tokens[i].tolist() for i in range(3)] == [[3, unknown, 2], [unknown], []]


@given(st.lists(st.text(st.sampled_from("aBé ?'")), max_size=6), st.sampled_from(ALL), st.integers(1, 3))
def test_learn_by_a_plain_loop(questions: list[str], rule: str, min_count: int) -> None:
    words = list(itertools.chain.from_iterable(map(RULES[rule].split(), questions)))
    order = sorted(set(words), key=words.index)
    if rule != "nltk":
        order.sort(key=words.count, reverse=True)  # stable: the first seen first
    kept = [w for w in order if words.count(w) >= min_count]
    learned = Tokenizer.learn(questions, rule, min_count).words
    assert learned[: len(kept)] == kept
    assert len(learned) == len(kept) or rule == "pieces"


PIECES = Tokenizer(["un", "under", "the", "u", "##der", "##d", "##e", "##r", "##stand", "##s"], "pieces")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("the", ["the"]),
        ("Understand the under", ["under", "##stand", "the", "under"]),  # the longest piece first
        ("undd unders", ["un", "##d", "##d", "under", "##s"]),
        ("unx the", [None, "the"]),  # x has no piece
        ("u" * 65, [None]),
        ("", []),
    ],
)
def test_a_word_outside_the_vocabulary_is_cut_into_pieces(question: str, expected: list[str | None]) -> None:
    ids = [PIECES.unknown if word is None else PIECES.first_word + PIECES.words.index(word) for word in expected]
    for _ in range(2):  # the second time from memory
        assert PIECES.encode([question])[0].tolist() == ids
    assert PIECES.unknown_words([question]).tolist() == [expected.count(None)]


def test_known_words_are_whole_or_in_pieces() -> None:
    assert PIECES.known_words("Understand the unx") == [True, True, False]
    bucket = Tokenizer(PIECES.words, "pieces", buckets=8)
    assert bucket.encode(["unx"])[0].tolist() == [bucket.bucket("unx")]


@pytest.mark.slow
@given(
    st.lists(st.text(st.sampled_from("abcé "), min_size=1), min_size=1, max_size=6), st.text(st.sampled_from("abcé"))
)
def test_every_word_of_known_characters_has_pieces(questions: list[str], word: str) -> None:
    tokenizer = Tokenizer.learn(questions, "pieces", min_count=1_000)  # no whole word
    characters = set(composed("".join(questions)).lower())
    begins = {w.removeprefix("##") for w in tokenizer.words if not w.startswith("##")}
    continues = {w.removeprefix("##") for w in tokenizer.words if w.startswith("##")}
    if word and word[0] in begins and set(word[1:]) <= continues and word not in tokenizer.words:
        ids = tokenizer.pieces(word)
        text = "".join(tokenizer.words[id - tokenizer.first_word].removeprefix("##") for id in ids)
        assert text == word
    assert begins | continues == set() or {c for w in tokenizer.words for c in w.removeprefix("##")} <= characters


@pytest.mark.parametrize("rule", ALL)
def test_no_questions(rule: str) -> None:
    tokenizer = Tokenizer.learn([], rule)
    assert (tokenizer.words, len(tokenizer)) == ([], 2)
    assert tokenizer.encode(["a"])[0].tolist() == [tokenizer.unknown]
    assert len(tokenizer.encode([])) == 0


def test_a_word_twice_is_an_error() -> None:
    with pytest.raises(UserError, match="a word twice"):
        Tokenizer(["a", "b", "a"])


@pytest.mark.parametrize("rule", ALL)
def test_what_no_file_of_words_may_hold_is_not_learned(rule: str) -> None:
    tokenizer = Tokenizer.learn(["a \0 b\0c \ud800 d"], rule)
    assert not set("".join(tokenizer.words)) & {"\0", "\ud800"}
    assert {"a", "d"} <= set(tokenizer.words)
    assert tokenizer.unknown in tokenizer.encode(["\ud800"])[0]


def test_an_unknown_rule() -> None:
    with pytest.raises(UserError, match="no rule 'bpe'; there are words, nltk, spaces"):
        Tokenizer([], "bpe")


@pytest.mark.slow
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))), st.sampled_from(ALL))
def test_a_tokenizer_is_its_words_and_its_rule(questions: list[str], rule: str) -> None:
    learned = Tokenizer.learn(questions, rule)
    again = Tokenizer(learned.words, rule)
    assert len(again) == len(learned)
    for question, split in zip(questions, map(learned.split, questions)):
        ids = again.encode([question])[0]
        assert ids.tolist() == learned.encode([question])[0].tolist()
        assert [again.words[i - 2] for i in ids] == split


@given(st.lists(st.text()), st.lists(st.text()), st.sampled_from(ALL), st.integers(1, 2))
def test_any_strings_become_ids_in_range(known: list[str], questions: list[str], rule: str, min_count: int) -> None:
    tokenizer = Tokenizer.learn(known, rule, min_count)
    tokens = tokenizer.encode(questions)
    assert len(tokens) == len(questions)
    assert tokens.ids.dtype == np.int32
    assert ((tokens.ids >= 0) & (tokens.ids < len(tokenizer))).all()
    assert tokenizer.pad not in tokens.ids
    for i, question in enumerate(questions):  # a list is encoded as each alone
        assert tokens[i].tolist() == tokenizer.encode([question])[0].tolist()


@given(st.lists(st.text(st.sampled_from("abz ?"))), st.sampled_from(ALL))
def test_knows(questions: list[str], rule: str) -> None:
    tokenizer = Tokenizer.learn(["a b", "aa ?"], rule)
    expected = [any(word in tokenizer.words for word in tokenizer.split(question)) for question in questions]
    tokens = tokenizer.encode(questions)
    assert tokenizer.knows(tokens).tolist() == expected
    padded = tokens.padded(max(map(len, questions), default=0), tokenizer.pad)
    assert tokenizer.knows(padded).tolist() == expected  # padding is no word


@pytest.mark.parametrize("rule", RULES)
def test_buckets_lie_between_the_special_ids_and_the_words(rule: str) -> None:
    tokenizer = Tokenizer.learn(["a b"], rule, buckets=10)
    assert len(tokenizer) == 14
    a, b, zzz = tokenizer.encode(["a b zzz"])[0].tolist()
    assert (a, b) == (12, 13)
    assert 2 <= zzz < 12
    assert tokenizer.in_vocabulary(tokenizer.encode(["a zzz", "b"])).tolist() == [True, False, True]
    assert tokenizer.knows(tokenizer.encode(["", "zzz", "zzz a"])).tolist() == [False, False, True]


def test_a_bucket_is_the_hash_of_the_spelling() -> None:
    """CRC-32 of "zzz", by the table-free definition; with 10 buckets that is its remainder by 10, after two ids."""
    register = 0xFFFFFFFF
    for byte in b"zzz":
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0xEDB88320 if register & 1 else 0)
    expected = 2 + (register ^ 0xFFFFFFFF) % 10
    assert Tokenizer(["a"], buckets=10).encode(["zzz ZZZ"])[0].tolist() == [expected, expected]


@given(st.lists(st.text(max_size=20), max_size=5), st.integers(1, 50))
def test_with_buckets_every_word_has_an_id_of_its_own_kind(questions: list[str], buckets: int) -> None:
    tokenizer = Tokenizer.learn(["how old are you"], buckets=buckets)
    plain = Tokenizer(tokenizer.words)
    tokens, without = tokenizer.encode(questions), plain.encode(questions)
    known = without.ids >= 2
    assert (tokens.starts == without.starts).all()
    assert (tokenizer.in_vocabulary(tokens) == known).all()
    assert (tokens.ids[known] == without.ids[known] + buckets).all()
    assert ((tokens.ids[~known] >= 2) & (tokens.ids[~known] < 2 + buckets)).all()


def test_extended_keeps_ids_and_buckets() -> None:
    before = Tokenizer(["a", "b"], buckets=7)
    after = before.extended(["b", "zzz"])
    assert after.words == ["a", "b", "zzz"]
    assert after.encode(["a b qqq"])[0].tolist() == before.encode(["a b qqq"])[0].tolist()
    assert after.encode(["zzz"])[0].tolist() == [2 + 7 + 2]
    assert before.encode(["zzz"])[0].tolist() == [before.bucket("zzz")]
