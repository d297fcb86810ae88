"""The loader against folders that a stranger could send: it refuses each with ModelError, fast and in little memory.

`pytest -s tests/attacks` prints how many were tried of each kind.
"""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import (
    BUCKETS,
    CONFIG,
    FORMS,
    KINDS,
    NAMES,
    VOCABULARY,
    WEIGHTS,
    Files,
    good,
    in_form,
    parts,
    put,
    settings,
    with_config,
    with_header,
    with_number,
    with_settings,
)

from siamese import SiameseModel
from siamese.errors import ModelError

pytestmark = pytest.mark.slow

SECONDS = 1.0  # of the processor, for one folder
BYTES = 1 << 20  # that loading one may take, beside 20 times the size of its files
# Their checksums are the attack itself, or are right already, or are not come to.
IN_CONFIG = ("checksums", "texts of config.json", "format versions")
TRIED: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def tried() -> Iterator[None]:
    yield
    print(f"\n{TRIED.total():,} folders tried: " + "; ".join(f"{kind} {n:,}" for kind, n in TRIED.items()))


@pytest.fixture(autouse=True)
def no_test_waits_for_ever() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError("a folder holds the loader")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=[False, True], ids=["float32", "compact"])
def files(request: pytest.FixtureRequest) -> Files:
    return good(request.param)


def refused(folder: Path, kind: str, case: str, needed: float = SECONDS) -> str:
    """Check that a folder is refused as it should be; the message."""
    TRIED[kind] += 1
    start = time.process_time()
    with pytest.raises(ModelError) as caught:
        SiameseModel.load(folder)
        pytest.fail(f"{kind}, {case}: loaded")
    taken, message = time.process_time() - start, str(caught.value)
    assert taken < needed, f"{kind}, {case}: {taken:.2f} s"
    assert message.startswith(str(folder)), case
    assert message.isprintable() and len(message) < len(str(folder)) + 1_000, f"{kind}, {case}: {message[:2_000]!r}"
    return message


def answers(folder: Path, kind: str, case: str) -> None:
    """Check that a folder is refused, or its model answers with finite numbers."""
    TRIED[kind] += 1
    try:
        model = SiameseModel.load(folder)
    except ModelError:
        return
    questions = ["how old are you ?", "what is your age", "駅 é zzz", "", "old " * 40]
    assert np.isfinite(model.encode(questions)).all(), case
    similarity = model.similarity(questions, questions[1:] + questions[:1])
    assert (np.abs(similarity) <= 1).all(), case
    with np.errstate(over="ignore"):
        for prior in (None, 0.01):
            probability = model.probability(similarity, prior)
            assert ((probability >= 0) & (probability <= 1)).all(), case
            assert 0 <= model.threshold_for(None, prior) <= 1, case


def test_the_right_folder_loads(files: Files, tmp_path: Path) -> None:
    for form in FORMS:
        model = SiameseModel.load(put(in_form(files, form), tmp_path))
        assert len(model.tokenizer) == 2 + BUCKETS + len(model.tokenizer.words)
        assert np.linalg.norm(model.encode(["how old are you"])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "form"), [(kind, form) for kind in KINDS for form in FORMS if kind not in IN_CONFIG or form == FORMS[0]]
)
def test_refused(kind: str, form: str, files: Files, tmp_path: Path) -> None:
    for case, wrong in KINDS[kind](files):
        folder = put(wrong if kind in IN_CONFIG else in_form(wrong, form), tmp_path)
        message = refused(folder, kind, case)
        if form == "checksums made right" and kind not in IN_CONFIG:
            assert "SHA-256" not in message, f"{kind}, {case}: the checksum is not right"
        if kind == "format versions":
            assert f"{CONFIG}: format " in message, case


@pytest.mark.parametrize("kind", KINDS)
def test_refused_in_little_memory(kind: str, tmp_path: Path) -> None:
    files = good()
    for case, wrong in KINDS[kind](files):
        folder = put(wrong if kind in IN_CONFIG else in_form(wrong, "checksums made right"), tmp_path)
        most = BYTES + 20 * sum(map(len, wrong.values()))  # a word of 7 bytes is a string of 56 and its place in a set
        tracemalloc.start()
        try:
            with pytest.raises(ModelError):
                SiameseModel.load(folder)
            assert tracemalloc.get_traced_memory()[1] < most, case
        finally:
            tracemalloc.stop()


