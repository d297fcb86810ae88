"""Pairs made by rules: each kind applies where it should, its label is right, and the text reads as English.

Pairs of each kind were read by hand, from titles of Stack Exchange and Stack Overflow, general knowledge and the
training split of data/questions.csv. Wrong ones among those read, before the last mending of some rules; wrong means
that the label does not hold or that the change broke the grammar (an odd but grammatical question counts as right):

antonym 2/40, comparative 2/64, superlative 1/40, direction 2/40, than 1/58, subject and object 1/58, wrong passive
1/34, who or whom 0/25, number 2/40, version 0/40, year 0/40, code 1/66, unit 2/40, with or without 2/40, negation
1/40, not an adjective 2/40, quantifier 1/40, place 1/40, technology 1/40, person 1/40, family or profession 2/66,
nationality or belief 1/40, day or month 0/40, animal 1/66, food 1/66, thing 1/66, field 1/66, tense 1/34, time
1/40, modifier 1/64, restriction 2/66, pronoun 1/40, question word 1/40, symmetric order 1/40, how frame 0/40, what
frame 1/40, why frame 0/40, other frame 1/40, right passive 1/34, by whom 0/34, converse 1/18, not the opposite
0/40, synonym 1/40, abbreviation 0/40, spelling 0/40, contraction 0/40, number writing 1/40, typo 0/40, case 0/40,
polite 0/40, preamble 0/40.

Kinds that are made up were read sentence by sentence, each with at least eight fillings.
"""

import collections

import pytest

from siamese.pairs.near_misses import KINDS, Made, near_misses

QUESTIONS = """
How do I enable dark mode in the settings?
How can I import contacts from Gmail into Outlook?
How do I convert a string to an integer in Java?
Is it cheaper to fly from Paris to Rome in October?
Is Python faster than Ruby?
Are cats smarter than dogs?
Does coffee affect sleep?
Did the Romans defeat the Gauls?
Who hired Anna Baker?
Who wrote the first cookery book?
Why do cats purr at night?
Why is the router so slow?
How many calories are in 100 grams of rice?
What happened in Berlin in 1961?
How do I fix error E4012 on my dishwasher?
Does the app still run on Python 3.9?
How do I upgrade from Windows 10?
Can I eat cheese without bread?
Should I keep my receipts for seven years?
Why can't I delete all files in a folder?
Why is it illegal to feed pigeons in Venice?
What makes a password invalid?
When should I not water the roses?
How old is Emma Watson?
Where was Albert Moore born?
When was Maria Lopez born?
How far is London from Leeds?
How much does a kitchen table cost?
What is the difference between a moth and a butterfly?
Which is better, tennis or golf?
Python vs Java: which one should a beginner learn?
What is the capital of Peru?
Who was the first president of Kenya?
Is there a train that runs on Sunday?
What does "idempotent" mean?
Is it possible to repair a cracked screen?
Should I tell my teacher about the test?
Where can I buy a used guitar?
Can I work on a student visa?
What did he do with his bike?
Is she the best player of all time?
How long does it take to learn German?
What is my favourite colour called in Spanish?
How do I organise photos on my television?
I don't know how to tie a tie
What is the largest animal in Africa?
How do I lose ten pounds by summer?
What do I feed a sick rabbit?
Did my grandmother's cousin live in Ohio?
Who is the president of Brazil?
Does a doctor always know the cause of diabetes?
Is my knee supposed to hurt after 5 miles?
How many people have more than two passports?
What was the last thing the king said?
How do I get a PDF out of Excel?
Can red wine stain a wooden floor?
What is the best way to clean a kitchen floor?
Is a vegan diet healthy for Muslims?
How do you read a file with a long name?
Will the new bridge be open tomorrow?
Which countries joined the European Union in 2004?
Is the United States older than Canada?
""".strip().splitlines()

WANTED = {  # kind: (a question, one that its rule must be able to make of it)
    "antonym": ("How do I enable dark mode?", "How do I disable dark mode?"),
    "comparative": ("Is a cheaper phone good enough?", "Is a pricier phone good enough?"),
    "superlative": ("What is the highest bridge in Peru?", "What is the lowest bridge in Peru?"),
    "direction": (
        "How do I convert a string to an integer in Java?",
        "How do I convert an integer to a string in Java?",
    ),
    "than": ("Is Python faster than Ruby?", "Is Ruby faster than Python?"),
    "subject and object": ("Does coffee affect sleep?", "Does sleep affect coffee?"),
    "wrong passive": ("Does coffee affect sleep?", "Is coffee affected by sleep?"),
    "not an adjective": ("Why is it legal to fish here?", "Why is it not legal to fish here?"),
    "with or without": ("Can I eat cheese without bread?", "Can I eat cheese with bread?"),
    "pronoun": ("What did he do at home?", "What did she do at home?"),
    "symmetric order": (
        "What is the difference between jam and jelly?",
        "What is the difference between jelly and jam?",
    ),
    "right passive": ("Does coffee affect sleep?", "Is sleep affected by coffee?"),
    "not the opposite": ("Why is it illegal to fish here?", "Why is it not legal to fish here?"),
    "spelling": ("What is your favourite song?", "What is your favorite song?"),
    "abbreviation": ("Where is the United Kingdom?", "Where is the UK?"),
    "contraction": ("What is the time?", "What's the time?"),
    "number writing": ("Can I keep 3 cats?", "Can I keep three cats?"),
}


