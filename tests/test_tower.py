"""The tower against one question at a time, its numpy version, and the initial weights of the published editions."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from siamese.config import PRESETS
from siamese.text.ragged import Tokens, pad
from siamese.towers import lstm_numpy
from siamese.towers.lstm_tower import QUESTIONS_AT_A_TIME, Tower
from siamese.training.batches import Batch
from siamese.training.objective import Objective
from siamese.training.start import make_tower
from siamese.training.step import encode_batch, tensors

VOCABULARY = 50


def questions(number: int, longest: int = 12, vocabulary: int = VOCABULARY, seed: int = 1) -> Tokens:
    """Draw questions of every length from 0 to `longest`. Some ids, anywhere, are padding (0) or unknown (1)."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, longest + 1, number)
    return Tokens.of(generator.integers(0, vocabulary, length).tolist() for length in lengths)


def small_tower(skip: bool = True, first_word: int = 2, hidden: int = 5) -> Tower:
    """In float64, with weights large enough that the gates leave the middle of their curves."""
    torch.manual_seed(1)
    tower = Tower(VOCABULARY, 5, hidden, skip=skip, first_word=first_word).double()
    for weight in tower.parameters():
        nn.init.normal_(weight)
    return tower


def run(tower: Tower, tokens: Tokens) -> Tensor:
    return tower(*tensors(tokens, torch.device("cpu")))


