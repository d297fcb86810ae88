"""--data hf:NAME: folders without network, and a hub that is a small server of ours."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from commands import TRAIN, Command
from files import read_csv
from libraries import needs

needs("datasets")
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, config

from siamese.errors import DataError
from siamese.pairs import splits as sources
from siamese.pairs.huggingface import checksum, from_cache, open_data_set
from siamese.pairs.pairs import Columns, Pairs
from siamese.pairs.pairs import checksum as checksum_of_pairs
from siamese.pairs.reading import read_pairs

ROOT = Path(__file__).parents[2]
PARTS = ("train", "validation", "test")
NUMBER = Value("int64")
ROWS = [("How old are you?", "What is your age?", 1), ("Where is it?", "Who is it?", 0), ("a b", "b a", 1)]


@pytest.fixture(autouse=True)
def no_network(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check that nothing looks up a host (the hub's tests use other processes). Leave this machine's cache alone."""
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *host: asked.append(host) or [])
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", str(cache := tmp_path_factory.mktemp("cache")))
    yield
    assert asked == []
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) == 0  # no copies, empty locks


@pytest.fixture(scope="module")
def rows(small_file: Path) -> list[dict[str, str]]:
    return read_csv(small_file)


def of(rows: list[tuple[str, str, Any]], label: Any = NUMBER) -> Dataset:
    features = Features({"question1": Value("string"), "question2": Value("string"), "is_duplicate": label})
    names = ("question1", "question2", "is_duplicate")
    return Dataset.from_list([dict(zip(names, row)) for row in rows], features=features)


def save(folder: Path, form: str, parts: dict[str, Dataset]) -> str:
    """Write a data set to a folder; its name."""
    if form == "saved":
        DatasetDict(parts).save_to_disk(folder)
        return f"hf:{folder}"
    folder.mkdir()
    for name, rows in parts.items():
        path = folder / f"{name}.{form}"
        {"csv": rows.to_csv, "jsonl": rows.to_json, "parquet": rows.to_parquet}[form](path)
    return f"hf:{folder}"


def same(found: Pairs | None, expected: Pairs | None) -> bool:
    assert found is not None and expected is not None
    return checksum_of_pairs(found) == checksum_of_pairs(expected) and list(found.id or []) == list(expected.id or [])


def test_parquet_files_are_read_by_the_columns_that_are_needed(tmp_path: Path) -> None:
    rows = [{"question1": f"a {i}", "question2": "b", "is_duplicate": i % 2, "fat": "x" * 1_000} for i in range(600)]
    name = save(tmp_path / "folder", "parquet", {"train": Dataset.from_list(rows)})
    file = open_data_set(name, wanted=("question1", "is_duplicate", "split"))
    assert file.names == list(rows[0])
    assert [row for _, row in file.records] == [{n: row[n] for n in ("question1", "is_duplicate")} for row in rows]
    assert [row for _, row in open_data_set(name).records] == rows
    assert open_data_set(name, wanted=("other",)).names == list(rows[0])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["saved", "csv", "jsonl", "parquet"])
def test_the_splits_are_the_parts(small_file: Path, rows: list[dict[str, str]], tmp_path: Path, form: str) -> None:
    without = [{name: value for name, value in row.items() if name != "split"} for row in rows]
    parts = {part: Dataset.from_list([w for w, row in zip(without, rows) if row["split"] == part]) for part in PARTS}
    name = save(tmp_path / "folder", form, parts)
    found, expected = sources.load(sources.Source(name)), sources.load(sources.Source(str(small_file)))
    assert found.how == "split by the data set"
    for part in ("training", "validation", "test"):
        assert same(getattr(found, part), getattr(expected, part)), part
    assert same(sources.to_score(name, Columns()), expected.test)
    assert same(read_pairs(f"{name}::validation"), expected.validation)


def test_one_split_keeps_its_own_column(small_file: Path, tmp_path: Path) -> None:
    (tmp_path / "any.csv").write_bytes(small_file.read_bytes())
    found, expected = (sources.load(sources.Source(name)) for name in (f"hf:{tmp_path}", str(small_file)))
    assert same(found.training, expected.training) and same(found.test, expected.test)
    Dataset.from_csv(str(small_file), cache_dir=str(tmp_path / "cache")).save_to_disk(tmp_path / "saved")
    assert same(read_pairs(f"hf:{tmp_path / 'saved'}"), read_pairs(small_file))


