"""Two weeks of a growing forum: each night an archive follows an export, and is mined as if from nothing."""

import os
import random
import signal
from pathlib import Path

import pytest
from commands import Command, posix
from files import QUESTIONS, read_csv, write_csv

from siamese.archive import memory
from siamese.cli import entry

pytestmark = [pytest.mark.slow, pytest.mark.ci]

DAYS, AT_FIRST, A_DAY = 14, 240, 30
Forum = dict[str, tuple[str, str]]  # the text and the author of each question, by its id


def days() -> list[Forum]:
    """Return the forum on each day: questions are added, changed, deleted and copied, under lower and higher ids."""
    random.seed(19)
    texts = iter(dict.fromkeys(row[column] for row in read_csv(QUESTIONS) for column in ("question1", "question2")))
    forum: Forum = {str(1_000 + i): (next(texts), "ann") for i in range(AT_FIRST)}
    found = [dict(forum)]
    for day in range(1, DAYS):
        known = sorted(forum)
        for i, id in enumerate(random.sample(known, 24)):
            if i < 8:
                del forum[id]
            elif i < 14:
                forum[id] = next(texts), forum[id][1]
            elif i < 18:
                forum[id] = forum[id][0], f"author of day {day}"
            else:  # a copy, which is the first or a later one
                other = str(int(id) + random.choice([-900, 5_000 + 100 * day]))
                forum[other] = f" {forum[id][0]} ", "bob"
        forum |= {str(2_000 + 100 * day + i): (next(texts), "eve") for i in range(A_DAY)}
        if day % 3 == 0:  # the questions that many are copies of disappear
            forum = {id: forum[id] for id in forum if not (id.startswith("1") and forum[id][1] == "bob")}
        found.append(dict(forum))
    return found


def export(forum: Forum, path: Path) -> Path:
    rows = [(id, *cells) for id, cells in forum.items()]
    random.shuffle(rows)
    return write_csv(path, rows, "id,question,author")


def sets(clusters: Path) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for row in read_csv(clusters):
        found.setdefault(row["cluster"], set()).add(row["id"])
    return {number: frozenset(ids) for number, ids in found.items()}


def killed(words: list[str], at: str) -> None:
    """Run a command in a process that is killed when it calls a function of `memory`."""
    if not (child := os.fork()):
        setattr(memory if at == "_renumber" else memory.Memory, at, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        entry.main(words)
        os._exit(1)  # it was not called
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


@posix
def test_every_day_equals_a_run_from_nothing(command: Command, tmp_path: Path) -> None:
    def run(*words: object) -> str:
        code, out, err = command(*words)
        assert code == 0, err
        return out

    archive, pairs, clusters = (tmp_path / name for name in ("archive", "pairs.csv", "clusters.csv"))
    forums, before, numbered, given = days(), Forum(), dict[str, frozenset[str]](), set[str]()
    run("archive", "build", export({}, tmp_path / "none.csv"), "--out", archive, "--model", "pretrained")
    for day, forum in enumerate(forums):
        file = export(forum, tmp_path / f"{day}.csv")
        night = ["mine", file, "--against", archive, "--add", "--known", "update", "--remove-missing",
                 "--out", pairs, "--clusters", clusters]  # fmt: skip
        for at in {4: ["write"], 9: ["_renumber", "write"]}.get(day, []):
            killed([str(word) for word in night], at)
        run(*night)
        everything, fresh = (tmp_path / "all.csv", tmp_path / "all-clusters.csv"), (tmp_path / "f.csv", tmp_path / "g")
        assert "\n0 of " in "\n" + run(
            "mine", "--against", archive, "--out", everything[0], "--clusters", everything[1]
        )

        run("archive", "build", file, "--out", tmp_path / f"fresh-{day}", "--model", "pretrained")
        run("mine", "--against", tmp_path / f"fresh-{day}", "--out", fresh[0], "--clusters", f"{fresh[1]}.csv")
        assert everything[0].read_bytes() == fresh[0].read_bytes()
        today = sets(everything[1])
        assert {*today.values()} == {*sets(Path(f"{fresh[1]}.csv")).values()}
        assert clusters.read_bytes() == everything[1].read_bytes()

        new = {id for id, (text, _) in forum.items() if before.get(id, ("",))[0] != text}
        rows = {frozenset((row["id1"], row["id2"])): row for row in read_csv(everything[0])}
        assert {frozenset((row["id1"], row["id2"])) for row in read_csv(pairs)} == {ends for ends in rows if ends & new}
        assert all(row["id1"] in new for row in read_csv(pairs))
        assert sum(float(row["similarity"]) == 1 for row in rows.values()) >= day  # copies

        for number, ids in today.items():
            assert number in numbered or number not in given  # never given twice
            if ids in numbered.values():
                assert numbered[number] == ids
        before, numbered, given = forum, today, given | today.keys()
    assert len(given) > len(numbered)  # some have disappeared
