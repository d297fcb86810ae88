"""Train every variant with every seed, as many at a time as there are cores, each on one thread.

Small trainings gain little from a second thread: two at a time, on one thread each, finish 1.5 times as many. And on
one thread, a training gives the same bits on any number of cores.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

from siamese import plugins
from siamese.config import Config, bound
from siamese.errors import DivergedError, UserError
from siamese.evaluation.evaluate import unseen_pairs
from siamese.experiment.records import Record, Records
from siamese.experiment.scores import measure
from siamese.experiment.variants import Study, Variant, parse_all
from siamese.model.model import SiameseModel
from siamese.pairs.clusters import Clusters
from siamese.pairs.pairs import Pairs, checksum
from siamese.pairs.splits import Datasets
from siamese.system import workers
from siamese.system.locking import locked
from siamese.system.progress import CountBar, Progress
from siamese.system.stopping import Stopped
from siamese.training.batches import Prepared, number_of_batches
from siamese.training.start import planned_epochs
from siamese.training.train import train_model

UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Comparison:
    """The variants of a study with their finished trainings."""

    study: Study
    variants: Sequence[Variant]
    records: dict[str, list[Record]]  # by name of a variant, one per seed
    failed: list[Record]  # with an "error" instead of scores
    tried: list[Record]  # one per setting to choose from

    def shared(self, *names: str) -> list[list[Record]]:
        """Return the records of some variants for the seeds that all of them have."""
        seeds = set.intersection(*({r["config"]["seed"] for r in self.records[name]} for name in names))
        return [[r for r in self.records[name] if r["config"]["seed"] in seeds] for name in names]


def compare(study: Study, data: Datasets, seeds: int, out: Path, jobs: int) -> Comparison:
    """Run the trainings of a study of which the folder has no record.

    If a variant has several settings, each is trained with the first seed, and the one with the highest average
    precision on the validation pairs is compared.

    Args:
        study: variants and questions.
        data: training, validation and test pairs.
        seeds: number of trainings of each variant, 1 or more.
        out: the folder of the records.
        jobs: number of trainings at a time.

    Raises:
        UserError: no test pairs, or none that are unseen; the folder has records of other data, or another process
            writes them; every training failed.
    """
    test, unseen = _test_pairs(data)
    variants = parse_all(study.losses, study.base)
    parts = {"training": data.training, "validation": data.validation, "test": test}
    first = [(v.name, setting.replace(seed=1)) for v in variants for setting in v.settings if len(v.settings) > 1]
    with locked(out):
        records = Records(out, {name: checksum(pairs) for name, pairs in parts.items()})
        with _Pool(data, unseen, out, jobs) as pool:
            pool.run(first, records)
            chosen = {variant.name: _best(variant, records) for variant in variants}
            rest = [(name, c.replace(seed=seed)) for seed in range(1, seeds + 1) for name, c in chosen.items()]
            pool.run(rest, records)
        records.write_table()  # if a crash came between the two files, it lacks the last training
    found: dict[str, list[Record]] = {name: [] for name in chosen}
    failed: list[Record] = []
    for name, config in rest:
        record = records.get(config)
        (failed if "error" in record else found[name]).append(record)
    if not any(found.values()):
        raise UserError(f"every training failed, such as {failed[0]['variant']}: {failed[0]['error']}")
    return Comparison(study, variants, found, failed, [records.get(config) for _, config in first])


def _test_pairs(data: Datasets) -> tuple[Pairs, np.ndarray]:
    """Return the test pairs and whether each is unseen, (n,) bool."""
    if data.test is None:
        raise UserError("no test pairs to score: give them with --test PATH, or in a column 'split'")
    unseen, _ = unseen_pairs(data.test, Clusters(data.training))
    assert unseen is not None
    if len(np.unique(data.test.labels[unseen])) < 2:
        raise UserError(f"{int(unseen.sum())} of the {len(data.test)} test pairs have two questions that were not "
                        "trained on; a comparison needs duplicates and non-duplicates among these")  # fmt: skip
    return data.test, unseen


def _best(variant: Variant, records: Records) -> Config:
    """Return the setting with the highest average precision on the validation pairs."""
    if len(variant.settings) == 1:
        return variant.settings[0]
    return max(variant.settings, key=lambda setting: records.get(setting.replace(seed=1)).get("validation", -1.0))


def _key(config: Config, data: dict[str, str]) -> str:
    """Return a name for the folder of a training."""
    return hashlib.sha256(json.dumps([asdict(config), data]).encode()).hexdigest()[:16]


class _Pool(AbstractContextManager["_Pool"]):
    """The training processes, with one progress bar for all of them."""

    def __init__(self, data: Datasets, unseen: np.ndarray, out: Path, jobs: int) -> None:
        context = workers.context(__name__)
        self.stop, self.epochs = context.Event(), context.SimpleQueue()
        self.unfinished, self.training = out / UNFINISHED, data.training
        worker = _Worker(data, unseen, self.unfinished, self.epochs, self.stop, plugins.everything())
        self.executor = ProcessPoolExecutor(jobs, context, initializer=_start, initargs=(worker,))

    def __exit__(self, *error: object) -> None:
        self.stop.set()
        self.executor.shutdown(cancel_futures=True)
        if self.unfinished.is_dir() and not any(self.unfinished.iterdir()):
            self.unfinished.rmdir()

    def run(self, tasks: Iterable[tuple[str, Config]], records: Records) -> None:
        """Run the trainings that have no record, in this order."""
        missing = {}
        for name, config in tasks:
            key = _key(config, records.data)
            if records.find(config) is None:
                missing[key] = (name, config)
            else:  # it may have been killed before its checkpoint was removed
                shutil.rmtree(self.unfinished / key, ignore_errors=True)
        for name in {config.teacher for _, config in missing.values() if config.teacher}:  # once for all trainings
            from siamese.training import cache

            with CountBar("questions") as bar:
                cache.vectors(name, sorted({*self.training.question1, *self.training.question2}), bar)
        epochs = {key: self._epochs(config) for key, (_, config) in missing.items()}
        futures = {self.executor.submit(_train, name, config, key): key for key, (name, config) in missing.items()}
        done = dict.fromkeys(missing, 0)
        with CountBar("epochs") as bar:
            while futures:
                ready, _ = wait(futures, timeout=1, return_when=FIRST_COMPLETED)
                while not self.epochs.empty():
                    done[self.epochs.get()] += 1
                for future in [f for f in futures if f in ready]:  # in order
                    key = futures.pop(future)
                    try:
                        records.add(future.result())
                    except BrokenProcessPool as error:
                        raise UserError("a training process died, perhaps for lack of memory; "
                                        "continue with fewer --jobs") from error  # fmt: skip
                    shutil.rmtree(self.unfinished / key, ignore_errors=True)
                    done[key] = epochs[key]
                bar(sum(done.values()), sum(epochs.values()))

    def _epochs(self, config: Config) -> int:
        """Return the number of epochs of a training; an estimate if it draws a part of the pairs."""
        part = min(1.0, (config.training_pairs or len(self.training)) / len(self.training))
        duplicates = round(part * self.training.duplicates)
        return planned_epochs(config, number_of_batches(duplicates, config.batch_size, config.drop_last))


@dataclass
class _Worker:
    """State of a training process."""

    data: Datasets
    unseen: np.ndarray
    folder: Path
    epochs: "SimpleQueue[str]"  # gets the key of a training after each of its epochs
    stop: Event
    plugins: dict[tuple[str, str], Any]  # of the parent
    prepared: dict[tuple[object, ...], Prepared] = field(default_factory=dict)  # of the last training


_worker: _Worker


def _start(worker: _Worker) -> None:
    """Initialize a training process."""
    import torch

    global _worker
    workers.begin()
    torch.set_num_threads(1)
    plugins.keep(worker.plugins)
    _worker = worker


@dataclass
class _Watch(Progress):
    """Reports every epoch to the parent."""

    key: str

    def epoch(self, record: dict[str, Any]) -> None:
        _worker.epochs.put(self.key)


def _train(name: str, config: Config, key: str) -> Record:
    """Run one training, in a process of its own. Return its record."""
    if _worker.stop.is_set():  # the task was already queued
        raise Stopped
    start = SiameseModel.load(config.start_from) if config.start_from else None
    recipe = config.replace(**bound(start.config)) if start else config
    if (shared := Prepared.key(recipe)) not in _worker.prepared:
        _worker.prepared = {shared: Prepared.of(recipe, _worker.data.training, start)}
    record: Record = {"variant": name, "config": asdict(config)}
    data = _worker.data
    assert data.test is not None
    try:
        model = train_model(
            recipe, data.training, data.validation, _worker.folder / key, resume=True,
            start_from=start, prepared=_worker.prepared[shared], progress=_Watch(key),
            stop=_worker.stop.is_set,
        )  # fmt: skip
        scores = measure(model, data.test, _worker.unseen)
    except Stopped:
        if _worker.stop.is_set():
            raise
        os._exit(143)  # SIGTERM to this process or to all; the checkpoint is written
    except DivergedError as error:  # a result, too
        record["error"] = str(error)
    else:
        history = model.facts["history"]
        best = max(history, key=lambda r: r["average_precision"])
        record |= {
            "epoch": best["epoch"],
            "validation": best["average_precision"],
            "threshold": model.threshold,
            "seconds_an_epoch": float(np.median([r["seconds"] for r in history])),
            "history": history,
            **scores,
        }
    return record
