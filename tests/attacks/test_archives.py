"""Archives that are damaged, replaced, cut, copied or used by many at once: the right answer, or an ArchiveError."""

import dataclasses
import itertools
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from commands import Command, posix, python

import siamese
from siamese import SiameseModel
from siamese.archive.changes import Block
from siamese.archive.rows import Rows
from siamese.archive.sqlite import DATABASE, WAL
from siamese.archive.store import Archive
from siamese.archive.vectors import HEADER, VECTORS
from siamese.errors import ArchiveError

pytestmark = pytest.mark.slow
N = 300
TEXTS = [f"how do I claim luggage {i} of flight {i % 7} with ticket {i * i}" for i in range(N)]
OLD = Path(__file__).parents[1] / "compatibility"

ALL_MAY_READ = all(path.stat().st_mode & 0o005 == 0o005 for path in Path(siamese.__file__).parents)
root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or not ALL_MAY_READ,
    reason="needs root, and a copy of the package that every user may read",
)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> SiameseModel:
    return SiameseModel.load(tiny_model)


@pytest.fixture(scope="module")
def whole(model: SiameseModel, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "archive"
    Archive.build(folder, TEXTS, model, name=str(tiny_model)).close()
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "archive"))


def answers(archive: Archive) -> object:
    found = archive.search([TEXTS[3], "flight 5 and ticket 81", "luggage"], 20)
    return found, archive.search(["ticket 81"], 5, "words"), [archive.get(str(i)) for i in (1, 17, N)], len(archive)


def attempt(folder: Path, model: SiameseModel) -> object:
    with Archive.open(folder, model) as archive:
        return answers(archive)


# One changed byte


@pytest.mark.slow
@pytest.mark.parametrize("name", [VECTORS, DATABASE])
def test_one_changed_byte(whole: Path, model: SiameseModel, tmp_path: Path, name: str) -> None:
    right, chance, counts = attempt(whole, model), random.Random(16), Counter[str]()
    content = (whole / name).read_bytes()
    for number in range(150):
        folder = Path(shutil.copytree(whole, tmp_path / str(number)))
        damaged = bytearray(content)
        damaged[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        (folder / name).write_bytes(damaged)
        try:
            assert attempt(folder, model) == right, number
            counts["the right answer"] += 1
        except ArchiveError:
            counts["refused"] += 1
        shutil.rmtree(folder)
    print(name, dict(counts))
    assert counts["refused"] >= 145  # the others are in the padding of the header


def test_a_changed_byte_under_an_open_archive(folder: Path, model: SiameseModel) -> None:
    with Archive.open(folder, model) as archive:
        connection = sqlite3.connect(folder / DATABASE)
        connection.execute("UPDATE questions SET question = 'how do I lose luggage' WHERE id = '17'")
        connection.commit()
        connection.close()
        with pytest.raises(ArchiveError, match="another checksum"):
            archive.get("17")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 2.0])
def test_numbers_that_are_no_vector(
    folder: Path, whole: Path, model: SiameseModel, value: float, tmp_path: Path
) -> None:
    for archive in (folder, tmp_path / "old"):  # of version 0.1.0, without checksums
        if archive != folder:
            shutil.copytree(OLD / "archive", archive)
        with open(archive / VECTORS, "r+b") as file:
            file.seek(HEADER)
            file.write(np.float32(value).tobytes())
    for archive, used in ((folder, model), (tmp_path / "old", SiameseModel.load(OLD / "format-3"))):
        with pytest.raises(ArchiveError, match=rf"{VECTORS}: damaged: rows 0 to"):
            Archive.open(archive, used).search(["luggage"])

    class Broken(type(model)):  # type: ignore[misc]
        def encode(self, questions: list[str]) -> np.ndarray:
            return np.full((len(questions), self.dimensions), value, np.float32)

    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model) if field.init}
    broken = Archive.open(Path(shutil.copytree(whole, tmp_path / "new")), Broken(**fields))
    with pytest.raises(ArchiveError, match="a vector that is not of length 1"):
        broken.add(["x"])


