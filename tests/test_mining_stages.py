"""Mining in units of work gives the pairs of one process, for any shards, pieces and blocks."""

import os
import random
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import Command
from files import QUESTIONS, read_csv
from hypothesis import given
from hypothesis import strategies as st
from runners import one_by_one

from siamese import SiameseModel
from siamese.errors import DataError
from siamese.mining import cells
from siamese.mining.exact import made_ready
from siamese.mining.found import Wanted, lowest_above
from siamese.mining.mine import mine
from siamese.mining.questions import Questions
from siamese.mining.sharded import components, joins, pipeline, store
from siamese.mining.sharded.pipeline import Found
from siamese.mining.sharded.shards import Job
from siamese.mining.sharded.stages import Results, Runner, Stages, Unit, Work
from siamese.model.calibration import Calibration
from siamese.model.differences import FEATURES
from siamese.model.verdict import Verdict

THRESHOLD = 0.4


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Split a few hundred questions into many units of work, cells of several blocks, and ranges of a few pairs."""
    monkeypatch.setattr(Job, "piece", 37)
    monkeypatch.setattr(Job, "block", 60)
    monkeypatch.setattr(joins, "pairs_at_once", lambda job: 60)
    monkeypatch.setattr(joins, "EVERY", 4)
    monkeypatch.setattr(pipeline, "LEAST_GROUPS", 5)
    monkeypatch.setattr(pipeline, "A_LINK", 4 << 20)
    monkeypatch.setattr(pipeline, "A_MEMBER", 8 << 20)
    monkeypatch.setattr(os, "fsync", lambda file: None)  # which takes longer than all the rest


VECTORS: dict[str, np.ndarray] = {}


@pytest.fixture(autouse=True)
def encoding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of other shapes are rounded otherwise, which can change the sixth decimal, and would hide the rest."""
    together = SiameseModel.encode

    def encode(model: SiameseModel, questions: Sequence[str]) -> np.ndarray:
        for text in questions:
            if text not in VECTORS:
                VECTORS[text] = together(model, [text])
        return np.concatenate([np.empty((0, model.dimensions), np.float32), *(VECTORS[text] for text in questions)])

    monkeypatch.setattr(SiameseModel, "encode", encode)


