"""Examination of verdicts: features, slices and ranking against naive loops, and the command."""

import json
import math
import random
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from commands import Command
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from siamese import SiameseModel
from siamese.evaluation import against, examination
from siamese.evaluation.evaluate import Scored
from siamese.evaluation.examination import FEATURES, LENGTHS, OVERLAPS, UNKNOWN, Common, Shares, describe
from siamese.evaluation.thresholds import choose_threshold
from siamese.pairs import splits
from siamese.pairs.pairs import Columns
from siamese.text.keys import words_of
from siamese.text.tokenizer import Tokenizer


def test_words_of_a_question() -> None:
    assert words_of("Don’t I OWE $1,000.50?") == ["don't", "i", "owe", "1,000.50"]
    assert words_of("Is a 1.5k run, or 3rd place, où ?") == ["is", "a", "1", "5k", "run", "or", "3rd", "place", "où"]
    assert words_of("?!") == []


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("How old are you?", "how old, are YOU", {"the same words"}),
        ("Is a cat a dog?", "Is a dog a cat?", {"the same words in another order"}),
        ("Is a cat a dog?", "Is a dog cat cat?", {"overlap of 0.6 or more"}),  # the same set, not as often
        ("learn I do", "How do I learn", {"another first word"}),  # the words, not their order
        ("Is Windows 7 good?", "Is Windows 10 good?", {"differs by one word", "differs only in numbers"}),
        ("Can I eat this?", "Can I not eat this?",
         {"negation on one side", "differs by one word", "one contained in the other"}),
        ("Why don't cats swim?", "Why do not cats swim?", set()),  # a negation on both sides
        ("Why can’t cats swim?", "Why can cats swim?", {"negation on one side", "differs by one word"}),
        ("What's the time?", "What is the time?", set()),
        ("How is tea made?", "Why is tea made?",
         {"differs by one word", "another first word", "another question word"}),
        ("Is tea made?", "Why is tea made?",
         {"differs by one word", "another first word", "one contained in the other"}),
        ("?", "!", {"the same words"}),
        ("?", "why", {"differs by one word", "another first word"}),  # nothing is contained in anything
    ],
)  # fmt: skip
def test_features_by_hand(a: str, b: str, expected: set[str]) -> None:
    found = {name for name, holds in FEATURES.items() if holds(words_of(a), words_of(b))}
    assert found == expected & FEATURES.keys()


few_words = st.lists(st.sampled_from(["a", "b", "c", "7", "8"]), max_size=5)


@given(few_words, few_words)
def test_features_against_their_definitions(a: list[str], b: list[str]) -> None:
    def edits(words: list[str]) -> set[tuple[str, ...]]:
        """Return every question that differs by one replaced, added or removed word."""
        vocabulary = ["a", "b", "c", "7", "8"]
        out = {tuple(words[:i] + words[i + 1 :]) for i in range(len(words))}
        out |= {(*words[:i], w, *words[i + 1 :]) for i in range(len(words)) for w in vocabulary}
        out |= {(*words[:i], w, *words[i:]) for i in range(len(words) + 1) for w in vocabulary}
        return out - {tuple(words)}

    def parts(words: list[str]) -> set[tuple[str, ...]]:
        """Return every question that removing words can make."""
        return {tuple(w for i, w in enumerate(words) if mask >> i & 1) for mask in range(1 << len(words))}

    holds = {name: feature(a, b) for name, feature in FEATURES.items()}
    assert holds["differs by one word"] == (tuple(b) in edits(a))
    short, long = sorted((a, b), key=len)
    assert holds["one contained in the other"] == (0 < len(short) < len(long) and tuple(short) in parts(long))
    assert holds["the same words in another order"] == (a != b and all(a.count(w) == b.count(w) for w in a + b))
    numbers = len(a) == len(b) and all(x == y or (x in "78" and y in "78") for x, y in zip(a, b))
    assert holds["differs only in numbers"] == (a != b and numbers)
    assert holds == {name: feature(b, a) for name, feature in FEATURES.items()}
    shared = [w for w in {*a, *b} if w in a and w in b]
    assert examination.overlap(a, b) == pytest.approx(len(shared) / max(1, len({*a, *b})))