@pytest.mark.parametrize(
    ("label", "values"),
    [
        (Value("int64"), [1, 0, 1]),
        (Value("bool"), [True, False, True]),
        (Value("string"), ["1", "0", "1"]),
        (ClassLabel(names=["not_duplicate", "duplicate"]), [1, 0, 1]),
        (ClassLabel(names=["unlike", "alike"]), [1, 0, 1]),
        (ClassLabel(names=["duplicate", "not_duplicate"]), [0, 1, 0]),
        (ClassLabel(names=["Yes", "No"]), [0, 1, 0]),
    ],
)
def test_forms_of_labels(tmp_path: Path, label: Any, values: list[Any]) -> None:
    rows = [(a, b, value) for (a, b, _), value in zip(ROWS, values)]
    for form in ("saved", "parquet"):
        name = save(tmp_path / form, form, {"train": of(rows, label)})
        assert read_pairs(name).labels.tolist() == [1, 0, 1]


NAMES = [
    ("duplicate", "not_duplicate"), ("identical", "different"), ("paraphrase", "non-paraphrase"), ("True", "False"),
    ("similar", "dissimilar"), ("match", "no match"), ("isDuplicate", "isNotDuplicate"), ("positive", "negative"),
    ("Duplicated questions", "Distinct questions"), ("equivalent", "inequivalent"), ("not different", "different"),
    ("alike", "unlike"), ("semantically_equivalent", "not_semantically_equivalent"), ("yes", "no"), ("1", "0"),
    ("not_unique", "unique"), ("DUPLICATE", "NONDUPLICATE"), ("dup", "not_dup"), ("equal", "unequal"),
]  # fmt: skip
OPEN = [("b", "a"), ("original", "duplicate"), ("similar", "same"), ("not_a", "not_b"), ("different", "distinct"),
        ("entailment", "not_entailment"), ("no", "different"), ("", "duplicate"), ("yes", "no", "maybe")]  # fmt: skip


@pytest.mark.parametrize("names", NAMES, ids=str)
def test_the_names_of_both_classes_decide(tmp_path: Path, names: tuple[str, str]) -> None:
    for classes in (names, names[::-1]):
        label = ClassLabel(names=list(classes))
        data = of([(a, b, classes.index(names[1 - int(y)])) for a, b, y in ROWS], label)
        assert read_pairs(save(tmp_path / classes[0], "saved", {"train": data})).labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize("names", OPEN, ids=str)
def test_names_that_do_not_decide_are_refused(tmp_path: Path, names: tuple[str, ...], command: Command) -> None:
    name = save(tmp_path / "folder", "saved", {"train": of(ROWS, ClassLabel(names=list(names)))})
    with pytest.raises(DataError, match="leave open which means duplicates; .*--duplicate-class NAME") as caught:
        read_pairs(name)
    assert str(list(names)) in str(caught.value)
    assert read_pairs(name, Columns(duplicate=names[0])).labels.tolist() == [0, 1, 0]
    assert read_pairs(name, Columns(duplicate=names[1])).labels.tolist() == [1, 0, 1]
    with pytest.raises(DataError, match="is_duplicate has no class 'other'"):
        read_pairs(name, Columns(duplicate="other"))
    assert len(read_pairs(name, labelled=False)) == 3


def test_splits_called_dev_and_valid_are_read(tmp_path: Path) -> None:
    name = save(tmp_path / "folder", "saved", {"dev": of(ROWS[:1]), "Train": of(ROWS), "test": of(ROWS[1:])})
    assert read_pairs(name).split.tolist() == ["train"] * 3 + ["validation"] + ["test"] * 2


