"""Pairs made by rules: each kind applies where it should, its label is right, and the text reads as English.

Twenty pairs of each kind, made from titles of Stack Exchange and Stack Overflow and from general knowledge, were read
by hand. Wrong ones (the label does not hold, or the change broke the grammar) were direction 4, antonym, subject and
object and what frame 2, comparative, wrong passive, number, unit, negation, symmetric order, right passive and synonym
1, the other kinds none; the rules behind half of these were then mended. An odd question that is grammatical counts as
right. Kinds that are made up were read sentence by sentence, each with several fillings.
"""

import collections

import numpy as np
import pytest

from reports.answers.frames import equal, main
from reports.answers.kinds import GROUPS, group_of, told
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

WANTED = [  # kind, a question, one that its rule must be able to make of it
    ("antonym", "How do I enable dark mode?", "How do I disable dark mode?"),
    ("antonym", "Who bought the house?", "Who sold the house?"),
    ("comparative", "Is a cheaper phone good enough?", "Is a pricier phone good enough?"),
    ("superlative", "What is the highest bridge in Peru?", "What is the lowest bridge in Peru?"),
    ("direction", "How do I convert a string to an integer?", "How do I convert an integer to a string?"),
    ("direction", "How long is the train from Oslo to Bergen?", "How long is the train from Bergen to Oslo?"),
    ("than", "Is Python faster than Ruby?", "Is Ruby faster than Python?"),
    ("than", "Why do cats live longer than dogs?", "Why do dogs live longer than cats?"),
    ("subject and object", "Does coffee affect sleep?", "Does sleep affect coffee?"),
    ("subject and object", "Why does Anna hate the cats?", "Why do the cats hate Anna?"),
    ("wrong passive", "Does coffee affect sleep?", "Is coffee affected by sleep?"),
    ("wrong passive", "Did the Romans defeat the Gauls?", "Were the Romans defeated by the Gauls?"),
    ("number", "Is it an 8 hour flight?", "Is it a 9 hour flight?"),
    ("number", "Where do my two cats sleep?", "Where do my five cats sleep?"),
    ("version", "Does it run on Python 3.9?", "Does it run on Python 3.7?"),
    ("version", "How do I reinstall Windows 10?", "How do I reinstall Windows 11?"),
    ("year", "What happened in 1961?", "What happened in 1958?"),
    ("code", "How do I fix error E4012?", "How do I fix error E4082?"),
    ("unit", "Is a walk of five miles too much?", "Is a walk of five kilometers too much?"),
    ("with or without", "Can I eat cheese without bread?", "Can I eat cheese with bread?"),
    ("negation", "Why does it work on my phone?", "Why doesn't it work on my phone?"),
    ("negation", "What should I eat before a race?", "What should I not eat before a race?"),
    ("not an adjective", "Why is it legal to fish here?", "Why is it not legal to fish here?"),
    ("quantifier", "Can I eat all mushrooms?", "Can I eat only some mushrooms?"),
    ("time", "Who was the first owner of her house?", "Who was the last owner of her house?"),
    ("tense", "Who is the president of Brazil?", "Who was the president of Brazil?"),
    ("question word", "How do I clean my oven?", "When do I clean my oven?"),
    ("question word", "Can I work on a student visa?", "Can my landlord work on a student visa?"),
    ("restriction", "How do I clean my oven?", "How do I clean my oven only once?"),
    ("modifier", "Where can I buy a guitar?", "Where can I buy an electric guitar?"),
    ("pronoun", "What did he do at home?", "What did she do at home?"),
    ("pronoun", "Why does my dog bark?", "Why does my neighbor's dog bark?"),
    ("place", "What is the capital of Peru?", "What is the capital of Nepal?"),
    ("technology", "How do I sort a list in python?", "How do I sort a list in java?"),
    ("person", "How old is Emma Watson?", "How old is Olivia Watson?"),
    ("family or profession", "Can a nurse prescribe drugs?", "Can a dentist prescribe drugs?"),
    ("nationality or belief", "How do I learn Spanish fast?", "How do I learn Turkish fast?"),
    ("day or month", "Does the train run on Sunday?", "Does the train run on Monday?"),
    ("animal", "What do I feed a rabbit?", "What do I feed a hamster?"),
    ("food", "How long does rice keep?", "How long does tofu keep?"),
    ("thing", "Why does my knee hurt?", "Why does my elbow hurt?"),
    ("field", "What causes asthma?", "What causes malaria?"),
    (
        "symmetric order",
        "What is the difference between jam and jelly?",
        "What is the difference between jelly and jam?",
    ),
    ("symmetric order", "Fresh milk vs dry milk", "Dry milk vs fresh milk"),
    ("symmetric order", "Should I learn Python or Java for games?", "Should I learn Java or Python for games?"),
    ("how frame", "How do I clean my oven?", "Can someone tell me how to clean my oven?"),
    ("what frame", "What is the capital of Peru?", "Does anyone know what the capital of Peru is?"),
    ("other frame", "How old is the pope?", "What is the age of the pope?"),
    ("right passive", "Does coffee affect sleep?", "Is sleep affected by coffee?"),
    ("not the opposite", "Why is it illegal to fish here?", "Why is it not legal to fish here?"),
    ("synonym", "Where can I buy old photos?", "Where can I buy old pictures?"),
    ("abbreviation", "Where is the United Kingdom?", "Where is the UK?"),
    ("spelling", "What is your favourite song?", "What is your favorite song?"),
    ("contraction", "What is the time?", "What's the time?"),
    ("contraction", "Why don't they open it?", "Why do they not open it?"),
    ("number writing", "Can I keep 3 cats?", "Can I keep three cats?"),
    ("number writing", "Is 5% enough for them?", "Is 5 percent enough for them?"),
    ("typo", "Is it a kitchen?", "Is it a kitcehn?"),
    ("case", "Is it raining?", "IS IT RAINING"),
    ("polite", "Is it raining?", "Is it raining? Thanks!"),
    ("preamble", "Is it raining?", "Is it raining? Something has been on my mind lately."),
]


