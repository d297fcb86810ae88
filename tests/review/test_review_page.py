"""The page of `review`: who may answer, and what it shows in a real headless browser."""

import http.client
import json
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import Command
from files import write_csv
from pages import CONTRASTS, in_chromium, opened, shown, started_browser
from servers import running

from siamese.review.asked import Asked
from siamese.review.cluster_session import ClusterReview
from siamese.review.decisions import DIFFERENT, DUPLICATE, UNSURE, Decision, latest, open_log, read_decisions
from siamese.review.journal import Journal
from siamese.review.page import make_app
from siamese.review.session import PairReview

ROOT = Path(__file__).parents[2]
TOKEN = "a-secret"
HTML = '<img src=x onerror="window.broken=1"> <script>window.broken=1</script> &amp; \u202e <b>How old are you?</b>'
PAIRS = [
    [HTML, "How old are you?", 0.96, 0.9],
    ["How do I reset my password?", "How can I reset the password of my account?", 0.95, 0.8],
    ["How do I reset my password?", "How do I reset my PIN?", 0.94, 0.7],
    ["How can I reset the password of my account?", "How do I reset my PIN?", 0.93, 0.6],
    ["The installer stops with error 1603", "The installer stops with error 1722", 0.9, 0.5],
    ["How do I reset my password?", "Where can I change my password?", 0.89, 0.4],
    ["Where can I change my password?", "How do I change the pass phrase?", 0.88, 0.4],
    ["a" * 500, "weight " * 100, 0.7, 0.3],
]
NAMES = "question1,question2,similarity,probability"