class Evil:
    """Create a folder when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_a_pickle_is_not_read(name: str, form: str, files: Files, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    array = np.array([Evil(marker)], dtype=object)
    np.save(tmp_path / "array.npy", array, allow_pickle=True)
    contents = [pickle.dumps(Evil(marker), protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for i, content in enumerate([*contents, (tmp_path / "array.npy").read_bytes()]):
        refused(put(in_form({**files, name: content}, form), tmp_path / "model"), "pickles", f"{name} {i}")
    assert not marker.exists()
    pickle.loads(contents[0])
    assert marker.exists()  # it would have worked


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_cut_off(name: str, form: str, files: Files, tmp_path: Path) -> None:
    whole = in_form(files, "format 2" if form == "format 2" else "as it came")
    for sixteenth in range(16):
        cut = {**whole, name: whole[name][: len(whole[name]) * sixteenth // 16]}
        refused(put(in_form(cut, form), tmp_path), "truncations", f"{name} at {sixteenth}/16")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_single_bytes(name: str, form: str, files: Files, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    whole = in_form(files, "format 2" if form == "format 2" else "as it came")
    for _ in range(200):
        content = bytearray(whole[name])
        place = int(random.integers(len(content)))
        content[place] ^= int(random.integers(1, 256))
        changed, case = {**whole, name: bytes(content)}, f"{name}, byte {place} is {content[place]}"
        if form == "as it came":
            refused(put(changed, tmp_path), "single bytes", case)
        elif form == "checksums made right" and name == CONFIG:
            # Other spaces, or another spelling of a number, would not outlive `in_form`.
            own = settings(files)["sha256"][CONFIG]
            if own.encode() in changed[CONFIG]:
                blank = changed[CONFIG].replace(own.encode(), b"0" * 64)
                changed = {**changed, CONFIG: blank.replace(b"0" * 64, sha256(blank).hexdigest().encode(), 1)}
            answers(put(changed, tmp_path), "single bytes, checksums right", case)
        else:
            answers(put(in_form(changed, form), tmp_path), "single bytes, checksums right", case)


@pytest.mark.slow
@pytest.mark.ci
def test_every_field_of_any_type(tmp_path: Path) -> None:
    files = good()
    for field in settings(files)["config"]:
        for value in (
            None, True, False, 0, 1, -1, 2**40, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "none",
            "nltk", "x" * 10_000, "../../../etc/passwd", "\0", "\x1b[2J\n", [], [1], {}, {"a": 1},
        ):  # fmt: skip
            folder = put(in_form(with_config(files, **{field: value}), "checksums made right"), tmp_path)
            answers(folder, "fields of any type", f"{field} {str(value)[:20]!r}")


def test_numbers_that_a_model_may_have(tmp_path: Path) -> None:
    files = good()
    for threshold in (0, 1, -0.0, 5e-324):
        for slope in (0, 5e-324, -1.7e308, 1.7e308, 10**308):
            for prior in (5e-324, 0.5, 1 - 2**-53):
                calibration = {"slope": slope, "intercept": -slope, "prior": prior}
                wrong = with_settings(files, threshold=threshold, calibration=calibration)
                folder = put(in_form(wrong, "checksums made right"), tmp_path)
                answers(folder, "numbers at the limits", f"{threshold} {calibration}")


@pytest.mark.parametrize("form", FORMS)
def test_weights_that_are_not_finite(form: str, files: Files, tmp_path: Path) -> None:
    for name, entry in parts(files)[0].items():
        for number in (np.nan, np.inf, -np.inf, *((3e38, -3e38, 1.1e9) if entry["dtype"] == "F32" else ())):
            if entry["dtype"] != "I8":
                wrong = in_form(with_number(files, name, number), form)
                message = refused(put(wrong, tmp_path), "weights not finite", f"{name} {number}")
                assert form == "as it came" or "not finite" in message
        for number in (-128, 127) if entry["dtype"] == "I8" else (1e9, -1e9, 1e-40) if entry["dtype"] == "F32" else ():
            answers(put(in_form(with_number(files, name, number), form), tmp_path), "weights at the limits", name)


@pytest.mark.skipif(os.name != "posix", reason="needs links and pipes")
@pytest.mark.parametrize("name", NAMES)
def test_links_pipes_and_folders(name: str, files: Files, tmp_path: Path) -> None:
    outside = put(files, tmp_path / "outside")
    folder = put(files, tmp_path / "model")
    path = folder / name
    (folder / f"other-{name}").write_bytes(files[name])
    targets = [outside / name, f"../outside/{name}", f"other-{name}", "nowhere", name, "/dev/zero", "/dev/stdin"]
    for target in [*targets, "/proc/self/mem", "/etc/passwd", folder]:
        path.unlink()
        path.symlink_to(target)
        assert "a symbolic link: expected the file itself" in refused(folder, "links", f"{name} to {target}")
    path.unlink()
    os.mkfifo(path)
    assert "not a file: expected the file itself" in refused(folder, "pipes and folders", name)
    path.unlink()
    path.mkdir()
    assert "not a file: expected the file itself" in refused(folder, "pipes and folders", name)
    path.rmdir()
    os.link(outside / name, path)  # a second name of the same file is the file itself
    assert SiameseModel.load(folder).encode(["how"]).any()
    (tmp_path / "link").symlink_to(folder)  # and the folder may be named by a link: whoever loads it has named it
    assert SiameseModel.load(tmp_path / "link").encode(["how"]).any()


HEARD: list[tuple[str, str]] | None = None


def hear(event: str, arguments: tuple[Any, ...]) -> None:
    if HEARD is not None and (
        event in ("open", "import", "exec", "compile") or event.startswith(("os.", "sub", "socket"))
    ):
        HEARD.append((event, str(arguments[0]) if arguments else ""))


def test_no_name_in_a_model_is_imported_or_opened(tmp_path: Path) -> None:
    # An audit hook hears of every import, file, process and socket.
    global HEARD
    name = "hostile_name"
    (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    path = str(tmp_path / f"{name}.py")
    files = with_config(good(), preset=name, word_vectors=path, start_from=path, teacher=name)
    source = {"data": path, "validation": path, "split": None, "columns": {}}
    facts = {"data": {"source": source, "sha256": {path: "0"}}, name: name, "__class__": name, "py/object": name}
    header, _ = parts(files)
    files = with_header(with_settings(files, facts=facts), {"__metadata__": {"format": name, "path": path}, **header})
    folder = put(in_form(files, "checksums made right"), tmp_path / "model")
    SiameseModel.load(folder).predict("how old", "your age")  # what the code itself needs is imported here
    sys.addaudithook(hear)
    sys.path.insert(0, str(tmp_path))
    HEARD = []
    try:
        SiameseModel.load(folder).predict("how old", "your age")
    finally:
        heard, HEARD = HEARD, None
        sys.path.remove(str(tmp_path))
    TRIED["names to import or open"] += 1
    assert [what for event, what in heard if event == "open" and not what.isdigit()] == [str(folder / n) for n in NAMES]
    assert not [event for event, _ in heard if event not in ("open", "os.listdir", "os.scandir")]
    assert not (tmp_path / "ran").exists()


def test_facts_of_any_shape_are_forgotten(tmp_path: Path) -> None:
    from siamese.pairs.splits import recall

    files = good()
    path = str(tmp_path / "pairs.csv")
    Path(path).write_text("question1,question2,is_duplicate\na,b,1\nc,d,0\n")
    source = {"data": path, "validation": None, "split": None, "columns": {}}
    for data in (
        None, [], "text", 3, {}, {"source": source}, {"source": source, "sha256": []}, {"source": source, "sha256": {}},
        {"source": source, "sha256": {path: "0" * 64}}, {"source": source, "sha256": {"/etc/passwd": "0"}},
        {"source": "text", "sha256": {}}, {"source": {**source, "data": "a\0b"}, "sha256": {"a\0b": ""}},
        {"source": {**source, "columns": []}, "sha256": {}},
        {"source": {**source, "data": "/dev/zero"}, "sha256": {"/dev/zero": ""}},
    ):  # fmt: skip
        folder = put(in_form(with_settings(files, facts={"data": data}), "checksums made right"), tmp_path / "model")
        TRIED["facts"] += 1
        assert recall(SiameseModel.load(folder).facts) is None, str(data)[:200]


# In a process of its own, with a limit of memory: what each folder adds to the memory of the process, at its highest.
CHILD = """
import json, resource, sys, time
from siamese import SiameseModel
from siamese.errors import ModelError

