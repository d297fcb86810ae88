"""Answers lead to a threshold, to the weights of a verdict, or to nothing."""

from pathlib import Path

import numpy as np
import pytest
from commands import Command, posix, python
from files import write_csv

from siamese import SiameseModel
from siamese.mining.mine import mine
from siamese.pairs.pairs import Pairs
from siamese.review.adapt import _unknown
from siamese.review.answers import read_answers
from siamese.review.curve import Blocks
from siamese.review.folds import folds
from siamese.review.order import queue
from siamese.review.steps import TOWER, Pool, Tried
from siamese.review.threshold import Answered, calibrate, choose
from siamese.review.weights import refit

THINGS = ["invoice", "parcel", "password", "refund", "printer", "router", "delivery", "account", "contract", "voucher"]
FORMS = ("How do I change my {}?", "How can I change my {}?", "What should I do to change my {}?")
OTHERS = ("Why was my {} late?", "Where can I find an old {}?", "Who is allowed to see my {}?")


def questions() -> list[str]:
    """Return sixty questions: of each thing three that mean the same, and three others."""
    return [form.format(thing) for thing in THINGS for form in FORMS + OTHERS]


def same(one: str, two: str) -> bool:
    """Return whether two of these questions mean the same."""
    of = {form.format(thing): thing for thing in THINGS for form in FORMS}
    return one in of and of[one] == of.get(two, "")