def test_cut_off_under_a_reader(folder: Path, model: SiameseModel) -> None:
    done = python("-c", CUT, folder, model_folder(folder), timeout=60)
    assert (done.returncode, done.stdout) == (0, "ArchiveError ArchiveError\n"), done.stderr


CUT = """
import os, sys
from siamese import Archive
from siamese.errors import ArchiveError
said = []
archive = Archive.open(sys.argv[1])
for size in (10_000, 10):
    os.truncate(sys.argv[1] + "/vectors.f32", size)
    try:
        archive.search(["luggage"])
    except ArchiveError as error:
        said.append(type(error).__name__)
print(*said)
"""


def model_folder(folder: Path) -> str:
    with sqlite3.connect(folder / DATABASE) as connection:
        return str(connection.execute("SELECT value FROM meta WHERE key = 'model'").fetchone()[0])


# A folder that is replaced


def by_building(folder: Path, model: SiameseModel) -> None:
    shutil.rmtree(folder)
    Archive.build(folder, ["another question"] * N, model).close()


def by_moving(folder: Path, model: SiameseModel) -> None:
    Archive.build(folder.with_name("new"), ["another question"] * N, model).close()
    folder.rename(folder.with_name("before"))
    folder.with_name("new").rename(folder)


def by_copying_over(folder: Path, model: SiameseModel) -> None:
    Archive.build(folder.with_name("new"), ["another question"] * N, model).close()
    for name in (DATABASE, VECTORS):
        (folder / name).write_bytes((folder.with_name("new") / name).read_bytes())


def the_vectors(folder: Path, model: SiameseModel) -> None:
    Archive.build(folder.with_name("new"), ["another question"] * N, model).close()
    (folder.with_name("new") / VECTORS).rename(folder / VECTORS)


def by_a_copy_of_itself(folder: Path, model: SiameseModel) -> None:
    shutil.copytree(folder, folder.with_name("same"))
    shutil.rmtree(folder)
    folder.with_name("same").rename(folder)


def by_nothing(folder: Path, model: SiameseModel) -> None:
    shutil.rmtree(folder)


REPLACED = [by_building, by_moving, by_copying_over, the_vectors, by_a_copy_of_itself, by_nothing]


@posix
@pytest.mark.parametrize("replace", REPLACED)
def test_replaced_under_an_open_archive(folder: Path, model: SiameseModel, replace: Callable[..., None]) -> None:
    with Archive.open(folder, model) as archive:
        archive.search(["luggage"])
        replace(folder, model)
        for change in (
            lambda: archive.add(["mine"], ["mine"]), lambda: archive.remove(["1"]), lambda: archive.search(["luggage"]),
            lambda: archive.get("1"), lambda: len(archive), archive.info,
        ):  # fmt: skip
            with pytest.raises(ArchiveError, match="replaced"):
                change()


@posix
def test_replaced_while_it_is_written(folder: Path, model: SiameseModel) -> None:
    def blocks() -> Iterator[Block]:
        yield Block(["mine"], ["mine"])
        by_building(folder, model)

    with Archive.open(folder, model) as archive, pytest.raises(ArchiveError, match="replaced"):
        archive.add_blocks(blocks())
    with Archive.open(folder, model) as archive:
        assert archive.get("mine") is None and len(archive) == N


def over(name: str, source: Path, folder: Path) -> None:
    """Overwrite a file in place, as `cp` does."""
    time.sleep(0.01)  # the clock of file systems ticks every few milliseconds
    (folder / name).write_bytes((source / name).read_bytes())


