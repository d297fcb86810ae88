"""Run units of work on Ray, on the cores of this machine or of a cluster.

Ray Data gives each worker one unit at a time, and repeats a unit whose worker died. Ray sends functions and what they
share from process to process in its own format; nothing of that is written to a file.
"""

import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from siamese.errors import DataError, UserError
from siamese.mining.found import lowest_above
from siamese.mining.settings import Settings
from siamese.mining.sharded import pipeline, store
from siamese.mining.sharded.pipeline import Found
from siamese.mining.sharded.shards import Job
from siamese.mining.sharded.stages import Results, Runner, Stages, Unit, Work
from siamese.model.model import SiameseModel, fingerprint
from siamese.model.verdict import Rule
from siamese.system.locking import LOCK
from siamese.system.optional import optional
from siamese.system.resuming import check_same_run

IDENTITY = "identity.json"  # in the work folder: everything that the pairs depend on
DEATHS = 20  # of consecutive workers before they are ready, after which something else is wrong
ANSWER = 10  # seconds that a cluster has to answer
STORE = 512 << 20  # bytes that the processes of a local Ray share: a model, the centres of cells, a sample


class Lost(UserError):
    """More than a worker died, such as the cluster. Finished work is still there."""


def mine_shards(
    shards: Sequence[tuple[str, str]], model: SiameseModel, settings: Settings, out: str, clusters_out: str | None, *,
    column: str, id_column: str | None, address: str | None, resume: bool,
    progress: Callable[[str, int, int], None], escape: bool = True, rule: Rule | None = None,
) -> Found:  # fmt: skip
    """Find the pairs of the questions in many files, by cells, and write them and their clusters as CSV.

    Args:
        shards: the files, as `pipeline.list_shards` returns them.
        model: encodes the questions.
        settings: what to find; the memory is that of one worker.
        out, clusters_out: the files to write, at any address; the work folder is `out` with ".unfinished".
        column, id_column: of the questions and their ids, as in `read_records`.
        address: of the Ray cluster; None uses this machine alone.
        resume: continue the run that was stopped there.
        progress: called with the name of a stage, and the number of its units that are done and of all.
        escape: put an apostrophe before a text of a cluster that a spreadsheet would take for a formula.
        rule: decides on the pairs above its threshold, which is that of the settings; None: all are wanted.

    Raises:
        UserError: Ray is missing or does not answer, the questions cannot be used, or another run was stopped there.
    """
    out, clusters_out = store.absolute(out), clusters_out and store.absolute(clusters_out)
    rule = rule or model.rule(settings.threshold)
    job = Job(f"{out}.unfinished", column, id_column, lowest_above(settings.threshold), settings.max_pairs,
              settings.memory, settings.linkage if clusters_out else "", rule.verdict)  # fmt: skip
    identity = {"questions": shards, "model": fingerprint(model), "seed": settings.seed, **vars(job)}
    del identity["verdict"]
    if rule.verdict is not None:
        identity["verdict"] = str(sorted(rule.verdict.weights.items()))
    with store.held(job.work), started(address, job.memory) as runner:
        check_reachable(job.work)
        if store.exists(known := f"{job.work}/{IDENTITY}"):
            check_same_run(job.work, identity, store.read_json(known), resume)
        elif other := [name for name in store.names(job.work) if name != LOCK]:
            raise UserError(f"{job.work}/{other[0]}: not a file of a run; remove it, or choose another --out")
        else:
            store.write_json(known, identity)
        try:
            stages = Stages(job, runner, progress)
            encoded = pipeline.encode(stages, [shard for shard, _ in shards], model)
            found = pipeline.find(stages, encoded, rule, settings.seed, out, clusters_out, escape)
        except Lost:
            raise
        except UserError:  # to continue would fail again
            store.clear(job.work)
            raise
        store.clear(job.work)
    return found


