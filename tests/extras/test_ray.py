"""Mining on Ray gives the same pairs as one process, with any number of workers, even if some die."""

import csv
import errno
import os
import re
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from commands import python
from encoders import make_transformer
from files import QUESTIONS, read_csv, write_csv
from libraries import needs
from runners import one_by_one

needs("ray")

from siamese import SiameseModel
from siamese.errors import DataError, UserError
from siamese.mining.found import lowest_above
from siamese.mining.sharded import on_ray, pipeline, store
from siamese.mining.sharded.shards import Job, Summary
from siamese.mining.sharded.stages import Results, Runner, Stages, Unit, Work

ROOT = Path(__file__).parents[2]
MEMORY = 512  # MB a worker

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("shards")
    rows = [[row["qid1"], row["question1"]] for row in read_csv(QUESTIONS)]
    for i in range(3):
        write_csv(folder / f"{i}.csv", rows[i * 200 : i * 200 + 200], "id,question")
    return str(folder)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """Start Ray with two workers. Groups of cells are few: a unit of work costs Ray more time than the worker."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(pipeline, "LEAST_GROUPS", 4)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # Ray's 15 leaves them little on a busy machine
    with on_ray.started(None, MEMORY, 2) as run:
        yield run


def mined(shards: str, folder: Path, run: Runner, model: SiameseModel | None = None) -> tuple[bytes, bytes]:
    job = Job(f"{folder}/work", "question", None, lowest_above(0.4), None, MEMORY, "complete")
    model = model or SiameseModel.pretrained()
    stages = Stages(job, run, lambda stage, done, total: None)
    encoded = pipeline.encode(stages, [address for address, _ in pipeline.list_shards(shards)], model)
    pipeline.find(stages, encoded, model.rule(0.4), 0, f"{folder}/out.csv", f"{folder}/clusters.csv")
    return (folder / "out.csv").read_bytes(), (folder / "clusters.csv").read_bytes()


def similarities(pairs: bytes) -> dict[tuple[str, ...], float]:
    rows = list(csv.reader(pairs.decode().splitlines()))[1:]
    return {tuple(row[4:]): float(row[2]) for row in rows}


@pytest.fixture(scope="module")
def killed(shards: str, tmp_path_factory: pytest.TempPathFactory, runner: Runner) -> tuple[bytes, bytes]:
    """Return what is written if a worker is killed in each of three stages, one of which runs in actors."""
    folder = tmp_path_factory.mktemp("killed")

    def deadly(function: Work, shared: Any, units: Sequence[Unit], loads: bool) -> Results:
        name, marks = function.args[1].__name__, str(folder)  # type: ignore[attr-defined]

        def dying(shared: Any, unit: Unit) -> Summary:
            mark = Path(marks, name)
            first = name in ("encode", "put_into_cells", "join") and unit["unit"] == 1 and not mark.exists()
            summary = {} if first and name == "join" else function(shared, unit)  # before the unit is done, or after
            if first:
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return summary

        return runner(dying, shared, units, loads)

    files = mined(shards, folder, deadly)
    assert {path.name for path in folder.iterdir()} >= {"encode", "put_into_cells", "join"}
    return files


def test_killed_workers_cost_no_pairs(shards: str, tmp_path: Path, killed: tuple[bytes, bytes]) -> None:
    # Another process may use its cores otherwise when it encodes, which can change the last decimal.
    alone = similarities(mined(shards, tmp_path, one_by_one)[0])
    assert similarities(killed[0]) == pytest.approx(alone, abs=1.5e-6)
    assert len(alone) > 300


def test_a_transformer(shards: str, tmp_path: Path, runner: Runner) -> None:
    needs("sentence_transformers")
    found = similarities(mined(shards, tmp_path, runner, make_transformer(tmp_path, "bert"))[0])
    assert len(found) > 300


def test_an_error_of_a_worker_is_told_as_ours(tmp_path: Path, runner: Runner) -> None:
    (tmp_path / "0.csv").write_text("question\nfine\n")
    (tmp_path / "1.csv").write_text('question\nfine\n"not" fine\n')
    with pytest.raises(DataError, match=r"1\.csv, line 3: .*every row is needed"):
        mined(f"{tmp_path}/*.csv", tmp_path, runner)

    def full(shared: None, unit: Unit) -> Summary:
        raise OSError(errno.ENOSPC, "No space left on device", "/there")

    with pytest.raises(OSError, match="No space left on device") as raised:
        list(runner(full, None, [{}], False))
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, "/there")


def test_more_memory_than_any_machine_has(runner: Runner) -> None:
    with pytest.raises(UserError, match="more than any machine has for a worker; give"):
        on_ray.check_memory(1 << 30)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere", "127.0.0.1:many"])
def test_nobody_at_an_address(address: str) -> None:
    with pytest.raises(UserError, match=f"--address {address}: .*expected auto"), on_ray.started(address, MEMORY):
        pass


def test_a_folder_that_a_machine_does_not_see(tmp_path: Path, runner: Runner) -> None:
    on_ray.check_reachable(str(tmp_path))
    with pytest.raises(UserError, match="memory://here: 1 of the 1 machines do not see it"):
        on_ray.check_reachable("memory://here")
    assert not store.names(str(tmp_path)) + store.names("memory://here")


def test_the_command_on_a_cluster_writes_the_same(
    shards: str, tmp_path: Path, runner: Runner, killed: tuple[bytes, bytes]
) -> None:
    import ray

    out, groups = tmp_path / "out.csv", tmp_path / "clusters.csv"
    words = ["mine", f"{shards}/*.csv", "--engine", "ray", "--threshold", 0.4, "--out", out, "--clusters", groups,
             "--address", ray.get_runtime_context().gcs_address, "--model", "pretrained",
             "--memory", MEMORY]  # fmt: skip
    done = python("run.py", *words)
    assert done.returncode == 0, done.stderr
    assert re.search(r"529 different questions\n\d+ cells, each question in \d+: recall [\d.]+ \(95 %", done.stdout)
    assert "clusters of" in done.stdout
    assert (out.read_bytes(), groups.read_bytes()) == killed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clusters.csv", "out.csv"]