def made(questions: list[str], seed: int = 0, kinds: list[str] | None = None) -> list[Made]:
    return list(near_misses(questions, seed, kinds))


@pytest.fixture(scope="module")
def many() -> list[Made]:
    """Pairs from 25 passes over the questions."""
    return made(QUESTIONS * 25)


def test_every_kind_is_made(many):
    counts = collections.Counter(pair.kind for pair in many)
    assert {kind: counts[kind] for kind in KINDS if counts[kind] < 5} == {}


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


def test_every_kind_is_in_a_group_of_the_report():
    assert {group_of(kind) for kind in KINDS} == set(GROUPS)


def test_a_kind_is_told_from_all_pairs_of_the_other_label():
    made = [Made("a", "b", KINDS[kind].is_duplicate, kind) for kind in ("typo", "typo", "number", "antonym", "antonym")]
    found = told(made, np.array([0.9, 0.6, 0.7, 0.1, 0.8]), 0.65)
    assert found == {
        "antonym": {"pairs": 2, "auc": 0.75, "right": 0.5},  # beside both typos
        "number": {"pairs": 1, "auc": 0.5, "right": 0.0},
        "typo": {"pairs": 2, "auc": 4 / 6, "right": 0.5},  # beside all three near misses
    }


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'antonyms' is no kind"):
        near_misses(QUESTIONS, 0, ["antonyms"])


@pytest.mark.parametrize(("kind", "question", "wanted"), WANTED)
def test_what_a_kind_makes(kind, question, wanted):
    results = {frozenset((p.question1, p.question2)) for p in made([question] * 300, 1, [kind])}
    assert frozenset((question, wanted)) in results


def test_the_examples_are_of_every_kind_of_question():
    assert {kind for kind, _, _ in WANTED} == {kind for kind in KINDS if not kind.startswith("made-up")}


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
        ("than", "Is it colder than usual?"),
        ("subject and object", "Do you love me?"),
        ("negation", "Why do they so rarely work?"),
        ("year", "Is $2000 enough?"),
        ("number", "What happened on 9/11 in 2001?"),
        ("thing", "Is Red Bull good for me?"),
        ("number writing", "Are the Twelve Apostles in Java 8?"),
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


def test_a_sentence_that_equals_a_template_is_found():
    """A template's words are those that its questions share; slots, articles and case say nothing."""
    questions = {
        "profession": [f"Is Ann {name} an author?" for name in ("Cook", "Moss", "Mann", "Ray", "Smith", "Low")]
    }
    ours = ["Is {person.1} {name.1} a {profession.1}?", "Is Ann {name.1} an {x} author?", "Was {-x} {name}'s author?"]
    assert equal(ours, questions) == ["Is Ann {name.1} an {x} author?"]


@pytest.mark.shared
def test_no_sentence_of_ours_is_a_template_of_checklist(shared, capsys):
    main(str(shared / "bench" / "checklist_qqp_mft.csv"))
    assert capsys.readouterr().out.startswith("0 of ")