def test_describe() -> None:
    tokenizer = Tokenizer.learn(["how old are you ?", "what is your age"], "words")
    long = " ".join(["you"] * 17)
    found = describe(
        ["How old are you?", "zzz old zzz?", long, ""], ["What is your age!", "old yyy", "you", "?"], tokenizer
    )
    assert found.lengths.tolist() == [[4, 4], [3, 2], [17, 1], [0, 0]]
    assert found.overlap.tolist() == [0.0, 1 / 3, 1.0, 0.0]
    assert found.unknown.tolist() == [1, 3, 0, 0]  # the "!"; zzz twice and yyy
    has = {name: np.flatnonzero(values).tolist() for name, values in found.features.items()}
    assert has["a word that the model does not know"] == [0, 1]
    assert has["overlap of 0.6 or more"] == [2] and has["overlap below 0.2"] == [0, 3]
    assert has["a question of 17 words or more"] == [2]
    assert has["lengths differ by half or more"] == [2, 3]
    edges = describe(["a b c d", "a b c d e"], ["a b c e", "a"], tokenizer)  # overlaps of 3/5 and 1/5 belong above
    assert edges.features["overlap of 0.6 or more"].tolist() == [True, False]
    assert not edges.features["overlap below 0.2"].any()
    assert describe([], [], tokenizer).lengths.shape == (0, 2)


@pytest.mark.slow
def test_unknown_words_of_the_other_rules() -> None:
    for rule in ("words", "nltk", "spaces"):
        tokenizer = Tokenizer(["old", "how"], rule)
        assert tokenizer.unknown_words(["how old zzz", "", "zzz yyy"]).tolist() == [1, 0, 2]


def random_verdicts(n: int, seed: int) -> Scored:
    random = np.random.default_rng(seed)
    similarity = random.random(n).round(2)  # with ties
    return Scored(random.integers(0, 2, n), similarity, 0.6, similarity**2)


@pytest.mark.parametrize(
    ("bins", "highest"), [(LENGTHS, 40.0), (UNKNOWN, 6.0), (OVERLAPS, 1.0)], ids=["lengths", "unknown", "overlaps"]
)
def test_slices_against_a_loop(bins: examination.Bins, highest: float) -> None:
    verdicts = random_verdicts(400, seed=3)
    values = (np.random.default_rng(4).random(400) * highest).round(0 if highest > 1 else 1)
    found = examination.slices(verdicts, values, bins)
    edges = [low for _, low in bins] + [math.inf]
    assert [row.slice for row in found] == [name for name, _ in bins]
    assert sum(row.pairs for row in found) == 400 and sum(row.share for row in found) == pytest.approx(1)
    for row, low, high in zip(found, edges, edges[1:]):
        inside = [i for i in range(400) if low <= values[i] < high]
        labels, similarity = verdicts.labels[inside], verdicts.scores[inside]
        assert row.pairs == len(inside) and row.share == len(inside) / 400
        assert row.duplicates == pytest.approx(sum(labels) / len(inside))
        assert row.accuracy == pytest.approx(np.mean([(s > 0.6) == y for s, y in zip(similarity, labels)]))
        assert row.average_precision == pytest.approx(average_precision_score(labels, similarity))
        assert row.roc_auc == pytest.approx(roc_auc_score(labels, similarity))
        assert row.mean_probability == pytest.approx(np.mean(similarity**2))


def test_slices_leave_out_what_is_empty_or_not_defined() -> None:
    verdicts = Scored(np.array([0, 0]), np.array([0.2, 0.9]), 0.5, np.array([0.2, 0.9]))
    (row,) = examination.slices(verdicts, np.array([1, 1]), UNKNOWN)
    assert (row.slice, row.pairs, row.accuracy) == ("1", 2, 0.5)
    assert row.average_precision is None and row.roc_auc is None


