"""The verdict: what differs between two questions, how it is weighed, and where it is kept."""

import csv
import io
import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import Command
from tiny_models import random_model

from siamese.archive.store import Archive
from siamese.errors import ModelError
from siamese.evaluation.evaluate import evaluate
from siamese.evaluation.thresholds import tune
from siamese.mining.mine import mine
from siamese.mining.mined import Mined
from siamese.model.calibration import Calibration
from siamese.model.differences import FEATURES, differences, features
from siamese.model.fitting import fit_verdict
from siamese.model.model import Prediction, SiameseModel
from siamese.model.verdict import Rule, Verdict
from siamese.model.words import words_of
from siamese.pairs.opposites import opposites, stem
from siamese.pairs.pairs import Pairs

WEIGHTS = dict.fromkeys(FEATURES, 0.4)
VERDICT = Verdict(WEIGHTS, Calibration(10.0, -7.0, 0.4))


@pytest.fixture
def judging() -> SiameseModel:
    model = random_model()
    model.verdict = VERDICT
    return model


@pytest.mark.parametrize(
    ("question1", "question2", "expected"),
    [
        ("What is error 1603?", "What is error 1722?", {"numbers": "1603 / 1722"}),
        ("Setup stops with E1618", "Installer fails, message e1603", {"codes": "E1618 / e1603"}),
        ("How do I install Python3 on Win10?", "How to install python 3 on win 10", {}),
        ("Is 1,000 enough?", "Is 1000 enough?", {}),
        ("Two eggs for a cake?", "2 eggs for a cake?", {}),
        ("How do I go to 5.0?", "How do I go to v5?", {}),
        ("How do I update the app?", "How do I update the app to 6.2?", {}),
        ("How do I update the app?", "How do I update the app on Windows?", {"added name": "– / Windows"}),
        ("What did Lovelace write?", "What did Ada Lovelace write?", {}),
        ("I work for Acme. How do I reset my mail password?", "How do I reset my mail password?", {}),
        ("Is it cold in Paris?", "Is it cold in Oslo?", {"names": "Paris / Oslo"}),
        ("Is it cold in Paris?", "is it cold in paris", {}),
        ("Learn Python In Ten Days Fast", "learn python in ten days fast", {}),
        ("How do I turn on Wi-Fi?", "How do I turn off Wi-Fi?", {"opposites": "on / off"}),
        ("Is it legal to smoke here?", "Is it not legal to smoke here?", {"negation": "– / not"}),
        ("Is it legal to smoke here?", "Is it not illegal to smoke here?", {}),
        ("How can I become more brave?", "How can I become less cowardly?", {}),
        ("How do I get from Delhi to Mumbai?", "How do I get from Mumbai to Delhi?", {"direction": ""}),
        ("Is a 15k phone any good?", "Is a 15000 phone any good?", {}),
        ("What is new in the 1980s?", "What is new in 1980?", {}),
        ("Is the rs500 note out?", "Is the 500 rs note out?", {}),
        ("Is the MacBook Pro 2016 good?", "Is the 2016 MacBook Pro good?", {}),
        ("Good institutes in India for hacking?", "Good institutes for hacking in India?", {}),
        ("How do I convert int to string?", "How do I convert string to int?", {"direction": ""}),
        ("Is Mary taller than John?", "Is John taller than Mary?", {"direction": ""}),
        ("Did Mary remember John?", "Did John remember Mary?", {"direction": ""}),
        ("Did Mary remember John?", "Was John remembered by Mary?", {}),
        ("Did Mary remember John?", "Was Mary remembered by John?", {"direction": ""}),
        ("Are Mary and John related?", "Are John and Mary related?", {}),
        ("How do I reverse a string in Python?", "Python: reverse string", {}),
        ("Did he reject her?", "Did she reject him?", {"names": "he her / him she"}),
        ("Is Bob a chef?", "Did Bob use to be a chef?", {"tense": "present / past habit"}),
        ("Did the lion hunt the zebra?", "Was the zebra hunted by the lion?", {}),
        ("Did the lion hunt the zebra?", "Was the lion hunted by the zebra?", {"direction": ""}),
        ("Why do cats chase mice?", "Why do mice chase cats?", {"direction": ""}),
        ("Can music help sleep?", "Does music help with sleep?", {}),
        ("Is Mary taller than John?", "Is John shorter than Mary?", {}),
        ("Should I eat before swimming?", "Should I swim after eating?", {}),
        ("When was the NBA founded?", "When was the National Basketball Association founded?", {}),
        ("How do I start the database?", "How do I stop the DB?", {"opposites": "start / stop"}),
        ("Which colour suits a fridge?", "Which color suits a refrigerator?", {}),
        ("How do I delay an offer?", "How do I decline an offer?", {"replaced word": "delay / decline"}),
        ("How do I plan a birthday party?", "How do I plan a brithday party?", {}),
        ("I cannot sleep. Is coffee bad for health?", "Is coffee bad for health?", {}),
        ("Is it safe to fish in St. Kitts Bay?", "Is it not safe to fish in St. Kitts Bay?", {"negation": "– / not"}),
        ("My cat eats corn. Is corn good for animals?", "My dog eats corn. Is corn good for animals?", {}),
        ("What is 3 + 4?", "Who lives in Rome, and was it built in 1 day?", {}),  # they have nothing in common
    ],
)  # fmt: skip
def test_what_differs(question1: str, question2: str, expected: dict[str, str]) -> None:
    found = {difference.kind: str(difference) for difference in differences(question1, question2)}
    assert found.keys() == expected.keys()
    assert all(text in ("", found[kind]) for kind, text in expected.items())
    turned = [(d.kind, d.second, d.first) for d in differences(question2, question1)]
    assert turned == [(d.kind, d.first, d.second) for d in differences(question1, question2)]


