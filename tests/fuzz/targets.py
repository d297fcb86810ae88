"""Targets of fuzzing: three functions of any bytes, which raise if a promise is broken, and a first corpus."""

import atexit
import dataclasses
import json
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from siamese import SiameseModel
from siamese.config import PRESETS
from siamese.errors import DataError, ModelError
from siamese.model.folder import LARGEST
from siamese.pairs.reading import read_pairs
from siamese.text.cleaning import clean
from siamese.text.keys import key
from tests.attacks.hostile import CONFIG, FORMS, NAMES, good, in_form, put
from tests.helpers.tiny_models import random_model

WORDS = ["how", "old", "are", "you", "?", "caf\u00e9", "駅", "๐", "\u0301"]
SECONDS = 5.0  # of a processor, for one input of a few kilobytes


@contextmanager
def in_time() -> Iterator[None]:
    start = time.process_time()
    yield
    assert time.process_time() - start < SECONDS, f"took {time.process_time() - start:.1f} s"


@cache
def folder() -> Path:
    """Return a folder for the files of one input."""
    path = Path(tempfile.mkdtemp(prefix="fuzz"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


# Text to vector


@cache
def models() -> list[SiameseModel]:
    """A small model with random weights of each kind: the three rules, with and without padding and buckets."""
    presets = [preset for preset in PRESETS.values() if preset.tower == "lstm"]
    return [random_model(preset.replace(buckets=5 if preset.buckets else 0), WORDS, size=4) for preset in presets]


def text_to_vector(data: bytes) -> None:
    """Score two questions, separated by a newline, with a model of each kind."""
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "surrogateescape")
    first, _, second = text.partition("\n")
    with in_time():
        for model in models():
            check_vectors(model, first, second)
        key(text)


def check_vectors(model: SiameseModel, first: str, second: str) -> None:
    """Check what holds for any two questions."""
    known = model.tokenizer.knows(model.tokenizer.encode([first, second]))
    apart = [unicodedata.normalize("NFD", question) for question in (first, second)]
    vectors = model.encode([first, second, *apart])
    assert np.isfinite(vectors).all()
    assert (vectors[:2] == vectors[2:]).all(), "another vector for another spelling"
    lengths = np.linalg.norm(vectors[:2].astype(np.float64), axis=1)
    assert np.abs(lengths - known).max() < 1e-5, lengths  # 1 if a word is known, else 0
    there, back = model.predict(first, second, threshold=0), model.predict(second, first, threshold=0)
    assert there == back
    assert np.isfinite([there.similarity, there.probability]).all()
    cleaned = model.config.padding == "none"  # as all but the course's are
    if not known.all() and not (cleaned and clean(first) == clean(second)):
        assert there.similarity == 0
        assert not there.is_duplicate
    equal = bool(clean(first)) if cleaned else known[0]
    assert model.predict(first, first).is_duplicate == equal


# A pairs file to Pairs

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


def file_to_pairs(data: bytes) -> None:
    """The first byte says which format, whether labels are read, and whether both are needed; the rest is the file."""
    kind = data[0] if data else 0
    path = folder() / f"pairs{SUFFIXES[kind % 4]}"
    path.write_bytes(data[1:])
    labelled, need = kind < 128, () if kind & 64 else (0, 1)
    with in_time():
        try:
            pairs = read_pairs(path, labelled=labelled, need=need)
        except DataError as error:
            assert str(path) in str(error) or "groups of questions" in str(error), error
            assert len(str(error)) < 20_000, "a message that nobody reads"
            return
    assert len(pairs) == len(pairs.question1) == len(pairs.question2) == len(pairs.labels)
    assert set(pairs.labels.tolist()) <= ({0, 1} if labelled else {0, 1, -1})
    for question in (*pairs.question1, *pairs.question2):
        assert question.strip()
        question.encode()  # what is no text was left out
    for column in (pairs.unseen, pairs.split, pairs.id):
        assert column is None or len(column) == len(pairs)
    for name in ("train", "validation", "test"):
        part = pairs.part(name)
        assert part is None or len(part)


# A model folder to a model

BETWEEN = b"\n\xff--\xff\n"


@cache
def right(compact: bool) -> dict[str, bytes]:
    return good(compact)


def folder_to_model(data: bytes) -> None:
    """The first byte says which files of which model are replaced, and in which form; the rest is these files."""
    kind = data[0] if data else 0
    names = (NAMES, *((name,) for name in NAMES))[kind // 6 % 4]
    files = right(bool(kind % 2)) | dict(zip(names, data[1:].split(BETWEEN, len(names) - 1)))
    place = put(in_form(files, FORMS[kind // 2 % 3]), folder() / "model")
    with in_time():
        try:
            model = SiameseModel.load(place)
        except ModelError as error:
            assert str(place) in str(error)
            assert len(str(error)) < 2_000, "a message that nobody reads"
            assert "\n" not in str(error)
            return
        questions = ["how old are you", "", "駅 zzz", "x"]
        vectors = model.encode(questions)
    assert np.isfinite(vectors).all()
    assert max(float(np.abs(weight.astype(np.float64)).max()) for weight in model.weights.values()) <= LARGEST
    said = model.predict(questions[0], questions[2])
    assert 0 <= said.threshold <= 1
    assert 0 <= said.probability <= 1


# What to begin with


def hostile_texts() -> list[str]:
    return [
        "how old are you?", "caf\u00e9\ncafe\u0301", "", " ", "a", "3.14 1,000", "\0", "\ud800 how", "\u202ehow\u202c",
        "👩\u200d👩\u200d👧\u200d👦 how", "駅はどこ\n駅", "สวัสดี ๐", "don't can't 'tis gonna", "e" + "\u0323\u0301" * 40,
        "İΣς ΣΑΣ", "\u1100\u1161\u11a8", "zzz\nqqq", '"a" \'b\' (c) [d] --', "a.) ...", "\ufeffhow",
    ]  # fmt: skip


def seeds_of_text() -> list[bytes]:
    return [text.encode("utf-8", "surrogatepass") for text in hostile_texts()]


def seeds_of_pairs() -> list[bytes]:
    import pyarrow
    from pyarrow import parquet

    rows = [
        {"question1": "how?", "question2": "how old?", "is_duplicate": 0, "unseen": 1, "split": "train", "id": "1"},
        {"question1": "café", "question2": "cafe, \"x\"", "is_duplicate": 1, "unseen": 0, "split": "test", "id": "2"},
    ]  # fmt: skip
    grouped = [{"question": f"q {i}", "group": i // 2} for i in range(8)]
    found = []
    for records in (rows, grouped):
        names = list(records[0])
        for kind, delimiter in ((0, ","), (1, "\t")):
            cells = [names, *([str(row[name]).replace('"', '""') for name in names] for row in records)]
            text = "".join(delimiter.join(f'"{cell}"' for cell in row) + "\n" for row in cells)
            found += [bytes([kind]) + text.encode(), bytes([kind + 128]) + text.replace('"', "").encode()]
        lines = "".join(json.dumps(row) + "\n" for row in records)
        found += [b"\x02" + lines.encode(), b"\x82" + lines.replace('"q', '"\\ud800').encode()]
        for number, compression in ((3, "none"), (131, "zstd")):
            sink = pyarrow.BufferOutputStream()
            parquet.write_table(pyarrow.Table.from_pylist(records), sink, compression=compression)
            found.append(bytes([number]) + sink.getvalue().to_pybytes())
    return found


def seeds_of_folders() -> list[bytes]:
    found = []
    for kind in range(6):
        files = in_form(right(bool(kind % 2)), FORMS[kind // 2])
        found += [bytes([kind]) + BETWEEN.join(files[name] for name in NAMES)]
        found += [bytes([kind + 6 * i]) + files[name] for i, name in enumerate(NAMES, 1)]
    return found


# As strategies of hypothesis

anything = st.text(st.characters(exclude_categories=()), max_size=20)
repeated = st.tuples(st.sampled_from(hostile_texts()) | anything, st.integers(1, 40)).map(
    lambda unit: unit[0] * unit[1]
)
numbers = st.integers() | st.floats() | st.sampled_from([0, 1, 2**40, 10**400, -1, "0", "1", "1.0"])
values = st.recursive(
    st.none() | st.booleans() | numbers | repeated,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def mutated(draw: st.DrawFn, begin: list[bytes]) -> bytes:
    """Overwrite, remove or insert a few bytes of one of these inputs, or cut it off."""
    data = bytearray(draw(st.sampled_from(begin)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(data)))
        some = draw(st.binary(max_size=8) | repeated.map(lambda text: text[:40].encode("utf-8", "surrogatepass")))
        until = place + draw(st.sampled_from([0, 1, len(some), 64, len(data)]))
        data[place:until] = some
    return bytes(data)


@st.composite
def delimited(draw: st.DrawFn) -> bytes:
    """Draw CSV or TSV with the right columns and any cells."""
    kind = draw(st.integers(0, 1)) + draw(st.sampled_from([0, 64, 128]))
    names = draw(st.sampled_from([["question1", "question2", "is_duplicate", "unseen", "split", "id"],
                                  ["question", "group"]]))  # fmt: skip
    cell = repeated | st.sampled_from(["0", "1", "train", '"', '"a\nb"', "", "\r"])
    rows = [names, *draw(st.lists(st.lists(cell, min_size=len(names), max_size=len(names)), max_size=6))]
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(("," if kind % 4 == 0 else "\t").join(row) for row in rows)
    return bytes([kind]) + text.encode("utf-8", "surrogatepass")


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    """Draw JSON lines with the right columns and any values."""
    kind = 2 + draw(st.sampled_from([0, 64, 128]))
    pair = st.fixed_dictionaries(
        {"question1": repeated, "question2": repeated, "is_duplicate": numbers | values},
        optional=dict.fromkeys(("unseen", "split", "id", "question", "group"), values),
    )
    question = st.fixed_dictionaries({"question": repeated, "group": numbers | values})
    records = draw(st.lists(draw(st.sampled_from([pair, question])), min_size=1, max_size=12))
    return bytes([kind]) + "\n".join(json.dumps(record) for record in records).encode()


@st.composite
def parquet_files(draw: st.DrawFn) -> bytes:
    """Draw Parquet with the right columns of any types, perhaps with a few bytes changed."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = draw(st.integers(1, 5))

    def column(strategy: st.SearchStrategy) -> list:
        return draw(st.lists(strategy, min_size=rows, max_size=rows))

    def anything_at_all() -> pa.Array:
        whole = pa.array(column(st.integers(-(2**63), 2**63 - 1)), pa.int64())
        times = [pa.timestamp("ns"), pa.timestamp("us"), pa.timestamp("ms", "UTC"), pa.time64("us"), pa.duration("s")]
        return draw(st.sampled_from([
            *(whole.view(kind) for kind in (pa.int64(), pa.uint64(), pa.float64(), pa.date64(), *times)),
            pa.array(column(st.binary(max_size=9))), pa.array(column(st.booleans() | st.none())), pa.nulls(rows),
            pa.array(column(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-9, max_value=9))),
            pa.array(column(st.lists(st.integers(0, 9)) | st.none())), pa.array(column(st.just({"a": [1]}))),
        ]))  # fmt: skip

    text = st.text(st.characters(codec="utf-8"), max_size=9)
    usual = {
        "question1": text,
        "question2": text,
        "is_duplicate": st.sampled_from([0, 1, None]),
        "split": text,
        "question": text,
        "group": st.integers(0, 5),
        "id": st.integers(0, 9),
        "unseen": st.booleans(),
    }
    names = [*draw(st.lists(st.sampled_from(sorted(usual)), unique=True)), "question1", "question2", "is_duplicate"]
    odd = draw(st.sets(st.sampled_from(names), max_size=2))
    columns = {name: anything_at_all() if name in odd else pa.array(column(usual[name])) for name in names}
    if draw(st.booleans()):
        columns = {name: array for name, array in columns.items() if name != "question1"}
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink, compression=draw(st.sampled_from(["none", "snappy", "zstd"])))
    data = bytes([3 + draw(st.sampled_from([0, 64, 128]))]) + sink.getvalue().to_pybytes()
    return draw(st.just(data) | mutated([data]))


@st.composite
def changed_settings(draw: st.DrawFn) -> bytes:
    """Draw a model whose config.json has another value somewhere, with matching checksums."""
    kind = draw(st.integers(0, 5))
    settings = json.loads(right(bool(kind % 2))[CONFIG])
    inner = draw(st.sampled_from([settings, settings["config"], settings["calibration"], settings["facts"]]))
    inner[draw(st.sampled_from([*inner, "other"]))] = draw(values)
    return bytes([kind + 6]) + json.dumps(settings).encode()


@dataclasses.dataclass(frozen=True)
class Target:
    """A function to fuzz, its first inputs, and a hypothesis strategy for more."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    inputs: Callable[[], st.SearchStrategy[bytes]]
    longest: int  # bytes that libFuzzer makes


def _texts() -> st.SearchStrategy[bytes]:
    text = st.lists(repeated | st.sampled_from(["\n", " "]), max_size=6).map(lambda parts: "".join(parts)[:1_000])
    return text.map(lambda text: text.encode("utf-8", "surrogatepass")) | mutated(seeds_of_text())


def _files() -> st.SearchStrategy[bytes]:
    return delimited() | json_lines() | parquet_files() | mutated(seeds_of_pairs())


TARGETS = {
    "text": Target(text_to_vector, seeds_of_text, _texts, 150),
    "pairs": Target(file_to_pairs, seeds_of_pairs, _files, 8_192),
    "model": Target(folder_to_model, seeds_of_folders, lambda: changed_settings() | mutated(seeds_of_folders()), 8_192),
}