@contextmanager
def started(address: str | None, memory: int, workers: int | None = None) -> Iterator[Runner]:
    """Start Ray for the block.

    Args:
        address: of a cluster; None uses this machine alone.
        memory: MB of a worker, which its machine must have free.
        workers: of this machine; None starts one per core.

    Raises:
        UserError: Ray is not installed, the cluster does not answer, or none of its machines has so much memory.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # a user can do nothing about its messages
    logging.getLogger("ray").setLevel(logging.ERROR)
    optional("ray.data", "--engine ray")
    import ray

    if address and address != "auto":
        _check_answers(address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:  # this run sends the package to the machines of the cluster
        options |= {"address": address, "runtime_env": {"py_modules": [str(Path(__file__).parents[2])]}}
    else:
        options |= {"num_cpus": workers or os.cpu_count(), "object_store_memory": STORE, "include_dashboard": False}
    try:
        with _silent():
            ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"--address {address}: no Ray there: {str(error).splitlines()[0]}") from None
    try:
        check_memory(memory)
        yield _runner(memory)
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise UserError if no server listens at an address; Ray would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), ANSWER).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(f"--address {address}: {error}; expected auto, HOST:PORT or ray://HOST:PORT") from None


@contextmanager
def _silent() -> Iterator[None]:
    """Hide what Ray prints while it starts, and keep our SIGTERM handler. Errors still come as exceptions."""
    sys.stderr.flush()
    before, handler = os.dup(2), signal.getsignal(signal.SIGTERM)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        with suppress(ValueError):  # only the main thread can set handlers
            signal.signal(signal.SIGTERM, handler)


def _runner(memory: int) -> Runner:
    import ray

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_consecutive_actor_init_deaths = DEATHS

    def run(function: Work, shared: Any, units: Sequence[Unit], loads: bool) -> Results:
        held = ray.put((function, shared, list(units)))
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        how: dict[str, Any] = {"num_cpus": 1, "memory": memory << 20, "batch_size": 1}
        source = ray.data.from_items(list(range(len(units))), override_num_blocks=len(units))
        if loads:
            pool = ray.data.ActorPoolStrategy(min_size=1, max_size=min(cores, len(units)))
            done = source.map_batches(Worker, fn_constructor_args=(held,), compute=pool, **how)
        else:
            tasks = ray.data.TaskPoolStrategy()
            done = source.map_batches(lambda batch: Worker(held)(batch), compute=tasks, **how)
        try:
            for row in done.iter_rows():
                if row["error"]:  # of a worker
                    name, *arguments = json.loads(row["error"])
                    raise {"OSError": OSError, "DataError": DataError}.get(name, UserError)(*arguments)
                yield int(row["unit"]), json.loads(row["summary"])
        except ray.exceptions.RayTaskError:  # a bug of ours
            raise
        except ray.exceptions.RayError as error:
            raise Lost(f"Ray: {str(error).splitlines()[0]}; run the same command with --resume to continue") from error

    return run


def check_memory(memory: int) -> None:
    """Raise UserError if no machine of the cluster has so many MB for a worker."""
    import ray

    largest = int(max(node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]))
    if memory << 20 > largest:
        raise UserError(f"--memory {memory}: more than any machine has for a worker; give {largest >> 20} (MB) or less")


def check_reachable(folder: str) -> None:
    """Raise UserError if a machine of the cluster does not see a file that this one writes into a folder."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    file = f"{folder}/seen.json"
    store.write_json(file, True)
    seen = ray.remote(store.exists)
    nodes = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in ray.nodes() if node["Alive"]]
    found = ray.get([seen.options(scheduling_strategy=node).remote(file) for node in nodes])
    store.remove(file)
    if not all(found):
        raise UserError(
            f"{folder}: {found.count(False)} of the {len(nodes)} machines do not see it; give --out a path or an "
            "address that all of them reach, such as s3://…"
        )


class Worker:
    """Does units of work in a process of Ray."""

    def __init__(self, held: Any) -> None:
        import ray

        self.function, self.shared, self.units = ray.get(held)

    def __call__(self, batch: Any) -> Any:
        (unit,) = map(int, batch["item"])
        summary, error = {}, ""
        try:
            summary = self.function(self.shared, self.units[unit])
        except UserError as fault:  # a result, since Ray keeps only the text of exceptions, with a traceback
            error = json.dumps([type(fault).__name__, str(fault)])
        except OSError as fault:
            error = json.dumps(["OSError", fault.errno, fault.strerror or str(fault), fault.filename])
        return {"unit": [unit], "summary": [json.dumps(summary)], "error": [error]}