def test_other_names_and_questions_with_groups(tmp_path: Path) -> None:
    renamed = of(ROWS).rename_columns({"question1": "text1", "question2": "text2", "is_duplicate": "same"})
    name = save(tmp_path / "pairs", "saved", {"train": renamed})
    assert same(read_pairs(name, Columns("text1", "text2", "same")), Pairs.of(*zip(*ROWS)))
    groups = {"question": [f"question {i}" for i in range(40)], "group": [i // 4 for i in range(40)]}
    Dataset.from_dict(groups).to_csv(path := tmp_path / "groups.csv")
    name = save(tmp_path / "groups", "saved", {"train": Dataset.from_dict(groups)})
    assert same(read_pairs(name), read_pairs(path))


def test_a_part_whose_labels_are_kept_secret_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label = ClassLabel(names=["not_duplicate", "duplicate"])
    secret = of([(a, b, -1) for a, b, _ in ROWS], label)
    name = save(tmp_path / "folder", "saved", {"train": of(ROWS, label), "test": secret, "more": of(ROWS, label)})
    capsys.readouterr()  # the library's progress bars, if it shows any
    assert same(read_pairs(name), Pairs.of(*zip(*ROWS)))
    assert capsys.readouterr().err == f"note: {name}: without its splits test, more (no labels, or another name)\n"
    checksum(name)
    assert capsys.readouterr().err == ""  # told once
    assert read_pairs(f"{name}::test", labelled=False).labels.tolist() == [-1, -1, -1]
    with pytest.raises(DataError, match="is_duplicate is -1, expected 0 or 1"):
        read_pairs(f"{name}::test")


def test_faulty_rows_are_skipped_and_reported(tmp_path: Path, command: Command) -> None:
    rows = [(f"question {i}", f"other question {i}", i % 2) for i in range(300)]
    rows[7], rows[299] = ("", "b", 1), ("a", "b", 2)
    name = save(tmp_path / "folder", "saved", {"train": of(rows[:200]), "validation": of(rows[200:])})
    code, _, err = command("predict", "--file", name, "--model", "pretrained", "--out", tmp_path / "out.csv")
    assert code == 0 and f"{name}: 1 of 300 rows without an answer" in err  # which takes any label
    pairs = read_pairs(name)
    assert (len(pairs), pairs.skipped, pairs.rows) == (298, 2, 300)
    assert pairs.faults == [
        f"{name}, line 8: question1 is missing or empty", f"{name}, line 300: is_duplicate is 2, expected 0 or 1",
    ]  # fmt: skip


def test_commands_that_read_questions(tmp_path: Path, command: Command) -> None:
    name = save(tmp_path / "folder", "parquet", {"train": of(ROWS)})
    words = ("--question", "question1", "--model", "pretrained", "--out", tmp_path / "v.npy")
    code, out, err = command("encode", name, *words)
    assert (code, out) == (0, f"3 vectors of 256 dimensions written to {tmp_path / 'v.npy'}\n"), err


def test_a_folder_that_has_the_name_of_a_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "json", "jsonl", {"train": of(ROWS)})
    of(ROWS[:2]).to_json(tmp_path / "train.jsonl")
    monkeypatch.chdir(tmp_path)
    assert same(read_pairs("hf:json"), Pairs.of(*zip(*ROWS)))


def test_a_folder_that_wants_files_of_the_hub_gets_none(tmp_path: Path) -> None:
    files = "configs:\n- config_name: default\n  data_files: hf://datasets/me/pairs/train.csv\n"
    (tmp_path / "README.md").write_text(f"---\n{files}---\n")
    with pytest.raises(DataError, match="cannot be read: "):
        read_pairs(f"hf:{tmp_path}")


def test_what_is_missing_is_named_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = save(tmp_path / "folder", "saved", {"de": of(ROWS), "en": of(ROWS)})
    of(ROWS).save_to_disk(tmp_path / "alone")
    alone = f"hf:{tmp_path / 'alone'}"
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "train.parquet").write_text("no Parquet")
    (tmp_path / "empty").mkdir()
    for data, said in {
        name: f"{name}: its splits are de, en; name the one to read, as hf:NAME:CONFIG:SPLIT",
        f"{name}::fr": f"{name}::fr: no split 'fr'; it has de, en",
        f"{alone}::fr": f"{alone}::fr: no split 'fr'; it has train",
        f"{alone}:x": "a folder of save_to_disk has no configurations; leave out 'x'",
        f"{name}:x:de:y": "more than a configuration and a split; expected hf:NAME",
        f"hf:{tmp_path / 'empty'}": "cannot be read: ",
        f"hf:{tmp_path / 'broken'}": "cannot be read: ",
        f"hf:{tmp_path / 'broken'}:x": "cannot be read: BuilderConfig 'x' not found",
        f"hf:{tmp_path / 'nowhere'}": "no such folder, and not a name on the Hugging Face hub",
    }.items():
        with pytest.raises(DataError) as error:
            read_pairs(data)
        assert str(error.value).startswith(f"{data}: ") and said in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(DataError, match="no column 'left'; it has 'question1', 'question2', 'is_duplicate'"):
        read_pairs(f"{name}::de", Columns(question1="left"))


