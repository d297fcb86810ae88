"""Mining of new questions against old ones: a second file, or an archive, which remembers the result."""

from pathlib import Path

import pandas as pd
import pytest
from commands import Command
from files import read_csv, write_csv

import siamese
from siamese import Archive, SiameseModel
from siamese.mining.against import mine_against, mine_unmined
from siamese.mining.mine import mine
from siamese.mining.numbering import numbered
from siamese.mining.questions import Questions
from siamese.mining.settings import Settings

MODEL = SiameseModel.pretrained()
RULE = MODEL.rule(0.6)
SETTINGS = Settings(0.6)

OLD = ["How do I lose weight?", "How can I lose weight?", "Where is Rome?", "How do I gain weight?", "What is love?"]
NEW = ["how do i lose weight?", "In which country is Rome?", "Where is Rome?", "Where is Rome?", "what does love mean?"]


def test_new_questions_are_compared_with_all_and_old_ones_are_not() -> None:
    new, old = Questions.of(NEW, [f"n{i}" for i in range(5)]), Questions.of(OLD, [f"o{i}" for i in range(5)])
    found = mine_against(new, old, MODEL, SETTINGS, RULE)
    both = mine(OLD + NEW, MODEL, threshold=0.6, ids=[*old.ids, *(f"n{i}" for i in range(5))])
    expected = {(frozenset((p.id1, p.id2)), p.similarity) for p in both.pairs if "n" in f"{p.id1}{p.id2}"}
    assert {(frozenset((p.id1, p.id2)), p.similarity) for p in found.pairs} == expected and len(expected) > 5
    assert all(pair.id1.startswith("n") for pair in found.pairs)
    assert [(pair.id1, pair.id2) for pair in found.copies] == [("n2", "o2"), ("n3", "o2")]
    members = {row.id for rows in found.clusters for row in rows}
    assert {"n0", "o0", "o1", "n2", "o2", "n3"} <= members
    sets = [{row.id for row in rows} for rows in found.clusters]
    assert all(any(id.startswith("n") for id in ids) for ids in sets)


def test_a_question_that_is_there_with_its_id_is_not_new() -> None:
    new, old = Questions.of([*OLD[:3], "Where is Rome"], ["a", "x", "c", "d"]), Questions.of(OLD, list("abcde"))
    found = mine_against(new, old, MODEL, SETTINGS, RULE)
    assert {pair.id1 for pair in found.pairs} == {"x", "d"}  # under another id, and another text


def test_clusters_keep_their_numbers() -> None:
    assert numbered([["a", "b"], ["c", "d"]], {}, 1) == [1, 2]
    before = {"a": 1, "b": 1, "c": 2, "d": 2, "e": 2}
    assert numbered([["c", "d"], ["a", "b", "f"], ["g", "h"]], before, 3) == [2, 1, 3]
    assert numbered([["a", "c"], ["b", "d", "e"]], before, 5) == [1, 2]
    assert numbered([["a"], ["b"], ["c", "d", "e"]], before, 5) == [1, 5, 2]  # two halves of one: the first
    assert numbered([["a", "b", "c", "d", "e"]], before, 3) == [2]  # 1 is given up


def pairs_of(found: object) -> list[tuple[object, ...]]:
    return [tuple(pair) for pair in found.pairs]  # type: ignore[attr-defined]


@pytest.mark.slow
def test_an_archive_remembers(tmp_path: Path) -> None:
    with Archive.build(tmp_path / "a", OLD, MODEL, ids=list("abcde"), name="pretrained") as archive:
        first = mine_unmined(archive.memory, SETTINGS, RULE)
        first.remember(first.found)
        assert not mine_unmined(archive.memory, SETTINGS, RULE).new
        archive.add(NEW, [f"n{i}" for i in range(5)])
        archive.remove(["c"])
        night = mine_unmined(archive.memory, SETTINGS, RULE, {"n0", "n1", "n2"})
        assert {pair.id1 for pair in night.found.pairs} <= {"n0", "n1", "n2"}
        night.remember(night.found)
        whole = mine_unmined(archive.memory, SETTINGS, RULE)
        assert not whole.new
    ids = [*"abde", *(f"n{i}" for i in range(5))]
    texts = dict(zip([*"abcde", *(f"n{i}" for i in range(5))], OLD + NEW))
    with Archive.build(tmp_path / "b", [texts[id] for id in ids], MODEL, ids=ids, name="pretrained") as archive:
        anew = mine_unmined(archive.memory, SETTINGS, RULE)
    assert pairs_of(whole.found) == pairs_of(anew.found)
    assert [[row[1:] for row in rows] for rows in whole.found.clusters] == [
        [row[1:] for row in rows] for rows in anew.found.clusters
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--add"], "--add needs --against ARCHIVE"),
        (["--known", "update"], "--known update needs --against ARCHIVE --add"),
        (["--against", "old.csv", "--add"], "--add needs an archive; old.csv is none"),
        (["--against", "archive", "--known", "skip"], "give --add too"),
        (["--against", "old.csv", "--max-pairs", "5"], "--max-pairs does not go with --against; leave it out"),
        (["--against", "old.csv", "--engine", "ray"], "--engine ray does not go with --against; leave it out"),
    ],
)
def test_what_does_not_go_together(command: Command, tmp_path: Path, words: list[str], message: str) -> None:
    code, _, err = command("mine", write_csv(tmp_path / "new.csv", [("1", "Why?")], "id,question"), *words,
                           "--out", tmp_path / "pairs.csv")  # fmt: skip
    assert code == 2 and message in err and "Traceback" not in err
    assert not (tmp_path / "pairs.csv").exists()