@posix
@pytest.mark.parametrize("searched", [True, False])
@pytest.mark.parametrize("source", ["other", "earlier", "as long"])
def test_a_database_copied_over_that_of_an_open_archive(
    folder: Path, model: SiameseModel, tmp_path: Path, source: str, searched: bool
) -> None:
    other = tmp_path / "other"
    if source == "other":
        Archive.build(other, TEXTS[::-1], model).close()
    else:
        shutil.copytree(folder, other)
    if source == "as long":  # another fork of the same archive
        with Archive.open(other, model) as archive:
            archive.add(["passport"], ["theirs"])
    with Archive.open(folder, model) as archive:
        if source != "other":
            archive.add(["passport"], ["ours"])
        if searched:
            archive.search(["luggage"])
        over(DATABASE, other, folder)
        for change in (
            lambda: archive.add(["mine"], ["mine"]), lambda: archive.remove(["1"]), lambda: archive.search(["luggage"]),
            lambda: archive.get("1"), lambda: len(archive), archive.info,
        ):  # fmt: skip
            with pytest.raises(ArchiveError, match="replaced|damaged|older than"):
                change()
        assert (folder / DATABASE).read_bytes() == (other / DATABASE).read_bytes()


@posix
@pytest.mark.parametrize("source", ["other", "earlier"])
def test_a_database_copied_over_while_it_is_written(
    folder: Path, model: SiameseModel, tmp_path: Path, source: str
) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    if source == "other":
        Archive.build(other, TEXTS[::-1], model, force=True).close()

    def blocks() -> Iterator[Block]:
        yield Block(["mine"], ["mine"])
        over(DATABASE, other, folder)

    with Archive.open(folder, model) as archive:
        archive.add(["passport"], ["ours"])
        with pytest.raises(ArchiveError, match="replaced"):
            archive.add_blocks(blocks())


def test_what_other_processes_change_is_no_replacement(folder: Path, model: SiameseModel) -> None:
    with Archive.open(folder, model) as archive, Archive.open(folder, model) as other:
        for i in range(3):
            other.add(["passport"], [f"theirs {i}"])
            assert archive.get(f"theirs {i}") == "passport"
            archive.add(["passport"], [f"ours {i}"])
            with archive._database.reading():  # keeps the log
                other.add(["passport"], [f"logged {i}"])
                other.add(["passport"], [f"again {i}"])
                assert (folder / WAL).stat().st_size
                Archive.open(folder, model).close()
        assert len(archive) == len(other) == N + 12
    assert len(Archive.open(folder, model)) == N + 12


