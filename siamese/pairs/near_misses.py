"""Make labelled pairs from plain questions: near misses, which differ by one change, and rewordings, which do not.

A rule takes a question and returns another one, or None if it does not apply. `KINDS` lists the rules and their labels;
the TOML files in `rules/` and opposites.toml hold the words and sentences. A near miss is label 0 (another number, name
or direction, the opposite, who does what to whom), a rewording label 1 (another frame or spelling, symmetric things in
another order, the right passive). The pairs of the kinds called "made-up" come from sentences of made_up.toml alone.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

from siamese.pairs.rules import acts, names, negation, numbers, order, phrases, spelling
from siamese.pairs.rules.frames import frames, polite, preamble
from siamese.pairs.rules.made_up import MADE_UP, MadeUp
from siamese.pairs.rules.names import other_name
from siamese.pairs.rules.phrases import Phrases, same
from siamese.pairs.rules.question import Question, Rule

LONGEST = 40  # words of a question that a rule reads
MADE_UP_EVERY = 4  # a made-up pair follows after so many pairs from questions
BOTH = 0.2  # of the near misses, the share that is reworded, too, so that another frame says nothing of the label


class Made(NamedTuple):
    """A pair of questions, its label and the kind of change between them."""

    question1: str
    question2: str
    is_duplicate: bool
    kind: str


class Kind(NamedTuple):
    """The label of a kind's pairs, and its rule; or, if it is made up, the sentences that its pairs come from."""

    is_duplicate: bool
    rule: Rule | None = None
    words: Collection[str] | None = None  # the rule reads questions with one of these, "#" being any digit; None: all
    made_up: MadeUp | None = None


def _other(found: Phrases) -> Kind:
    return Kind(False, found.change, frozenset(found.longest))


_FROM_QUESTIONS = {
    "antonym": _other(phrases.ANTONYMS),
    "comparative": Kind(False, phrases.comparative, frozenset(phrases.COMPARATIVES.longest)),
    "superlative": _other(phrases.SUPERLATIVES),
    "direction": Kind(False, order.direction, order.DIRECTIONS),
    "than": Kind(False, *frames("than")),
    "subject and object": Kind(False, acts.subject_and_object, acts.VERBS),
    "wrong passive": Kind(False, acts.wrong_passive, acts.VERBS),
    "number": Kind(False, numbers.number, numbers.NUMBER_WORDS),
    "version": Kind(False, numbers.version, {"#"}),
    "year": Kind(False, numbers.year, {"#"}),
    "code": Kind(False, numbers.code, {"#"}),
    "unit": Kind(False, phrases.unit, frozenset(phrases.UNITS.longest)),
    "with or without": Kind(False, phrases.without, {"with", "without"}),
    "negation": Kind(False, negation.negation, negation.NEGATIONS),
    "not an adjective": Kind(False, negation.not_adjective, negation.ADJECTIVES),
    "quantifier": Kind(False, phrases.quantifier, frozenset(phrases.QUANTIFIERS.longest)),
    "time": Kind(False, phrases.time, frozenset(phrases.TIMES.longest)),
    "tense": Kind(False, *frames("tense")),
    "question word": Kind(False, *frames("question word")),
    "restriction": Kind(False, *frames("restriction")),
    "modifier": Kind(False, names.modifier, names.NARROWED),
    "pronoun": Kind(False, names.pronoun, names.PRONOUNS),
    "place": Kind(False, *other_name(names.PLACES)),
    "technology": Kind(False, *other_name(names.TECHNOLOGIES)),
    "person": Kind(False, *other_name(names.PEOPLE)),
    "family or profession": Kind(False, *other_name(names.ROLES)),
    "nationality or belief": Kind(False, *other_name(names.ORIGINS)),
    "day or month": Kind(False, *other_name(names.CALENDAR)),
    "animal": Kind(False, *other_name(names.ANIMALS)),
    "food": Kind(False, *other_name(names.FOODS)),
    "thing": Kind(False, *other_name(names.THINGS)),
    "field": Kind(False, *other_name(names.FIELDS)),
    "symmetric order": Kind(True, order.symmetric, {"between", "vs", "versus", "and", "or"}),
    "how frame": Kind(True, *frames("how")),
    "what frame": Kind(True, *frames("what")),
    "other frame": Kind(True, *frames("other")),
    "right passive": Kind(True, acts.right_passive, acts.VERBS),
    "not the opposite": Kind(True, negation.not_the_opposite, negation.OPPOSITE_ADJECTIVES),
    "synonym": Kind(True, *same("synonyms")),
    "abbreviation": Kind(True, *same("abbreviations")),
    "spelling": Kind(True, *same("spelling")),
    "contraction": Kind(True, spelling.contraction, spelling.CONTRACTED),
    "number writing": Kind(True, numbers.number_writing, numbers.NUMBER_WORDS),
    "typo": Kind(True, spelling.typo),
    "case": Kind(True, spelling.case),
    "polite": Kind(True, polite),
    "preamble": Kind(True, preamble),
}
KINDS: Mapping[str, Kind] = {
    **_FROM_QUESTIONS,
    **{f"made-up {made_up.kind}": Kind(False, made_up=made_up) for made_up in MADE_UP},
    **{f"made-up {made_up.kind}, reworded": Kind(True, made_up=made_up) for made_up in MADE_UP},
}
_SURFACE = ("case", "polite", "preamble", "typo", "contraction", "how frame")


