"""The pretrained model: its answers, when it is used, and training from it or another model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import python

import siamese
from siamese import SiameseModel
from siamese.cli import entry, options
from siamese.config import NOTHING, PACKAGED, PRETRAINED, Config, recipe, start_of
from siamese.errors import ModelError, UserError
from siamese.evaluation.metrics import all_scores
from siamese.model import packaged
from siamese.model.calibration import calibration_error
from siamese.pairs.reading import read_pairs

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "siamese" / "pretrained"
PAIR = ("How old are you?", "What is your age?")
LINE = f"using the pretrained model ({PACKAGED[PRETRAINED]}: "

there = pytest.mark.skipif(
    not (FOLDER / "model.safetensors").exists(), reason="siamese/pretrained/model.safetensors is not there"
)
Command = Callable[..., tuple[str, str]]


@pytest.fixture()
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process. Return its standard output and standard error."""

    def run(*words: object) -> tuple[str, str]:
        entry.main([str(word) for word in words])
        captured = capsys.readouterr()
        return captured.out, captured.err

    return run


@pytest.fixture()
def stand_in(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the tiny model in place of the pretrained one, and work in a folder without trained models."""
    monkeypatch.setattr(packaged, "SHIPPED", tiny_model)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tiny_model


def test_without_a_trained_model_the_pretrained_one_answers(command: Command, stand_in: Path) -> None:
    out, err = command("predict", *PAIR)
    assert err == f"{LINE}{stand_in / 'README.md'})\n"
    assert (out, "") == command("predict", *PAIR, "--model", stand_in)


def test_another_model_of_the_package_answers_by_its_name(
    command: Command, stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaged, "SHIPPED", tmp_path / "pretrained")
    shutil.copytree(stand_in, tmp_path / "pretrained_quora")
    out, err = command("predict", *PAIR, "--model", "quora")
    assert err == f"using the quora model ({PACKAGED['quora']}: {tmp_path / 'pretrained_quora' / 'README.md'})\n"
    assert (out, "") == command("predict", *PAIR, "--model", stand_in)
    shutil.rmtree(tmp_path / "pretrained_quora")
    with pytest.raises(ModelError, match=r"quora: this model is not installed; copy pretrained_quora/ of the project"):
        SiameseModel.load("quora")


def test_a_trained_model_goes_before_it(command: Command, stand_in: Path) -> None:
    other = SiameseModel.load(stand_in)
    other.threshold = 0.125
    other.save("models/latest")
    assert command("predict", *PAIR)[1] == ""
    assert json.loads(command("predict", *PAIR, "--json")[0])["threshold"] == 0.125
    out, err = command("predict", *PAIR, "--json", "--model", "pretrained")
    assert err.startswith(LINE) and err.count("\n") == 1
    assert json.loads(out)["threshold"] == SiameseModel.load(stand_in).threshold != 0.125


def test_a_run_that_was_stopped_is_no_trained_model(command: Command, stand_in: Path) -> None:
    Path("models/latest").mkdir(parents=True)
    Path("models/latest/checkpoint.safetensors").touch()
    assert command("predict", *PAIR)[1].startswith(LINE)


def test_a_folder_that_is_named_must_be_there(stand_in: Path) -> None:
    for name in ("models/latest", "nowhere", "./pretrained"):
        with pytest.raises(ModelError, match="no trained model there"):
            entry.main(["predict", *PAIR, "--model", name, "--debug"])


@pytest.mark.slow
def test_json_and_vectors_stay_clean(command: Command, stand_in: Path, small_file: Path, tmp_path: Path) -> None:
    out, err = command("predict", *PAIR, "--json")
    assert set(json.loads(out)) == {"is_duplicate", "similarity", "threshold", "probability", "differences"}
    assert err.startswith(LINE)
    out, err = command("evaluate", "--data", small_file, "--json")
    assert "average_precision" in json.loads(out)
    assert err.startswith(LINE)
    (tmp_path / "questions.txt").write_text("How old are you?\n", encoding="utf-8")
    out, err = command("encode", tmp_path / "questions.txt", "--out", tmp_path / "v.npy")
    assert out == f"1 vectors of 16 dimensions written to {tmp_path / 'v.npy'}\n"
    assert err.startswith(LINE)
    assert np.load(tmp_path / "v.npy").shape == (1, 16)


def test_it_does_not_know_where_its_training_pairs_are(
    command: Command, stand_in: Path, small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = SiameseModel.load(stand_in)
    del bare.facts["data"]
    bare.save(tmp_path / "bare")
    monkeypatch.setattr(packaged, "SHIPPED", tmp_path / "bare")
    out, _ = command("evaluate", "--data", small_file)
    assert "the training pairs are unknown; give them with --trained-on PATH" in out
    out, _ = command("evaluate", "--data", small_file, "--trained-on", small_file)
    assert out.splitlines()[1].startswith("unseen (")


def test_the_recipe_takes_what_the_weights_are_bound_to() -> None:
    start = Config(tokens="spaces", embedding=16, hidden=24, skip=False, margin=0.1, compact=True, seed=9)

    def of(*words: str) -> Config:
        given = entry._parser().parse_args(["train", *words])
        return recipe(given.preset, options.changed_fields(given), start)

    assert of() == Config(tokens="spaces", embedding=16, hidden=24, skip=False)
    assert of("--margin", "0.5", "--compact") == of().replace(margin=0.5, compact=True)
    # A course preset says how words are cut; one that disagrees is told so when training begins.
    assert of("--preset", "course-trax-2020").tokens == "nltk"


@pytest.mark.parametrize(
    ("named", "preset", "changes", "start"),
    [
        (None, None, {"epochs": 3, "encoder": None}, PRETRAINED),
        (None, "best", {}, PRETRAINED),
        (None, "course-tensorflow", {}, None),
        (None, None, {"hidden": 64}, None),
        (None, "best", {"skip": False}, None),
        (NOTHING, None, {}, None),
        (Path("mine"), "course-tensorflow", {"hidden": 64}, "mine"),
    ],
)
def test_a_recipe_that_fits_starts_from_the_pretrained_model(
    named: str | Path | None, preset: str | None, changes: dict[str, object], start: str | None
) -> None:
    assert start_of(named, preset, changes) == start


@pytest.mark.slow
@pytest.mark.ci
def test_training_from_python_starts_where_the_command_does(stand_in: Path, small_file: Path) -> None:
    options = {"epochs": 1, "learning_rate": 0.0, "training_pairs": 64}
    assert siamese.train(small_file, **options).config.start_from == PRETRAINED
    assert siamese.train(small_file, start_from=NOTHING, embedding=8, hidden=8, **options).config.start_from is None


def test_a_preset_that_disagrees_is_an_error(stand_in: Path, small_file: Path, tmp_path: Path) -> None:
    words = ["--data", str(small_file), "--out", str(tmp_path / "m"), "--preset", "course-tensorflow", "--debug"]
    with pytest.raises(UserError, match="--start-from: the model has tokens 'words', the recipe 'spaces'"):
        entry.main(["train", "--start-from", "pretrained", *words])


@pytest.mark.ci
@pytest.mark.slow
def test_start_from_pretrained_adds_words_and_keeps_the_rest(
    command: Command, stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = SiameseModel.load(stand_in)
    start.config = start.config.replace(compact=True)
    start.save(tmp_path / "compact")
    monkeypatch.setattr(packaged, "SHIPPED", tmp_path / "compact")
    start = SiameseModel.pretrained()
    rows = [f"zzyzx question {i},zzyzx problem {i - i % 2},{i % 2}" for i in range(40)]
    (tmp_path / "own.csv").write_text("\n".join(["question1,question2,is_duplicate", *rows]) + "\n", encoding="utf-8")
    train = ("train", "--data", tmp_path / "own.csv", "--epochs", 1, "--learning-rate", 0, "--out", tmp_path / "m")
    _, err = command(*train, "--start-from", "pretrained")
    assert LINE in err
    made = SiameseModel.load(tmp_path / "m")
    assert made.config.start_from == "pretrained"
    assert (made.config.hidden, made.config.compact) == (16, False)  # sizes of the start, in float32
    words = len(start.tokenizer.words)
    assert made.tokenizer.words[:words] == start.tokenizer.words
    assert "zzyzx" in made.tokenizer.words[words:]
    old, new = start.weights["embedding.weight"], made.weights["embedding.weight"]
    assert new[: len(old)].tobytes() == old.tobytes()
    assert np.abs(new[len(old) :]).max(axis=1).min() > 0


@there
def test_the_folder_is_small_and_complete() -> None:
    names = {path.name for path in FOLDER.iterdir()}
    assert names >= {"README.md", "config.json", "model.safetensors", "vocabulary.txt"}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 20_000_000


@there
def test_it_loads_and_names_no_path() -> None:
    loaded = SiameseModel.pretrained()
    assert loaded.config.compact and loaded.config.padding == "none"
    assert "data" not in loaded.facts
    assert 0 < loaded.threshold < 1


@there
def test_it_tells_obvious_pairs_apart() -> None:
    loaded = SiameseModel.pretrained()
    same = [
        ("How can I lose weight quickly?", "What is the fastest way to lose weight?"),
        ("How do I learn to play the guitar?", "What is the best way to learn guitar?"),
        ("What is the capital of France?", "Which city is the capital of France?"),
    ]
    first, second = ([pair[side] for pair in same] for side in (0, 1))
    alike, apart = loaded.similarity(first, second), loaded.similarity(first, second[1:] + second[:1])
    assert alike.min() > apart.max()
    assert loaded.similarity(first, first).tolist() == [1, 1, 1]


@pytest.mark.slow
@there
def test_it_ranks_quoras_pairs_which_it_never_saw(shared: Path) -> None:
    pairs = read_pairs(shared / "quora" / "test.csv")
    assert pairs.unseen is not None
    pairs = pairs.take(np.flatnonzero(pairs.unseen))
    similarity = SiameseModel.pretrained().similarity(pairs.question1, pairs.question2)
    assert (all_scores(pairs.labels, similarity, 0.5).average_precision or 0) > 0.7


@pytest.mark.slow
@there
def test_quora_is_as_good_on_quoras_test_pairs_as_its_card_says(shared: Path) -> None:
    loaded, pairs = SiameseModel.load("quora"), read_pairs(shared / "quora" / "test.csv")
    rule = loaded.rule()
    scores = rule.scores(pairs.question1, pairs.question2, loaded.similarity(pairs.question1, pairs.question2))
    every = all_scores(pairs.labels, scores, rule.threshold)
    assert pairs.unseen is not None
    unseen = all_scores(pairs.labels[pairs.unseen], scores[pairs.unseen], rule.threshold)
    row = "| {} | this model | {accuracy:.3f} | {precision:.3f} | {recall:.3f} | {f1:.3f} | "
    row += "{average_precision:.3f} | {roc_auc:.3f} | 0.752 |"
    card = (packaged.model_folder_of("quora") / "README.md").read_text("utf-8").splitlines()
    assert row.format("unseen (5,732, 21.2% duplicates)", **unseen.to_dict()) in card
    assert row.format("all (10,240, 36.7% duplicates)", **every.to_dict()) in card
    assert (unseen.average_precision or 0) > 0.76 and (every.accuracy or 0) > 0.855
    assert calibration_error(pairs.labels, rule.probability(scores)) < 0.02


@pytest.mark.slow
@there
def test_predict_from_an_empty_folder(tmp_path: Path) -> None:
    done = python("-X", "importtime", ROOT / "run.py", "predict", *PAIR, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {"is_duplicate", "similarity", "threshold", "probability", "differences"}
    assert done.stderr.count(LINE) == 1
    assert f"{FOLDER / 'README.md'})" in done.stderr
    loaded = {row.rpartition("|")[2].strip().split(".")[0] for row in done.stderr.splitlines()}
    assert not loaded & {"torch", "pandas", "sklearn", "nltk", "scipy", "matplotlib"}


def test_the_card_names_data_and_terms() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(words in card for words in ("CC BY-SA 4.0", "all-mpnet-base-v2", "Quora", "MS MARCO", "Stack Exchange"))


def test_a_vector_is_the_same_to_the_bit_in_any_batch() -> None:
    """Archives rely on it: what a night adds has the vectors of an archive that is built of everything."""
    model = SiameseModel.pretrained()
    asked = ["How do I lose weight?", "Why?", "What is the best way to lose a lot of weight in a month?", "weight"]
    together = model.encode(asked)
    assert np.array_equal(together, np.concatenate([model.encode([question]) for question in asked]))
    assert np.array_equal(together[1:], model.encode(asked[1:]))