def test_two_writers(folder: Path, model: SiameseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamese.archive.sqlite.PATIENCE", 0.01)
    cut = Rows.cut
    with Archive.open(folder, model) as archive, Archive.open(folder, model) as other:
        adding = itertools.count()

        def between(change: Rows) -> None:
            """Let the other one write while the first one cuts the file, if it may."""
            monkeypatch.setattr(Rows, "cut", cut)
            with suppress(ArchiveError):
                other.add(["passport"], [f"theirs {next(adding)}"])
            cut(change)
            monkeypatch.setattr(Rows, "cut", between)

        monkeypatch.setattr(Rows, "cut", between)
        for i in range(3):
            archive.add(["passport"], [f"ours {i}"])
            archive.remove([str(i + 1)])
        monkeypatch.setattr(Rows, "cut", cut)
        assert len(archive.search(["passport"], 2 * N)[0]) == len(archive) >= N


def test_the_checksum_follows_the_changes(folder: Path, model: SiameseModel, tmp_path: Path) -> None:
    with Archive.open(folder, model) as archive:
        for i in range(4):
            archive.add([f"passport {i} {j}" for j in range(100 * i)], None)
            assert len(Archive.open(Path(shutil.copytree(folder, tmp_path / f"added {i}")), model)) == len(archive)
        archive.remove([str(i + 1) for i in range(250)])
        changed = archive._database._seal._sums
    with Archive.open(folder, model) as archive:  # which computes it from the whole database
        assert changed and archive._database._seal._sums
        assert changed[0] == archive._database._seal._sums[0] and (changed[1] == archive._database._seal._sums[1]).all()


def test_files_of_two_archives(folder: Path, whole: Path, model: SiameseModel) -> None:
    Archive.build(folder.with_name("new"), TEXTS, model).close()
    shutil.copy(folder.with_name("new") / VECTORS, folder)
    with pytest.raises(ArchiveError, match="of another archive than the database beside it"):
        Archive.open(folder, model)


def test_a_log_that_another_archive_left(folder: Path, model: SiameseModel, tmp_path: Path) -> None:
    with Archive.open(folder, model) as archive:
        reader = sqlite3.connect(folder / DATABASE)  # keeps the log from being emptied
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM meta").fetchall()
        archive.add(["of the old archive"], ["old"])
        log = (folder / WAL).read_bytes()
        assert log
        reader.close()
    new = tmp_path / "new"
    new.mkdir()
    (new / WAL).write_bytes(log)
    with Archive.build(new, ["flight"], model, ids=["a"]) as built:
        assert (built.get("old"), built.get("a"), len(built)) == (None, "flight", 1)
    # And if a person lays it there: nothing changes.
    for place, message in ((new, "of another archive"), (folder, "or of an earlier state")):
        database = (place / DATABASE).read_bytes()
        (place / WAL).write_bytes(log)
        if place == folder:
            with Archive.open(place, model) as archive:  # the log belongs to it until the next change
                assert archive.get("old")
                archive.add(["passport"])
            database = (place / DATABASE).read_bytes()
            (place / WAL).write_bytes(log)
        for _ in range(2):
            with pytest.raises(ArchiveError, match=message):
                Archive.open(place, model)
            assert ((place / DATABASE).read_bytes(), (place / WAL).read_bytes()) == (database, log)


# Copies


@pytest.mark.ci
@posix
def test_copies_of_an_archive_in_use(folder: Path, model: SiameseModel, tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, folder], env=ENVIRONMENT, stdout=subprocess.PIPE)
    assert writer.stdout and writer.stdout.readline()
    counts = Counter[str]()
    try:
        with Archive.open(folder, model) as archive:
            for number in range(30):
                archive.copy(tmp_path / f"copy {number}")
                assert is_whole(tmp_path / f"copy {number}", model)
                subprocess.run(["cp", "-r", folder, tmp_path / f"cp {number}"], check=False)
                try:
                    assert is_whole(tmp_path / f"cp {number}", model)
                    counts["right"] += 1
                except ArchiveError:
                    counts["refused"] += 1
    finally:
        writer.kill()
        writer.wait()
    print("cp -r:", dict(counts))
    assert is_whole(folder, model)


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
WRITER = """
import itertools, sys
from siamese import Archive
archive = Archive.open(sys.argv[1])
for i in itertools.count():
    archive.add([f"take luggage {i} {j}" for j in range(20)], [f"{i} {j}" for j in range(20)])
    archive.remove([f"{i} {j}" for j in range(0, 20, 2)])
    if i == 0:
        print(flush=True)
"""


def is_whole(folder: Path, model: SiameseModel) -> bool:
    """Compare the archive with the writer's changes, each of which adds 20 questions or removes 10."""
    with Archive.open(folder, model) as archive:
        held = dict(archive._database.execute("SELECT id, question FROM questions WHERE id LIKE '% %'"))
        assert len(held) % 10 == 0 and all(text == f"take luggage {id}" for id, text in held.items())
        (hits,) = archive.search(["take luggage"], 100_000, "vectors")
        similarity = model.similarity(["take luggage"] * len(hits), [hit.question for hit in hits])
        np.testing.assert_allclose([hit.similarity for hit in hits], similarity, atol=1e-6)
        return len(hits) == len(archive) == len(held) + N