def near_misses(questions: Sequence[str], seed: int, kinds: Collection[str] | None = None) -> Iterator[Made]:
    """Yield pairs made from questions, near misses and rewordings, in the order of the questions.

    Each question gives at most one near miss and one rewording. Of the kinds that apply to it, the one with the fewest
    pairs so far is taken, so that rare kinds are not drowned. Rewordings that apply to any question (case, typo and the
    like) are made only while there are at most as many rewordings as near misses. One near miss in five is reworded,
    too, and which question comes first is drawn. After every four pairs comes one whose questions are both made up,
    of the made-up kind with the fewest pairs. The same questions, seed and kinds give the same pairs.

    Args:
        questions: English questions, one sentence or title each; those above 40 words are passed over.
        seed: seed of the random choices.
        kinds: names from KINDS, the only ones to make; all if None.

    Raises:
        ValueError: a kind is not in KINDS.
    """
    unknown = sorted(set(kinds or ()) - set(KINDS))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no kind of near miss; use some of {', '.join(KINDS)}")
    return _made(questions, Random(seed), [kind for kind in KINDS if kinds is None or kind in kinds])


def _made(questions: Sequence[str], random: Random, kinds: Sequence[str]) -> Iterator[Made]:
    counts = dict.fromkeys(kinds, 0)
    invented = [kind for kind in kinds if KINDS[kind].made_up is not None]
    anywhere = [kind for kind in kinds if KINDS[kind].made_up is None and KINDS[kind].words is None]
    by_word: dict[str, list[str]] = {}
    for kind in kinds:
        for word in KINDS[kind].words or ():
            by_word.setdefault(word, []).append(kind)
    totals = {True: 0, False: 0}
    one_sided = len({KINDS[kind].is_duplicate for kind in kinds if KINDS[kind].made_up is None}) < 2
    since = 0  # pairs since the last made-up one

    for text in questions:
        question = Question(text)
        if not 3 <= len(question.words) <= LONGEST:
            continue
        possible = set(anywhere)
        for word in question.lower:
            possible.update(by_word.get(word, ()))
        if "#" in by_word and any(character.isdigit() for character in text):
            possible.update(by_word["#"])
        ordered = sorted(possible, key=lambda kind: (counts[kind], kind))
        for label in (False, True):
            enough = label and totals[True] > totals[False] and not one_sided
            for kind in ordered:
                if KINDS[kind].is_duplicate is label and not (enough and KINDS[kind].words is None):
                    made = _apply(question, kind, random)
                    if made is not None:
                        counts[kind] += 1
                        totals[label] += 1
                        since += 1
                        yield made
                        break
        if invented and since >= MADE_UP_EVERY:
            since -= MADE_UP_EVERY
            kind = min(invented, key=lambda kind: counts[kind])
            counts[kind] += 1
            yield _invent(kind, random)


def _apply(question: Question, kind: str, random: Random) -> Made | None:
    rule, label = KINDS[kind].rule, KINDS[kind].is_duplicate
    other = rule(question, random) if rule is not None else None
    if other is None or other.lower() == question.text.lower():
        return None
    first = question.text
    if not label and random.random() < BOTH:
        surface = KINDS[random.choice(_SURFACE)].rule
        reworded = surface(Question(first), random) if surface is not None else None
        if reworded is not None and reworded.lower() not in (first.lower(), other.lower()):
            first = reworded
    return Made(first, other, label, kind) if random.random() < 0.5 else Made(other, first, label, kind)


def _invent(kind: str, random: Random) -> Made:
    made_up, label = KINDS[kind].made_up, KINDS[kind].is_duplicate
    assert made_up is not None
    while True:
        one, two = made_up.pair(label, random)
        if one.lower() != two.lower():
            return Made(one, two, label, kind)