@pytest.fixture(scope="module")
def decisions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return sixty answers about the pairs of these questions, as `review` writes them."""
    pairs, asked, rows = mine(questions(), threshold=0.4).pairs, [], []
    probability = np.array([pair.probability for pair in pairs])
    known = [int(same(pair.question1, pair.question2)) for pair in pairs]
    for stage in range(6):
        order, value, priority = queue(probability, 0, asked, [known[i] for i in asked], stage)
        for i in order[:10]:
            pair, answer = pairs[i], "duplicate" if known[i] else "different"
            rows.append((*pair[:2], answer, *pair[2:4], value[i], priority[i], "ann", "2026-11-26", f"a:{stage}"))
        asked += order[:10].tolist()
    names = "question1,question2,answer,similarity,probability,value,priority,by,at,stage"
    return write_csv(tmp_path_factory.mktemp("review") / "decisions.csv", rows, names)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("review") / "questions.csv"
    return write_csv(path, [(question,) for question in questions()], "question")


@pytest.mark.ci
def test_a_model_from_answers(command: Command, decisions: Path, file: Path, tmp_path: Path) -> None:
    words = ("adapt", "--labels", decisions, "--model", "pretrained", "--precision", 0.8)
    code, out, err = command(*words, "--questions", file, "--out", tmp_path / "one")
    assert code == 0, err
    assert out.startswith("60 answers, ") and "taken" in out and "95 % interval" in out
    model = SiameseModel.load(tmp_path / "one")
    pairs = mine(questions(), model).pairs
    assert len(pairs) >= 5 and np.mean([same(pair.question1, pair.question2) for pair in pairs]) >= 0.8
    assert model.facts["adapted"]["answers"] == 60
    assert model.predict(*FORMS[:2]).is_duplicate  # and of other things
    # The same again, and from the answers alone, which stand for the pairs.
    assert command(*words, "--questions", file, "--out", tmp_path / "two")[1].replace("two", "one") == out
    assert (tmp_path / "one" / "config.json").read_bytes() == (tmp_path / "two" / "config.json").read_bytes()
    assert command(*words, "--out", tmp_path / "three")[0] == 0
    rule = SiameseModel.load(tmp_path / "three").rule()
    assert abs(rule.threshold - model.rule().threshold) < 0.15


@pytest.mark.ci
def test_what_answers_cannot_do(command: Command, decisions: Path, tmp_path: Path) -> None:
    lines = decisions.read_text("utf-8").splitlines()
    few, mixed, out = tmp_path / "few.csv", tmp_path / "mixed.csv", tmp_path / "model"
    few.write_text("\n".join(lines[:20]) + "\n", "utf-8")
    code, _, err = command("adapt", "--labels", few, "--model", "pretrained", "--out", out)
    assert code == 2 and "19 answers, " in err and "are too few; 30 are needed, 5 of each kind" in err
    random = np.random.default_rng(0).permutation(60)
    answers = [line.split(",")[2] for line in lines[1:]]
    swapped = [",".join((*line.split(",")[:2], answers[i], *line.split(",")[3:])) for line, i in zip(lines[1:], random)]
    mixed.write_text("\n".join([lines[0], *swapped]) + "\n", "utf-8")
    code, _, err = command("adapt", "--labels", mixed, "--model", "pretrained", "--out", out, "--precision", 0.95)
    assert code == 2 and ("no threshold is likely enough to reach a precision of 0.95" in err or "do not rise" in err)
    picked = tmp_path / "picked.csv"
    picked.write_text("\n".join(",".join(line.split(",")[:3]) for line in lines) + "\n", "utf-8")
    code, _, err = command("adapt", "--labels", picked, "--model", "pretrained", "--out", out)
    assert code == 2 and "do not say how their pairs were drawn from which questions" in err and "--questions" in err
    assert not out.exists()


def test_a_sample_to_label_is_read_with_its_strata(tmp_path: Path) -> None:
    rows = [("a", "b", 1, 0.9, 1, 10, 0.8), ("c", "d", 0, 0.7, 2, 30, 0.6), ("e", "f", "", 0.7, 2, 30, 0.6)]
    names = "question1,question2,is_duplicate,similarity,stratum,stratum_pairs,stratum_above"
    answers = read_answers(write_csv(tmp_path / "to_label.csv", rows, names))
    assert answers.pairs.labels.tolist() == [1, 0] and answers.weight is not None
    assert answers.weight.tolist() == [10, 30]


def test_no_question_of_a_fold_is_known_from_another() -> None:
    random = np.random.default_rng(0)
    ends = random.integers(0, 80, (150, 2))
    ends = ends[ends[:, 0] != ends[:, 1]]
    pairs = Pairs.of([f"q{a}" for a, _ in ends], [f"q{b}" for _, b in ends], random.random(len(ends)) < 0.2)
    seen = []
    for fit, held in folds(pairs, 0):
        parts = [{q for i in rows for q in (pairs.question1[i], pairs.question2[i])} for rows in (fit, held)]
        assert not parts[0] & parts[1]
        seen += held.tolist()
    assert len(seen) == len(set(seen)) > 20


@pytest.mark.slow
def test_a_threshold_has_the_precision_and_is_where_answers_are() -> None:
    random, right = np.random.default_rng(0), 0
    for seed in range(6):
        score = random.beta(2, 3, 1_500)
        label = (random.random(1_500) < 1 / (1 + np.exp(-25 * (score - 0.6)))).astype(int)
        asked: list[int] = []
        for stage in range(6):
            asked += queue(score, seed, asked, label[asked].tolist(), stage)[0][:10].tolist()
        choice, _ = choose(score, Answered(np.array(asked), label[asked]), 0.9)
        if choice and label[score > choice.threshold].mean() >= 0.9:
            right += 1
            assert score[asked].min() <= choice.threshold and choice.answers >= 5
            assert choice.low < choice.precision < choice.high
    assert right >= 5


def test_probabilities_are_those_of_the_pool_not_of_the_answers() -> None:
    random = np.random.default_rng(0)
    score = random.beta(2, 5, 5_000)
    label = (random.random(5_000) < 1 / (1 + np.exp(-20 * (score - 0.6)))).astype(int)  # 5 % duplicates
    asked = np.concatenate((np.flatnonzero(label == 1)[:60], np.flatnonzero(label == 0)[:60]))  # half of the answers
    found = calibrate(score, Answered(queue(score, 0)[0][:200], label[queue(score, 0)[0][:200]]))
    assert found is not None and abs(found.prior - label.mean()) < 0.03
    divided = calibrate(np.linspace(0, 1, 50), Answered(np.arange(50), (np.arange(50) > 25).astype(int)))
    assert divided is not None and 0 < divided.slope < 200  # not infinite
    assert len(asked) == 120


def test_blocks_hold_all_pairs_and_keep_equal_scores_together() -> None:
    score = np.round(np.random.default_rng(0).random(700), 2)
    blocks = Blocks(score)
    assert blocks.above[-1] == 700 and (np.diff(blocks.lowest) < 0).all()
    for value in np.unique(score):
        assert len(set(blocks.of[score == value])) == 1


def test_weights_move_to_what_answers_show_and_no_further() -> None:
    random = np.random.default_rng(0)
    cosine, features = random.uniform(0.4, 1, 300), (random.random((300, 3)) < 0.3).astype(float)
    label = (cosine - features @ [0.3, 0.0, 0.1] > 0.7).astype(int)
    found = refit(cosine, features, label, np.array([0.0, 0.0, 0.1]))
    np.testing.assert_allclose(found, [0.3, 0.0, 0.1], atol=0.05)
    none = refit(cosine[:5], features[:5] * 0, label[:5], np.array([0.2, 0.0, 0.1]))
    np.testing.assert_allclose(none, [0.2, 0.0, 0.1], atol=1e-3)  # no answer about these
    pool = Pool(cosine, features, Answered(np.arange(300), label), None)
    np.testing.assert_array_equal(pool.score(None), cosine)


def test_a_trained_tower_is_judged_by_those_that_did_not_know_the_answer() -> None:
    cosine, features = np.array([0.9, 0.5, 0.8, 0.7]), np.array([[0.5], [0.0], [1.0], [0.0]])
    pool = Pool(cosine, features, Answered(np.array([0, 2, 3]), np.array([1, 0, 1])), np.array([0.2]))
    held_out = np.array([0.6, np.nan, 0.75])  # scores; the second answer is across folds
    found = _unknown(pool, Tried(TOWER, held_out, held_out))
    np.testing.assert_allclose(found.score(found.weights), [0.6, 0.5, 0.6, 0.75])
    assert found.answered.asked.tolist() == [0, 3] and found.answered.duplicate.tolist() == [1, 1]


KILLED = """
import os, random, shutil, signal, sys, time
from pathlib import Path
import scipy.optimize, torch
import siamese.mining.mine
from siamese.cli.entry import main
from siamese.model.model import SiameseModel
from siamese.model.packaged import SHIPPED