class PlainTower(nn.Module):
    """The same weights, one question after the other and one word after the other."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(tower.embedding.weight.detach().clone(), freeze=False)
        self.cell = nn.LSTMCell(tower.lstm.input_size, tower.lstm.hidden_size).double()
        # torch names the weights of a cell like those of a layer, without the layer's number.
        self.cell.load_state_dict({name.removesuffix("_l0"): w for name, w in tower.lstm.state_dict().items()})
        self.skip, self.first_word = tower.skip, tower.first_word

    def forward(self, tokens: Tokens) -> Tensor:
        return torch.stack([self.question(tokens[i].tolist()) for i in range(len(tokens))])

    def question(self, ids: list[int]) -> Tensor:
        hidden = self.cell.hidden_size
        if not any(i >= self.first_word for i in ids):
            return torch.zeros(hidden, dtype=torch.float64)
        h, c = torch.zeros(2, 1, hidden, dtype=torch.float64)
        total = torch.zeros(1, hidden, dtype=torch.float64)
        for i in ids:
            word = self.embedding(torch.tensor([i]))
            h, c = self.cell(word, (h, c))
            total = total + h + (word if self.skip else 0)
        mean = total[0] / len(ids)
        return mean / mean.norm()


def gradients(module: nn.Module, vectors: Tensor) -> dict[str, Tensor]:
    """Return the gradients of a sum that weights every element of the vectors differently."""
    module.zero_grad()
    (vectors * torch.linspace(-1, 1, vectors.numel(), dtype=vectors.dtype).reshape(vectors.shape)).sum().backward()
    found = {}
    for name, weight in module.named_parameters():
        assert weight.grad is not None, name
        found[name.rpartition(".")[2].removesuffix("_l0")] = weight.grad
    return found


@pytest.mark.parametrize(
    ("skip", "first_word"),
    [(True, 2), *(pytest.param(*other, marks=pytest.mark.slow) for other in [(True, 0), (False, 2), (False, 0)])],
)
def test_agrees_with_plain_loops(skip: bool, first_word: int) -> None:
    """Over more than one chunk, so that the order by length and the chunks are undone rightly."""
    tower, tokens = small_tower(skip, first_word), questions(2 * QUESTIONS_AT_A_TIME + 40)
    plain = PlainTower(tower)
    found, expected = run(tower, tokens), plain(tokens)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    ours, theirs = gradients(tower, found), gradients(plain, expected)
    assert ours.keys() == theirs.keys() == {"weight", "weight_ih", "weight_hh", "bias_ih", "bias_hh"}
    for name, gradient in theirs.items():
        assert gradient.abs().max() > 1e-3
        torch.testing.assert_close(ours[name], gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("padding", ["power-of-two", "longest"])
def test_course_presets_average_the_padding(padding: str) -> None:
    tower, tokens = small_tower(skip=False, first_word=0), questions(9)
    padded, _ = pad(tokens, tokens, padding, 1)
    found = run(tower, padded)
    torch.testing.assert_close(found, PlainTower(tower)(padded), rtol=0, atol=1e-12)
    assert not torch.allclose(found, run(tower, tokens))
    assert torch.allclose(found.norm(dim=1), torch.ones(9).double())  # a question of padding alone as well


def test_no_known_word_is_the_zero_vector() -> None:
    tower = small_tower()
    vectors = run(tower, Tokens.of([[], [1], [0, 1, 1], [1, 2]]))
    assert not vectors[:3].any() and vectors[3].any()
    assert not run(tower, Tokens.of([[], []])).any()  # nothing but empty questions
    for gradient in gradients(tower, run(tower, Tokens.of([[], [1], [2, 3]]))).values():
        assert torch.isfinite(gradient).all()


def arrays(tower: Tower) -> dict[str, np.ndarray]:
    return {name: weight.numpy() for name, weight in tower.state_dict().items()}


def known(tokens: Tokens, first_word: int) -> np.ndarray:
    return np.array([bool((tokens[i] >= first_word).any()) for i in range(len(tokens))], bool)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("first_word", [2, 0])
@pytest.mark.parametrize("number", [0, 1, 2 * lstm_numpy.QUESTIONS_AT_A_TIME + 100])
def test_numpy_gives_the_towers_vectors(skip: bool, first_word: int, number: int) -> None:
    torch.manual_seed(1)
    tower, tokens = Tower(500, 32, 32, skip=skip, first_word=first_word), questions(number, vocabulary=500)
    vectors = lstm_numpy.encode(arrays(tower), tokens, skip=skip, known=known(tokens, first_word))
    assert (vectors.shape, vectors.dtype) == ((number, 32), np.float32)
    if number:
        with torch.no_grad():
            np.testing.assert_allclose(vectors, run(tower, tokens).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("remembered", [20, 1_000])
@pytest.mark.parametrize("hidden", [4, 32, 100, 256, 512])
def test_numpy_gives_the_same_bits_whatever_it_was_asked_before(
    monkeypatch: pytest.MonkeyPatch, remembered: int, hidden: int
) -> None:
    weights, tokens = arrays(Tower(500, 32, hidden, skip=hidden == 32)), questions(80, vocabulary=500)
    together = lstm_numpy.encode(weights, tokens, skip=hidden == 32, known=known(tokens, 2))
    monkeypatch.setattr(lstm_numpy, "REMEMBERED", remembered)  # 20 are fewer words than the longest questions have
    tower = lstm_numpy.NumpyTower(weights, skip=hidden == 32)
    for _ in range(2):
        for i in range(0, 80, 2):
            part = tokens.take(np.arange(i, i + 2))
            assert (tower.encode(part, known(part, 2)) == together[i : i + 2]).all()
    assert tower.runs(weights) and not tower.runs({**weights, "lstm.bias_hh_l0": weights["lstm.bias_hh_l0"].copy()})
    again = pickle.loads(pickle.dumps(tower))
    assert (again.encode(tokens, known(tokens, 2)) == together).all()


def test_numpy_leaves_out_what_is_not_known() -> None:
    tokens = Tokens.of([[], [2, 3], [2, 3], [1]])
    vectors = lstm_numpy.encode(arrays(Tower(9, 4, 4)), tokens, skip=True, known=np.array([False, True, False, False]))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([0, 1, 0, 0])


def test_published_parameter_counts(course: dict[str, Any]) -> None:
    # TensorFlow: 36,224·128 = 4,636,672, and 4·128·(128 + 128 + 1) = 131,584, together 4,768,256.
    # Trax: 41,699·128 + 131,584 = 5,469,056. torch's LSTM adds two biases where one does, 4·128 = 512 more.
    second_bias = 512
    published = course["parameters"]
    for preset, edition in (
        ("course-tensorflow", "tensorflow"),
        ("course-trax-2020", "trax"),
        ("course-trax-2021", "trax"),
    ):
        tower = make_tower(PRESETS[preset], published[edition]["vocabulary"])
        count = {name: sum(w.numel() for w in part.parameters()) for name, part in tower.named_children()}
        assert sum(count.values()) - second_bias == published[edition]["total"]
        if edition == "tensorflow":
            assert count["embedding"] == published[edition]["embedding"]
            assert count["lstm"] - second_bias == published[edition]["lstm"]


def is_uniform(weight: Tensor, limit: float) -> bool:
    """Return whether the values fill ±limit, with mean 0 and deviation limit / √3, for 60,000 values or more."""
    inside = limit * 0.999 < weight.abs().max() <= limit * (1 + 1e-6)
    return bool(inside and weight.mean().abs() < 0.02 * limit and abs(weight.std() * 3**0.5 / limit - 1) < 0.01)


def gates(tower: Tower) -> dict[str, Tensor]:
    """Return the bias of each gate, in torch's order."""
    weights = tower.state_dict()
    bias = weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]
    return dict(zip(("input", "forget", "cell", "output"), bias.chunk(4)))