class Reviewed:
    """A page of a review, in a thread of this process."""

    def __init__(self, port: int, decisions: Path, finished: threading.Event) -> None:
        self.address, self.port = f"http://127.0.0.1:{port}/", port
        self.decisions, self.finished = decisions, finished

    def post(self, path: str, body: Any = None, token: str | None = TOKEN, **headers: str) -> tuple[int, Any]:
        """Ask, and return the status and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"Content-Type": "application/json", **headers}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        connection.request("POST", path, json.dumps(body or {}), sent)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content) if content else None

    def step(self, do: str, *questions: int) -> dict[str, Any]:
        ticket = self.post("/state")[1]["ticket"]
        status, state = self.post("/step", {"ticket": ticket, "do": do, "questions": questions})
        assert status == 200, state
        return dict(state)

    @property
    def counting(self) -> dict[tuple[str, str], str]:
        return {(d.question1, d.question2): d.answer for d in latest(read_decisions(self.decisions)).values()}


@contextmanager
def reviewed(folder: Path, clusters: bool = False) -> Iterator[Reviewed]:
    pairs, finished = write_csv(folder / "duplicates.csv", PAIRS, NAMES), threading.Event()
    with open_log(folder / "decisions.csv") as log:
        made = (ClusterReview if clusters else PairReview)(Asked.read(pairs), Journal(log))
        with running(make_app(made, TOKEN, finished.set, "part 1/2")) as server:
            yield Reviewed(server.port, folder / "decisions.csv", finished)


@pytest.mark.slow
def test_nobody_answers_without_the_token(tmp_path: Path) -> None:
    with reviewed(tmp_path) as page:
        step = {"ticket": page.post("/state")[1]["ticket"], "do": DUPLICATE}
        for path, body in (("/state", {}), ("/step", step), ("/finish", {})):
            for token in (None, "", "a-secre", "a-secret1", "\xe9"):
                assert page.post(path, body, token)[0] == 401
        # Another name that was made to resolve here (DNS rebinding), and what a form of another page can send.
        assert page.post("/state", Host="evil.example")[0] == 400
        assert page.post("/state", **{"Content-Type": "text/plain"})[0] == 415
        connection = http.client.HTTPConnection("127.0.0.1", page.port)
        connection.request("OPTIONS", "/step", headers={"Origin": "http://evil.example"})
        answer = connection.getresponse()
        assert answer.status == 405 and not answer.getheader("Access-Control-Allow-Origin")
        assert page.counting == {} and not page.finished.is_set()


@pytest.mark.slow
def test_a_step_counts_once_and_only_where_it_was_seen(tmp_path: Path) -> None:
    with reviewed(tmp_path) as page:
        state = page.post("/state")[1]
        assert "similarity" not in json.dumps(state) and "probability" not in json.dumps(state)
        step = {"ticket": state["ticket"], "do": DUPLICATE}
        status, after = page.post("/step", step)
        assert status == 200 and after["done"] == 1 and len(page.counting) == 1
        assert after["last"].startswith("Last answer: duplicate (similarity 0.")
        assert page.post("/step", step) == (
            409, {"detail": "answered already, perhaps in another window; this is what comes next"},
        )  # fmt: skip
        for do, questions in (("same", []), (DUPLICATE, [1]), ("undo", [1]), ("undo", [1, 2, 3]), ("no", [])):
            assert page.post("/step", {"ticket": after["ticket"], "do": do, "questions": questions})[0] == 422
        assert page.step("undo")["done"] == 0 and page.counting == {}
        for _ in PAIRS:
            state = page.step(UNSURE)
        assert state["pair"] is None and state["answers"] == {UNSURE: 8}
        assert page.post("/finish")[0] == 204 and page.finished.is_set()


@pytest.mark.slow
def test_what_is_done_to_clusters_is_written_as_decisions(tmp_path: Path) -> None:
    with reviewed(tmp_path, clusters=True) as page:
        state = page.post("/state")[1]
        texts = {m["number"]: " ".join(piece for piece, _ in m["text"]) for m in state["cluster"]["members"]}
        assert [*texts.values()] == [PAIRS[1][0], PAIRS[1][1], PAIRS[2][1]]
        password, account, pin = texts
        (change,) = (near["number"] for near in state["cluster"]["near"])
        state = page.step("split", pin)
        assert [m["number"] for m in state["cluster"]["members"]] == [password, account]
        assert page.counting == {(texts[pin], texts[q]): DIFFERENT for q in (password, account)}
        state = page.step("represent", account)
        assert [m["number"] for m in state["cluster"]["members"]] == [account, password]
        state = page.step("merge", change)
        numbers = [m["number"] for m in state["cluster"]["members"]]
        assert numbers[0] == account and len(numbers) == 4 and {*numbers[1:]} > {password, change}
        assert page.counting[texts[account], "Where can I change my password?"] == DUPLICATE
        assert page.step("undo")["cluster"]["near"][0]["number"] == change
        state = page.step("never", account, change)
        assert state["cluster"]["near"] == [] and len(state["cluster"]["members"]) == 2
        state = page.step("same")
        assert state["done"] == 1 and state["cluster"]["members"][0]["number"] not in texts
        members = page.step("undo")["cluster"]["members"]
        assert members[0]["number"] == account
        for do, questions in (("split", [999]), ("merge", [account]), ("never", [account, account]), ("never", [1])):
            asked = {"ticket": page.post("/state")[1]["ticket"], "do": do, "questions": questions}
            assert page.post("/step", asked)[0] == 422
        page.step("skip")
        while page.post("/state")[1]["cluster"]:
            page.step("skip")
        assert page.step("undo")["cluster"]


@pytest.mark.slow
def test_a_step_that_contradicts_others_is_refused_with_the_chain(tmp_path: Path) -> None:
    password, account, change = PAIRS[1][0], PAIRS[1][1], PAIRS[5][1]
    with open_log(tmp_path / "decisions.csv") as log:
        log.append(Decision(password, account, DUPLICATE), Decision(account, change, DIFFERENT))
    with reviewed(tmp_path, clusters=True) as page:
        state = page.post("/state")[1]
        assert password in [" ".join(piece for piece, _ in m["text"]) for m in state["cluster"]["members"]]
        assert state["cluster"]["near"] == []  # somebody has said that it is different
        number = Asked.read(tmp_path / "duplicates.csv").questions.texts.index(change)
        status, answer = page.post("/step", {"ticket": state["ticket"], "do": "merge", "questions": [number]})
        assert status == 422 and f"{account!r} = {password!r} = {change!r}, yet its ends are" in answer["detail"]
        assert len(page.counting) == 2


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_browser() as one:
        yield one


def in_browser(test: Any) -> Any:
    for mark in in_chromium:
        test = mark(test)
    return test


@in_browser
def test_pairs_by_keyboard_alone(tmp_path: Path, browser: Any) -> None:
    with reviewed(tmp_path) as review, opened(browser, f"{review.address}#{TOKEN}") as page:
        shown(page, "#count", "0 of 8, part 1/2")
        assert page.inner_text("h1") == "Do they ask the same?"
        assert page.evaluate("document.querySelectorAll('mark').length > 0")
        body = page.inner_text("body")
        assert "similarity" not in body and "probability" not in body
        for done, (key, word) in enumerate((("y", "duplicate"), ("n", "different"), ("u", "unsure"), ("s", "skip")), 1):
            page.keyboard.press(key)
            shown(page, "#count", f"{done} of 8")
            assert page.inner_text("#last").startswith(f"Last answer: {word} (similarity 0.")
        assert sorted(review.counting.values()) == sorted([DUPLICATE, DIFFERENT, UNSURE, "skip"])
        page.keyboard.press("Control+y")  # of the browser
        page.keyboard.press("w")
        page.keyboard.press("z")
        shown(page, "#count", "3 of 8")
        page.keyboard.press("Tab")
        focused = "[document.activeElement.dataset.do, getComputedStyle(document.activeElement).outlineStyle]"
        assert page.evaluate(focused) == [DUPLICATE, "solid"]
        page.keyboard.press("Enter")
        shown(page, "#count", "4 of 8")
        page.keyboard.press("q")
        shown(page, "h1", "Finished")
        assert review.finished.is_set() and len(review.counting) == 4


@in_browser
def test_clusters_by_keyboard_alone(tmp_path: Path, browser: Any) -> None:
    with reviewed(tmp_path, clusters=True) as review, opened(browser, f"{review.address}#{TOKEN}") as page:
        shown(page, "h1", "Are these all the same?")
        assert page.is_disabled("[data-do=split]") and page.is_disabled("[data-do=never]")
        page.keyboard.press("3")
        assert page.is_enabled("[data-do=split]")
        page.keyboard.press("x")
        page.wait_for_function("() => members.children.length === 2")
        page.keyboard.press("a")
        page.keyboard.press("m")
        page.wait_for_function("() => members.children.length === 4")
        page.keyboard.press("z")
        page.wait_for_function("() => members.children.length === 2")
        page.keyboard.press("y")
        shown(page, "#count", "1 of 5")
        assert sorted(review.counting.values()) == [DIFFERENT, DIFFERENT, DUPLICATE]


@in_browser
@pytest.mark.parametrize("clusters", [False, True])
def test_questions_full_of_html_stay_text_and_everything_is_legible(
    tmp_path: Path, browser: Any, clusters: bool
) -> None:
    with reviewed(tmp_path, clusters) as review:
        seen = ""
        for width, scheme in ((360, "light"), (360, "dark"), (1000, "light"), (1000, "dark")):
            with opened(browser, f"{review.address}#{TOKEN}", width, scheme) as page:
                for _ in PAIRS:
                    shown(page, "#count", " of ")
                    seen += (before := page.inner_text("main"))
                    found = page.evaluate("[window.broken, document.images.length, document.scripts.length]")
                    assert found == [None, 0, 1]
                    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), before
                    assert page.evaluate(CONTRASTS) == []
                    if before.startswith("Every"):
                        break
                    page.keyboard.press("s")
                    page.wait_for_function("before => document.querySelector('main').innerText !== before", arg=before)
            for _ in PAIRS:
                review.step("undo")
        assert "<script>window.broken=1</script>" in seen and r"\u202e" in seen


@in_browser
def test_without_the_token_or_the_program_the_page_says_so(tmp_path: Path, browser: Any) -> None:
    with reviewed(tmp_path) as review:
        page = browser.new_page()
        page.goto(review.address)
        shown(page, "#last", "Open the address that `review` printed.")
        assert page.is_hidden("#pair")
        page.goto(f"{review.address}#{TOKEN}")
        shown(page, "#count", "0 of 8")
        page.route("**/step", lambda route: route.abort())
        page.keyboard.press("y")
        shown(page, "#last", "Not saved: `review` does not answer.")
        assert page.inner_text("#count").startswith("0 of 8")
        page.unroute("**/step")
        review.step(DUPLICATE)  # in another window
        page.keyboard.press("n")
        shown(page, "#last", "answered already, perhaps in another window")
        shown(page, "#count", "1 of 8")
        page.close()
    assert [*review.counting.values()] == [DUPLICATE]


def started(folder: Path, *words: str) -> tuple["subprocess.Popen[str]", int, str]:
    """Start a command that reviews, and return its process, its port and the token."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *(words or ("review", "duplicates.csv"))], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout
    line = next(line for line in process.stdout if line.startswith("open "))
    found = re.fullmatch(r"open http://127\.0\.0\.1:(\d+)/#([\w-]{43}) to answer, until Ctrl-C\n", line)
    assert found, line
    return process, int(found[1]), found[2]


