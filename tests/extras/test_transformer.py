"""The transformer tower, on tiny encoders with random weights. Needs sentence-transformers."""

import contextlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command
from encoders import KINDS, QUESTIONS, make_encoder
from libraries import needs
from trainings import fit

needs("sentence_transformers")

from siamese import SiameseModel
from siamese.config import Config, preset
from siamese.errors import ModelError, UserError
from siamese.pairs import splits
from siamese.system.stopping import Stopped
from siamese.towers.encoders import load_parts
from siamese.towers.transformer import encode, padded_parts, shapes
from siamese.training import step
from siamese.training.checkpoints import CHECKPOINT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def encoder(kind: str) -> Path:
        if kind not in made:
            made[kind] = make_encoder(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return encoder


@pytest.mark.parametrize("kind", KINDS)
def test_the_vectors_are_those_of_sentence_transformers(kind: str, encoders: Callable[[str], Path]) -> None:
    from sentence_transformers import SentenceTransformer

    encoder = load_parts(str(encoders(kind)))
    theirs = SentenceTransformer(str(encoders(kind)), device="cpu").encode(QUESTIONS)
    ours = encode(encoder.tower(), encoder.tokenizer.encode(QUESTIONS))
    which = [i for i, question in enumerate(QUESTIONS) if question]
    np.testing.assert_allclose(ours[which], theirs[which], atol=1e-5)
    assert len(np.unique(ours[which].round(3), axis=0)) == len(which)  # the test can tell them apart
    assert not ours[QUESTIONS.index("")].any()


TINY = preset("transformer").replace(learning_rate=0.003, batch_size=32, epochs=2, temperature=0.1)


@pytest.fixture(scope="session")
def tiny(encoders: Callable[[str], Path]) -> Config:
    return TINY.replace(encoder=str(encoders("bert")))


@pytest.fixture(scope="session")
def parts(small_file: Path) -> splits.Datasets:
    found = splits.load(splits.Source(str(small_file)))
    few = np.arange(0, len(found.validation), 4)
    return replace(found, training=found.training.take(np.arange(0, len(found.training), 3)),
                   validation=found.validation.take(few))  # fmt: skip


@pytest.fixture(scope="session")
def trained(tiny: Config, parts: splits.Datasets, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a trained model. Do not change it."""
    folder = tmp_path_factory.mktemp("trained")
    model = fit(tiny, parts)
    model.save(folder)
    return folder


RECIPES = {
    "matrix-softmax": {"loss": "matrix-softmax", "labelled": "none"},
    "triplet both": {"labelled": "none"},
    "best": {},
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_losses_fall(name: str, tiny: Config, parts: splits.Datasets) -> None:
    history = fit(tiny.replace(epochs=6, learning_rate=0.01, **RECIPES[name]), parts).facts["history"]
    assert history[-1]["loss"] < 0.98 * history[0]["loss"]


def bits(model: SiameseModel) -> dict[str, Any]:
    return {name: weight.tobytes() for name, weight in model.weights.items()} | {
        "threshold": model.threshold, "calibration": model.calibration, "words": model.tokenizer.text()
    }  # fmt: skip


def test_a_resumed_run_has_the_same_bits(tiny: Config, parts: splits.Datasets, tmp_path: Path) -> None:
    config = tiny.replace(epochs=3)
    whole, left = fit(config, parts), iter([False, True, False, True])
    for _ in range(2):
        with pytest.raises(Stopped):
            fit(config, parts, tmp_path, resume=True, stop=lambda: next(left))
    assert (tmp_path / CHECKPOINT).exists()
    resumed = fit(config, parts, tmp_path, resume=True)
    assert bits(resumed) == bits(whole)
    assert bits(fit(config.replace(seed=2), parts)) != bits(whole)


def test_the_encoder_belongs_to_the_run(tiny: Config, parts: splits.Datasets, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(str(tiny.encoder), tmp_path / "encoder"))
    config = tiny.replace(encoder=str(copy))
    with pytest.raises(Stopped):
        fit(config, parts, tmp_path / "run", stop=lambda: True)
    from safetensors.numpy import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights["embeddings.LayerNorm.bias"] += 1
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="differs in the encoder"):
        fit(config, parts, tmp_path / "run", resume=True)


def test_without_an_epoch_it_is_the_encoder_with_a_threshold(tiny: Config, parts: splits.Datasets) -> None:
    model = fit(tiny.replace(epochs=0), parts)
    weights = load_parts(str(tiny.encoder)).weights
    assert all((model.weights[name] == weight.numpy()).all() for name, weight in weights.items())
    assert model.facts["history"] == [] and 0 < model.threshold < 1


@pytest.mark.parametrize("loss", ["triplet", "matrix-softmax"])
def test_gradient_caching_is_the_plain_backward(
    loss: str, tiny: Config, parts: splits.Datasets, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siamese.towers import transformer
    from siamese.training.batches import Prepared, data_generator
    from siamese.training.checkpoints import Run
    from siamese.training.objective import Objective
    from siamese.training.processes import Processes
    from siamese.training.step import Step

    monkeypatch.setattr(transformer, "TOKENS_AT_A_TIME", 100)
    prepared = Prepared.of(tiny, parts.training)
    batch = next(data_generator(prepared.pairs, 32, seed=1, negatives=True))
    assert len(padded_parts(prepared.pairs.first.lengths)) > 5

    def gradients(caching: bool) -> tuple[float, list[torch.Tensor]]:
        config = tiny.replace(loss=loss, gradient_caching=caching)
        tower, objective = load_parts(str(tiny.encoder)).tower().double(), Objective(config).double()
        weights = [*tower.parameters(), *objective.parameters()]
        run = Run(tower, objective, torch.optim.SGD(weights))
        value = Step(config, run, 0, 1, Processes()).backward(batch)
        return value, [weight.grad for weight in weights if weight.grad is not None]

    (value, cached), (expected, plain) = gradients(True), gradients(False)
    assert value == pytest.approx(expected, rel=0, abs=1e-12)
    assert len(cached) == len(plain) > 30 and max(float(gradient.abs().max()) for gradient in plain) > 0.01
    for one, other in zip(cached, plain):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_the_graph_of_one_part_at_a_time_is_kept() -> None:
    weight, alive, most = torch.ones(3, requires_grad=True), [], []

    class Kept(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, part: torch.Tensor) -> torch.Tensor:
            alive.append(1)
            most.append(len(alive))
            return part * 1

        @staticmethod
        def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
            alive.pop()
            return gradient

    parts = list(torch.arange(12.0).view(4, 1, 3))

    def tower(part: torch.Tensor) -> torch.Tensor:
        return Kept.apply(part * weight) if torch.is_grad_enabled() else part * weight

    loss = step.backward_in_parts(tower, parts, lambda vectors: vectors.prod(1).sum())
    assert loss == sum(part.prod() for part in parts) and max(most) == 1 and len(most) == 4
    torch.testing.assert_close(weight.grad, torch.full((3,), float(loss)))


def test_no_questions_hang_on_the_weights(tiny: Config) -> None:
    tower = load_parts(str(tiny.encoder)).tower()
    nothing = torch.zeros(0, dtype=torch.long)
    vectors = tower(nothing, nothing)
    assert vectors.shape == (0, 16)
    vectors.sum().backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in tower.parameters())
    assert tower(nothing, torch.zeros(2, dtype=torch.long)).tolist() == [[0.0] * 16] * 2


def test_training_mode_changes_nothing(tiny: Config) -> None:
    encoder = load_parts(str(tiny.encoder))
    tower, tokens = encoder.tower(), encoder.tokenizer.encode(QUESTIONS)
    assert (encode(tower, tokens) == encode(tower.train(), tokens)).all()


def test_bfloat16_is_near(tiny: Config) -> None:
    encoder = load_parts(str(tiny.encoder))
    tokens = encoder.tokenizer.encode(QUESTIONS)
    exact, short = encode(encoder.tower(), tokens), encode(encoder.tower(torch.bfloat16), tokens)
    assert 1e-4 < np.abs(exact - short).max() < 0.05


def test_vectors_do_not_depend_on_their_company(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from siamese.towers import transformer

    model = SiameseModel.load(trained)
    together = model.encode(QUESTIONS)
    alone = np.concatenate([model.encode([question]) for question in QUESTIONS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    monkeypatch.setattr(transformer, "TOKENS_AT_A_TIME", 1)
    np.testing.assert_allclose(model.encode(QUESTIONS), together, atol=1e-6)
    assert model.encode([]).shape == (0, 16)


def test_the_same_questions_are_encoded_once(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, fresh, asked = SiameseModel.load(trained), SiameseModel.load(trained), []
    whole = SiameseModel.encode
    monkeypatch.setattr(SiameseModel, "encode", lambda self, questions: asked.append(1) or whole(self, questions))
    one, other = (["how", "what"], ["is it", "my age"]), (["how", "what"], ["the lie", "my age"])
    first = [model.similarity(*pairs).tolist() for pairs in (one, one, one[::-1], other)]
    assert len(asked) == 2
    assert first[0] == first[1] == first[2] == fresh.similarity(*one).tolist()
    assert first[3] == fresh.similarity(*other).tolist() != first[0]


def test_the_folder_gives_the_same_vectors(tiny: Config, parts: splits.Datasets, tmp_path: Path) -> None:
    model = fit(tiny.replace(epochs=1), parts)
    model.save(tmp_path / "one")
    loaded = SiameseModel.load(tmp_path / "one")
    assert (loaded.encode(QUESTIONS) == model.encode(QUESTIONS)).all()
    assert (loaded.config, loaded.threshold, loaded.calibration) == (model.config, model.threshold, model.calibration)
    loaded.save(tmp_path / "two")
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    assert files.keys() == {"config.json", "tokenizer.json", "model.safetensors"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_loaded_without_its_encoder(
    kind: str, encoders: Callable[[str], Path], parts: splits.Datasets, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(encoders(kind), tmp_path / "encoder"))
    model = fit(TINY.replace(encoder=str(copy), epochs=0), parts)
    model.save(tmp_path / "model")
    shutil.rmtree(copy)
    assert (SiameseModel.load(tmp_path / "model").encode(QUESTIONS) == model.encode(QUESTIONS)).all()


def test_one_kind_of_model_over_the_other(tiny_model: Path, trained: Path, tmp_path: Path) -> None:
    for folder in (tiny_model, trained, tiny_model):
        SiameseModel.load(folder).save(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {path.name for path in folder.iterdir()}
        assert (
            SiameseModel.load(tmp_path).encode(["how"]).tolist() == SiameseModel.load(folder).encode(["how"]).tolist()
        )


def edited(change: Callable[[dict[str, Any]], Any], name: str = "config.json") -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        change(content)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")

    return edit


def architecture(**changes: Any) -> Callable[[Path], None]:
    return edited(lambda settings: settings["architecture"].update(changes))


def tokenizer(path: str, value: Any) -> Callable[[Path], None]:
    def change(content: Any) -> None:
        *parents, last = path.split(".")
        for name in parents:
            content = content[name]
        content[last] = value

    return edited(change, "tokenizer.json")


ATTACKS = {
    "another type": (architecture(type="gpt2"), "type 'gpt2'; accepted are bert"),
    "a list as type": (architecture(type=["bert"]), "unhashable"),
    "remote code": (architecture(auto_map={"AutoModel": "evil--evil"}), "expected type, vocab_size"),
    "without a field": (edited(lambda s: s["architecture"].pop("hidden_size")), "expected type, vocab_size"),
    "more layers": (architecture(num_hidden_layers=3), "layer.2.*missing"),
    "a billion layers": (architecture(num_hidden_layers=10**9), "an integer from 1 to 24"),
    "a huge vocabulary": (architecture(vocab_size=1 << 40), "an integer from 1 to"),
    "a smaller vocabulary": (architecture(vocab_size=50), "the tokenizer has .* ids, the model 50"),
    "true for a number": (architecture(num_attention_heads=True), "expected an integer"),
    "heads that do not divide": (architecture(num_attention_heads=3), "cannot be divided"),
    "a function by name": (architecture(hidden_act="os.system"), "accepted are gelu"),
    "no number": (architecture(layer_norm_eps=float("nan")), "above 0"),
    "a padding outside": (architecture(pad_token_id=10**6), "an id of the vocabulary"),
    "fewer positions": (architecture(max_position_embeddings=8), "reads 32 tokens, the model 8"),
    "no architecture": (edited(lambda s: s.pop("architecture")), "expected a checksum for each|with the architecture"),
    "an LSTM": (edited(lambda s: s["config"].update(tower="lstm", encoder=None)), "tower 'lstm' with"),
    "format 2": (edited(lambda s: (s.pop("sha256"), s.update(format=2))), "'architecture' is not known"),
    "padding to a trillion": (tokenizer("padding", {"strategy": {"Fixed": 10**12}}), "padding"),
    "no truncation": (tokenizer("truncation", None), "not a model file"),
    "a long truncation": (tokenizer("truncation.max_length", 10**9), "8,192 at most"),
    "a short truncation": (tokenizer("truncation.max_length", 2), "more than the 2 special ones"),
    "another truncation": (tokenizer("truncation.direction", "Left"), "expected such as"),
    "a regular expression": (
        tokenizer("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated",
                                    "invert": False}), "pre_tokenizer 'Split'; accepted are"),
    "a replacing normalizer": (
        tokenizer("normalizer", {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}), "normalizer"),
    "words that take a square of time": (tokenizer("model.max_input_chars_per_word", 10**9), "up to 1,000"),
    "dropout": (tokenizer("model", {"type": "BPE", "dropout": 0.5, "vocab": {}, "merges": []}), "dropout"),
    "another model": (tokenizer("model", {"type": "Unigram", "vocab": []}), "model 'Unigram'"),
    "an id outside": (tokenizer("model.vocab.how", 10**6), "the tokenizer has .* ids"),
    "an id beyond all": (tokenizer("model.vocab.how", 2**70), "tokenizer.json"),
    "a special id outside": (tokenizer("post_processor.special_tokens.[CLS].ids", [10**6]), "the tokenizer has .* ids"),
    "a field more": (tokenizer("more", 1), "expected an object with"),
    "lists 100,000 deep": (lambda folder: (folder / "tokenizer.json").write_text("[" * 100_000), "not a model file"),
    "a vocabulary that is text": (tokenizer("model.vocab", "how"), "not a tokenizer"),
    "a field twice": (
        lambda folder: (folder / "tokenizer.json").write_text(
            '{"padding": {"strategy": {"Fixed": 1000000000000}}, ' + (folder / "tokenizer.json").read_text("utf-8")[1:],
            "utf-8"), "a field twice"),
    "another file's words": (lambda folder: (folder / "tokenizer.json").rename(folder / "vocabulary.txt"), "tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_a_tampered_folder_is_refused(name: str, trained: Path, tmp_path: Path, seal: Callable[[Path], None]) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "model"))
    tamper, message = ATTACKS[name]
    tamper(folder)
    with contextlib.suppress(FileNotFoundError):  # another file's words: the folder stays as it came
        seal(folder)
    with pytest.raises(ModelError, match=message) as error:
        SiameseModel.load(folder)
    assert str(error.value).startswith(str(folder)) and "\n" not in str(error.value)


def test_positions_that_are_not_counted_from_0(
    encoders: Callable[[str], Path], parts: splits.Datasets, tmp_path: Path, seal: Callable[[Path], None]
) -> None:
    fit(TINY.replace(encoder=str(encoders("roberta")), epochs=0), parts).save(tmp_path)
    architecture(max_position_embeddings=33)(tmp_path)
    seal(tmp_path)
    with pytest.raises(ModelError, match="the tokenizer reads 32 tokens, the model 31"):
        SiameseModel.load(tmp_path)


def test_a_huge_tokenizer_is_not_read(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "model"))
    with open(folder / "tokenizer.json", "r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelError, match="16,777,216 at most"):
        SiameseModel.load(folder)


def test_nothing_of_the_weights_size_is_made_for_the_layout(trained: Path) -> None:
    shape = dict(SiameseModel.load(trained).architecture or {})
    large = shape | {"vocab_size": 1 << 20, "hidden_size": 4096, "num_hidden_layers": 24, "intermediate_size": 1 << 14}
    assert sum(int(np.prod(size)) for size in shapes(large).values()) > 8e9


def test_hostile_questions(trained: Path) -> None:
    model = SiameseModel.load(trained)
    hostile = [
        "\ud800", "how\udc00 \ud83d\ude00", "\0", "a" * 100_000, "how " * 100_000, "[CLS] [PAD] how", "\u0301" * 99,
    ]  # fmt: skip
    vectors = model.encode(hostile)
    assert np.isfinite(vectors).all()
    assert model.predict("\ud800", "\ud800").similarity == 1  # the same text
    assert model.predict(hostile[3], hostile[4]).similarity <= 1
    assert model.similarity(hostile, hostile)[1] == 1


def test_the_commands_with_a_transformer(
    encoders: Callable[[str], Path], small_file: Path, command: Command, tmp_path: Path
) -> None:
    folder, few = tmp_path / "model", tmp_path / "few.csv"
    few.write_text("id,question\n" + "".join(f"{i},How old is my {w}?\n" for i, w in enumerate("abcdefgh")), "utf-8")

    def run(*words: object) -> str:
        code, out, err = command(*words)
        assert code == 0, err
        return out

    encoder = encoders("bert")
    train = ["train", "--data", small_file, "--tower", "transformer", "--encoder", encoder, "--out", folder,
             "--training-pairs", 200, "--batch-size", 32, "--epochs", 1]  # fmt: skip
    assert "epoch 1 kept" in run(*train) and "is finished" in run(*train, "--resume")
    shutil.move(encoder, tmp_path / "away")
    try:
        assert "transformer encoder → mean over tokens (16 dimensions)" in (folder / "README.md").read_text(
            encoding="utf-8"
        )
        assert SiameseModel.load(folder).config.learning_rate == preset("transformer").learning_rate
        assert "mean of embeddings" in run("evaluate", "--data", small_file, "--model", folder)
        run("examine", "--data", small_file, "--model", folder, "--out", tmp_path / "examined")
        assert "similarity 1.000" in run("predict", "How old?", "How old?", "--model", folder)
        run("encode", few, "--out", tmp_path / "few.npy", "--model", folder)
        assert np.load(tmp_path / "few.npy").shape == (8, 16)
        run("archive", "build", few, "--out", tmp_path / "archive", "--model", folder)
        assert "How old is my c?" in run("search", "How old is my c?", "--archive", tmp_path / "archive")
        run("mine", few, "--out", tmp_path / "pairs.csv", "--model", folder, "--threshold", 0.1)
        assert (tmp_path / "pairs.csv").read_text(encoding="utf-8").count("\n") > 3
    finally:
        shutil.move(tmp_path / "away", encoder)


def test_not_trained_at_all(
    encoders: Callable[[str], Path], small_file: Path, command: Command, tmp_path: Path
) -> None:
    code, out, err = command("train", "--data", small_file, "--tower", "transformer", "--encoder", encoders("bert"),
                             "--epochs", 0, "--out", tmp_path / "model")  # fmt: skip
    assert code == 0, err
    assert out.startswith("not trained; validation pairs: average precision")
    assert "## Training\n" not in (tmp_path / "model" / "report.md").read_text(encoding="utf-8")


def test_words_and_their_shares(trained: Path) -> None:
    from siamese.model.explanation import explain

    explained = explain(SiameseModel.load(trained), "How old is my 🜀?", "What is the age?")
    assert [word.text for word in explained.words1] == ["how", "old", "is", "my", "🜀", "?"]
    assert [word.known for word in explained.words1] == [True, True, True, True, False, True]
    assert all(word.share is not None for word in explained.words2)


def test_the_service_answers_with_a_transformer(trained: Path) -> None:
    pytest.importorskip("fastapi")
    from starlette.testclient import TestClient

    from siamese.service.app import make_app

    with TestClient(make_app(SiameseModel.load(trained)), base_url="http://127.0.0.1:8000") as client:
        answer = client.post("/explain", json={"question1": "How old?", "question2": "what age"})
    assert answer.status_code == 200, answer.text
    assert [word["text"] for word in answer.json()["words1"]] == ["how", "old", "?"]


ENCODER = ["--tower", "transformer", "--encoder", "ENCODER"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tower", "transformer"], "--tower transformer needs --encoder"),
        (["--encoder", "ENCODER"], "--encoder: goes with --tower transformer"),
        (["--tower", "gru"], "invalid choice: 'gru'"),
        ([*ENCODER, "--preset", "course-trax-2020"], "--tokens: goes with the LSTM tower, not with"),
        ([*ENCODER, "--compact"], "--compact: goes with the LSTM tower"),
        ([*ENCODER, "--start-from", "pretrained"], "--start-from: goes with the LSTM tower"),
        ([*ENCODER, "--out", "ENCODER"], "also an input, which --out would replace"),
        (["--start-from", "TRAINED"], "--start-from: the model has tower 'transformer', the recipe 'lstm'"),
        (["--epochs", "0"], "--epochs: 0 is not a whole number of 1 or more"),
        (["--tower", "transformer", "--encoder", "no/such"], "no/such: no sentence encoder"),
        (["--tower", "transformer", "--encoder", "DATA"], "no sentence encoder"),
    ],
)
def test_wrong_options_are_told_in_a_line(
    words: list[str], message: str, small_file: Path, trained: Path, encoders: Callable[[str], Path], tmp_path: Path,
    command: Command, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    places = {"ENCODER": encoders("bert"), "TRAINED": trained, "DATA": small_file}
    given = [places.get(word, word) for word in words]
    code, _, err = command("train", "--data", small_file, "--out", tmp_path / "m", *given)
    assert code == 2 and message in err and err.count("\n") <= 2, err
    assert not (tmp_path / "m" / "config.json").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: make_encoder(folder, "bert", pooling="cls"), r"\(cls\); accepted is .* Pooling \(mean\)"),
        (lambda folder: make_encoder(folder, "bert", hidden_act="tanh"), "hidden_act 'tanh'; accepted are gelu"),
        (lambda folder: with_prompt(make_encoder(folder, "bert")), "it has a setting that is not accepted"),
    ],
)  # fmt: skip
def test_an_encoder_of_another_kind_is_refused(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        load_parts(str(make(tmp_path)))


def with_prompt(folder: Path) -> Path:
    path = folder / "config_sentence_transformers.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(settings | {"prompts": {"a": "what is "}, "default_prompt_name": "a"}), encoding="utf-8")
    return folder


def test_without_the_library_it_is_told_which(
    trained: Path, monkeypatch: pytest.MonkeyPatch, command: Command, small_file: Path
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    code, _, err = command("train", "--data", small_file, "--tower", "transformer", "--encoder", "x")
    assert code == 2 and "pip install sentence-transformers" in err
    for name in ("tokenizers", "transformers"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            code, _, err = command("predict", "a", "b", "--model", trained)
        assert code == 2 and "pip install transformers" in err