def test_opposites_are_mutual_and_regardless_of_inflection() -> None:
    assert stem("stopped") == stem("stops") == stem("stop") and stem("built") == stem("building") == "build"
    assert stem("need") == stem("needed") and stem("string") == "string" and stem("bus") == "bus"
    assert stem("sold") in opposites("bought") and stem("buy") in opposites("selling")
    assert "off" in opposites("on") and opposites("python") == frozenset()


def random_questions(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    words = "from to by and not is was 5 7.1 E12 Paris Oslo Mary he she open closed on off , ? İ <b> don't taller than"
    return [" ".join(draw.choices(words.split(), k=draw.randint(0, 9))) for _ in range(count)]


def test_features_are_symmetric_to_the_bit_and_nothing_for_equal_questions() -> None:
    first, second = (list(map(words_of, random_questions(2_000, seed))) for seed in (0, 1))
    found = features(zip(first, second))
    assert found.tobytes() == features(zip(second, first)).tobytes()
    assert found.min() == 0 and found.max() == 1 and (found > 0).any(axis=0).all()
    assert not features(zip(first, first)).any()


def test_the_score_is_the_cosine_less_the_weights_and_rises_with_the_cosine() -> None:
    asked = ["What is error 1603?", "What is error 1603?"], ["What is error 1722?", "what is error 1603"]
    scores = VERDICT.scores(*asked, np.array([0.9, 0.9]))
    assert scores.tolist() == pytest.approx([0.1, 0.9])  # the numbers differ, which are codes, too
    rule = VERDICT.rule()
    assert rule.threshold == pytest.approx(0.7) and rule.probability(0.7) == pytest.approx(0.5)
    assert rule.log_odds(scores).tolist() == pytest.approx([-6, 2])
    assert VERDICT.rule(prior=0.1).threshold == pytest.approx(0.7 + np.log(9 / 1.5) / 10)


def test_predict_uses_the_verdict_unless_a_threshold_or_the_cosine_is_asked_for(judging: SiameseModel) -> None:
    said = judging.predict("how old is 5?", "how old is 7?")
    plain = judging.predict("how old is 5?", "how old is 7?", cosine=True)
    assert not said.is_duplicate and [str(d) for d in said.differences] == ["5 / 7"]
    assert (said.similarity, said.threshold) == (plain.similarity, plain.threshold) == (said.similarity, 0.5)
    assert judging.predict("how old is 7?", "how old is 5?").probability == said.probability
    assert judging.predict("how old is 5?", "how old is 7?", 0.5).is_duplicate == plain.is_duplicate
    judging.verdict = None
    without = judging.predict("how old is 5?", "how old is 7?")
    assert without == Prediction(
        *(getattr(plain, name) for name in ("is_duplicate", "similarity", "threshold", "probability"))
    )


def test_a_question_is_a_duplicate_of_itself(judging: SiameseModel) -> None:
    judging.verdict = Verdict(WEIGHTS, Calibration(1.0, -5.0, 0.4))  # the crossing would be at 5
    assert judging.predict("how old is 5?", "how old is 5?").is_duplicate
    assert not judging.predict("how old is 5?", "how old is 7?").is_duplicate


def test_a_folder_keeps_the_verdict(judging: SiameseModel, tmp_path: Path) -> None:
    judging.save(tmp_path / "model")
    assert SiameseModel.load(tmp_path / "model").verdict == VERDICT
    judging.verdict = replace(VERDICT, threshold=0.9)
    judging.save(tmp_path / "model")
    loaded = SiameseModel.load(tmp_path / "model")
    assert loaded.verdict == judging.verdict and loaded.rule().threshold == 0.9
    assert loaded.rule(prior=0.5).threshold == VERDICT.rule(0.5).threshold
    judging.verdict = None
    judging.save(tmp_path / "model")
    assert SiameseModel.load(tmp_path / "model").verdict is None
    assert "verdict" not in json.loads((tmp_path / "model/config.json").read_text())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"weights": {}}, "expected a weight for each"),
        ({"weights": {**WEIGHTS, "numbers": -0.1}}, "weight of numbers -0.1"),
        ({"weights": {**WEIGHTS, "numbers": 1e300}}, "weight of numbers"),
        ({"weights": {**WEIGHTS, "numbers": True}}, "weight of numbers True"),
        ({"weights": {**WEIGHTS, "mood": 0.1}}, "expected a weight for each"),
        ({"weights": 3}, "not a model file"),
        ({"calibration": {"slope": 0.0, "intercept": 0.0, "prior": 0.5}}, "slope 0.0"),
        ({"calibration": {"slope": 1.0, "intercept": 0.0}}, "not a model file"),
        ({"threshold": 1.5}, "threshold 1.5: expected a number from 0 to 1"),
        ({"threshold": "0.8"}, "threshold '0.8'"),
        ({"more": 1}, "expected weights and a calibration"),
    ],
)
def test_a_damaged_verdict_is_refused(
    judging: SiameseModel, tmp_path: Path, damage: dict[str, object], message: str
) -> None:
    from siamese.model.folder import CONFIG, read_settings, sealed

    judging.save(tmp_path)
    settings, sums = read_settings(tmp_path / CONFIG)
    settings["verdict"] = {**settings["verdict"], **damage}
    (tmp_path / CONFIG).write_bytes(sealed(settings, sums))
    with pytest.raises(ModelError, match=message) as error:
        SiameseModel.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_fitting_finds_that_numbers_matter() -> None:
    model = random_model()
    draw = random.Random(0)
    numbers = [draw.randint(1, 9_999) for _ in range(400)]
    questions = [f"how old is number {n} of the house?" for n in numbers]
    others = [f"how old is number {n} of the house" if i % 2 else f"how old is number {n + 1} of the house?"
              for i, n in enumerate(numbers)]  # fmt: skip
    labelled = Pairs.of(questions, others, [i % 2 for i in range(400)])
    fitted = fit_verdict(model, labelled, questions)
    assert isinstance(fitted, Verdict) and fitted.weights["numbers"] > 0.05
    assert fitted == fit_verdict(model, labelled, questions)  # to the bit
    scores = fitted.scores(labelled.question1, labelled.question2, np.ones(400))
    assert (Rule(fitted.rule().threshold, fitted.calibration).probability(scores) > 0.5).tolist() == [False, True] * 200
    few = fit_verdict(model, labelled.take(np.arange(400) < 10), questions)
    assert few == "5 labelled pairs of a label are too few, 10 are needed"