@pytest.mark.ci
def test_the_command_ends_when_the_person_has_finished(tmp_path: Path) -> None:
    write_csv(tmp_path / "duplicates.csv", PAIRS, NAMES)
    process, port, token = started(tmp_path, "review", "duplicates.csv", "--part", "1/2")
    page = Reviewed(port, tmp_path / "decisions.csv", threading.Event())
    state = page.post("/state", token=token)[1]
    assert state["part"] == "part 1/2" and state["total"] == 4
    assert page.post("/step", {"ticket": state["ticket"], "do": UNSURE}, token)[0] == 200
    assert page.post("/finish", token=token)[0] == 204
    assert process.stdout and process.stdout.read() == "1 unsure: decisions.csv\n"
    assert process.wait(20) == 0


@pytest.mark.ci
def test_mine_goes_on_to_the_page(tmp_path: Path, command: Command) -> None:
    questions = write_csv(tmp_path / "questions.csv", [[pair[0]] for pair in PAIRS[1:6]] + [[PAIRS[1][1]]], "question")
    words = ("mine", str(questions), "--out", "mined.csv", "--threshold", "0.5", "--model", "pretrained", "--review")
    process, port, token = started(tmp_path, *words)
    page = Reviewed(port, tmp_path / "decisions.csv", threading.Event())
    assert page.post("/state", token=token)[1]["pair"]
    assert page.post("/finish", token=token)[0] == 204
    assert process.wait(20) == 0
    code, _, error = command(*words, "--label-sample", 5)
    assert code == 2 and "--review goes with neither --label-sample nor --engine ray" in error