def test_mistakes_against_a_loop() -> None:
    verdicts = random_verdicts(300, seed=5)
    p, y = verdicts.probability.tolist(), verdicts.labels.tolist()
    wrong = [i for i in range(300) if (p[i] < 0.5 and y[i] == 1) or (p[i] > 0.5 and y[i] == 0)]
    expected = sorted(wrong, key=lambda i: (-abs(p[i] - 0.5), i))
    assert examination.mistakes(verdicts.labels, verdicts.probability).tolist() == expected


def test_what_mistakes_have_in_common() -> None:
    labels = np.array([0, 0, 1, 1, 1, 1, 1, 1, 0, 0])
    probability = np.array([0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.7, 0.1, 0.1, 0.3])
    has = np.array([1, 0, 1, 0, 0, 0, 1, 1, 0, 1], bool)
    found = examination.in_common({"x": has, "never": ~has & has}, labels, probability)
    said, denied = found["duplicate"], found["different"]
    assert (said.wrong, said.right, denied.wrong, denied.right) == (2, 4, 1, 1)
    assert said.features["x"] == Shares(0.5, 0.25, 2.0)  # 1 of 2, 1 of 4
    assert denied.features["x"] == Shares(1.0, 0.0, None)
    assert said.features["never"] == Shares(0.0, 0.0, None)
    nothing = examination.in_common({"x": has}, labels, np.full(10, 0.5))
    assert nothing["different"] == Common(0, 0, {"x": Shares(None, None, None)})


def letters(questions: Sequence[str]) -> np.ndarray:
    """Encode questions as unit vectors of character counts, in place of a sentence encoder."""
    counts = np.array([[1 + q.lower().count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for q in questions], np.float32)
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def test_the_encoders_similarity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "QUESTIONS_AT_A_TIME", 7)
    calls: list[str] = []

    def encode(questions: Sequence[str]) -> np.ndarray:
        calls.extend(questions)
        return letters(questions)

    letter = random.Random(1)
    first, second = (["".join(letter.choices("abc ", k=letter.randint(1, 9))) for _ in range(40)] for _ in range(2))
    found = against.ComparedEncoder("fake", encode).similarity(first, second)
    assert found == pytest.approx((letters(first) * letters(second)).sum(axis=1), abs=1e-6)
    assert len(calls) == len({*first, *second}) and {*calls} == {*first, *second}