def test_the_command_says_what_differs(judging: SiameseModel, tmp_path: Path, command: Command) -> None:
    judging.save(tmp_path / "model")
    ask = ["how old is 5?", "how old is 7?"]

    def said(*more: str) -> str:
        code, out, _ = command("predict", "--model", tmp_path / "model", *more)
        assert code == 0
        return out

    lines = said(*ask).splitlines()
    assert lines[0].startswith("not duplicate: similarity ") and lines[1:] == ["differs: 5 / 7"]
    answer = json.loads(said(*ask, "--json"))
    assert answer["differences"] == [{"kind": "numbers", "first": "5", "second": "7"}]
    (tmp_path / "pairs.csv").write_text("question1,question2\nhow old is 5?,how old is 7?\nage,age\n")

    def verdicts(*more: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(said("--file", str(tmp_path / "pairs.csv"), *more))))

    different, same = verdicts()
    assert list(different) == [
        "question1",
        "question2",
        "differs",
        "similarity",
        "probability",
        "is_duplicate",
        "fault",
    ]
    assert (different["differs"], different["is_duplicate"]) == ("5 / 7", "0")
    assert (same["differs"], same["similarity"], same["is_duplicate"]) == ("", "1.0", "1")
    assert [row["is_duplicate"] for row in verdicts("--cosine")] == ["1", "1"]


