"""data/questions.csv keeps its promises: enough of everything, no templates, and a split that hides what it keeps."""

import csv
import hashlib
import importlib.util
import re
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from types import ModuleType

import pytest
from files import QUESTIONS, read_csv

from siamese.text.keys import identity

DATA = Path(__file__).parents[1] / "data"
FIRST_EDITION = 18_695  # pairs
COLUMNS = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate", "split"]

Row = dict[str, str]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_pairs", DATA / "make_pairs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return read_csv(QUESTIONS)


@pytest.fixture(scope="module")
def intents(rows: list[Row]) -> dict[str, int]:
    """Map each question to the number of its intent, found from the labels alone by joining duplicates."""
    members = {question: {question} for row in rows for question in (row["question1"], row["question2"])}
    for row in rows:
        a, b = members[row["question1"]], members[row["question2"]]
        if row["is_duplicate"] == "1" and a is not b:
            a |= b
            members |= dict.fromkeys(b, a)
    numbers = {id(group): i for i, group in enumerate(members.values())}
    return {question: numbers[id(group)] for question, group in members.items()}


def questions_of(rows: list[Row], part: str) -> set[str]:
    return {question for row in rows if row["split"] == part for question in (row["question1"], row["question2"])}


def words(question: str) -> list[str]:
    return re.findall(r"[\w'’]+", question.lower())