def test_copy(folder: Path, model: SiameseModel, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "copy"
    copy = ("archive", "copy", "--archive", folder, "--out", out)
    assert command(*copy) == (0, f"{out}: {N} questions\n", "")
    assert attempt(out, model) == attempt(folder, model)
    code, _, err = command(*copy)
    assert code == 2 and err.startswith(f"error: {out}: an archive is there already, changed since it was built; ")
    shutil.copy(folder / VECTORS, out)  # the files have ids of their own
    assert command("search", "luggage", "--archive", out)[0] == 2


# Without permission to write


# Another user: what Python imports late is loaded before, since its folder may be closed to others.
OTHER = """
import contextlib, io, os, sys
from siamese import Archive, SiameseModel
from siamese.cli import main

def search():
    return main(["search", "take a seat", "-k", "1", *sys.argv[-4:]])

with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
    search()
os.setgid(65534), os.setuid(65534)
"""
COMMANDS = "sys.exit(main(sys.argv[1:]))"
READER = """
archive = Archive.open(sys.argv[2], SiameseModel.load(sys.argv[4]))
while True:
    print(sum(hit.id.startswith("new") for hit in archive.search(["take a seat"], 10_000)[0]), flush=True)
    if not sys.stdin.readline():
        break
"""


@pytest.fixture
def open_to_all(folder: Path, tmp_path: Path) -> tuple[object, ...]:
    copy = Path(shutil.copytree(model_folder(folder), tmp_path / "model"))
    for path in (tmp_path, *tmp_path.parents[:3], folder, copy, *folder.iterdir(), *copy.iterdir()):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    return "--archive", folder, "--model", copy


@root
def test_another_user_and_a_read_only_mount(folder: Path, open_to_all: tuple[object, ...], command: Command) -> None:
    refused = f"error: {folder}: cannot be changed: no permission to write there\n"
    search, remove = ("search", TEXTS[3], *open_to_all), ("archive", "remove", "1", *open_to_all)
    right = command(*search)[1]
    before = sorted(path.name for path in folder.iterdir())
    done = python("-c", OTHER + COMMANDS, *search)
    assert (done.returncode, done.stdout, done.stderr) == (0, right, "")
    assert python("-c", OTHER + COMMANDS, "archive", "info", *open_to_all).returncode == 0
    done = python("-c", OTHER + COMMANDS, *remove)
    assert (done.returncode, done.stderr) == (2, refused)
    assert sorted(path.name for path in folder.iterdir()) == before
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        assert command(*search) == (0, right, "")
        assert command(*remove) == (2, "", refused)
    finally:
        subprocess.run(["umount", folder], check=True)


@root
def test_the_owner_writes_while_another_user_has_it_open(
    folder: Path, model: SiameseModel, open_to_all: tuple[object, ...]
) -> None:
    words = [sys.executable, "-c", OTHER + READER, *map(str, open_to_all)]
    reader = subprocess.Popen(words, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reader.stdin and reader.stdout and reader.stdout.readline() == b"0\n"

    def asked() -> int:
        assert reader.stdin and reader.stdout
        reader.stdin.write(b"\n")
        reader.stdin.flush()
        return int(reader.stdout.readline())

    with Archive.open(folder, model) as archive:
        archive.add(["take a seat"] * 2, ["new 1", "new 2"])
        assert asked() == 2
        archive.remove(["new 1"])
    assert asked() == 1
    with Archive.open(folder, model) as archive:
        archive.add(["take a seat"], ["new 3"])
        assert asked() == 2
    assert asked() == 2
    reader.communicate()


NO_LOCKS = """
import ctypes, struct, sys
# seccomp: fcntl(F_SETLK) and fcntl(F_OFD_SETLK) fail with ENOLCK, as on a file system without locks.
rules = [(0x20, 0, 0, 0), (0x15, 0, 3, 72), (0x20, 0, 0, 24), (0x15, 2, 0, 6), (0x15, 1, 0, 37),
         (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050000 | 37)]
program = b"".join(struct.pack("HBBI", *rule) for rule in rules)
buffer = ctypes.create_string_buffer(program)
filter = struct.pack("HxxxxxxP", len(rules), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
if libc.prctl(22, 2, ctypes.create_string_buffer(filter), 0, 0):
    sys.exit(77)
from siamese.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="filters calls of Linux by number"
)
def test_a_file_system_without_locks(folder: Path) -> None:
    done = python("-c", NO_LOCKS, "search", "luggage", "--archive", folder)
    if done.returncode == 77:
        pytest.skip("may not filter system calls")
    expected = f"error: {folder}: on a file system without locks; copy it to one that has them\n"
    assert (done.returncode, done.stderr) == (2, expected)


# Room, size, threads


@root
@pytest.mark.parametrize("size", [64, 200, 400, 800])
def test_build_and_add_on_a_full_disk(tiny_model: Path, tmp_path: Path, command: Command, size: int) -> None:
    (tmp_path / "questions.txt").write_text("\n".join(TEXTS * 40), encoding="utf-8")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        build = ("archive", "build", tmp_path / "questions.txt", "--out", disk / "a", "--model", tiny_model)
        code, out, err = command(*build)
        assert (code, out, err.count("\n")) == (2, "", 1) and str(disk / "a") in err, err
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)


@root
def test_copy_to_a_full_disk(folder: Path, tmp_path: Path, command: Command) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=72k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        code, out, err = command("archive", "copy", "--archive", folder, "--out", disk / "a")
        assert (code, out, err.count("\n")) == (2, "", 1) and str(disk / "a") in err, err
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_vectors_shrink(folder: Path, model: SiameseModel) -> None:
    with Archive.open(folder, model) as archive:
        right = [hit for hit in archive.search([TEXTS[3]], N)[0] if int(hit.id) > 250]
        archive.remove([str(i + 1) for i in range(250)])
        assert (folder / VECTORS).stat().st_size == HEADER + (N - 250) * 4 * model.dimensions
        for found in (archive, Archive.open(folder, model)):
            hits = found.search([TEXTS[3]], N, "vectors")[0]
            assert {hit.id: hit.similarity for hit in hits} == {hit.id: hit.similarity for hit in right}
            assert {hit.id for hit in found.search(["claim"], N, "words")[0]} == {hit.id for hit in right}
        archive.remove([hit.id for hit in right])
        assert (folder / VECTORS).stat().st_size == HEADER
        assert archive.search(["luggage"]) == [[]] and archive.add(["luggage"]) == [str(N + 1)]


@pytest.mark.slow
@pytest.mark.ci
def test_eight_threads(folder: Path, model: SiameseModel) -> None:
    failed: list[BaseException] = []
    with Archive.open(folder, model) as archive:

        def search() -> list[tuple[str, float]]:
            return [(hit.id, hit.similarity) for hit in archive.search([TEXTS[3]], 3)[0]]  # scores depend on the rest

        right = search()

        def use(number: int) -> None:
            try:
                for i in range(25):
                    assert search() == right and archive.get("1") == TEXTS[0]
                    if i % 8 == 0:
                        archive.add(["passport"], [f"{number} {i}"])
                        assert len(archive) > N
                        archive.remove([f"{number} {i}"])
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (failed, len(archive)) == ([], N)


def test_killed_at_the_end_of_the_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, old = Path(shutil.copytree(OLD / "archive", tmp_path / "a")), SiameseModel.load(OLD / "format-3")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, Archive.open(folder, old) as archive:
        before = archive.search(["How can part 3 be mended?"])
        patch.setattr("siamese.archive.database.os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            archive.add(["Where?"], ["d"])
    for change in (True, False):
        with Archive.open(folder, old) as archive:
            assert archive.get("d") == "Where?" and archive.info()["format"] == 3
            assert archive.search(["How can part 3 be mended?"])[0][0].id == before[0][0].id
            if change:
                archive.remove(["d"])
                archive.add(["Where?"], ["d"])
    assert {path.name for path in folder.iterdir()} == {DATABASE, VECTORS}


def test_an_archive_of_0_1_0_is_read_as_it_is_and_upgraded_by_the_next_change(tmp_path: Path) -> None:
    folder, old = Path(shutil.copytree(OLD / "archive", tmp_path / "a")), SiameseModel.load(OLD / "format-3")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with Archive.open(folder, old) as archive:
        before = archive.search(["How can part 3 be mended?"])
        assert archive.info()["format"] == 1
        archive.copy(tmp_path / "copy")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    with Archive.open(folder, old) as archive:
        archive.add(["Where?"], ["d"])
        archive.remove(["d"])
        assert archive.info()["format"] == 3 and archive.search(["How can part 3 be mended?"]) == before
    with Archive.open(tmp_path / "copy", old) as archive:
        assert archive.info()["format"] == 3 and archive.search(["How can part 3 be mended?"]) == before