ASKED = [
    "how old is number 5?", "how old is number 7?", "How old is number 5", "where is the station?",
    "where is the old station?", "what is your age?", "what is not your age?", "how old is number 5 ?",
]  # fmt: skip


def judged_by_hand(model: SiameseModel, asked: list[str]) -> tuple[list[tuple[float, str, str]], int]:
    """Return (score, question, question) of the pairs the verdict accepts, best first, and how many it removes."""
    pairs = list(itertools.combinations(asked, 2))
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    rule, similarity = model.rule(), model.similarity(first, second)
    above = similarity > rule.threshold
    scores = rule.scores(first, second, similarity)
    found = [(s, *pair) for s, pair, wanted in zip(scores, pairs, scores > rule.threshold) if wanted]
    return sorted(found, key=lambda row: -row[0]), int(above.sum()) - len(found)


@pytest.mark.parametrize("max_pairs", [None, 3])
def test_mining_orders_and_decides_by_the_verdict(judging: SiameseModel, max_pairs: int | None) -> None:
    expected, removed = judged_by_hand(judging, ASKED)
    assert len(expected) > 3 and removed > 3
    found = mine(ASKED, judging, max_pairs=max_pairs)
    assert found.by_verdict and found.threshold == judging.rule().threshold
    assert {(p.question1, p.question2) for p in found.pairs} == {(a, b) for _, a, b in expected[:max_pairs]}
    assert [p.probability for p in found.pairs] == sorted((p.probability for p in found.pairs), reverse=True)
    if max_pairs is None:
        assert len(found.removed) == found.count_removed() == removed
        assert any(p.differs == "5 / 7" for p in found.removed) and not any(p.differs == "5 / 7" for p in found.pairs)
        plain = mine(ASKED, judging, cosine=True)
        assert not plain.by_verdict and plain.threshold == judging.threshold and not plain.removed
        judging.verdict = None
        without = mine(ASKED, judging)
        assert without.pairs == plain.pairs and list(without.to_frame()) == list(plain.to_frame())


