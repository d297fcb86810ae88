"""Losses and towers of other packages: checked, given in Python or by name, saved by the name of their class alone."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from commands import Command
from tiny_models import WORDS, random_model
from torch import Tensor, nn
from trainings import fit

import siamese
from siamese import SiameseModel, plugins
from siamese.config import Config, recipe
from siamese.errors import ModelError, UserError
from siamese.losses import TripletLossFn, registry
from siamese.losses.registry import LOSSES
from siamese.model.calibration import Calibration
from siamese.pairs.splits import Datasets
from siamese.system.stopping import Stopped
from siamese.testing import check_loss, check_tower
from siamese.text.tokenizer import Tokenizer, first_word
from siamese.towers.plugin import PluginTower
from siamese.training.checkpoints import CHECKPOINT
from siamese.training.objective import Objective
from siamese.training.start import arrays

SIZES = {"embedding": 8, "hidden": 8, "batch_size": 32, "epochs": 1}


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forget the plug-ins of a test."""
    yield
    plugins._named.clear()
    plugins._texts.clear()


class MeanMargin(nn.Module):
    """Keep the mean negative a margin below the positive."""

    settings: ClassVar = {"margin": "margin"}

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, v1: Tensor, v2: Tensor, same: Tensor | None) -> Tensor:
        s = v1 @ v2.T
        d = s.diagonal()
        return ((s.sum(1) - d) / (len(s) - 1) - d + self.margin).clamp(min=0).mean()


class Absolute(nn.Module):
    """|s − y|."""

    def forward(self, u: Tensor, v: Tensor, labels: Tensor) -> Tensor:
        return ((u * v).sum(1) - labels.to(u.dtype)).abs().sum() / max(1, len(u))


