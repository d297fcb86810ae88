"""The model folder; vectors, similarities and predictions."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas
import pytest
from files import read_csv, write_csv
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import WORDS, random_model

from siamese import Pairs, Prediction, SiameseModel
from siamese.config import Config, preset
from siamese.errors import DataError, ModelError, UserError
from siamese.model.calibration import Calibration
from siamese.model.files import write_predictions
from siamese.model.model import COURSE_BATCH
from siamese.model.similarity import cosine
from siamese.pairs.pairs import Columns
from siamese.pairs.reading import read_pairs
from siamese.text.cleaning import clean
from siamese.text.tokenizer import Tokenizer

questions = st.lists(st.sampled_from([*WORDS, "zzz", "qqq"]), max_size=12).map(" ".join)


@pytest.fixture(scope="module")
def model() -> SiameseModel:
    return random_model()


@pytest.fixture(scope="module")
def course() -> SiameseModel:
    return random_model(preset("course-tensorflow"))


@pytest.fixture()
def folder(model: SiameseModel, tmp_path: Path) -> Path:
    model.save(tmp_path / "model")
    return tmp_path / "model"


def test_saved_and_loaded_is_the_same_model(model: SiameseModel, folder: Path) -> None:
    loaded = SiameseModel.load(folder)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "vocabulary.txt"}
    assert loaded.weights.keys() == model.weights.keys()
    for name, weight in model.weights.items():
        assert loaded.weights[name].dtype == weight.dtype
        assert loaded.weights[name].tobytes() == weight.tobytes()
    for name in ("config", "threshold", "calibration", "facts"):
        assert getattr(loaded, name) == getattr(model, name), name
    assert (loaded.tokenizer.words, loaded.tokenizer.rule) == (model.tokenizer.words, model.tokenizer.rule)
    first, second = ["how old are you ?", "where is zzz", ""], ["what is your age ?", "the station", "age"]
    assert loaded.similarity(first, second).tolist() == model.similarity(first, second).tolist()
    assert loaded.predict(first[0], second[0]) == model.predict(first[0], second[0])


@pytest.mark.slow
@settings(max_examples=12)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), max_size=5))
def test_any_vocabulary_comes_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    # No rule makes a word with white space in it, and every line end of Unicode is white space.
    texts = [*texts, "naïve Ωmega 駅 🚉 e\u0301 İstanbul a\u200bb x\u2028y ßẞ \ufeffbom ٣ ½ _ it's"]
    for rule in ("words", "spaces", "nltk"):
        saved = random_model(Config(tokens=rule, buckets=0), Tokenizer.learn(texts, rule).words)
        folder = tmp_path_factory.mktemp("model")
        saved.save(folder)
        loaded = SiameseModel.load(folder)
        assert loaded.tokenizer.words == saved.tokenizer.words
        assert loaded.encode(texts).tobytes() == saved.encode(texts).tobytes()


@pytest.mark.parametrize("name", ["config.json", "vocabulary.txt", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name):
        SiameseModel.load(folder)


def test_a_missing_folder_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere: no trained model there.*run.py train"):
        SiameseModel.load(tmp_path / "nowhere")
    (tmp_path / "a-file").write_text("text")
    with pytest.raises(ModelError, match="a-file: no trained model there"):
        SiameseModel.load(tmp_path / "a-file")


LEFT_OUT = object()


def settings_with(folder: Path, **changes: object) -> str:
    fields = {**json.loads((folder / "config.json").read_text(encoding="utf-8")), **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not LEFT_OUT})


def config_with(folder: Path, **changes: object) -> str:
    return settings_with(
        folder, config={**json.loads((folder / "config.json").read_text("utf-8"))["config"], **changes}
    )


def calibration_with(folder: Path, **changes: object) -> str:
    fields = {**json.loads((folder / "config.json").read_text("utf-8"))["calibration"], **changes}
    return settings_with(folder, calibration={name: value for name, value in fields.items() if value is not LEFT_OUT})


BROKEN_SETTINGS = {  # one of each message; tests/attacks has all the ways to be wrong
    "empty": (lambda f: "", "JSONDecodeError"),
    "no format": (lambda f: "{}", "KeyError: 'format'"),
    "an old format": (lambda f: settings_with(f, format=1), "1; this version reads format 2"),
    "a later format": (lambda f: settings_with(f, format=4), "format 4; this version reads format 2 and 3"),
    "no checksums": (lambda f: settings_with(f).replace('"sha256"', '"sha255"'), "KeyError: 'sha256'"),
    "no facts": (lambda f: settings_with(f, facts=LEFT_OUT), "field 'facts' is missing"),
    "another field": (lambda f: settings_with(f, lies={}), "field 'lies' is not known"),
    "facts": (lambda f: settings_with(f, facts=3), "facts: 3: expected an object"),
    "a fact that is no threshold": (lambda f: settings_with(f, facts={"chosen_threshold": "x"}), "threshold 'x'"),
    "unknown field": (lambda f: config_with(f, colour="red"), "unexpected keyword argument 'colour'"),
    "text as a switch": (lambda f: config_with(f, skip="yes"), "--skip: 'yes' is not true or false"),
    "a list as goal": (lambda f: config_with(f, goal=[]), "--goal: [] is not text"),
    "a size of null": (lambda f: config_with(f, hidden=None), "--hidden: None is not a whole number"),
    "a factor of true": (lambda f: config_with(f, margin=True), "--margin: True is not a number"),
    "wrong choice": (lambda f: config_with(f, tokens="letters"), "tokens: 'letters' is not one of words"),
    "threshold above 1": (lambda f: settings_with(f, threshold=1.01), "threshold 1.01: expected a number from 0 to 1"),
    "calibration without slope": (lambda f: calibration_with(f, slope=LEFT_OUT), "'slope'"),
    "slope nan": (lambda f: calibration_with(f, slope=float("nan")), "expected a finite number"),
    "prior 2": (lambda f: calibration_with(f, prior=2), "expected a share of duplicates between 0 and 1"),
}


@pytest.mark.parametrize("case", BROKEN_SETTINGS)
def test_a_broken_config_is_named(folder: Path, case: str, seal: Callable[[Path], None]) -> None:
    content, reason = BROKEN_SETTINGS[case]
    (folder / "config.json").write_text(content(folder), encoding="utf-8")
    if case != "no checksums":
        seal(folder)
    with pytest.raises(ModelError, match="config.json: ") as caught:
        SiameseModel.load(folder)
    assert reason in str(caught.value)
    assert str(caught.value).count("config.json") == 1


def test_a_folder_does_not_depend_on_where_it_lies(folder: Path, tmp_path: Path, model: SiameseModel) -> None:
    moved = shutil.move(folder, tmp_path / "moved")
    assert SiameseModel.load(moved).predict("how old", "your age") == model.predict("how old", "your age")
    assert str(tmp_path) not in (tmp_path / "moved" / "config.json").read_text(encoding="utf-8")


def test_no_questions(model: SiameseModel, course: SiameseModel) -> None:
    for which in (model, course):
        assert which.encode([]).shape == (0, 8)
        assert which.encode([]).dtype == np.float32
        assert which.similarity([], []).shape == (0,)
        assert which.similarity([], []).dtype == np.float64
        assert which.embedding_similarity([], []).shape == (0,)


def test_a_plain_string_is_no_list_of_questions(model: SiameseModel, course: SiameseModel) -> None:
    for which in (model, course):
        with pytest.raises(UserError, match="expected a list of questions, got one string"):
            which.encode("how old are you ?")
        with pytest.raises(UserError, match="expected a list of questions, got one string"):
            which.similarity("how old", "old how")
        with pytest.raises(UserError, match="1 first and 2 second questions"):
            which.similarity(["how old"], ["old", "how"])
        with pytest.raises(UserError, match="question 1 is nan; expected text"):
            which.encode(["how old", float("nan")])


@pytest.mark.parametrize("wrong", [None, 3, b"how", {"how": 1}])
def test_what_is_no_list_of_questions_is_refused(tiny_model: Path, wrong: Any) -> None:
    model = SiameseModel.load(tiny_model)
    for ask in (model.encode, lambda q: model.similarity(q, ["a"]), lambda q: model.embedding_similarity(["a"], q)):
        with pytest.raises(UserError, match="expected a list of questions, got"):
            ask(wrong)
        with pytest.raises(UserError, match="question 0 is None; expected text"):
            ask([None])


def test_a_series_is_as_good_as_a_list(model: SiameseModel, course: SiameseModel) -> None:
    texts = ["how old are you", "zzz", "your age"]
    series = pandas.Series(texts, index=[7, 3, 5])
    for which in (model, course):
        assert which.encode(series).tolist() == which.encode(iter(texts)).tolist() == which.encode(texts).tolist()
        assert which.similarity(series, series[::-1]).tolist() == which.similarity(texts, texts[::-1]).tolist()


def test_a_repr_is_a_line(model: SiameseModel) -> None:
    assert repr(model) == "SiameseModel(LSTM, 8 dimensions, 12 words, threshold 0.500)"
    pairs = Pairs.of(["a"] * 1_000, ["b"] * 1_000, [1, 0] * 500)
    assert repr(pairs) == "Pairs(1,000 pairs, 500 duplicates)"
    assert repr(pairs.question1) == "Texts(1,000 rows)"


@given(st.lists(st.tuples(questions, questions), min_size=1, max_size=12))
def test_similarity_is_symmetric_to_the_bit(pairs: list[tuple[str, str]]) -> None:
    model = random_model()
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    forth = model.similarity(first, second)
    assert forth.tolist() == model.similarity(second, first).tolist()
    both = model.similarity(first + second, second + first)
    assert both[: len(pairs)].tolist() == both[len(pairs) :].tolist()
    assert np.all(np.abs(forth) <= 1)
    assert model.predict(*pairs[0]) == model.predict(*pairs[0][::-1])
    vectors1, vectors2 = model.encode(first), model.encode(second)
    equal = [bool(clean(a)) and clean(a) == clean(b) for a, b in pairs]
    assert forth == pytest.approx(np.where(equal, 1, (vectors1 * vectors2).sum(1)), abs=1e-6)


SAME = [
    ("how old are you ?", "<p>how  old\u200b are you ?</p>"), ("how old", "ｈｏｗ ｏｌｄ"), ("zzz", "<b>zzz</b>"),
    ("zzz", "zzz"), ("how &amp; old", "how & old"), ("zzz don’t", "zzz don't"), ("???", " ??? "), ("駅", "駅"),
    ("ﬁx", "fix"),
]  # fmt: skip
NOTHING = ["", " ", "\u200b", "<p></p>", "&nbsp;"]


@pytest.mark.parametrize("pair", SAME, ids=ascii)
def test_texts_that_are_equal_once_clean_are_duplicates(pair: tuple[str, str]) -> None:
    for threshold, prior in ((None, None), (None, 1e-9), (1 - 1e-9, None)):
        said = random_model().predict(*pair, threshold, prior)
        assert (said.is_duplicate, said.similarity) == (True, 1) and said.probability >= 0.5
    assert not random_model().predict(*pair, 1.0).is_duplicate


@pytest.mark.parametrize("nothing", NOTHING, ids=ascii)
def test_an_empty_question_is_a_duplicate_of_nothing(nothing: str) -> None:
    model = random_model()
    for other in (nothing, "", "how old", "zzz"):
        said = model.predict(nothing, other, 0.0, 1 - 1e-9)
        assert (said.is_duplicate, said.similarity) == (False, 0)


def test_a_course_preset_does_not_clean() -> None:
    model = random_model(preset("course-trax-2020"))
    assert model.predict("how old", "<p>how old</p>").similarity < 0.999
    assert model.predict("zzz", "zzz").similarity == 0


def test_with_buckets_an_unknown_word_is_like_itself_and_unlike_others() -> None:
    model = random_model(Config(buckets=64))
    assert model.similarity(["how old is zzz"], ["how old is zzz"]).tolist() == [1]
    assert model.similarity(["how old is zzz"], ["how old is qqq"])[0] < 0.99
    assert model.similarity(["zzz", "zzz"], ["zzz zzz", "how"]).tolist() == [0, 0]  # nothing of it is known
    assert random_model(Config(buckets=0)).similarity(["how old is zzz"], ["how old is qqq"]).tolist() == [1]


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.7, 1.0])
def test_a_duplicate_is_above_the_threshold(model: SiameseModel, threshold: float) -> None:
    for a, b in (("how old are you", "what is your age"), ("age", "old age"), ("age", "age")):
        said = model.predict(a, b, threshold)
        assert said == Prediction(said.similarity > threshold, said.similarity, threshold, said.probability)
    assert not model.predict("age", "age", 1.0).is_duplicate  # nothing is above 1
    assert model.predict("age", "old age").threshold == model.threshold


@pytest.mark.parametrize("threshold", [-0.01, 1.01, float("nan"), float("inf"), "0.5"])
def test_a_threshold_outside_0_to_1_is_refused(model: SiameseModel, threshold: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="threshold .*: expected a number from 0 to 1"):
        model.predict("a", "b", threshold)
    with pytest.raises(UserError, match="threshold .*: expected a number from 0 to 1"):
        scored(model, ["a"], ["b"], tmp_path / "out.csv", threshold)
    assert not list(tmp_path.iterdir())


def test_a_prior_restates_probability_and_threshold(model: SiameseModel) -> None:
    question, other = "how old are you", "what is your age"
    plain = model.predict(question, other)
    said = model.predict(question, other, prior=0.1)
    assert said.similarity == plain.similarity
    # 6 t − 3 − log 6 = 0
    assert said.threshold == model.threshold_for(prior=0.1) == pytest.approx((3 + np.log(6)) / 6)
    assert said.probability == pytest.approx(float(model.probability(plain.similarity, 0.1)))
    assert said.is_duplicate == (said.similarity > said.threshold)
    # a threshold that is given stays
    both = model.predict(question, other, 0.3, 0.1)
    assert both == Prediction(both.similarity > 0.3, said.similarity, 0.3, said.probability)
    assert (plain.threshold, model.threshold_for(), model.threshold_for(0.3, 0.1)) == (0.5, 0.5, 0.3)


def test_a_prior_where_more_similar_means_less_likely(model: SiameseModel) -> None:
    odd = dataclasses.replace(model, calibration=Calibration(-6.0, 3.0, 0.5), threshold=0.4)
    assert odd.threshold_for(prior=0.01) == 0.4  # there is no crossing; its own stays
    assert float(odd.probability(0.5, 0.01)) == pytest.approx(0.01)


def test_embedding_similarity_by_hand() -> None:
    # One word of each known question is known: the cosine of two rows of the table.
    model = random_model()
    table = model.weights["embedding.weight"].astype(float)
    a, b = table[model.tokenizer.encode(["age"])[0][0]], table[model.tokenizer.encode(["old"])[0][0]]
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert model.embedding_similarity(["age", "age", "zzz"], ["old", "age", "age"]) == pytest.approx([expected, 1, 0])


@pytest.mark.parametrize("name", ["course-trax-2020", "course-tensorflow"])
def test_course_vectors_depend_on_their_batch(name: str) -> None:
    # "old" stands alone, or is filled up to the five words of its neighbour.
    model = random_model(preset(name))
    alone, beside = model.encode(["old"]), model.encode(["old", "how old are you now"])
    assert np.abs(alone[0] - beside[0]).max() > 0.01
    pad = model.weights["embedding.weight"][model.tokenizer.pad]
    assert np.any(pad != 0)  # the published editions do not mask it
    # but of padding alone no vector is made, else all questions of unknown words would be duplicates
    assert np.linalg.norm(model.encode(["", "zzz", "how old"]), axis=1) == pytest.approx([0, 0, 1], abs=1e-6)


def test_course_padding_is_as_if_typed() -> None:
    # Filling up "old" to the four words of its neighbour is the same as four words with the padding's vector.
    model = random_model(preset("course-tensorflow"), ["PAD", *WORDS])
    model.weights["embedding.weight"][model.tokenizer.encode(["PAD"])[0][0]] = model.weights["embedding.weight"][0]
    filled = model.encode(["old", "how old are you"])[0]
    assert model.encode(["old PAD PAD PAD"])[0] == pytest.approx(filled, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["course-trax-2020", "course-tensorflow"])
def test_course_pairs_are_scored_512_at_a_time(name: str) -> None:
    assert COURSE_BATCH == 512
    model = random_model(preset(name))
    random = np.random.default_rng(1)
    first, second = ([" ".join(random.choice(WORDS, random.integers(1, 8))) for _ in range(1_100)] for _ in range(2))
    first[600] = " ".join(WORDS)  # in the second batch alone
    whole = model.similarity(first, second)
    for start in (0, 512, 1_024):
        part = slice(start, start + 512)
        assert model.similarity(first[part], second[part]).tolist() == whole[part].tolist()
    assert np.abs(model.similarity(first[512:600], second[512:600]) - whole[512:600]).max() > 1e-4
    assert model.encode(first)[:512].tolist() == model.encode(first[:512]).tolist()


@given(st.integers(1, 40), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_cosine_is_numpys(n: int, size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((n, size)).astype(np.float32)
    vectors[random.random(n) < 0.2] = 0
    first, second = random.integers(n, size=(2, 50))
    found = cosine(vectors, first, second)
    assert found.dtype == np.float64
    wide = vectors.astype(np.float64)
    for i, j, value in zip(first, second, found):
        lengths = np.linalg.norm(wide[i]) * np.linalg.norm(wide[j])
        assert value == pytest.approx(wide[i] @ wide[j] / lengths if lengths else 0, abs=1e-12)
    assert np.all(np.abs(found) <= 1)
    everyone = np.arange(n)
    assert cosine(vectors, everyone, everyone).tolist() == (vectors.any(1) * 1.0).tolist()


def test_cosine_of_many_pairs() -> None:
    # More than are taken at a time.
    vectors = np.random.default_rng(1).standard_normal((300, 100)).astype(np.float32)
    i = np.arange(20_000) % 300
    found = cosine(vectors, i, (i * 7) % 300)
    assert found[::997].tolist() == cosine(vectors, i[::997], ((i * 7) % 300)[::997]).tolist()
    assert set(cosine(vectors, i, i)) == {1.0}


NASTY = [
    'say "hi"', "a, b", "one\ntwo", "cr\rlf\r\nend", "tab\there", "", "  ", "'", '"', "駅 🚉", "=1+1", "\ufeff", "#x",
]  # fmt: skip


def scored(model: SiameseModel, first: list[str], second: list[str], out: Path | None, *more: float | None) -> int:
    """Predict pairs, and return the number of duplicates."""
    with TemporaryDirectory() as folder:
        source = write_csv(Path(folder) / "pairs.csv", zip(first, second), "question1,question2")
        return write_predictions(model, source, out, Columns(), *more)[0]


def test_predictions_come_back_from_csv(model: SiameseModel, tmp_path: Path) -> None:
    texts = [text for text in NASTY if clean(text)]
    first, second = [*texts, "how old are you ?"], [*reversed(texts), "what is your age ?"]
    path = tmp_path / "new" / "scored.csv"
    count = scored(model, first, second, path, 0.1)
    rows = read_csv(path)
    assert list(rows[0]) == ["question1", "question2", "similarity", "probability", "is_duplicate", "fault"]
    assert [row["question1"] for row in rows] == first
    assert [row["question2"] for row in rows] == second
    similarity = model.similarity(first, second)
    assert [float(row["similarity"]) for row in rows] == pytest.approx(similarity, abs=5e-7)
    assert [float(row["probability"]) for row in rows] == pytest.approx(model.probability(similarity), abs=5e-7)
    assert [row["is_duplicate"] for row in rows] == [str(int(s > 0.1)) for s in similarity]
    assert count == sum(row["is_duplicate"] == "1" for row in rows)
    assert [path.name for path in path.parent.iterdir()] == ["scored.csv"]


def test_written_predictions_are_a_file_of_pairs(model: SiameseModel, tmp_path: Path) -> None:
    texts = [text for text in NASTY if clean(text)]
    scored(model, texts, texts[::-1], tmp_path / "scored.csv")
    again = read_pairs(tmp_path / "scored.csv", need=())
    assert list(again.question1) == texts
    assert again.skipped == 0


def test_predictions_are_printed(model: SiameseModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = ["how old", "zzz"], ["how old", 'a "quote"']
    assert scored(model, *pairs, None, 0) == 1
    printed = capsys.readouterr().out
    scored(model, *pairs, tmp_path / "out.csv", 0)
    assert printed == (tmp_path / "out.csv").read_text(encoding="utf-8")
    # sigmoid(6 · 1 − 3) = 0.952574, sigmoid(−3) = 0.047426
    assert printed.splitlines()[1:] == [
        '"how old","how old",1.0,0.952574,1,""', '"zzz","a ""quote""",0.0,0.047426,0,""',
    ]  # fmt: skip


@pytest.mark.parametrize("threshold", [None, 0.1])
def test_predictions_with_a_prior(model: SiameseModel, tmp_path: Path, threshold: float | None) -> None:
    model = dataclasses.replace(model, threshold=0.0)  # far from where the probability crosses
    first, second = ["how old are you", "age", "the station", "zzz"], ["what is your age", "age", "how old", "age"]
    path = tmp_path / "scored.csv"
    count = scored(model, first, second, path, threshold, 0.1)
    rows = read_csv(path)
    said = [model.predict(a, b, threshold, 0.1) for a, b in zip(first, second)]
    assert [float(row["probability"]) for row in rows] == pytest.approx([p.probability for p in said], abs=1e-6)
    assert [row["is_duplicate"] == "1" for row in rows] == [p.is_duplicate for p in said]
    assert count == sum(p.is_duplicate for p in said)
    assert count < sum(p.similarity > 0 for p in said)


def test_no_predictions(model: SiameseModel, tmp_path: Path) -> None:
    assert scored(model, [], [], tmp_path / "out.csv") == 0
    assert len((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()) == 1


def test_a_failed_write_leaves_the_old_file(model: SiameseModel, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(DataError, match="all 1 rows are faulty"):
        scored(model, [" "], ["old"], path)
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