def made(questions: list[str], seed: int = 0, kinds: list[str] | None = None) -> list[Made]:
    return list(near_misses(questions, seed, kinds))


@pytest.fixture(scope="module")
def many() -> list[Made]:
    """Pairs from sixty passes over the questions."""
    return made(QUESTIONS * 60)


def test_every_kind_is_made(many):
    counts = collections.Counter(pair.kind for pair in many)
    assert {kind for kind in KINDS if counts[kind] == 0} == set()


def test_labels_are_those_of_the_kinds(many):
    assert all(pair.is_duplicate == KINDS[pair.kind].is_duplicate for pair in many)


def test_labels_are_in_balance(many):
    duplicates = sum(pair.is_duplicate for pair in many)
    assert 0.4 < duplicates / len(many) < 0.6


def test_the_two_questions_are_never_equal_in_small_letters(many):
    assert all(pair.question1.lower() != pair.question2.lower() for pair in many)


def test_no_slot_stays_open(many):
    assert not [pair for pair in many if "{" in pair.question1 + pair.question2]


def test_a_question_is_used_at_most_twice():
    pairs = [pair for pair in made(QUESTIONS) if not pair.kind.startswith("made-up")]
    used = collections.Counter(q for pair in pairs for q in (pair.question1, pair.question2) if q in QUESTIONS)
    assert max(used.values()) <= 2


def test_rare_kinds_go_first():
    """A question that the rule of a rare kind reads is not spent on a common one."""
    counts = collections.Counter(
        pair.kind for pair in made(["How do I open a file?"] * 50 + ["Is Ann taller than Bob?"] * 5)
    )
    assert counts["than"] >= 1


def test_same_seed_same_pairs():
    assert made(QUESTIONS, 3) == made(QUESTIONS, 3)
    assert made(QUESTIONS, 3) != made(QUESTIONS, 4)


def test_chosen_kinds_only():
    kinds = ["antonym", "how frame", "made-up travel"]
    assert {pair.kind for pair in made(QUESTIONS * 3, 0, kinds)} == set(kinds)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'antonyms' is no kind"):
        near_misses(QUESTIONS, 0, ["antonyms"])


@pytest.mark.parametrize("kind", WANTED)
def test_what_a_kind_makes(kind):
    question, wanted = WANTED[kind]
    results = {frozenset((p.question1, p.question2)) for p in made([question] * 40, 1, [kind])}
    assert frozenset((question, wanted)) in results


@pytest.mark.parametrize(
    ("kind", "question"),
    [
        ("antonym", "Is there a good open source editor?"),
        ("antonym", "How old are you, and how long have you been here?"),
        ("direction", "What is the difference from A to B?"),
        ("direction", "How do I get better from time to time?"),
        ("than", "Is there anything better than tea?"),
        ("number", "How do I play version 2.5?"),
        ("technology", "How do I uninstall Windows 10?"),
        ("place", "Who owns the Washington Post and the Paris Review?"),
        ("negation", "Isn't it cold here?"),
        ("symmetric order", "Is it faster in Python 2 vs Python 3?"),
        ("symmetric order", "What is the difference between direct and indirect speech?"),
        ("contraction", "Whose dog's that?"),
        ("abbreviation", "Is it raining?"),
        ("not the opposite", "Is it illegal to fish here?"),
        ("how frame", "How do you feel today?"),
    ],
)
def test_where_a_kind_keeps_quiet(kind, question):
    assert made([question] * 20, 0, [kind]) == []


def test_articles_and_capitals_are_kept():
    changed = {p.question1 for p in made(["Is it an easier job?"] * 20, 0, ["comparative"])}
    assert "Is it a harder job?" in changed
    changed = {p.question1 for p in made(["Better late than never, but why?"] * 20, 0, ["comparative"])}
    assert "Worse late than never, but why?" in changed


def test_third_person():
    changed = {p.question1 for p in made(["What if a fee doesn't apply to me?"] * 20, 0, ["negation"])}
    assert "What if a fee applies to me?" in changed


def test_hostile_texts():
    for text in (
        "",
        " ",
        "?",
        "...",
        "'",
        "a" * 10_000,
        "\x00 \x00 \x00",
        "İ İ İ İ",
        "🙂 🙂 🙂 🙂",
        "- - - -",
        "_ __ ___ ____",
        "1 2 3 4",
        "{person.1} {x} {} {+}",
    ):
        for pair in made([text] * 8):
            assert pair.question1.lower() != pair.question2.lower()
