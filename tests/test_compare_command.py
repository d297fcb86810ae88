"""`compare` and `losses` as typed: output, errors, and resuming after an interruption."""

import csv
import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Command, Typed, python
from files import read_csv
from safetensors import safe_open

from siamese.experiment.comparison import UNFINISHED, compare
from siamese.experiment.records import RESULTS, TRAININGS
from siamese.experiment.variants import BASE, against_first
from siamese.losses.registry import LOSSES
from siamese.pairs.splits import Datasets

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EPOCHS, SEEDS = 8, 2
VARIANTS = ("rows,embedding=16,hidden=16", "both,embedding=16,hidden=16")
RECIPE = ("--epochs", EPOCHS, "--batch-size", 32, "--learning-rate", 0.02)


@pytest.fixture()
def command(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command that finds its own line in sys.argv, which the report quotes."""

    def typed(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["run.py", *map(str, words)])
        return command(*words)

    return typed


def some(source: Path, which: Callable[[dict[str, str]], bool], path: Path, column: str = "split") -> Path:
    """Write some pairs of a file to another, with the split in `column`."""
    with open(source, encoding="utf-8", newline="") as file:
        rows = [row | {column: row["split"]} for row in csv.DictReader(file) if which(row)]
    names = ["question1", "question2", "is_duplicate", column]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def fails(result: tuple[int, str, str], *said: str) -> None:
    """Check the exit code of a user error. Return the message, which has two lines at most."""
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") <= 2
    for words in said:
        assert words in err


def test_losses_lists_every_loss(command: Command) -> None:
    code, out, err = command("losses")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    for name, loss in LOSSES.items():
        (i,) = (i for i, line in enumerate(lines) if line.split()[0] == name)
        assert lines[i].strip() == f"{name:<19} {loss.formula}"
        assert lines[i + 1].strip() == f"needs {loss.needs}; source: {loss.source}"
        heading = next(line for line in reversed(lines[:i]) if not line.startswith(" "))
        option = {"in-batch": "--loss", "labelled": "--labelled"}[loss.slot]
        assert heading == f"{loss.slot} losses, by {option} NAME:"
    assert len(lines) == 2 * len(LOSSES) + 2


def test_losses_as_json(command: Command) -> None:
    code, out, err = command("losses", "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [row["name"] for row in rows] == list(LOSSES)
    for row in rows:
        loss = LOSSES[row.pop("name")]
        assert row == {field: getattr(loss, field) for field in ("slot", "formula", "needs", "source")}
        assert all(row.values())


def test_losses_loads_nothing_heavy() -> None:
    code = "import sys; from siamese import cli; cli.main(['losses']); print(*sys.modules, file=sys.stderr)"
    done = python("-c", code)
    assert "matrix-softmax" in done.stdout
    modules = set(done.stderr.split())
    assert "siamese.losses.registry" in modules
    assert not modules & {"torch", "numpy", "scipy", "pandas", "sklearn", "matplotlib"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--losses", "rows", "bth"], ["--losses bth: 'bth' is not one of rows, columns, both, pooled"]),
        (["--losses", "rows", "both,size=3"], ["--losses both,size=3: 'size' is not a field of a recipe"]),
        (["--losses", "rows", "rows"], ["are the same"]),
        (["--losses", "rows"], ["--losses: only one variant; give two or more, the reference first"]),
        (["--seeds", "0"], ["--seeds: 0 is not a whole number from 1 to 1,000"]),
        (["--jobs", "0"], ["--jobs: 0 is not a whole number from 1 to 1,000"]),
        (["--epochs", "0"], ["--epochs: 0 is not a whole number of 1 or more"]),
        (["--data", "no such file.csv"], ["no such file.csv"]),
        (["--validation", "no such file.csv"], ["no such file.csv"]),
        (["--test", "no such file.csv"], ["no such file.csv"]),
        (["--question1", "left"], ["left"]),
    ],
)
def test_mistakes_are_said_in_a_line(
    command: Command, small_file: Path, tmp_path: Path, words: list[str], said: list[str]
) -> None:
    fails(command("compare", "--data", small_file, "--out", tmp_path / "out", *words), *said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["--losses"], ["--seeds", "many"], ["--precision", "float8"]])
def test_mistakes_that_the_parser_finds(command: Command, words: list[str]) -> None:
    code, out, err = command("compare", *words)
    assert (code, out) == (2, "")
    assert words[0] in err


def test_pairs_to_score_are_needed(command: Command, small_file: Path, tmp_path: Path) -> None:
    out, both = tmp_path / "out", ("--losses", "rows", "both")
    without = some(small_file, lambda row: row["split"] != "test", tmp_path / "no test.csv")
    result = command("compare", "--data", without, "--out", out, *both)
    fails(result, "no test pairs to score: give them with --test PATH, or in a column 'split'")
    # As test pairs those that were trained on: none is unseen.
    seen = some(small_file, lambda row: row["split"] == "train", tmp_path / "seen.csv", column="was")
    result = command("compare", "--data", small_file, "--out", out, *both, "--test", seen)
    fails(result, "0 of the 371 test pairs have two questions that were not trained on")
    assert not out.exists()


def lines(out: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the records of a folder by variant and seed, without times."""
    path = out / TRAININGS
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    for record in records:
        del record["seconds_an_epoch"]
        for epoch in record["history"]:
            del epoch["seconds"], epoch["pairs_per_second"]
    found = {(record["variant"], record["config"]["seed"]): record for record in records}
    assert len(found) == len(records)
    return found


@pytest.fixture(scope="module")
def undisturbed(parts: Datasets, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the records of all trainings, run without interruption."""
    out = tmp_path_factory.mktemp("undisturbed")
    base = BASE.replace(epochs=EPOCHS, batch_size=32, learning_rate=0.02)
    compare(against_first(VARIANTS, base), parts, SEEDS, out, jobs=1)
    return lines(out)


def wait_until(true: Callable[[], object], process: Typed) -> None:
    end = time.monotonic() + 60
    while not true():
        assert process.poll() is None, process.communicate(timeout=60)
        assert time.monotonic() < end
        time.sleep(0.005)


def group_is_empty(group: int) -> bool:
    """Return whether the group has no processes left. Zombies do not count."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it ended meanwhile
            continue
        if int(its_group) == group and state != "Z":
            return False
    return True


@pytest.fixture(scope="module")
def interrupted(small_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Stop a comparison by Ctrl-C in its first training, kill it in a later one, then finish it."""
    folder = tmp_path_factory.mktemp("interrupted")
    shutil.copy(small_file, folder / "my pairs.csv")
    out = folder / "my report"
    words = [
        "run.py", "compare", "--data", folder / "my pairs.csv", "--out", out, "--losses", *VARIANTS, "--seeds", SEEDS,
    ]  # fmt: skip
    words += [*RECIPE, "--jobs", 1]
    told: dict[str, Any] = {"out": out}
    processes = []

    def under_way() -> set[str]:
        """Return the trainings that have a checkpoint."""
        return {path.parent.name for path in (out / UNFINISHED).glob("*/checkpoint.safetensors")}

    try:
        process = Typed(words, terminal=True)
        processes.append(process)
        wait_until(under_way, process)
        os.killpg(process.pid, signal.SIGINT)
        told["stopped"] = (*process.communicate(timeout=60), process.returncode)
        told["left by Ctrl-C"] = first = under_way()
        told["its epochs"] = epochs_in(*(out / UNFINISHED).glob("*/checkpoint.safetensors"))

        process = Typed(words, terminal=True)
        processes.append(process)
        wait_until(lambda: lines(out) and under_way() and not under_way() & first, process)
        process.kill()
        process.communicate(timeout=60)
        told["left by a kill"] = under_way()
        told["done before the kill"] = len(lines(out))
        end = time.monotonic() + 20
        while time.monotonic() < end and not (empty := group_is_empty(process.pid)):
            time.sleep(0.05)
        told["all ended"] = empty

        process = Typed(words, terminal=True)
        processes.append(process)
        told["last"] = (*process.communicate(timeout=100), process.returncode)
        yield told
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def epochs_in(checkpoint: Path) -> list[dict[str, Any]]:
    """Return the records of the epochs before a checkpoint."""
    with safe_open(checkpoint, framework="pt") as file:
        return json.loads(file.metadata()["history"])


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals and /proc as on Linux")


@pytest.mark.ci
@linux
def test_ctrl_c_stops_and_says_how_to_go_on(interrupted: dict[str, Any]) -> None:
    out, err, code = interrupted["stopped"]
    assert (code, out) == (130, "")
    assert "stopped; continue with: python run.py compare --data " in err
    assert "Traceback" not in err
    assert len(interrupted["left by Ctrl-C"]) == 1  # it was in the middle of a training


@pytest.mark.ci
@linux
def test_a_stopped_training_goes_on_from_its_last_epoch(interrupted: dict[str, Any]) -> None:
    before = interrupted["its epochs"]
    assert 1 <= len(before) < EPOCHS
    records = [json.loads(line) for line in (interrupted["out"] / TRAININGS).read_text("utf-8").splitlines()]
    # The times too: these epochs were not trained again.
    assert [r["history"][: len(before)] for r in records].count(before) == 1


@pytest.mark.ci
@linux
def test_no_process_outlives_a_killed_parent(interrupted: dict[str, Any]) -> None:
    assert interrupted["all ended"]
    assert len(interrupted["left by a kill"]) == 1  # in the middle of a later training
    assert interrupted["left by a kill"] != interrupted["left by Ctrl-C"]
    assert 1 <= interrupted["done before the kill"] < len(VARIANTS) * SEEDS


@pytest.mark.ci
@linux
def test_an_interrupted_comparison_ends_like_an_undisturbed_one(
    interrupted: dict[str, Any], undisturbed: dict[tuple[str, int], dict[str, Any]]
) -> None:
    _, err, code = interrupted["last"]
    assert code == 0, err
    assert lines(interrupted["out"]) == undisturbed
    assert set(undisturbed) == {(name, seed) for name in VARIANTS for seed in range(1, SEEDS + 1)}
    assert not (interrupted["out"] / UNFINISHED).exists()
    assert all([e["epoch"] for e in r["history"]] == list(range(1, EPOCHS + 1)) for r in undisturbed.values())
    rows = read_csv(interrupted["out"] / RESULTS)
    assert {(row["variant"], int(row["seed"])) for row in rows} == set(undisturbed)


@pytest.mark.ci
@linux
def test_compare_prints_its_conclusion_and_writes_it(interrupted: dict[str, Any]) -> None:
    out, err, _ = interrupted["last"]
    folder = interrupted["out"]
    assert "Traceback" not in err
    conclusion, end = out.rstrip("\n").rsplit("\n\n", 1)
    assert end == f"{folder}/report.md written"
    assert conclusion.startswith(f"- Is another better than {VARIANTS[0]}?\n  - Primary contrast: `{VARIANTS[1]}`")
    report = (folder / "report.md").read_text("utf-8")
    assert conclusion in report
    data, out = shlex.quote(f"{folder.parent}/my pairs.csv"), shlex.quote(str(folder))
    assert f"python run.py compare --data {data} --out {out} --losses" in report


@pytest.mark.ci
@linux
def test_the_same_command_again_trains_nothing(
    command: Command, interrupted: dict[str, Any], small_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(interrupted["out"], out)
    before = {name: (out / name).read_bytes() for name in (TRAININGS, RESULTS)}
    words = ["compare", "--data", small_file, "--out", out, "--losses", *VARIANTS, "--seeds", SEEDS, *RECIPE]
    code, said, _ = command(*words)
    assert code == 0
    assert said.startswith(interrupted["last"][0].rsplit("\n\n", 1)[0])
    assert {name: (out / name).read_bytes() for name in before} == before
    # Other pairs do not go with these records.
    fewer = some(small_file, lambda row: (row["split"], row["is_duplicate"]) != ("train", "0"), tmp_path / "fewer.csv")
    result = command("compare", "--data", fewer, *words[3:])
    fails(result, f"{out / TRAININGS}: belongs to other training pairs; choose another --out")