class Bag(nn.Module):
    """The mean of the word vectors."""

    def __init__(self, vocabulary: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(vocabulary, embedding)
        self.turn = nn.Linear(embedding, hidden)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        found: Tensor = self.turn(self.words(ids, lengths.cumsum(0) - lengths))
        return found


class TestChecks:
    @pytest.mark.parametrize("name", LOSSES)
    def test_our_losses_pass(self, name: str) -> None:
        kind = getattr(siamese.losses, LOSSES[name].home.rpartition(".")[2])
        done = check_loss(kind, symmetric=True)
        assert ("parts of processes" in done) == LOSSES[name].parts

    @pytest.mark.slow
    def test_plugins_pass(self) -> None:
        assert "symmetry" not in check_loss(MeanMargin)
        assert "symmetry" in check_loss(Absolute(), symmetric=True)
        assert "own question alone" in check_tower(Bag)

    @pytest.mark.parametrize(
        ("forward", "said"),
        [
            (lambda self, v1, v2, same: (1 - (v1 * v2).sum(1)), "finite scalar: a batch of 2: returned torch.Size"),
            (lambda self, v1, v2, same: ((v1 - v2) ** 2).sum().sqrt(),
             "finite gradients: 2 pairs of equal vectors: the gradient of v1"),
            (lambda self, v1, v2, same: ((1 - (v1 * v2).sum(1)) * torch.arange(len(v1))).sum(),
             "order of the pairs: 3 pairs in another order give"),
            (lambda self, v1, v2, same: -((1 - (v1 * v2).sum(1)).mean() + (v1 - v1.detach()).sum()),
             "right gradients: along a line the gradient says"),
            (lambda self, v1, v2, same: (1 - (v1 * v2).sum(1)).mean() + torch.rand(()), "repeatable: a batch of 2"),
            (lambda self, v1, v2, same: v1.mul_(2).sum() * v2.sum(), "repeatable: a batch of 2: "),
            (lambda self, v1, v2, same: torch.tensor(1.0), "finite gradients: a batch of 2: there is no gradient"),
            (lambda self, v1, v2, same: (v1[:, 0] - v2[:, 1]).square().mean(), "symmetry: with the sides exchanged"),
            (lambda self, v1, v2, same: 0 * v1.sum() + 0 * v2.sum(), "falls along its gradient: after 30 steps"),
            (lambda self, v1, v2, same, own=None: (1 - (v1 * v2).sum(1)).mean(), "parts of processes: the parts add"),
            (lambda self, u, v, labels: (1 - (u * v).sum(1)).mean(), "finite scalar: no pair: the loss is nan"),
        ],
    )  # fmt: skip
    def test_a_faulty_loss_is_named_with_what_it_breaks(self, forward: Any, said: str) -> None:
        kind = type("Faulty", (nn.Module,), {"forward": forward})
        with pytest.raises(AssertionError, match=f"Faulty: {said}"):
            check_loss(kind, symmetric=True)

    def test_a_faulty_tower_is_named_with_what_it_breaks(self) -> None:
        class Batch(Bag):
            def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
                found = super().forward(ids, lengths)
                return found - found.mean(0)

        with pytest.raises(AssertionError, match="Batch: own question alone: question 0 of 3 tokens alone has another"):
            check_tower(Batch)

        class Wide(Bag):
            def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
                return super().forward(ids, lengths).double()

        with pytest.raises(UserError, match="tower Wide: returned torch.float64 of shape .4, 8.; expected"):
            check_tower(Wide)


@pytest.mark.slow
class TestInPython:
    def test_classes_and_instances_train_a_model(self, parts: Datasets, tmp_path: Path) -> None:
        pairs = parts.training
        given: dict[str, Any] = {"tower": Bag, "loss": MeanMargin(0.1), "labelled": Absolute}
        model = siamese.train(pairs, parts.validation, start_from="none", **given, **SIZES)
        model.save(tmp_path / "m")
        assert (model.config.tower, model.config.loss, model.config.labelled) == ("Bag", "MeanMargin", "Absolute")
        vectors = model.encode(["How old are you?", "What is your age?", ""])
        assert np.allclose(np.linalg.norm(vectors, axis=1), [1, 1, 0], atol=1e-5)
        assert registry.find("MeanMargin").settings == {}  # the instance has a margin of its own

        plugins._named.clear()  # as in another process
        with pytest.raises(ModelError, match="config.json: the tower Bag is a plug-in, and its name alone"):
            SiameseModel.load(tmp_path / "m")
        again = SiameseModel.load(tmp_path / "m", tower=Bag)  # the losses are not needed
        assert np.array_equal(again.encode(["How old are you?"]), model.encode(["How old are you?"]))
        with pytest.raises(UserError, match="the loss MeanMargin is a plug-in, and its name alone imports nothing"):
            Objective(Config(loss="MeanMargin"))

    def test_it_is_the_loss_that_trains(self, parts: Datasets) -> None:
        class Triplet(nn.Module):
            def forward(self, v1: Tensor, v2: Tensor, same: Tensor | None) -> Tensor:
                return TripletLossFn(v1, v2, same=same)

        def trained(loss: Any) -> dict[str, np.ndarray]:
            return siamese.train(parts.training, parts.validation, start_from="none", loss=loss, **SIZES).weights

        ours, theirs = trained("triplet"), trained(Triplet)
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)

    def test_a_stopped_run_goes_on_and_minds_an_instances_settings(self, parts: Datasets, tmp_path: Path) -> None:
        def train(margin: float, **more: Any) -> SiameseModel:
            config = recipe(None, {"tower": Bag, "loss": MeanMargin(margin), **SIZES, "epochs": 2})
            return fit(config, parts, tmp_path, **more)

        steps = iter(range(8))
        with pytest.raises(Stopped):
            train(0.1, stop=lambda: next(steps) == 7)
        with pytest.raises(UserError, match="belongs to a run that differs in MeanMargin"):
            train(0.2, resume=True)
        resumed = train(0.1, resume=True)
        (tmp_path / CHECKPOINT).unlink()
        whole = train(0.1)
        assert all(np.array_equal(resumed.weights[name], whole.weights[name]) for name in whole.weights)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"loss": "nowhere:Loss"}, "--loss nowhere:Loss: cannot be imported: ModuleNotFoundError"),
            ({"loss": "json:Nothing"}, "--loss json:Nothing: cannot be imported: AttributeError"),
            ({"loss": "json:dumps"}, "--loss json:dumps: function, not a class"),
            ({"loss": "json:JSONDecoder"}, "--loss json:JSONDecoder: not a torch.nn.Module with a method forward"),
            ({"loss": "MeanMargin"}, "is not one of triplet, .*, and no plug-in"),
            ({"loss": Absolute}, "--loss Absolute: its method forward has an argument labels; give it by --labelled"),
            ({"labelled": MeanMargin}, "--labelled MeanMargin: its method forward has no argument labels"),
            ({"tower": "test_plugins:Bag", "compact": True}, "--compact: goes with a tower of this package, not"),
            ({"tower": Bag(1, 1, 1)}, "an instance; give the class"),
            ({"loss": type("lower", (MeanMargin,), {})}, "rename the class lower"),
            ({"loss": type("Far", (MeanMargin,), {"settings": {"margin": "nix"}})}, "settings name 'nix'"),
        ],
    )  # fmt: skip
    def test_a_plugin_that_cannot_be_used(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(UserError, match=said):
            recipe(None, options)

    def test_two_of_one_name(self) -> None:
        recipe(None, {"loss": MeanMargin})
        recipe(None, {"loss": MeanMargin(0.3)})  # the same class
        other = type("MeanMargin", (MeanMargin,), {"__module__": "elsewhere"})
        with pytest.raises(UserError, match="already uses test_plugins.MeanMargin, a plug-in of the same name"):
            recipe(None, {"loss": other})

    @pytest.mark.parametrize(
        ("forward", "said"),
        [
            (lambda self, v1, v2, same: v1, "the loss Bad: returned a tensor of shape .*; expected a scalar"),
            (lambda self, v1, v2, same: 1.0, "the loss Bad: returned float; expected a scalar"),
            (lambda self, v1, v2, same: 1 / 0, "the loss Bad: fails: ZeroDivisionError: "),
        ],
    )
    def test_a_loss_that_fails_says_so(self, parts: Datasets, forward: Any, said: str) -> None:
        with pytest.raises(UserError, match=said):
            siamese.train(parts.training, parts.validation, start_from="none",
                          loss=type("Bad", (nn.Module,), {"forward": forward}), **SIZES)  # fmt: skip

    def test_weights_of_another_type(self, parts: Datasets) -> None:
        class Counting(Bag):
            def __init__(self, *sizes: int) -> None:
                super().__init__(*sizes)
                self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

        with pytest.raises(UserError, match="the tower Counting: seen is torch.int64; use float32"):
            siamese.train(parts.training, parts.validation, start_from="none", tower=Counting, **SIZES)


SOURCE = """
import pathlib
pathlib.Path({marker!r}).touch()
from test_plugins import Bag as Base

class Bag(Base):
    pass
"""
METADATA = "Metadata-Version: 2.1\nName: bags\nVersion: 0.1\n"
POINTS = (
    "[siamese.towers]\nbag = marked:Bag\nBag = marked:Bag\n[siamese.losses]\nmean-margin = test_plugins:MeanMargin\n"
)


class TestAName:
    """A name in a file imports nothing, whatever is installed; the marker shows an import."""

    @pytest.fixture()
    def marker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """Install a plug-in that leaves a marker where it is imported."""
        site, marker = tmp_path / "site", tmp_path / "imported"
        (site / "bags-0.1.dist-info").mkdir(parents=True)
        (site / "bags-0.1.dist-info" / "METADATA").write_text(METADATA)
        (site / "bags-0.1.dist-info" / "entry_points.txt").write_text(POINTS)
        (site / "marked.py").write_text(SOURCE.format(marker=str(marker)))
        monkeypatch.syspath_prepend(str(site))
        yield marker
        sys.modules.pop("marked", None)

    @pytest.fixture()
    def folder(self, tmp_path: Path) -> Path:
        """Return the folder of a model whose tower is called Bag."""
        config = recipe(None, {"tower": Bag, "embedding": 8, "hidden": 8})
        tokenizer = Tokenizer(WORDS, config.tokens, config.buckets)
        tower = PluginTower(Bag, len(tokenizer), 8, 8, first_word(config))
        model = SiameseModel(
            config, tokenizer, arrays(tower.state_dict()), 0.5, Calibration(6.0, -3.0, 0.4), plugin=Bag
        )
        model.save(tmp_path / "m")
        plugins._named.clear()
        return tmp_path / "m"

    @pytest.mark.parametrize("name", ["Bag", "bag", "marked:Bag", "marked.Bag", "../marked", "Marked"])
    @pytest.mark.parametrize("field", ["tower", "loss", "labelled"])
    def test_in_a_folder(self, folder: Path, marker: Path, name: str, field: str, seal: Any, command: Command) -> None:
        settings = json.loads((folder / "config.json").read_text("utf-8"))
        settings["config"][field] = name
        (folder / "config.json").write_text(json.dumps(settings))
        seal(folder)
        code, out, err = command("predict", "--model", folder, "a", "b")
        assert ((code, out) == (2, "") and err.count("\n") == 1 and "config.json" in err) or field != "tower"
        assert not marker.exists() and "marked" not in sys.modules

    def test_the_name_of_a_loss_is_not_needed_to_load(self, marker: Path, tmp_path: Path) -> None:
        model = random_model()
        model.config = model.config.replace(loss="Bag")
        model.save(tmp_path / "m")
        assert SiameseModel.load(tmp_path / "m").config.loss == "Bag"
        assert not marker.exists()

    def test_the_option_is_what_imports(self, folder: Path, marker: Path, command: Command) -> None:
        for words in (("losses",), ("predict", "--help")):
            assert command(*words)[0] == 0
        assert not marker.exists()
        code, out, _ = command("predict", "--model", folder, "How old are you?", "What is your age?", "--tower", "bag")
        assert code == 0 and "similarity" in out and marker.exists()
        plugins._named.clear()
        assert command("predict", "--model", folder, "a", "b", "--tower", "marked:Bag")[0] == 0

    def test_no_training_starts_from_one(self, folder: Path, command: Command, tmp_path: Path) -> None:
        options = ("--tower", "test_plugins:Bag", "--embedding", 8, "--hidden", 8, "--out", tmp_path / "n")
        code, _, err = command("train", "--start-from", folder, *options)
        assert code == 2 and "--start-from: goes with a tower of this package, not with Bag" in err

    def test_scikit_learn_opens_a_model_that_has_one(self, folder: Path, rows: list[tuple[str, str]]) -> None:
        fitted = siamese.DuplicateClassifier(model=folder, tower=Bag, goal="accuracy").fit(rows, [1, 0] * 10)
        assert fitted.model_.plugin is Bag and fitted.predict(rows).shape == (20,)
        fitted = siamese.DuplicateClassifier(tower=Bag, **SIZES).fit(rows, [1, 0] * 10, groups=np.arange(20) // 2)
        assert fitted.model_.config.tower == "Bag"

    @pytest.fixture()
    def rows(self) -> list[tuple[str, str]]:
        return [(f"how old {i}?", f"what age {i + i % 2}?") for i in range(20)]

    def test_a_module_of_the_working_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        text = "from test_plugins import MeanMargin\n\nclass Here(MeanMargin):\n    pass\n"
        (tmp_path / "plugin_of_this_folder.py").write_text(text)
        monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
        monkeypatch.chdir(tmp_path)
        assert recipe(None, {"loss": "plugin_of_this_folder:Here"}).loss == "Here"
        assert sys.path[-1] == str(tmp_path)  # last, so that it hides no installed module

    def test_they_are_listed_and_explained(self, marker: Path, command: Command) -> None:
        assert "  mean-margin         test_plugins:MeanMargin, package bags 0.1\n" in command("losses")[1]
        explained = command("losses", "mean-margin")[1]
        assert explained.startswith("MeanMargin: in-batch loss\n\nKeep the mean negative a margin below")
        assert "settings:  --margin (default 0.25)\nexample:" in explained and "train --loss mean-margin\n" in explained

    def test_a_study_names_none(self, marker: Path, tmp_path: Path, command: Command) -> None:
        (tmp_path / "study.toml").write_text(
            'losses = ["both", "marked:Bag"]\n[[questions]]\ntext = "?"\ncontrasts = []\n'
        )
        code, _, err = command("compare", "--study", tmp_path / "study.toml")
        assert code == 2 and "'marked:Bag' is not one of rows, columns" in err
        assert not marker.exists()


def test_a_recipe_holds_the_name_alone() -> None:
    config = recipe(None, {"loss": MeanMargin, "tower": "test_plugins:Bag"})
    assert (config.loss, config.tower) == ("MeanMargin", "Bag")
    with pytest.raises(UserError, match="loss: 'mean-margin' is not one of"):
        Config(loss="mean-margin")