@pytest.mark.parametrize("preset", ["course-trax-2020", "course-trax-2021"])
def test_trax_start(preset: str) -> None:
    tower = make_tower(PRESETS[preset], 1_000)
    weights = tower.state_dict()
    # One kernel of (128 + 128, 4·128): Glorot's limit √(6 / (256 + 512)) = 0.0884.
    limit = (6 / (256 + 512)) ** 0.5
    assert is_uniform(weights["lstm.weight_ih_l0"], limit) and is_uniform(weights["lstm.weight_hh_l0"], limit)
    assert all((bias == 1).all() for bias in gates(tower).values())
    # The embedding is scaled by its 128 columns, √(3 / 128) = 0.153.
    assert is_uniform(weights["embedding.weight"], (3 / 128) ** 0.5)


def test_keras_start() -> None:
    tower = make_tower(PRESETS["course-tensorflow"], 1_000)
    weights = tower.state_dict()
    assert is_uniform(weights["lstm.weight_ih_l0"], (6 / (128 + 512)) ** 0.5)  # Glorot: a kernel of (128, 4·128)
    # Orthogonal: the rows of Keras's (128, 4·128), which are torch's columns.
    recurrent = weights["lstm.weight_hh_l0"]
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(128), rtol=0, atol=1e-5)
    assert {name: set(bias.tolist()) for name, bias in gates(tower).items()} == {
        "input": {0.0}, "forget": {1.0}, "cell": {0.0}, "output": {0.0},
    }  # fmt: skip
    assert is_uniform(weights["embedding.weight"], 0.05)


def test_start_depends_on_the_seed_alone() -> None:
    for config in (config for config in PRESETS.values() if config.tower == "lstm"):
        torch.manual_seed(99)  # has no say
        one, again, other = (make_tower(config.replace(seed=seed), 60).state_dict() for seed in (7, 7, 8))
        assert all(torch.equal(one[name], again[name]) for name in one)
        assert not torch.equal(one["embedding.weight"], other["embedding.weight"])
        assert not torch.equal(one["lstm.weight_hh_l0"], other["lstm.weight_hh_l0"])


def natural_questions(generator: np.random.Generator, number: int, vocabulary: int) -> list[list[int]]:
    """Draw lengths as on Quora (median 11, mean 12.5, at most about 60). A few words are common, most are rare."""
    lengths = generator.lognormal(np.log(11), 0.5, number).round().clip(3, 60).astype(int)
    return [(1 + generator.zipf(1.3, length)).clip(max=vocabulary - 1).tolist() for length in lengths]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_published_initial_loss(course: dict[str, Any], seed: int) -> None:
    """256·2·0.25 = 128, less 0.25 for a pair whose duplicate is farther than every negative: the padding rules all.

    The published number is the first line that the Trax edition of 2021 prints.
    """
    published, preset = course["initial_loss"], PRESETS["course-trax-2021"]
    size, vocabulary = published["batch"], course["parameters"]["trax"]["vocabulary"]
    assert (preset.batch_size, preset.reduction) == (size, published["reduction"])
    generator = np.random.default_rng(seed)
    first, second = (Tokens.of(natural_questions(generator, size, vocabulary)) for _ in range(2))
    batch = Batch(first, second, np.arange(size), Tokens.of([]), Tokens.of([]))
    tower = make_tower(preset.replace(seed=seed), vocabulary)
    with torch.no_grad():
        loss = Objective(preset)(batch, encode_batch(tower, preset, batch, pad_id=1))
    assert loss.item() == pytest.approx(published["value"], rel=0.005)
