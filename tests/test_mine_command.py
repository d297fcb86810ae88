"""`mine` as typed: files, output, and errors."""

import csv
import html
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import Command, python
from files import read_csv, write_csv

from siamese import SiameseModel
from siamese.mining.clusters import Member
from siamese.mining.found import PAIR
from siamese.mining.kept import HEADER
from siamese.mining.questions import Copy, Questions
from siamese.mining.report import write as write_report

ROOT = Path(__file__).parents[1]

QUESTIONS = [
    "How do I lose weight?",
    "how do i lose WEIGHT",
    " How do I lose weight? ",  # a copy of the first
    "How do I gain weight?",
    "",
    "qqqqqq xxxxxx",  # no known word: the zero vector
    "wwww",
    "How can I gain weight?",
    "How do I gain weight?",  # a copy
    "=1+1, says \"he\"\r <b>&amp;",
]  # fmt: skip


@pytest.fixture()
def file(tmp_path: Path) -> Path:
    rows = [(f"q{i}", question) for i, question in enumerate(QUESTIONS)]
    return write_csv(tmp_path / "questions.csv", rows, "id,question")


def mined(command: Command, *words: object) -> str:
    code, out, err = command("mine", *words, "--model", "pretrained")
    assert code == 0, err
    return out


def test_pairs_clusters_and_what_is_said(command: Command, file: Path, tmp_path: Path) -> None:
    out, groups = tmp_path / "duplicates.csv", tmp_path / "clusters.csv"
    said = mined(command, file, "--out", out, "--threshold", "0.5", "--clusters", groups)
    assert "7 different questions, 2 copies collapsed, 1 blank rows left out\n" in said
    rows = read_csv(out)
    assert list(rows[0]) == ["question1", "question2", "similarity", "probability", "id1", "id2"]
    model, at = SiameseModel.pretrained(), {f"q{i}": question for i, question in enumerate(QUESTIONS)}
    different = [f"q{i}" for i in (0, 1, 3, 5, 6, 7, 9)]
    expected = {("q0", "q2"): 1.0, ("q3", "q8"): 1.0}  # the copies
    for place, a in enumerate(different):
        for b in different[place + 1 :]:
            similarity = round(float(model.similarity([at[a]], [at[b]])[0]), 6)
            if similarity > 0.5:
                expected[a, b] = similarity
    assert {(row["id1"], row["id2"]): float(row["similarity"]) for row in rows} == pytest.approx(expected, abs=1.5e-6)
    assert ("q0", "q1") in expected and len(expected) > 5
    assert f"{len(rows)} pairs, 2 of them copies, down to a similarity of {rows[-1]['similarity']}: {out}\n" in said
    similarities = [float(row["similarity"]) for row in rows]
    assert similarities == sorted(similarities, reverse=True)
    for row in rows:
        assert (row["question1"], row["question2"]) == (at[row["id1"]], at[row["id2"]])
        assert float(row["probability"]) == pytest.approx(float(model.probability(float(row["similarity"]))), abs=1e-6)

    members = read_csv(groups)
    assert {row["id"] for row in members} == {f"q{i}" for i in (0, 1, 2, 3, 7, 8)}
    assert [row["representative"] for row in members].count("1") == len({row["cluster"] for row in members})
    copies = {row["id"]: (row["neighbour_id"], row["similarity"]) for row in members if row["id"] in ("q2", "q8")}
    assert copies == {"q2": ("q0", "1.0"), "q8": ("q3", "1.0")}
    scores = {frozenset((row["id1"], row["id2"])): row["similarity"] for row in rows}
    for row in members:
        if row["id"] not in copies:
            assert row["similarity"] == scores[frozenset((row["id"], row["neighbour_id"]))]
    assert not list(tmp_path.glob("*.unfinished"))