@pytest.mark.slow
def test_only_one_of_two_files_has_ids(command: Command, tmp_path: Path) -> None:
    new, old = tmp_path / "new.csv", tmp_path / "old.txt"
    write_csv(new, [("1", "How do I lose weight fast?"), ("2", "Where is Rome?")], "id,question")
    old.write_text("How do I lose weight?\nwhere is Rome?\n", encoding="utf-8")
    out = tmp_path / "pairs.csv"
    code, said, err = command("mine", new, "--against", old, "--out", out, "--model", "pretrained", "--threshold", 0.7)
    assert code == 0 and "pairs, " in said, err
    assert [(row["id1"], row["id2"]) for row in read_csv(out)] == [("2", ""), ("1", "")]


@pytest.mark.slow
def test_an_archive_that_lost_most_of_its_questions_is_not_emptied(command: Command, tmp_path: Path) -> None:
    archive, new = tmp_path / "archive", write_csv(tmp_path / "new.csv", [("a", OLD[0])], "id,question")
    Archive.build(archive, OLD, MODEL, ids=list("abcde"), name="pretrained").close()
    code, _, err = command("mine", new, "--against", archive, "--add", "--known", "update", "--remove-missing",
                           "--out", tmp_path / "pairs.csv")  # fmt: skip
    assert code == 2 and "4 of its 5 questions are missing" in err and "`archive add --force`" in err


@pytest.mark.slow
def test_what_is_refused_adds_nothing(command: Command, tmp_path: Path) -> None:
    archive, new = tmp_path / "archive", write_csv(tmp_path / "new.csv", [("n", NEW[1])], "id,question")
    Archive.build(archive, OLD, MODEL, ids=list("abcde"), name="pretrained").close()
    out, removed = tmp_path / "pairs.csv", ("--removed", tmp_path / "removed.csv")
    add, no_verdict = (archive, "--add"), "--removed is for a verdict, which does not decide here"
    for against, words, message in (
        (add, (*removed, "--threshold", 0.7), no_verdict),
        (add, ("--memory", 0), "--memory 0: expected a whole number of 1 or more"),
        ((new, "--model", "pretrained"), (*removed, "--threshold", 0.7), no_verdict),
    ):
        code, _, err = command("mine", new, "--against", *against, "--out", out, *words)
        assert code == 2 and message in err
    code, _, err = command("mine", "--from", new, "--out", out, *removed)
    assert code == 2 and "--removed does not go with --from" in err
    with Archive.open(archive, MODEL) as unchanged:
        assert len(unchanged) == 5


@pytest.mark.slow
def test_every_column_comes_along(command: Command, tmp_path: Path) -> None:
    old = write_csv(tmp_path / "old.csv", [("a", OLD[0], "ann"), ("b", OLD[1], "")], "id,question,author")
    new = write_csv(tmp_path / "new.csv", [("c", "How do I lose weight fast?", "eve", "x")], "id,question,author,url")
    archive, out, clusters = tmp_path / "archive", tmp_path / "pairs.csv", tmp_path / "clusters.csv"
    assert command("archive", "build", old, "--out", archive, "--model", "pretrained")[0] == 0
    whole = ["--out", out, "--clusters", clusters, "--threshold", 0.7]
    seen = []
    for against in (
        ["--against", old, "--model", "pretrained"],
        ["--against", archive],
        ["--against", archive, "--add"],
    ):
        code, _, err = command("mine", new, *against, *whole)
        assert code == 0, err
        rows = {row["id2"]: row for row in read_csv(out)}
        assert [rows["a"][name] for name in ("author1", "author2", "url1", "url2")] == ["eve", "ann", "x", ""]
        assert rows["b"]["author2"] == ""
        seen.append({row["id"]: (row["author"], row["url"]) for row in read_csv(clusters)})
    assert seen[0] == seen[1] == seen[2] and seen[0]["c"] == ("eve", "x")
    code, _, err = command("mine", "--against", archive, *whole)
    assert code == 0 and {row["author"] for row in read_csv(clusters)} == {"ann", "eve", ""}, err


@pytest.mark.slow
def test_from_python(tmp_path: Path) -> None:
    new = pd.DataFrame({"id": [1, 2, 3], "question": [NEW[0], OLD[1], OLD[0]]})
    old = pd.DataFrame({"id": [7, 3], "question": [OLD[1], OLD[0]]})
    with Archive.build(tmp_path / "a", old, MODEL, name="pretrained") as archive:
        found = siamese.mine_new(new, archive, threshold=0.6)
        assert pairs_of(found) == pairs_of(siamese.mine_new(new.astype(str), old.astype(str), MODEL, threshold=0.6))
        assert [(pair.id1, pair.id2) for pair in found.copies] == [("2", "7")]  # 3 is there
        whole = siamese.mine_archive(archive, threshold=0.6)
        assert [cluster[0].cluster for cluster in whole.clusters] == [1]
        archive.add([NEW[0]], ["1"])
        assert {pair.id1 for pair in siamese.mine_archive(archive, ["1", "7"], threshold=0.6).pairs} == {"1"}
        assert len(siamese.mine_archive(archive, threshold=0.6)) == 3
