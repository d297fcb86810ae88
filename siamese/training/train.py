"""Train a model by a recipe: start, loop, finish."""

from collections.abc import Callable
from pathlib import Path

from siamese.config import Config
from siamese.model.model import SiameseModel
from siamese.pairs.pairs import Pairs
from siamese.system.progress import Progress
from siamese.training import finish
from siamese.training.loop import denormals_flushed, train_epochs
from siamese.training.preparation import Prepared
from siamese.training.processes import Processes
from siamese.training.start import start


@denormals_flushed()
def train_model(
    config: Config, training: Pairs, validation: Pairs, folder: str | Path | None = None, *, resume: bool = False,
    start_from: SiameseModel | None = None, prepared: Prepared | None = None, progress: Progress | None = None,
    stop: Callable[[], bool] | None = None, processes: Processes | None = None,
) -> SiameseModel:  # fmt: skip
    """Train a model by a recipe.

    After each epoch the model is scored on the validation pairs. The weights of the epoch with the highest average
    precision are kept. On a CPU, the same seed and number of threads give the same result, to the bit, however often
    the run was stopped and resumed.

    Args:
        config: the recipe.
        training, validation: the pairs to learn from; those that choose the epoch, the threshold and the calibration.
        folder: of the checkpoint, written after each epoch and every five minutes; None writes none. The caller
            locks the folder (`siamese.system.locking`) and removes the checkpoint once the model is saved.
        resume: continue from the checkpoint in `folder`, if there is one.
        start_from: a model whose weights and vocabulary the run starts with; new words are added to it.
        prepared: `Prepared.of` the recipe and the training pairs, to share it between runs.
        progress: callbacks.
        stop: called after each step; if it returns True, the checkpoint is written and the run stops.
        processes: those that train this model together, all with the same arguments; None: this one alone. The first
            one validates and writes; the models of the others have no threshold and no calibration.

    Raises:
        Stopped: by a signal or by `stop`, after the checkpoint was written.
        DataError: fewer than two duplicates, no labels that a loss needs, or unusable word vectors.
        DivergedError: a loss or a weight is not finite.
        UserError: the checkpoint cannot be written, is of another recipe or other data (with `resume`) or of this very
            run (without); or `start_from` has another shape.
    """
    progress, processes = progress or Progress(), processes or Processes()
    started = start(config, training, validation, folder, resume, start_from, prepared, progress, processes)
    run = started.step.run

    def validate() -> dict[str, float]:
        return finish.validation_scores(finish.model_of(config, started, run.tower.state_dict()), validation)

    train_epochs(config, started.step, started.pairs, started.epochs, validate, started.checkpoint, progress, stop)
    model = finish.model_of(config, started, run.best or run.tower.state_dict())
    if processes.first:
        finish.finish(model, validation, run.history, progress)
    return model