@pytest.mark.ci
def test_no_answer_is_lost_in_kills(tmp_path: Path) -> None:
    """Whenever the process is killed, each answer that the page was told of is in the file."""
    rows = [[f"How old is number {i}?", f"What is the age of number {i}?", 0.9, 0.5] for i in range(5_000)]
    write_csv(tmp_path / "duplicates.csv", rows, NAMES)
    random_ = random.Random(18)
    kept: list[str] = []
    for kill in range(25):
        process, port, token = started(tmp_path)
        page = Reviewed(port, tmp_path / "decisions.csv", threading.Event())
        state = page.post("/state", token=token)[1]
        killing = threading.Timer(random_.uniform(0, 0.5), process.kill)
        killing.start()
        told, pending = [*kept], None
        try:
            while True:
                pending = random_.choice([DUPLICATE, DIFFERENT, UNSURE])
                state = page.post("/step", {"ticket": state["ticket"], "do": pending}, token)[1]
                told.append(pending)
        except (OSError, http.client.HTTPException):
            pass
        killing.join()
        process.wait(20)
        with open_log(tmp_path / "decisions.csv") as log:
            found = [row.answer for row in log.decisions]
        assert found in (told, [*told, pending]), f"kill {kill}"
        kept = found
    assert len(kept) > 50


@pytest.mark.slow
def test_clusters_in_the_terminal(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "duplicates.csv", PAIRS, NAMES)
    monkeypatch.setattr(sys, "stdin", io.StringIO("x 3\nm a\nz\nr 2\nn a\nfoo\nx 9\nx\ny\nn 1\ns\ns\ns\n"))
    code, printed, _ = command("review", "duplicates.csv", "--clusters", "--terminal")
    assert code == 0 and printed.endswith("3 different, 1 duplicate, 1 representative: decisions.csv\n")
    assert printed.count("Type one of these, with the numbers or letters shown:") == 3
    assert "Near, but not in it:\na  *Where* *can* I *change* my password? (and 1 more)" in printed
    assert "choose two questions, one of this cluster at least" in printed
    for step in ("split off", "merged", "The last step is taken back.", "represents the cluster", "all the same"):
        assert f"\n{step}\n" in printed