@pytest.fixture(scope="module")
def questions() -> list[tuple[str, str]]:
    """Return ids and questions. Some are copies, some are blank."""
    rows = [(row["qid1"], row["question1"]) for row in read_csv(QUESTIONS)]
    known = {id: (id, text) for id, text in rows[:1_200]}
    some = list(known.values())[:300]
    return [
        *some, *((f"c{id}", f" {text} ") for id, text in some[30:55]), ("blank", " "), some[7],
        *((f"c{id}", f"<p>{text}</p>") for id, text in some[55:80]), ("empty", "<p>&nbsp;</p>"),
        ("c41again", some[41][1]),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(questions: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the questions to one file, and to a folder of shards."""
    folder = tmp_path_factory.mktemp("questions")
    (folder / "shards").mkdir()
    parts = {"one.csv": questions, "shards/0.csv": questions[:100], "shards/1.parquet": questions[100:110],
             "shards/2.csv": [], "shards/3.jsonl": questions[110:]}  # fmt: skip
    for name, part in parts.items():
        table = pd.DataFrame(part, columns=["id", "question"])
        if name.endswith("csv"):
            table.to_csv(folder / name, index=False)
        elif name.endswith("parquet"):
            table.to_parquet(folder / name)
        else:
            table.to_json(folder / name, orient="records", lines=True)
    return folder


def run(
    source: str, out: Path | str, runner: Runner = one_by_one, linkage: str = "complete",
    max_pairs: int | None = None, work: str | None = None, verdict: Verdict | None = None,
) -> Found:  # fmt: skip
    model = SiameseModel.pretrained()
    rule = verdict.rule() if verdict else model.rule(THRESHOLD)
    job = Job(work or f"{out}.unfinished", "question", None, lowest_above(rule.threshold), max_pairs, 2_048, linkage,
              rule.verdict)  # fmt: skip
    stages = Stages(job, runner, lambda stage, done, total: None)
    encoded = pipeline.encode(stages, [address for address, _ in pipeline.list_shards(source)], model)
    return pipeline.find(stages, encoded, rule, 0, str(out), f"{out}.clusters")


@pytest.fixture(scope="module")
def expected(folder: Path) -> Callable[..., tuple[bytes, bytes]]:
    """Return the files of pairs and clusters that one process writes."""

    def mined(linkage: str = "complete", *more: object) -> tuple[bytes, bytes]:
        from siamese.cli.entry import main

        out, groups = (folder / f"{linkage}{more[1:]}{name}.csv" for name in ("", "-clusters"))
        if not out.exists():
            words = ["mine", folder / "one.csv", "--approximate", "--threshold", THRESHOLD, "--model", "pretrained",
                     "--out", out, "--clusters", groups, "--linkage", linkage, *more]  # fmt: skip
            main([str(word) for word in words])
        return out.read_bytes(), groups.read_bytes()

    return mined


def written(out: Path) -> tuple[bytes, bytes]:
    return out.read_bytes(), out.with_name(f"{out.name}.clusters").read_bytes()


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.parametrize("linkage", ["complete", "connected"])
def test_shards_give_the_files_of_one_process(folder: Path, tmp_path: Path, expected: Any, linkage: str) -> None:
    found = run(f"{folder}/shards", tmp_path / "out.csv", linkage=linkage)
    assert written(tmp_path / "out.csv") == expected(linkage)
    assert found.questions == 300 and found.pairs > 300
    assert len(list((tmp_path / "out.csv.unfinished" / "final").iterdir())) > 2  # several ranges
    assert found.recall is not None and found.recall.pairs > 250


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 100])
def test_the_n_most_similar_pairs(folder: Path, tmp_path: Path, expected: Any, count: int) -> None:
    run(f"{folder}/shards", tmp_path / "out.csv", max_pairs=count)
    assert written(tmp_path / "out.csv") == expected("complete", "--max-pairs", count)


@pytest.mark.slow
@pytest.mark.parametrize("count", [None, 20])
def test_a_verdict_judges_the_same_pairs_as_in_one_process(folder: Path, tmp_path: Path, count: int | None) -> None:
    verdict = Verdict(dict.fromkeys(FEATURES, 0.3), Calibration(10.0, -10.0 * THRESHOLD, 0.5))
    found = run(f"{folder}/shards", tmp_path / "out.csv", max_pairs=count, verdict=verdict)
    model = SiameseModel.pretrained()
    model.verdict = verdict
    one = mine(folder / "one.csv", model, approximate=True, max_pairs=count)
    one.write_pairs(tmp_path / "one.csv")
    one.write_clusters(tmp_path / "clusters.csv")
    assert written(tmp_path / "out.csv") == tuple((tmp_path / n).read_bytes() for n in ("one.csv", "clusters.csv"))
    assert found.pairs == len(one) and one.count_removed() > 20 and b"differs" in (tmp_path / "one.csv").read_bytes()


@pytest.mark.ci
@pytest.mark.slow
def test_units_in_any_order_and_done_again(folder: Path, tmp_path: Path, expected: Any) -> None:
    def untidy(function: Work, shared: Any, units: Sequence[Unit], loads: bool) -> Results:
        order = random.Random(len(units)).sample(range(len(units)), len(units))
        for i in order:
            function(shared, units[i])
        return ((i, function(shared, units[i])) for i in reversed(order))

    run(f"{folder}/shards", tmp_path / "out.csv", untidy)
    assert written(tmp_path / "out.csv") == expected()


@pytest.mark.ci
@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_with_what_is_left(folder: Path, tmp_path: Path, expected: Any) -> None:
    done: list[Unit] = []

    def stopping(after: int) -> Runner:
        def runner(function: Work, shared: Any, units: Sequence[Unit], loads: bool) -> Results:
            for i, unit in enumerate(units):
                if len(done) == after:
                    raise KeyboardInterrupt
                done.append(unit)
                yield i, function(shared, unit)

        return runner

    run(f"{folder}/shards", tmp_path / "whole.csv", stopping(10**6))
    total = len(done)
    for after in (0, 3, 12, 30, total - 4, 10**6):
        if after < 10**6:
            with pytest.raises(KeyboardInterrupt):
                run(f"{folder}/shards", tmp_path / "out.csv", stopping(total + after))
        else:
            run(f"{folder}/shards", tmp_path / "out.csv", stopping(after))
    assert len(done) == 2 * total  # nothing was done again
    assert written(tmp_path / "out.csv") == expected()


@pytest.mark.slow
def test_addresses_that_are_no_paths(folder: Path, tmp_path: Path, expected: Any) -> None:
    files, _ = store.connect("memory://mining")
    files.put(f"{folder}/shards/", "/mining/", recursive=True)
    run("memory://mining/*", "memory://out/pairs.csv", work="memory://work")
    assert (files.cat("/out/pairs.csv"), files.cat("/out/pairs.csv.clusters")) == expected()
    assert store.names("memory://work")
    store.clear("memory://work")
    assert not store.names("memory://work")


@pytest.mark.slow
def test_hardly_any_questions(tmp_path: Path) -> None:
    for count in (0, 1, 2):
        (tmp_path / f"{count}.txt").write_text("How are you?\nHow are you\n\n"[: 13 * count], encoding="utf-8")
        found = run(f"{tmp_path}/{count}.txt", tmp_path / f"{count}.csv")
        assert (found.questions, found.pairs) == (count, int(count == 2))
        assert len((tmp_path / f"{count}.csv").read_text().splitlines()) == 1 + found.pairs
    (tmp_path / "copies").mkdir()
    for i in range(3):
        (tmp_path / "copies" / f"{i}.txt").write_text("How are you?\n", encoding="utf-8")
    assert run(f"{tmp_path}/copies", tmp_path / "copies.csv").questions == 1
    assert len((tmp_path / "copies.csv.clusters").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,x", "b,y"], None),
        (["a,x", "a,x"], None),
        (["a,x", "a,y"], "1.csv: the id 'a' was another question's, in .*0.csv"),
        (["a,x", ",y"], "1.csv: no ids, unlike other shards"),
        (["a,x\n,y", "b,y"], "0.csv, line 3: no id, unlike other rows"),
        (["a,x", 'b,"y" z'], "1.csv, line 2: .*every row is needed"),
    ],
)
def test_ids_of_several_shards(tmp_path: Path, rows: list[str], message: str | None) -> None:
    for i, text in enumerate(rows):
        (tmp_path / f"{i}.csv").write_text(f"id,question\n{text}\n", encoding="utf-8")
    if message is None:
        assert run(f"{tmp_path}/?.csv", tmp_path / "out").questions == len(set(rows))
    else:
        with pytest.raises(DataError, match=message):
            run(f"{tmp_path}/?.csv", tmp_path / "out")


def vectors(n: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 8)).astype(np.float32)[random.integers(0, n, n)] + 0.3 * random.normal(size=(n, 8))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.slow
@given(st.integers(0, 10_000))
def test_a_cell_in_blocks_has_the_pairs_of_the_whole(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, split = vectors(60, seed), int(random.integers(1, 60))
    ready, wanted = made_ready(x, lowest_above(0.6)), Wanted(lowest_above(0.6))
    of = np.sort(np.stack([random.permutation(6)[:2] for _ in x]), axis=1).astype(np.int32)
    for cell in range(2, 5):
        whole = cells.Cells.between(of, 2, 5).join(ready, cell, wanted)
        across = cells.Cells.between(of, 2, 5).join(ready, cell, wanted, split)
        left = cells.Cells.between(of[:split], 2, 5).join(made_ready(x[:split], wanted.lowest), cell, wanted)
        right = cells.Cells.between(of[split:], 2, 5).join(made_ready(x[split:], wanted.lowest), cell, wanted)
        right["first"] += split
        right["second"] += split
        assert sorted(np.concatenate((across, left, right)).tolist()) == sorted(whole.tolist())


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30), st.integers(0, 30))
def test_forests_of_parts_give_the_components_of_all(edges: list[tuple[int, int]], split: int) -> None:
    lowest = {end: end for edge in edges for end in edge}
    for _ in edges:
        for a, b in edges:
            lowest[a] = lowest[b] = min(lowest[a], lowest[b])
    parts = [np.array(part, np.int64).reshape(-1, 2) << 41 for part in (edges[:split], edges[split:])]
    forests = [np.stack(components.components(*part.T)) for part in parts]
    number, root = components.components(*np.concatenate(forests, axis=1))
    assert {a >> 41: b >> 41 for a, b in zip(number.tolist(), root.tolist())} == lowest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--address", "auto"], "--address is that of a Ray cluster; add --engine ray"),
        (["--engine", "ray", "--report", "r.html"], "--report does not go with --engine ray"),
        (["--engine", "ray", "--label-sample", "5"], "--label-sample does not go with --engine ray"),
        (["--engine", "ray", "--memory", "0"], "--memory 0: expected"),
        (["--engine", "ray"], "--engine ray needs ray.*pip install 'ray\\[data\\]'"),
    ],
)
def test_what_does_not_go_together(
    command: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = command("mine", folder / "one.csv", "--out", tmp_path / "o.csv", "--model", "pretrained", *words)
    lines = [line for line in err.splitlines() if "pretrained model" not in line]
    assert code == 2 and len(lines) == 1
    assert re.search(message, lines[0])
    assert not list(tmp_path.iterdir())


def test_no_questions_there(command: Command, tmp_path: Path) -> None:
    for address in (f"{tmp_path}/none.csv", f"{tmp_path}", f"{tmp_path}/*.csv", "nosuch://bucket/x.csv"):
        code, _, err = command("mine", address, "--engine", "ray", "--out", tmp_path / "o.csv", "--model", "pretrained")
        assert code == 2 and address in err and "expected" in err and len(err.splitlines()) == 1


@pytest.mark.slow
def test_a_sample_grows_as_it_does_in_one_process(
    folder: Path, tmp_path: Path, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("SAMPLE", 16), ("ENOUGH", 120), ("SHARE", 0.9)):
        monkeypatch.setattr(cells, name, value)
    for module in (cells, pipeline, joins):
        monkeypatch.setattr(module, "TILE", 8)
    found = run(f"{folder}/shards", tmp_path / "out.csv")
    x = SiameseModel.pretrained().encode(Questions.of(folder / "one.csv").texts)
    of, recall = cells.make_cells(made_ready(x, lowest_above(THRESHOLD)), lowest_above(THRESHOLD), 0)
    assert (found.recall, found.p) == (recall, of.of.shape[1])
    assert 100 < recall.pairs < 3_000
