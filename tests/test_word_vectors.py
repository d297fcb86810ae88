"""Word vectors: file formats, the vector of each word, and the initial embedding."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import TRAIN
from hypothesis import given
from hypothesis import strategies as st
from trainings import fit

from siamese import SiameseModel
from siamese.cli import entry
from siamese.config import Config
from siamese.errors import DataError, UserError
from siamese.pairs.splits import Datasets
from siamese.system.progress import Progress
from siamese.text.tokenizer import Tokenizer
from siamese.towers import word_vectors
from siamese.training.start import make_tower

TINY = Config(embedding=16, hidden=16, batch_size=32, epochs=1, learning_rate=0, buckets=0)  # at 0 nothing moves
GLOVE = "the 0.5 -1\n, 2 3e-1\nhow 0.25 4\n"
VECTORS = {"the": [0.5, -1], ",": [2, 0.3], "how": [0.25, 4]}

File = Callable[..., Path]


@pytest.fixture()
def file(tmp_path: Path) -> File:
    """Write a file of text or bytes."""

    def write(content: str | bytes, name: str = "vectors.txt") -> Path:
        content = content.encode() if isinstance(content, str) else content
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
        return path

    return write


def read(path: Path, *words: str) -> dict[str, list[float]]:
    which, vectors = word_vectors.read(path, words)
    assert which.dtype == np.int64 and vectors.dtype == np.float32 and len(which) == len(vectors)
    assert (np.diff(which) > 0).all()
    return {words[i]: vector for i, vector in zip(which, vectors.astype(float).round(6).tolist())}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (GLOVE, "a.txt"),
        (GLOVE, "a.txt.gz"),
        ("3 2\n" + GLOVE, "a.vec"),
        ("3 2\n" + GLOVE, "a.vec.gz"),
        (GLOVE.replace("\n", " \n"), "a.txt"),  # word2vec's own program ends each line so
        (("3 2\n" + GLOVE).replace("\n", "\r\n"), "a.txt"),
        (GLOVE.replace(" ", "\t"), "a.txt"),
        (GLOVE.replace("\n", "\n\n").removesuffix("\n\n"), "a.txt"),
        ("\ufeff" + GLOVE, "a.txt"),
        (GLOVE, "a.GZ"),
    ],
)
def test_formats(file: File, content: str, name: str) -> None:
    assert read(file(content, name), "zzz", "how", ",", "the") == VECTORS


def test_words_with_spaces_and_odd_signs(file: File) -> None:
    # GloVe 840B has the first two; a line of text would end at U+0085 and U+2028.
    lines = [". . . 1 2", "at name@domain.com 3 4", "2003 5 6", "\x85 7 8", "a\u2028b 9 10", "\u00a0 1 1", "at 11 12"]
    expected = {"2003": [5, 6], "\x85": [7, 8], "a\u2028b": [9, 10], "at": [11, 12]}
    for first in range(len(lines)):  # whichever comes first
        path = file("\n".join(lines[first:] + lines[:first]))
        assert read(path, ".", "at", "name@domain.com", "2003", "\x85", "a\u2028b") == expected


def test_a_first_word_that_is_a_number_is_no_header(file: File) -> None:
    assert read(file("7 0.5 1\n8 2 3\n"), "7", "8") == {"7": [0.5, 1], "8": [2, 3]}
    assert read(file("7 0.5\n8 2\n"), "7", "8") == {"7": [0.5], "8": [2]}
    assert read(file("7 0\n8 2\n"), "7", "8") == {"7": [0], "8": [2]}


@given(
    table=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Z", "Cc"]), min_size=1, max_size=5),
        st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=3), min_size=1, max_size=8,
    ),
    header=st.booleans(), data=st.data(),
)  # fmt: skip
def test_every_word_gets_its_vector(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, list[float]], header: bool, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "given.txt"
    lines = [f"{word} {' '.join(map(repr, vector))}" for word, vector in table.items()]
    path.write_bytes("\n".join([f"{len(lines)} 3"] * header + lines).encode())
    words = data.draw(st.permutations(list(table)))
    which, vectors = word_vectors.read(path, words)
    assert which.tolist() == list(range(len(words)))
    assert vectors.tolist() == [table[word] for word in words]


def test_upper_case_is_second_choice(file: File) -> None:
    path = file("THE 1 1\nThe 2 2\nthe 3 3\nParis 4 4\nPARIS 5 5\nwhat 6 6\nus 7 7\nUS 8 8\n")
    assert read(path, "the", "paris", "us") == {"the": [3, 3], "paris": [4, 4], "us": [7, 7]}
    # Words that keep their case, as the course presets have them.
    assert read(path, "What", "US", "The", "us") == {"What": [6, 6], "US": [8, 8], "The": [2, 2], "us": [7, 7]}


def test_only_what_is_wanted_is_parsed(file: File) -> None:
    assert read(file("a 1 1\nb x 2\nc 3 3\nc 4 4\n"), "c") == {"c": [3, 3]}  # and of a repeated word the first


@pytest.mark.slow
def test_a_large_file_is_not_held(tmp_path: Path) -> None:
    line = " 0.12345" * 300 + "\n"
    with gzip.open(tmp_path / "large.gz", "wt", compresslevel=1) as packed:
        packed.writelines(f"w{i}{line}" for i in range(4_000))
    with open(tmp_path / "large.txt", "w") as plain:
        plain.writelines(f"w{i}{line}" for i in range(4_000))  # 9.6 MB
    for name in ("large.gz", "large.txt"):
        tracemalloc.start()
        which, vectors = word_vectors.read(tmp_path / name, ["w3999", "w7"])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(which) == 2 and vectors.shape == (2, 300)
        assert peak < 500_000


WRONG: list[tuple[str | bytes, str]] = [
    ("a 1 2\nb 1\n", "line 2: 1 numbers after the word, expected 2"),
    ("a 1 2\nb 1 2 3\n", "line 2: 3 numbers after the word, expected 2"),
    ("a 1 2\nb\n", "line 2: 0 numbers after the word, expected 2"),
    ("2 3\na 1 2\n", "line 2: 2 numbers after the word, expected 3"),
    ("a 1 2\nb 1 x\n", "line 2: 'x' is not a number"),
    ("a 1 2\nb 1 nan\n", "line 2: 'nan' is no finite number"),
    ("a 1 1e39\n", "line 1: '1e39' is no finite number"),
    ("", ": no word in it"),
    ("question1,question2,is_duplicate\nHow,What,1\n", "line 1: a word without numbers"),
    ("c 1 2\nd 3 4\n", ": none of the vocabulary's 2 words is among its 2"),
    (b"a 1 2\n\xff\xfe 1 2\n", "line 2: not UTF-8 text (invalid start byte)"),
    (b"a 1 2\nb 1 \xff\n", "line 2: '\ufffd' is not a number"),
    ("9" * 5_000 + " " + "9" * 5_000, f"line 1: '{'9' * 30}' is no finite number"),
]


@pytest.mark.parametrize(("content", "message"), WRONG)
@pytest.mark.parametrize("name", ["v.txt", "v.gz"])
def test_a_file_that_cannot_be_used(file: File, content: str | bytes, message: str, name: str) -> None:
    path = file(content, name)
    with pytest.raises(DataError) as error:
        word_vectors.read(path, ["b", "a"])
    text = str(error.value)
    assert text.startswith(f"{path}{'' if message.startswith(':') else ', '}{message}"), text
    assert "expected" in text or "needs" in text


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.txt: no such file; expected word vectors in GloVe or word2vec text"):
        word_vectors.read(tmp_path / "nowhere.txt", ["a"])
    with pytest.raises(DataError, match=": a folder; expected"):
        word_vectors.read(tmp_path, ["a"])


def test_a_damaged_gzip_file(tmp_path: Path) -> None:
    packed = gzip.compress("".join(f"w{i} {i} {i % 7}\n" for i in range(5_000)).encode())
    for content in (b"a 1 2\n", packed[:-9], packed[: len(packed) // 2], packed[:-8] + b"\0" * 8):
        (tmp_path / "v.gz").write_bytes(content)
        with pytest.raises(DataError, match="v.gz: not a whole gzip file"):
            word_vectors.read(tmp_path / "v.gz", ["w3"])


def test_fitted_by_hand() -> None:
    # Columns 1, 3 and 10, 50 have the means 2 and 30; less these, -1, 1 and -20, 20 have the
    # variance (1 + 1 + 400 + 400) / 4 = 200.5. All is divided by its root and multiplied by 0.1.
    scale = 0.1 / 200.5**0.5
    fitted = word_vectors.fitted(np.float32([[1, 10], [3, 50]]), 3)
    assert fitted.dtype == np.float32
    assert fitted == pytest.approx(np.array([[-scale, -20 * scale, 0], [scale, 20 * scale, 0]]))
    # Along the one line that they lie on, which points to where its larger part is positive, they are √401 off.
    assert word_vectors.fitted(np.float32([[1, 10], [3, 50]]), 1) == pytest.approx(np.array([[-0.1], [0.1]]))


@pytest.mark.parametrize("size", [1, 5, 8, 11])
def test_fitted(size: int) -> None:
    rng = np.random.default_rng(3)
    vectors = (rng.normal(size=(200, 8)) @ rng.normal(size=(8, 8)) + 5).astype(np.float32)
    before = vectors.copy()
    fitted = word_vectors.fitted(vectors, size)
    assert fitted.shape == (200, size) and fitted.dtype == np.float32
    filled = min(size, 8)
    assert not fitted[:, filled:].any()
    assert fitted[:, :filled].mean(0) == pytest.approx(np.zeros(filled), abs=1e-7)
    assert fitted[:, :filled].std() == pytest.approx(0.1, rel=1e-5)
    assert vectors.tobytes() == before.tobytes()
    if size >= 8:  # moved and scaled, nothing else
        assert np.corrcoef(fitted[:, :8].ravel(), (vectors - vectors.mean(0)).ravel())[0, 1] == pytest.approx(1)
    else:  # the best that so many columns can keep
        left, lengths, _ = np.linalg.svd(vectors - vectors.mean(0, dtype=float), full_matrices=False)
        expected = left[:, :size] * lengths[:size]
        expected *= 0.1 / expected.std()
        signs = np.sign((expected * fitted).sum(0))
        assert fitted == pytest.approx(expected * signs, abs=1e-5)
        assert (np.diff(fitted.std(0)) <= 0).all()
        axes = np.linalg.lstsq(vectors - vectors.mean(0), fitted, rcond=None)[0]  # (8, size)
        assert (axes.max(0) > -axes.min(0)).all()  # of the two directions always the same


@pytest.mark.parametrize("size", [2, 3, 6])
def test_fitted_of_next_to_nothing(size: int) -> None:
    one = np.float32([[1, 2, 3]])
    for vectors in (one, np.repeat(one, 4, 0), np.float32([[1e38, -1e38, 0], [-1e38, 1e38, 0]])):
        fitted = word_vectors.fitted(vectors, size)
        assert fitted.shape == (len(vectors), size) and np.isfinite(fitted).all()


@pytest.mark.parametrize("rule", ["words", "nltk", "spaces"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_rows_of_found_words_are_replaced(file: File, rule: str, size: int) -> None:
    tokenizer = Tokenizer(["zzz", "how", "the"], rule)
    random = np.random.default_rng(1).normal(size=(5, size)).astype(np.float32)
    embedding = random.copy()
    path = file(GLOVE)
    assert word_vectors.start(embedding, tokenizer, path) == 2
    how, the = (int(tokenizer.encode([word]).ids[0]) for word in ("how", "the"))
    expected = random.copy()
    # read gives them in the order of the vocabulary
    expected[[how, the], : min(size, 2)] = word_vectors.fitted(np.float32([[0.25, 4], [0.5, -1]]), min(size, 2))
    assert embedding.tobytes() == expected.tobytes() != random.tobytes()


class Said(Progress):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def say(self, message: str) -> None:
        self.messages.append(message)


@pytest.mark.slow
def test_training_begins_with_them(parts: Datasets, file: File) -> None:
    path = file("How 1 2 3\nmy 4 6 5\nqqqq 7 8 9\nis 9 7 7\n")
    said = Said()
    config = TINY.replace(word_vectors=str(path))
    model = fit(config, parts, progress=said)
    words = model.tokenizer.words
    assert said.messages[0] == f"{path} has 3 of the vocabulary's {len(words)} words"
    expected = make_tower(TINY, len(words) + 2).embedding.weight.detach().numpy().copy()
    rows = sorted(words.index(word) + 2 for word in ("how", "my", "is"))
    assert model.weights["embedding.weight"].tobytes() != expected.tobytes()
    word_vectors.start(expected, model.tokenizer, path)
    assert model.weights["embedding.weight"].tobytes() == expected.tobytes()
    without = fit(TINY, parts).weights
    for name, weight in without.items():
        changed = np.argwhere(model.weights[name] != weight)
        if name == "embedding.weight":  # 3 of 16 columns of 3 words, and nothing else
            assert changed.tolist() == [[row, column] for row in rows for column in range(3)]
        else:
            assert len(changed) == 0
    again = fit(config, parts)
    assert all(again.weights[name].tobytes() == weight.tobytes() for name, weight in model.weights.items())


@pytest.mark.slow
def test_a_model_to_start_from_comes_after(parts: Datasets, file: File) -> None:
    start = fit(TINY.replace(seed=5), parts)
    start.tokenizer = Tokenizer(start.tokenizer.words[:50])
    start.weights["embedding.weight"] = start.weights["embedding.weight"][:52]
    known = start.tokenizer.words[0]
    other = next(word for word in fit(TINY, parts).tokenizer.words if word not in start.tokenizer.words)
    config = TINY.replace(word_vectors=str(file(f"{known} 1 2\n{other} 3 5\n")))
    model = fit(config, parts, start_from=start)
    table = model.weights["embedding.weight"]
    assert table[:52].tobytes() == start.weights["embedding.weight"].tobytes()
    row = 2 + model.tokenizer.words.index(other)
    # halves of the differences 2 and 3, whose root mean square is √((1 + 2.25) / 2)
    assert np.abs(table[row, :2]) == pytest.approx(0.1 * np.array([1, 1.5]) / 1.625**0.5, rel=1e-5)


@pytest.mark.slow
def test_resuming_with_other_vectors_is_refused(parts: Datasets, file: File, tmp_path: Path) -> None:
    config = TINY.replace(word_vectors=str(file("how 1 2\nmy 3 5\n")))
    fit(config, parts, tmp_path)
    fit(config, parts, tmp_path, resume=True)
    file("how 1 2\nmy 3 6\n")
    with pytest.raises(UserError, match="belongs to a run that differs in the word vectors; train without --resume"):
        fit(config, parts, tmp_path, resume=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("how 1 2\nmy 3 x\n", ", line 2: 'x' is not a number; expected word vectors in GloVe or word2vec text"),
        ("qqqq 1 2\n", ": none of the vocabulary's 379 words is among its 1; expected"),
        (None, ": no such file; expected word vectors in GloVe or word2vec text"),
    ],
)
def test_errors_of_the_command(
    small_file: Path, file: File, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    path = tmp_path / "vectors.txt" if content is None else file(content)
    out = tmp_path / "m"
    with pytest.raises(SystemExit) as stop:
        entry.main([*TRAIN, "--data", str(small_file), "--out", str(out), "--word-vectors", str(path)])
    printed, error = capsys.readouterr()
    assert (stop.value.code, printed) == (2, "")
    assert error.startswith(f"error: {path}{message}") and error.count("\n") == 1, error
    assert not out.exists()


@pytest.mark.ci
@pytest.mark.slow
def test_the_command(small_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "v.txt"
    path.write_text("how 1 2\nmy 3 5\n", encoding="utf-8")
    entry.main(
        [*TRAIN, "--data", str(small_file), "--out", str(tmp_path / "m"), "--epochs", "1", "--word-vectors", str(path)]
    )
    assert f"{path} has 2 of the vocabulary's" in capsys.readouterr().err
    path.unlink()  # which the model needs no more
    assert SiameseModel.load(tmp_path / "m").config.word_vectors == str(path)


def test_a_small_gzip_file_of_one_long_line_is_refused(tmp_path: Path) -> None:
    with gzip.open(path := tmp_path / "bomb.gz", "wb", compresslevel=1) as file:
        file.write(b"a 1 2\n")
        for _ in range(64):
            file.write(b"1 " * (1 << 19))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=f"{path}, line 2: more than 1,048,576 bytes; expected word vectors"):
            word_vectors.read(path, ["a", "b"])
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
