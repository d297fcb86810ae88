"""Fixtures for all tests: outside data, a small file of pairs, a tiny model; hypothesis draws fixed examples."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Command
from files import QUESTIONS, Room, read_csv, write_csv
from hypothesis import settings

SHARED = Path(__file__).parents[2] / "shared"

# torch reads this when it is first loaded. On a busy machine the threads of small steps would otherwise spin while
# they wait for each other: two seconds a step instead of ten milliseconds.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# If test files run in parallel, each uses one core.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell begins jobs in the background with Ctrl-C ignored, which the programs that tests begin would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


FAST = "not slow"

settings.register_profile("all", derandomize=True, deadline=None, max_examples=50)
settings.register_profile(FAST, settings.get_profile("all"), max_examples=20)


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile(FAST if config.option.markexpr == FAST else "all")


@pytest.hookimpl(optionalhook=True)  # pytest-xdist may be left out
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of cores, and one more unless the subset is fast: slow tests wait for other processes."""
    return (os.cpu_count() or 1) + (config.option.markexpr != FAST)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with outside data. Skip the test if it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (conformance numbers and Quora pairs), which is not beside this checkout")
    return SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the outside data as shared, and as slow those and what only CI runs."""
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")
        if item.get_closest_marker("ci") or item.get_closest_marker("shared"):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def course() -> dict[str, Any]:
    """Return the facts of the published editions of the assignment, with their sources."""
    return json.loads((Path(__file__).parent / "conformance" / "course.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with the pairs of the first ten intents of data/questions.csv, in three parts. Do not change it."""
    path = tmp_path_factory.mktemp("pairs") / "small.csv"
    rows = [row for row in read_csv(QUESTIONS) if max(int(row["qid1"]), int(row["qid2"])) <= 90]
    return write_csv(path, [list(row.values()) for row in rows], ",".join(rows[0]))


@pytest.fixture(scope="session")
def parts(small_file: Path) -> Any:
    """Return the training, validation and test pairs of `small_file`, as Datasets."""
    from siamese.pairs import splits

    return splits.load(splits.Source(str(small_file)))


@pytest.fixture(scope="session")
def tiny_model(small_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model of 16 dimensions, trained on `small_file` for a second. Do not change it."""
    from siamese.config import Config
    from siamese.pairs import splits
    from siamese.training.train import train_model

    source = splits.Source(str(small_file))
    parts = splits.load(source)
    config = Config(embedding=16, hidden=16, batch_size=32, epochs=5, learning_rate=0.02)
    model = train_model(config, parts.training, parts.validation)
    model.facts["data"] = splits.remember(source)
    model.verdict = None  # so that the threshold decides; tests/test_verdict.py is about models that have one
    model.facts["warnings"] = []  # which it deserves, and which the tests of what commands print would show
    folder = tmp_path_factory.mktemp("model")
    model.save(folder)
    return folder


@pytest.fixture(scope="session")
def seal() -> Callable[[Path], None]:
    """Put the checksums of a folder right, if a test changes its files and is about another check.

    Format 2 has none; what is no settings stays as it is.
    """
    from siamese.model.folder import WEIGHTS, sealed, words_file

    def seal(folder: Path) -> None:
        try:
            settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            return
        if not isinstance(settings, dict) or settings.get("format") != 3:
            return
        settings.pop("sha256", None)
        names = (words_file(settings), WEIGHTS)
        sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
        (folder / "config.json").write_bytes(sealed(settings, sums))

    return seal


@pytest.fixture()
def steep(tiny_model: Path, tmp_path: Path) -> Path:
    """Return the tiny model with a probability that is easy to work out by hand: one half at 0.5, and steep."""
    from siamese import SiameseModel
    from siamese.model.calibration import Calibration

    model = SiameseModel.load(tiny_model)
    model.calibration, model.threshold = Calibration(20.0, -10.0, 0.5), 0.5
    model.save(tmp_path / "steep")
    return tmp_path / "steep"


@pytest.fixture()
def room(tmp_path: Path) -> Iterator[Room]:
    folder = tmp_path / "room"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("needs mount")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "none", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs to mount a small disk: {done.stderr.strip()}")
    yield Room(folder)
    subprocess.run(["umount", folder], check=True)


@pytest.fixture()
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process. Return its exit code, standard output and standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        from siamese.cli import entry

        code = 0
        try:
            entry.main([str(word) for word in words])
        except SystemExit as stop:
            assert isinstance(stop.code, int)
            code = stop.code
        return (code, *capsys.readouterr())

    return run


@pytest.fixture()
def memory(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory if the system has one: a disk may take 30 ms to sync each operation."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
    else:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            yield Path(folder)