def test_speeds_are_medians_of_alternating_rounds() -> None:
    import torch

    now, calls, before = [0.0], [], torch.get_num_threads()
    torch.set_num_threads(2)

    def takes(name: str, seconds: list[float]) -> against.Encode:
        times = iter([0.0, *seconds])  # the first call warms up

        def encode(questions: Sequence[str]) -> np.ndarray:
            calls.append((name, torch.get_num_threads()))
            now[0] += next(times)
            return np.zeros((len(questions), 2))

        return encode

    ours, theirs = takes("ours", [1.0, 2.0, 4.0]), takes("theirs", [30.0, 10.0, 80.0])
    try:
        found = against.speeds(ours, theirs, ["a"] * 60, rounds=3, clock=lambda: now[0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    # medians 2 s and 30 s; ratios by round 30, 5, 20
    assert found == (30.0, 2.0, 20.0)
    assert calls == [("ours", 1), ("theirs", 1)] * 4


def test_sizes(tmp_path: Path, tiny_model: Path) -> None:
    assert against.model_bytes(tiny_model) == sum(path.stat().st_size for path in tiny_model.iterdir())
    folder = tmp_path / "encoder"
    (folder / "deeper").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"1" * 100)
    (folder / "pytorch_model.bin").write_bytes(b"1" * 1000)  # the same weights again
    (folder / "deeper" / "config.json").write_bytes(b"1" * 10)
    assert against.encoder_bytes(str(folder)) == 110
    assert against.encoder_bytes("no such/encoder") is None


@pytest.mark.slow
def test_examine(
    command: Command, monkeypatch: pytest.MonkeyPatch, tiny_model: Path, small_file: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(against, "load_encoder", lambda name: letters)
    out_folder = tmp_path / "out"
    words = ("--data", small_file, "--model", tiny_model, "--out", out_folder, "--against", "some/letters")
    code, out, err = command("examine", *words)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"{out_folder / 'examination.md'} written"
    figures = {"slices.png", "features.png", "reliability.png"}
    assert {path.name for path in out_folder.iterdir()} == {"examination.md", "examination.json", *figures}
    report = (out_folder / "examination.md").read_text(encoding="utf-8")
    assert set(re.findall(r"!\[[^\]]+\]\((.+?)\)", report)) == figures
    for name in figures:
        image = matplotlib.image.imread(out_folder / name)
        assert min(image.shape[:2]) > 300 and image[..., :3].std() > 0.05, name
    found = json.loads((out_folder / "examination.json").read_text(encoding="utf-8"))

    model, test = SiameseModel.load(tiny_model), splits.to_score(str(small_file), Columns())
    similarity = model.similarity(test.question1, test.question2)
    probability = model.probability(similarity)
    wrong = np.where(test.labels == 1, probability < 0.5, probability > 0.5)
    assert found["wrong"] == wrong.sum() > examination.SHOWN
    first = found["mistakes"][0]
    assert len(found["mistakes"]) == examination.SHOWN
    assert abs(first["probability"] - 0.5) == pytest.approx(np.abs(probability - 0.5)[wrong].max())
    for row in found["mistakes"]:
        i = list(test.id).index(row["id"])
        assert row["label"] == test.labels[i] and row["similarity"] == pytest.approx(similarity[i])
        assert f"| {row['id']} | " in report and "question1" not in row
    # no text of the pairs
    assert not any(q in report or q in json.dumps(found) for q in [*test.question1, *test.question2] if len(q) > 12)
    for parts in found["slices"].values():
        for part, count in (("unseen", found["scores"]["unseen"]["pairs"]), ("all", len(test))):
            assert sum(row["pairs"] for row in parts[part]) == count
    # the encoder, its threshold from the validation pairs that the model remembers
    encoder, row = found["encoder"], found["scores"]["baselines"]["letters"]
    tuning = splits.recall(model.facts).validation
    scores = [(letters(list(p.question1)) * letters(list(p.question2))).sum(axis=1) for p in (tuning, test)]
    assert row["threshold"] == pytest.approx(choose_threshold(tuning.labels, scores[0]), abs=1e-5)
    assert row["average_precision"] == pytest.approx(average_precision_score(test.labels, scores[1]), abs=1e-3)
    assert encoder["ours"] > 0 and encoder["ratio"] > 0 and encoder["their_bytes"] is None
    assert "## Beside letters" in report and f"| {encoder['our_bytes'] / 1e6:.1f} |" in report
    baselines = ["majority", "tf-idf", "mean of embeddings", "letters", "look-up in training clusters"]
    assert list(found["scores"]["baselines"]) == baselines
    for name in baselines[1:]:
        error = found["scores"]["unseen"]["baselines"][name]["calibration_error"]
        assert re.search(rf"\| {name} \| {error:.3f} \|", report)


@pytest.mark.slow
def test_show_text_and_files_without_ids(command: Command, steep: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text('question1,question2,is_duplicate\na|b <i>,a|b <i>,0\nzzz,"what\nnow",0\nmy bike,my bike,1\n')
    out_folder = tmp_path / "out"
    code, _, err = command("examine", "--data", path, "--model", steep, "--out", out_folder, "--show-text")
    assert code == 0, err
    report = (out_folder / "examination.md").read_text(encoding="utf-8")
    found = json.loads((out_folder / "examination.json").read_text(encoding="utf-8"))
    assert [row["id"] for row in found["mistakes"]] == ["1"]  # the same text twice, labelled different
    assert found["mistakes"][0]["question1"] == "a|b <i>"
    assert r"| 1 | a\|b \<i\> | a\|b \<i\> |" in report


@pytest.mark.slow
def test_examine_with_nothing_wrong_or_one_label(command: Command, steep: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("question1,question2,is_duplicate\nmy bike,my bike,1\n")
    code, out, err = command("examine", "--data", path, "--model", steep, "--out", tmp_path / "out")
    assert code == 0, err
    assert "ROC AUC –" in out
    assert "There is no mistake." in (tmp_path / "out" / "examination.md").read_text(encoding="utf-8")