@pytest.mark.ci
def test_the_file_is_what_the_script_makes(
    maker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(DATA / "intents", tmp_path / "intents")
    monkeypatch.setattr(maker, "HERE", tmp_path)
    maker.main()
    assert (tmp_path / "questions.csv").read_bytes() == (DATA / "questions.csv").read_bytes()
    assert re.fullmatch(r"\d+ intents, \d+ questions, \d+ pairs\n", capsys.readouterr().out)


def test_later_editions_change_no_row_of_the_first() -> None:
    lines = QUESTIONS.read_bytes().splitlines(keepends=True)
    assert hashlib.sha256(b"".join(lines[: 1 + FIRST_EDITION])).hexdigest() == (
        "4f35868e8fafe38c93582a1342a5c1378a5d506f2729fd5970f18bedd3ce8986"
    )


def test_columns_and_values(rows: list[Row]) -> None:
    assert list(rows[0]) == COLUMNS
    assert {row["is_duplicate"] for row in rows} == {"0", "1"}
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    assert all(None not in row.values() and None not in row for row in rows)  # neither short nor long
    assert all(row[name].strip() == row[name] != "" for row in rows for name in ("question1", "question2"))


def test_ids(rows: list[Row]) -> None:
    assert [int(row["id"]) for row in rows] == list(range(len(rows)))
    by_id, by_text = defaultdict(set), defaultdict(set)
    for row in rows:
        for qid, question in ((row["qid1"], row["question1"]), (row["qid2"], row["question2"])):
            by_id[int(qid)].add(question)
            by_text[question].add(int(qid))
    assert all(len(found) == 1 for found in (*by_id.values(), *by_text.values()))
    assert sorted(by_id) == list(range(1, len(by_id) + 1))


def test_no_pair_twice_and_none_with_itself(rows: list[Row]) -> None:
    # In either order and over all parts, so none is labelled both ways either.
    pairs = Counter(frozenset((row["question1"], row["question2"])) for row in rows)
    assert max(pairs.values()) == 1
    assert {len(pair) for pair in pairs} == {2}


def test_labels_agree_with_each_other(rows: list[Row], intents: dict[str, int]) -> None:
    # Duplicate is an equivalence: no chain of duplicates joins the two sides of a non-duplicate.
    for row in rows:
        same = intents[row["question1"]] == intents[row["question2"]]
        assert same == (row["is_duplicate"] == "1"), row


def test_sizes(maker: ModuleType, intents: dict[str, int]) -> None:
    assert len(list((DATA / "intents").rglob("*.txt"))) >= 25
    written = [intent for path in (DATA / "intents").rglob("*.txt") for intent in maker.read_topic(path)]
    # The labels alone give the intents that were written, wording for wording.
    groups = defaultdict(set)
    for question, number in intents.items():
        groups[number].add(question)
    assert {frozenset(intent.wordings) for intent in written} == {frozenset(group) for group in groups.values()}
    assert len(groups) >= 250
    assert min(map(len, groups.values())) >= 6
    distinct = {tuple(words(question)) for question in intents}
    assert len(distinct) == len(intents) >= 1_500  # no two differ in case or punctuation alone


def test_pairs_of_each_label(rows: list[Row]) -> None:
    labels = Counter(row["is_duplicate"] for row in rows)
    assert labels["1"] >= 3_500
    assert labels["0"] >= 4_000
    for part in ("train", "validation", "test"):
        counts = Counter(row["is_duplicate"] for row in rows if row["split"] == part)
        assert min(counts["0"], counts["1"]) >= 1_000, part


def token_jaccard(a: str, b: str) -> float:
    x, y = set(words(a)), set(words(b))
    return len(x & y) / len(x | y)


def test_near_misses(rows: list[Row]) -> None:
    # lose and gain differ; how, do, I, weight are shared: 4 of 6
    assert token_jaccard("How do I lose weight?", "how do i gain weight") == pytest.approx(4 / 6)
    close = [
        row for row in rows if row["is_duplicate"] == "0" and token_jaccard(row["question1"], row["question2"]) >= 0.5
    ]
    assert len(close) >= 1_000
    assert {row["split"] for row in close} == {"train", "validation", "test"}


def spread(questions: dict[str, int]) -> dict[str, set[int]]:
    """Return every pattern of four or more words around one slot, with the intents in which it occurs."""
    found = defaultdict(set)
    for question, intent in questions.items():
        text = words(question)
        for slot in range(1, len(text) - 3):  # words in the slot
            for first in range(len(text) - slot + 1):
                found[" ".join([*text[:first], "_", *text[first + slot :]])].add(intent)
    return found


@pytest.mark.ci
def test_no_template(intents: dict[str, int]) -> None:
    assert max(len(found) for found in spread(intents).values()) <= 3


@pytest.mark.parametrize(
    "template",
    ["How do I {} an old bike?", "{} is not working any more", "please tell me about {}", "can {} bark at night"],
)
def test_a_template_is_found(maker: ModuleType, template: str) -> None:
    fillings = ["paint", "sell very cheaply", "don't", "10 kg"]
    made = [maker.Intent("topic", "family", filling, (template.format(filling),)) for filling in fillings]
    assert maker.templates(made[:3]) == {}
    assert {len(keys) for keys in maker.templates(made).values()} == {4}
    assert template.lower().rstrip("?").format("_") in maker.templates(made)
    assert any("template" in problem for problem in maker.problems(made))
    # and the test's own search agrees
    assert max(map(len, spread({intent.wordings[0]: i for i, intent in enumerate(made)}).values())) == 4


def test_three_words_around_a_slot_are_no_template(maker: ModuleType) -> None:
    made = [maker.Intent("topic", "family", name, (f"how do I {name}",)) for name in ("a", "b", "c", "d", "e")]
    assert maker.templates(made) == {}


def test_too_few_and_repeated_wordings_are_found(maker: ModuleType) -> None:
    six = ("a b", "c d", "e f", "g h", "i j", "k l")
    first, second = maker.Intent("t", "f", "one", six), maker.Intent("t", "f", "two", ("M n?", "A, B!"))
    assert maker.problems([first]) == []
    found = maker.problems([first, second])
    assert found == ["t/f: two: 2 wordings, 6 needed", "t/f: two: 'A, B!' occurs twice, also in t/f: one"]


def test_faults_in_a_topic_name_file_and_line(maker: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a wording\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("= f: n\n\nwording\n= no colon\n", encoding="utf-8")
    with pytest.raises(ValueError, match="a.txt:1: a wording before"):
        maker.read_topic(tmp_path / "a.txt")
    with pytest.raises(ValueError, match="b.txt:4: expected '= family: intent'"):
        maker.read_topic(tmp_path / "b.txt")


@pytest.fixture(scope="module")
def kept(rows: list[Row]) -> dict[str, set[str]]:
    """Return the questions of the evaluation parts that no earlier part shows."""
    training, validation = questions_of(rows, "train"), questions_of(rows, "validation")
    return {"validation": validation - training, "test": questions_of(rows, "test") - training - validation}


def test_each_intent_keeps_one_wording_for_each_part(kept: dict[str, set[str]], intents: dict[str, int]) -> None:
    for part, questions in kept.items():
        assert sorted(intents[question] for question in questions) == sorted(set(intents.values())), part


def test_training_never_shows_a_kept_wording(
    rows: list[Row], kept: dict[str, set[str]], intents: dict[str, int]
) -> None:
    training = questions_of(rows, "train")
    assert not training & (kept["validation"] | kept["test"])
    assert training | kept["validation"] | kept["test"] == set(intents)


def test_evaluation_pairs_hold_a_wording_kept_for_their_part(rows: list[Row], kept: dict[str, set[str]]) -> None:
    for row in rows:
        questions = {row["question1"], row["question2"]}
        if row["split"] != "train":
            assert questions & kept[row["split"]], row
        if row["split"] == "validation":  # else the threshold would be chosen on what is tested
            assert not questions & kept["test"], row


def test_some_test_pairs_are_new_on_both_sides(rows: list[Row]) -> None:
    # They are what an evaluation reports as its headline.
    training = questions_of(rows, "train")
    new = [row for row in rows if row["split"] == "test" and not {row["question1"], row["question2"]} & training]
    counts = Counter(row["is_duplicate"] for row in new)
    assert min(counts["0"], counts["1"]) >= 100


def test_the_messy_file_is_as_messy_as_it_says() -> None:
    rows = list(csv.DictReader((DATA / "messy.csv").open(encoding="utf-8-sig", newline=""), delimiter=";"))
    truth = {row["ticket"]: (row["intent"], row["language"]) for row in read_csv(DATA / "messy-intents.csv")}
    texts = {row["ticket"]: row["text"] for row in rows}
    assert list(rows[0]) == ["ticket", "product", "created", "agent", "text"] and len(texts) == len(rows) == 402
    assert {ticket for ticket, text in texts.items() if text} == set(truth)
    clean = {ticket: identity(texts[ticket]) for ticket in truth}
    assert len(truth) - len(set(clean.values())) == 13
    assert len({(clean[ticket], *truth[ticket]) for ticket in truth}) == len(set(clean.values()))  # one answer a text
    sizes = Counter(truth.values()).values()
    assert len({intent for intent, _ in truth.values()}) == 84 and sum(n * (n - 1) // 2 for n in sizes) == 714
    assert Counter(language for _, language in truth.values())["de"] == 48
