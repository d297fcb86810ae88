"""Several processes train as one does with the whole batch: losses, gradients, weights, and resuming."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import TRAIN, python
from twenty_steps import RECIPES

from siamese import SiameseModel
from siamese.config import Config, preset
from siamese.errors import UserError
from siamese.losses import MatrixSoftmaxLoss, TripletLoss
from siamese.text.ragged import Tokens
from siamese.training.batches import Batch, Share
from siamese.training.processes import Processes
from siamese.training.start import make_tower
from siamese.training.train import train_model

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, small_file: Path) -> Mapping[tuple[int, int], Mapping]:
    """Return what each process found in groups of one, two and three, by group size and rank."""
    out = tmp_path_factory.mktemp("steps")
    done = python("tests/helpers/twenty_steps.py", small_file, out, timeout=300)
    assert done.returncode == 0, done.stderr
    return {(n, rank): np.load(out / f"{n}-{rank}.npz") for n in (1, 2, 3) for rank in range(n)}


@pytest.mark.ci
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("recipe", RECIPES)
def test_several_processes_equal_one(found: Mapping[tuple[int, int], Mapping], recipe: str, count: int) -> None:
    """After 20 steps in float64, uneven last batches included, whichever process is asked."""
    alone = found[1, 0]
    names = [name for name in alone if name.startswith(f"{recipe}: ")]
    assert len(names) > 6
    for name in names:
        assert np.abs(alone[name]).max() > 1e-6, f"{name}: nothing to compare"
        for rank in range(count):
            np.testing.assert_allclose(found[count, rank][name], alone[name], rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.ci
def test_a_run_goes_on_with_another_number_of_processes(found: Mapping[tuple[int, int], Mapping]) -> None:
    """Two processes stop after step 7 if one is asked to; one or three resume. The losses are those of one process."""
    alone = found[1, 0]["training: losses"]
    assert len(alone) > 20
    for count in (2, 3):
        for rank in range(count):
            np.testing.assert_allclose(found[count, rank]["training: stopped"], alone[:7], rtol=0, atol=1e-9)
    for count, rank in ((1, 0), (3, 0), (3, 2)):
        np.testing.assert_allclose(found[count, rank]["training: resumed"], alone[7:], rtol=0, atol=1e-9)


@pytest.mark.ci
def test_processes_that_read_other_files_are_told(found: Mapping[tuple[int, int], Mapping]) -> None:
    """All of them are, whichever differs."""
    assert {key: bool(found[key]["told apart"]) for key in found} == {key: key[0] > 1 for key in found}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_everything_once(count: int) -> None:
    for n in (0, 1, 2, 5, 64):
        parts = [list(range(n))[Share(rank, count).of(n)] for rank in range(count)]
        assert list(chain.from_iterable(parts)) == list(range(n))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_rows_of_a_share() -> None:
    """5 duplicates and 3 others: the second of two processes has 2, 3, 4 and 1, 2 of them."""
    three, two = Tokens.of([[1]] * 3), Tokens.of([[1]] * 2)
    batch = Batch(three, three, np.array([7, 7, 8, 9, 9]), two, two, share=Share(1, 2), others=3)
    assert batch.sizes == (5, 3)
    assert batch.rows.tolist() == [2, 3, 4, 7, 8, 9, 11, 12, 14, 15]
    assert batch.same(slice(2, 5)).astype(int).tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0]]


@pytest.mark.parametrize("kind", [TripletLoss, MatrixSoftmaxLoss])
def test_the_parts_of_a_loss_add_up(kind: type[torch.nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the anchors of a process fill several blocks."""
    monkeypatch.setattr("siamese.losses.triplet.ANCHORS_AT_A_TIME", 3)
    torch.manual_seed(4)
    v1, v2 = (torch.nn.functional.normalize(torch.randn(11, 4, dtype=torch.float64), dim=1) for _ in range(2))
    clusters = torch.randint(0, 6, (11,))
    same = (clusters[:, None] == clusters) & ~torch.eye(11, dtype=torch.bool)
    whole = kind()(v1, v2, same)
    parts = [kind()(v1, v2, same[own], own) for own in (slice(0, 7), slice(7, 7), slice(7, 11))]
    assert sum(parts).item() == pytest.approx(whole.item(), abs=1e-12)
    assert min(parts) == 0


def test_no_questions_still_have_a_gradient() -> None:
    """A process without a pair of the batch takes part in the sum of the gradients, with zeros."""
    tower = make_tower(Config(embedding=4, hidden=4), 10)
    vectors = tower(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    assert vectors.shape == (0, 4)
    vectors.sum().backward()
    for weight in tower.parameters():
        assert weight.grad is not None
        assert not weight.grad.any()


def test_a_preset_of_the_course_is_for_one_process() -> None:
    with pytest.raises(UserError, match="one process trains it"):
        train_model(preset("course-trax-2020"), None, None, processes=Processes(0, 2))  # type: ignore[arg-type]


@pytest.mark.ci
def test_torchrun(small_file: Path, tmp_path: Path) -> None:
    """The command itself: one report, one model, which loads."""
    words = [
        "run.py",
        *TRAIN,
        "--data",
        small_file,
        "--epochs",
        "1",
        "--out",
        tmp_path / "model",
    ]
    done = python("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model: ") == 1
    assert done.stderr.count("epoch 1:") == 1
    assert SiameseModel.load(tmp_path / "model").facts["history"][0]["step"] > 0