def test_recall(rows: list[dict[str, str]], tmp_path: Path) -> None:
    name = save(tmp_path / "folder", "saved", {"train": Dataset.from_list(rows)})
    facts = json.loads(json.dumps({"data": sources.remember(sources.Source(name))}))
    expected = sources.load(sources.Source(name))
    found = sources.recall(facts)
    assert found is not None and same(found.training, expected.training) and same(found.validation, expected.validation)
    # The same rows kept in another way are the same data, and other rows are not.
    os.rename(tmp_path / "folder", tmp_path / "first")
    save(tmp_path / "folder", "parquet", {"train": Dataset.from_list(rows).select_columns(list(rows[0])[::-1])})
    assert sources.recall(facts) is not None
    os.rename(tmp_path / "folder", tmp_path / "second")
    assert sources.recall(facts) is None
    changed = [rows[0] | {"question1": "What?"}, *rows[1:]]
    save(tmp_path / "folder", "saved", {"train": Dataset.from_list(changed)})
    assert sources.recall(facts) is None


def test_a_checksum_sees_every_cell_and_the_order(tmp_path: Path) -> None:
    variants = [ROWS, ROWS[::-1], ROWS[:2], [(*ROWS[0][:2], 0), *ROWS[1:]]]
    names = [save(tmp_path / str(i), "saved", {"train": of(rows)}) for i, rows in enumerate(variants)]
    names.append(save(tmp_path / "parts", "saved", {"train": of(ROWS[:2]), "test": of(ROWS[2:])}))
    assert len({checksum(name) for name in names}) == 5


class Hub:
    """A server that answers as the hub does for one data set, and records requests."""

    revision = "1" * 40

    def __init__(self, files: dict[str, bytes]) -> None:
        self.asked: list[str] = []
        asked, revision = self.asked, self.revision

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                asked.append(path)
                name, found = path.rpartition("/")[2], files.get(path.rpartition("/")[2])
                if path.startswith("/datasets/me/pairs/resolve/") and found is not None:
                    self.answer(200, found, ETag=f'"{hashlib.sha1(found).hexdigest()}"', X_Repo_Commit=revision)
                elif path.startswith("/datasets/me/pairs/resolve/"):
                    self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=revision)
                elif path.startswith("/api/datasets/me/pairs/tree/") and name == revision:
                    entries = [
                        {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                        for file, content in files.items()
                    ]
                    self.answer(200, json.dumps(entries).encode(), Content_Type="application/json")
                elif path.startswith("/api/datasets/me/pairs/tree/"):
                    self.answer(404, b"{}", X_Error_Code="EntryNotFound")
                elif path.startswith("/api/datasets/me/pairs"):
                    about = {"id": "me/pairs", "sha": revision, "siblings": [{"rfilename": file} for file in files]}
                    self.answer(200, json.dumps(about).encode(), Content_Type="application/json")
                else:
                    self.answer(404, b"{}", X_Error_Code="RepoNotFound")

            do_HEAD = do_POST = do_GET

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.mark.slow
def test_a_data_set_of_a_hub(rows: list[dict[str, str]], tmp_path: Path) -> None:
    files = {}
    for part in PARTS:
        Dataset.from_list([row for row in rows if row["split"] == part]).remove_columns("split").to_csv(
            tmp_path / f"{part}.csv"
        )
        files[f"{part}.csv"] = (tmp_path / f"{part}.csv").read_bytes()
    hub = Hub(files)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server.server_port}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }

    def run(*words: object) -> tuple[int, str, str]:
        line = [sys.executable, str(ROOT / "run.py"), *map(str, words)]
        done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=100)
        return done.returncode, done.stdout, done.stderr

    code, out, err = run(*TRAIN, "--data", "hf:me/pairs", "--epochs", 1, "--out", "m")
    assert code == 0 and "unseen (" in out, err
    assert any(path.endswith("/train.csv") for path in hub.asked)
    code, out, err = run("evaluate", "--data", "hf:me/nothing", "--model", "m")
    assert (code, out) == (2, "")
    assert "error: hf:me/nothing: cannot be read: Dataset 'me/nothing' doesn't exist on the Hub" in err

    # The training pairs are found in the cache. If they are not there, nobody asks the hub.
    pairs = len(read_csv(tmp_path / "test.csv"))
    hub.asked.clear()
    code, out, err = run("evaluate", "--data", "test.csv", "--model", "m", "--json")
    assert code == 0 and json.loads(out)["unseen"] and json.loads(out)["pairs"] == pairs, err
    assert hub.asked == []
    environment["HF_HOME"] = str(tmp_path / "another")
    code, out, err = run("evaluate", "--data", "test.csv", "--model", "m", "--json")
    assert code == 0 and not json.loads(out)["unseen"], err
    assert hub.asked == []
    hub.server.shutdown()


def test_where_nothing_may_be_downloaded_nothing_is() -> None:
    with from_cache(), pytest.raises(DataError, match="^hf:me/pairs: cannot be read: "):
        read_pairs("hf:me/pairs")