@pytest.mark.slow
def test_a_higher_threshold_needs_no_model(command: Command, file: Path, tmp_path: Path) -> None:
    low, anew, raised = (tmp_path / name for name in ("low.csv", "anew.csv", "raised.csv"))
    both = [(tmp_path / f"{name}-clusters.csv", tmp_path / f"{name}.html") for name in ("anew", "raised")]
    mined(command, file, "--out", low, "--threshold", "0.4")
    middle = float(read_csv(low)[5]["similarity"])
    mined(command, file, "--out", anew, "--threshold", middle, "--clusters", both[0][0], "--report", both[0][1])
    code, _, err = command(
        "mine", file, "--from", low, "--threshold", middle, "--out", raised, "--model", "nowhere",
        "--clusters", both[1][0], "--report", both[1][1],
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert raised.read_bytes() == anew.read_bytes()
    assert len(read_csv(raised)) == 5  # two of them copies; not the one at the threshold
    for one, other in zip(*both):
        assert one.read_bytes() == other.read_bytes()

    code, _, err = command("mine", "--from", low, "--threshold", "0.1", "--max-pairs", 2, "--out", raised)
    assert code == 0 and f"note: {low} has no pair below {read_csv(low)[-1]['similarity']};" in err
    assert raised.read_text().splitlines() == low.read_text().splitlines()[:3]


@pytest.mark.slow
def test_the_default_threshold_comes_with_a_warning_and_what_to_do(
    command: Command, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "my pairs.csv"
    code, _, err = command("mine", file, "--out", out, "--model", "pretrained")
    assert code == 0
    rule = SiameseModel.pretrained().rule()
    chosen = f"{rule.threshold:.3f} was chosen on labelled pairs, {rule.calibration.prior:.0%} of them duplicates"
    assert f"{chosen}. Of the 21 pairs of these questions" in err
    assert f"python run.py mine --from '{out}' --label-sample 200 --out to_label.csv" in err
    assert "was chosen" not in command("mine", file, "--out", out, "--model", "pretrained", "--threshold", "0.8")[2]


def test_from_a_sample_with_labels_to_a_threshold(command: Command, tmp_path: Path) -> None:
    # 4,000 pairs of which those above 0.8 are duplicates, and a person who knows it.
    pairs, sample = tmp_path / "pairs.csv", tmp_path / "to_label.csv"
    similarities = [round(0.999 - 0.0001 * i, 6) for i in range(4_000)]
    lines = [f'"a{i}","b{i}",{s},0.5' for i, s in enumerate(similarities)]
    pairs.write_text("question1,question2,similarity,probability\n" + "\n".join(lines) + "\n")
    code, out, _ = command("mine", "--from", pairs, "--label-sample", 400, "--out", sample)
    assert code == 0 and "400 of 4,000 pairs" in out
    rows = read_csv(sample)
    assert len(rows) == 400 and {row["is_duplicate"] for row in rows} == {""}
    assert [row["similarity"] for row in rows] != sorted((row["similarity"] for row in rows), reverse=True)
    first = sample.read_bytes()
    command("mine", "--from", pairs, "--label-sample", 400, "--out", sample)
    assert sample.read_bytes() == first
    command("mine", "--from", pairs, "--label-sample", 400, "--out", sample, "--seed", 1)
    assert sample.read_bytes() != first
    with open(sample, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "is_duplicate": int(float(row["similarity"]) > 0.8)} for row in rows)
    code, out, _ = command("mine", "--labels", sample, "--precision", "0.95")
    assert code == 0
    found = re.search(r"\nthreshold (0\.\d+): of the ([\d,]+) pairs above it ([\d.]+)% are duplicates", out)
    assert found
    # Of the pairs above t the share (0.999 − 0.8) / (0.999 − t) are duplicates: 0.95 at t = 0.7895.
    assert 0.7895 <= float(found[1]) < 0.83
    assert int(found[2].replace(",", "")) == sum(s > float(found[1]) for s in similarities)

    code, out, err = command("mine", "--labels", sample, "--precision", "0.999")
    assert code == 2 and "error: no threshold reaches a precision of 0.999 for sure" in err
    assert "threshold      pairs  labels" in out  # what the labels say is there nevertheless


@pytest.mark.slow
def test_nothing_is_found(command: Command, file: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "d.csv", tmp_path / "r.html"
    said = mined(command, file, "--out", out, "--threshold", "1", "--report", page)
    assert "2 pairs, 2 of them copies" in said
    assert [(row["id1"], row["id2"]) for row in read_csv(out)] == [("q0", "q2"), ("q3", "q8")]
    assert "exact copy: q2" in page.read_text(encoding="utf-8")
    sample = tmp_path / "to_label.csv"
    code, _, err = command(
        "mine", file, "--out", sample, "--threshold", "1", "--label-sample", 5, "--model", "pretrained"
    )
    assert code == 2 and "nothing to label" in err
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    assert "0 different questions" in mined(command, empty, "--out", out, "--clusters", tmp_path / "c.csv")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["q.csv"], "needs --out"),
        (["--out", "d.csv"], "needs a file of questions, or --from"),
        (["q.csv", "--out", "d.csv", "--max-pairs", "0"], "--max-pairs 0"),
        (["q.csv", "--out", "d.csv", "--threshold", "2", "--model", "pretrained"], "threshold 2.0"),
        (["q.csv", "--out", "d.csv", "--memory", "-1", "--model", "pretrained"], "--memory -1"),
        (["none.csv", "--out", "d.csv", "--model", "pretrained"], "none.csv: no such file"),
        (["q.csv", "--out", "d.csv", "--memory", "10", "--model", "pretrained"], "--memory 10: 2 questions of 256"),
        (["--labels", "l.csv"], "--labels PATH and --precision P go together"),
        (["--precision", "0.9", "q.csv", "--out", "d.csv"], "--labels PATH and --precision P go together"),
        (["--from", "q.csv", "--out", "d.csv"], "no column 'question1'; expected a file that `mine` wrote"),
        (["--from", "bad.csv", "--out", "d.csv"], "bad.csv, line 2: similarity 'x'"),
        (["--from", "order.csv", "--out", "d.csv"], "order.csv, line 3: more similar than the pair before"),
        (["--from", "same.csv", "--out", "d.csv"], "same.csv, line 2: a question with itself"),
        (["q.csv", "--from", "other.csv", "--out", "d.csv"], "other.csv, line 2: id1 '9' is not among the questions"),
        (["q.csv", "--from", "order.csv", "--out", "d.csv"], "order.csv: has no ids, unlike the questions"),
        (["twice.csv", "--out", "d.csv", "--model", "pretrained"], "line 3: the id '1' was another question's"),
        (["some.csv", "--out", "d.csv", "--model", "pretrained"], "some.csv, line 3: no id, unlike other rows"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = "question1,question2,similarity,probability"
    for name, text in {
        "q.csv": "id,question\n1,a\n2,b\n",
        "bad.csv": f"{pairs}\na,b,x,0.5\n",
        "order.csv": f"{pairs}\na,b,0.8,0.5\na,c,0.9,0.5\n",
        "same.csv": f"{pairs}\na,a ,0.8,0.5\n",
        "other.csv": f"{pairs},id1,id2\na,b,0.8,0.5,9,2\n",
        "twice.csv": "id,question\n1,a\n1,b\n",
        "some.csv": "id,question\n1,a\n,b\n",
    }.items():
        Path(name).write_text(text)
    code, _, err = command("mine", *words)
    assert code == 2
    assert re.search(message, err), err
    assert not Path("d.csv").exists() and not list(tmp_path.glob("*.unfinished"))


@pytest.mark.slow
def test_complete_linkage_that_needs_too_much_memory_leaves_the_pairs(
    command: Command, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siamese.mining.mined.A_LINK", 1 << 30)
    out = tmp_path / "d.csv"
    words = ["mine", file, "--out", out, "--threshold", "0.5", "--clusters", tmp_path / "c.csv"]
    words += ["--model", "pretrained"]
    code, _, err = command(*words)
    assert code == 2 and "--linkage connected" in err
    assert len(read_csv(out)) > 3
    assert command(*words, "--linkage", "connected")[0] == 0


SLOW = """
import sys, time
from siamese.cli import main
from siamese.mining.kept import Kept
append = Kept.append
Kept.append = lambda *unit: (append(*unit), time.sleep(60))
main(sys.argv[1:])
"""  # mines, and waits after each unit to be killed


@pytest.mark.ci
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(command: Command, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    words = SiameseModel.pretrained().tokenizer.words[:2_000]
    questions, again = tmp_path / "q.txt", tmp_path / "again.csv"
    questions.write_text("".join(" ".join(random.choice(words, 4)) + "\n" for _ in range(5_000)), encoding="utf-8")
    mined(command, questions, "--threshold", "0.6", "--out", tmp_path / "whole.csv")
    assert len(read_csv(tmp_path / "whole.csv")) > 100
    line = ["mine", questions, "--threshold", "0.6", "--model", "pretrained", "--out", again]
    for how, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        slow = [sys.executable, "-c", SLOW, *map(str, line), *(["--resume"] if code == -9 else [])]
        process = subprocess.Popen(slow, cwd=ROOT, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        pairs, units = tmp_path / "again.csv.unfinished" / "pairs.bin", 1 if code == 130 else 2
        while process.poll() is None and not (pairs.exists() and whole_units(pairs) == units):
            time.sleep(0.05)
        process.send_signal(how)
        _, err = process.communicate()
        assert process.returncode == code
        assert how != signal.SIGINT or "stopped; continue with: " in err
    assert command(*line, "--resume")[0] == 0
    assert again.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.csv", "q.txt", "whole.csv"]


def whole_units(path: Path) -> int:
    """Return the units of pairs that a file holds."""
    data, units = path.read_bytes(), 0
    while len(data) >= HEADER.size:
        data = data[HEADER.size + HEADER.unpack(data[: HEADER.size])[1] * PAIR.itemsize :]
        units += 1
    return units


def test_the_page_shows_text_as_text_and_loads_nothing(tmp_path: Path) -> None:
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"' &lt; how"
    other = "how <script>beta</script> </style> </title><svg/onload=y> " + attack
    questions = Questions([attack, other, "third"], ["<i>", '"1"', "3"], [Copy(0, "<b>copy")])
    page = tmp_path / "r.html"
    members = [Member(0, 1, 0.9), Member(1, 0, 0.9)]
    assert write_report(page, questions, [members, [Member(2, 2, 1.0)]], "complete", 0.9) == 2
    text = page.read_text(encoding="utf-8")
    for tag in ("script", "style", "title"):
        assert text.count(f"<{tag}") == text.count(f"</{tag}") == 1
    assert "<img" not in text and "<svg" not in text and "<i>" not in text and "<b>" not in text
    assert html.escape(attack) in text
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)
    assert policy and policy[1].startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy[1]
    assert not re.search(
        r"(src|href)=|url\(|@import|https?:", text.replace(html.escape(attack), "").split("</style>")[0]
    )
    assert "how <mark>&lt;script&gt;beta&lt;/script&gt;</mark> " in text  # the representative does not say beta


def test_the_page_is_capped_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamese.mining.report.MOST", 5)
    questions = Questions([f"question {i}" for i in range(8)])
    found = [[Member(i, i + 1, 0.9), Member(i + 1, i, 0.9)] for i in range(0, 8, 2)]
    assert write_report(tmp_path / "r.html", questions, found, "complete", 0.9) == 2
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "4 clusters of 8 different questions" in text and "The page shows the first 2 of them" in text
    assert text.count("<section>") == 2


@pytest.mark.slow
def test_nothing_heavy_is_loaded_for_what_needs_no_vectors(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("question1,question2,similarity,probability\na,b,0.9,0.5\n")
    done = python("-X", "importtime", "run.py", "mine", "--from", pairs, "--out", tmp_path / "out.csv")
    assert done.returncode == 0
    loaded = {row.rpartition("|")[2].strip().split(".")[0] for row in done.stderr.splitlines()}
    assert not {"torch", "pandas", "sklearn", "scipy"} & loaded