labels, questions = sys.argv[1:]
words = ["adapt", "--labels", labels, "--questions", questions, "--model", "pretrained", "--precision", "0.8", "--out"]

def begin(out):
    if not (child := os.fork()):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        main([*words, out])
        os._exit(0)
    return child

start = time.monotonic()
assert os.waitpid(begin("whole"), 0)[1] == 0
lasts = time.monotonic() - start
whole, clock, ends = Path("whole/config.json").read_bytes(), random.Random(0), []
for attempt in range(50):
    out = Path(f"out{attempt}")
    if earlier := attempt % 2:
        shutil.copytree(SHIPPED, out)
    child = begin(str(out))
    time.sleep(clock.uniform(0.2, 1.1) * lasts)
    os.kill(child, signal.SIGKILL)
    ends.append(os.waitpid(child, 0)[1])
    if (out / "config.json").exists():
        SiameseModel.load(out)  # with the checksums of all files
        ends[-1] = "old" if earlier and (out / "config.json").read_bytes() != whole else "new"
    else:
        assert not earlier
        ends[-1] = "none"
    if ends[-1] == "new":
        assert (out / "config.json").read_bytes() == whole
    shutil.rmtree(out, ignore_errors=True)
print(*sorted(set(ends)))
"""


@pytest.mark.ci
@posix
def test_fifty_kills_leave_no_half_model(decisions: Path, file: Path, tmp_path: Path) -> None:
    done = python("-c", KILLED, decisions, file, cwd=tmp_path, timeout=900)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["new", "none", "old"]


@pytest.mark.ci
def test_the_tower_learns_from_two_hundred_answers_and_forgets_little() -> None:
    from siamese.review.tower import adapt_tower, forgotten, hard_negatives

    asked, random, model = questions(), np.random.default_rng(0), SiameseModel.pretrained()
    ends = [(a, b) for i, a in enumerate(asked) for b in asked[:i]]
    ends = [ends[i] for i in random.permutation(len(ends))[:400]] + [ends for ends in ends if same(*ends)]
    pairs = Pairs.of((a for a, _ in ends), (b for _, b in ends), (int(same(a, b)) for a, b in ends))
    calibration, sides = model.verdict.calibration, (pairs.question1, pairs.question2)
    one, two = (adapt_tower(model, pairs, asked, calibration, 0) for _ in range(2))
    assert all((one.weights[name] == two.weights[name]).all() for name in one.weights)

    def apart(of: SiameseModel) -> float:
        cosine = of.similarity(*sides)
        return float(cosine[pairs.labels == 1].mean() - cosine[pairs.labels == 0].mean())

    assert apart(one) > apart(model) + 0.02
    found = forgotten(model, one)
    assert found.cosine > 0.98 and found.after < found.before + 0.02
    negatives = hard_negatives(pairs, model.probability(model.similarity(*sides)) * 0.2, np.arange(50))
    assert 0 < len(negatives) <= 50 and not negatives.labels.any()