def highest():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))  # kB

good, *folders = sys.argv[1:]
SiameseModel.load(good).predict("how old", "your age")
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
found = {}
for folder in folders:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the highest is what it is now
    before, start = highest(), time.process_time()
    try:
        SiameseModel.load(folder)
        message = "loaded"
    except ModelError as error:
        message = str(error)
    found[folder] = message, time.process_time() - start, highest() - before
print(json.dumps(found))
"""


@pytest.mark.ci
@pytest.mark.skipif(sys.platform != "linux", reason="needs sparse files and a limit of memory")
def test_large_files_are_refused_in_bounded_memory(tmp_path: Path) -> None:
    files = good()
    data = parts(files)[1]
    wide = with_config(files, embedding=2**19, hidden=2**19)
    # name: files, the sparse size of one of them, the highest growth of memory in MB, seconds
    cases: dict[str, tuple[Files, tuple[str, int] | None, int, float]] = {
        "weights of 2^40 bytes": (files, (WEIGHTS, 2**40), 8, SECONDS),
        "weights of 2^40 bytes as claimed": (wide, (WEIGHTS, 2**40 + 2**20), 8, SECONDS),
        "weights of 1 GB beside a small header": (files, (WEIGHTS, 2**30), 8, SECONDS),
        "a header of 100 MB": (
            {**files, WEIGHTS: (10**8).to_bytes(8, "little") + b" " * 10**8 + data}, None, 8, SECONDS
        ),
        "a vocabulary of 2^40 bytes": (files, (VOCABULARY, 2**40), 8, SECONDS),
        "a vocabulary of 16 MB": (
            {**files, VOCABULARY: "".join(f"{chr(i % 20_000 + 0x4E00)}{i // 20_000:x}\n" for i in range(2_600_000))
             .encode()}, None, 120, SECONDS,
        ),
        "a config.json of 2^40 bytes": (files, (CONFIG, 2**40), 8, SECONDS),
        "a config.json of 4 MB of lists": ({**files, CONFIG: b"[" + b"[]," * 1_398_000 + b"[]]"}, None, 200, 3.0),
    }  # fmt: skip
    for i, (wrong, sparse, _, _) in enumerate(cases.values()):
        folder = put(wrong, tmp_path / str(i))
        if sparse:
            try:
                os.truncate(folder / sparse[0], sparse[1])
            except OSError:
                pytest.skip("this file system has no sparse files of 1 TB")
        # Without checksums, which would be the end of some of them.
        if not sparse or sparse[0] != CONFIG:
            (folder / CONFIG).write_bytes(in_form(wrong, "format 2")[CONFIG])
    line = [sys.executable, "-c", CHILD, put(files, tmp_path / "good"), *(tmp_path / str(i) for i in range(len(cases)))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(line, cwd=root, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for i, (case, (_, _, megabytes, seconds)) in enumerate(cases.items()):
        message, taken, grown = found[str(tmp_path / str(i))]
        TRIED["large files"] += 1
        assert message != "loaded", case
        assert taken < seconds, f"{case}: {taken:.2f} s"
        assert grown / 1024 < megabytes, f"{case}: {grown / 1024:.0f} MB"
        print(f"{case}: {taken:.3f} s, {grown / 1024:.0f} MB: {message.removeprefix(str(tmp_path))}")