def test_the_command_mine_writes_what_the_verdict_removed(
    judging: SiameseModel, tmp_path: Path, command: Command
) -> None:
    judging.save(tmp_path / "model")
    (tmp_path / "asked.txt").write_text("\n".join(ASKED))
    out, removed = tmp_path / "pairs.csv", tmp_path / "removed.csv"
    expected, count = judged_by_hand(judging, ASKED)
    words = "mine", tmp_path / "asked.txt", "--model", tmp_path / "model", "--out", out
    code, said, _ = command(*words, "--removed", removed)
    assert code == 0 and f"{count} pairs above a similarity of 0.700 removed by the verdict: {removed}\n" in said
    rows = list(csv.DictReader(out.open(newline="", encoding="utf-8")))
    assert list(rows[0]) == ["question1", "question2", "similarity", "probability", "differs"]
    assert len(rows) == len(expected)
    taken = list(csv.DictReader(removed.open(newline="", encoding="utf-8")))
    assert len(taken) == count and "5 / 7" in [row["differs"] for row in taken]
    again = Mined.read(out)
    assert [p.probability for p in again.pairs] == [float(row["probability"]) for row in rows]
    assert [p.differs for p in again.pairs] == [row["differs"] for row in rows]
    assert all(p.similarity > 0.9 for p in again.rethreshold(0.9).pairs)
    assert command(*words, "--cosine", "--force")[0] == 0
    assert "differs" not in out.read_text().splitlines()[0]
    assert command(*words, "--threshold", 0.5, "--removed", removed)[0] == 2


def test_search_judges_and_orders_by_the_verdict(judging: SiameseModel, tmp_path: Path, command: Command) -> None:
    stored = ["how old is number 7?", "how old is the number 5?", "where is the station?"]
    judging.save(tmp_path / "model")
    archive = Archive.build(tmp_path / "archive", stored, model=str(tmp_path / "model"))
    (hits,) = archive.search(["how old is number 5?"], k=3, legs="vectors")
    by_text = {hit.question: hit for hit in hits}
    seven = by_text["how old is number 7?"]
    assert seven == max(hits, key=lambda hit: hit.similarity) and not seven.is_duplicate
    assert hits[0].question == "how old is the number 5?" and hits[0].differences == ()
    assert [str(d) for d in seven.differences] == ["5 / 7"]
    said = judging.predict("how old is number 5?", seven.question)
    assert (seven.is_duplicate, seven.probability) == (said.is_duplicate, pytest.approx(said.probability, abs=1e-5))
    code, out, _ = command("search", "how old is number 5?", "--archive", tmp_path / "archive")
    assert code == 0 and "(differs: 5 / 7)" in out


def test_evaluate_judges_by_the_verdict_and_shows_the_similarity_alone(judging: SiameseModel) -> None:
    numbers = [("how old is 5?", f"how old is {n}?", int(n == 5)) for n in range(2, 9)]
    pairs = Pairs.of(*zip(*numbers))
    found = evaluate(judging, pairs)
    assert (found.judged_by, found.accuracy, found.average_precision) == ("verdict", 1, 1)
    alone, plain = found.baselines["the similarity alone"], evaluate(judging, pairs, cosine=True)
    assert found.threshold == alone.threshold == plain.threshold == judging.threshold  # always that of the similarity
    assert alone.accuracy == plain.accuracy < 0.2 and "the similarity alone" not in plain.baselines
    assert evaluate(judging, pairs, threshold=0.5).judged_by == plain.judged_by == "similarity"
    assert "judged by the verdict" in str(found) and "judged by" not in str(plain)


def test_tuning_calibrates_the_verdict_anew_and_another_goal_removes_it(judging: SiameseModel) -> None:
    labels = np.arange(60) % 2
    pairs = Pairs.of(["how old is 5?"] * 60, [f"how old is {5 if label else 7}?" for label in labels], labels.tolist())
    similarity = np.linspace(0.6, 1, 60)
    assert tune(judging, pairs, similarity) is None and judging.verdict is not None
    assert judging.verdict.weights == WEIGHTS and judging.verdict.calibration != VERDICT.calibration
    tune(judging, pairs, similarity, "accuracy")
    assert judging.verdict is None
