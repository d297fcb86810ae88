"""The page of the service in a real headless browser; skipped without Chromium."""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import CONTRASTS, in_chromium, opened, shown, started_browser
from servers import running

from siamese import SiameseModel
from siamese.archive.store import Archive
from siamese.service.app import make_app

pytestmark = in_chromium

MODEL = SiameseModel.pretrained()
FIRST, SECOND = "How can I lose weight in 駅日本?", "What is the fastest way to lose weight?"
HTML = '<img src=x onerror="window.broken=1"> <script>window.broken=1</script> &amp; <b>How old are you?</b>'
LIST = ["How do I reset my password?", "How can I reset my password?", "Where is my invoice?", HTML]
TOKEN = "a-token-of-the-tests"
STORED = {"1": "How do I reset my password?", "2": "Where is my invoice?", HTML: HTML}


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    """Return the addresses of a service with an archive and of one without."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        with Archive.build(Path(folder) / "archive", model=MODEL, name="pretrained") as archive:
            archive.add(list(STORED.values()), list(STORED), [{}, {"product": "shop", "n": 2}, {HTML: HTML}])
        with running(make_app(MODEL, Path(folder) / "archive", TOKEN)) as server, running(make_app(MODEL)) as without:
            yield {"archive": f"http://127.0.0.1:{server.port}/", "plain": f"http://127.0.0.1:{without.port}/"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_browser() as one:
        yield one


@pytest.fixture()
def page(browser: Any, addresses: dict[str, str], request: pytest.FixtureRequest) -> Iterator[Any]:
    """Open the page, wide and light, with an archive; indirect parameters change that. Its console must stay empty."""
    width, scheme, name = getattr(request, "param", (1000, "light", "archive"))
    with opened(browser, addresses[name], width, scheme) as one:
        yield one


def type_pair(page: Any, first: str, second: str) -> None:
    page.fill("#question1", first)
    page.fill("#question2", second)


def middle(page: Any, selector: str) -> float:
    """Return the position of an element's middle on the scale, 0 to 1."""
    track, box = page.locator("#track").bounding_box(), page.locator(selector).bounding_box()
    return float((box["x"] + box["width"] / 2 - track["x"]) / track["width"])


def test_the_verdict_appears_while_typing(page: Any) -> None:
    assert page.inner_text("#verdict") == "Type two questions."
    assert page.is_hidden("#explanation")
    type_pair(page, FIRST, SECOND)
    expected = MODEL.predict(FIRST, SECOND)
    verdict = "Duplicates" if expected.is_duplicate else "Not duplicates"
    shown(page, "#verdict", f"{verdict}: probability {round(100 * expected.probability)} %")
    assert page.inner_text("#similarity") == f"similarity {expected.similarity:.3f}"
    assert page.inner_text("#threshold") == f"threshold {expected.threshold:.3f}"
    page.wait_for_timeout(200)  # the needle moves
    assert middle(page, "#needle") == pytest.approx(expected.similarity, abs=0.01)
    # It reaches from the threshold to the end of the scale, so its middle is half way.
    assert middle(page, "#above") == pytest.approx((1 + expected.threshold) / 2, abs=0.01)
    page.fill("#question2", " ")
    shown(page, "#verdict", "Type two questions.")
    assert page.is_hidden("#explanation")


def test_words_with_their_shares_and_the_unknown_ones(page: Any) -> None:
    type_pair(page, FIRST, SECOND)
    shown(page, "#verdict", "probability")
    words = page.eval_on_selector_all("#words1 li", "all => all.map(li => li.firstChild.textContent)")
    assert words == ["how", "can", "i", "lose", "weight", "in", "駅日本", "?"]
    assert page.eval_on_selector_all("#words1 .unknown", "all => all.map(e => e.textContent)") == ["駅日本"]
    assert "not in the vocabulary" in page.inner_text("#words1 li:nth-child(7)")
    without = MODEL.predict("how can i weight in 駅日本 ?", SECOND).similarity
    share = MODEL.predict(FIRST, SECOND).similarity - without
    assert page.inner_text("#words1 li:nth-child(4) small") == f"{share:+.3f}"
    page.fill("#question1", "How old are you\ue000?")  # invisible, but not cleaned away
    shown(page, "#words1 .unknown", "U+E000")


def test_an_old_answer_never_replaces_a_newer_one(page: Any) -> None:
    held: list[Any] = []

    def hold(route: Any) -> None:
        if json.loads(route.request.post_data)["question2"] == "old":
            held.append(route)
        else:
            route.continue_()

    page.route("**/explain", hold)
    type_pair(page, "new", "old")
    page.wait_for_timeout(300)
    assert len(held) == 1
    page.fill("#question2", "new")
    shown(page, "#similarity", "similarity 1.000")
    try:
        held[0].fulfill(json={"is_duplicate": False, "similarity": 0.1, "threshold": 0.5, "probability": 0,
                              "words1": [], "words2": []})  # fmt: skip
    except Exception as error:
        assert "canceled" in str(error) or "already" in str(error) or "closed" in str(error), error
    page.wait_for_timeout(200)
    assert page.inner_text("#similarity") == "similarity 1.000"


def test_typing_sends_one_request(page: Any) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/explain") else None)
    page.clock.install()  # so that the page's wait does not end while a busy machine types
    page.clock.pause_at("2100-01-01")
    page.fill("#question1", "How old are you?")
    page.type("#question2", "How old is he?", delay=10)
    assert not asked
    page.clock.resume()
    shown(page, "#verdict", "probability")
    assert len(asked) == 1


def test_a_busy_service_is_asked_again_and_a_dead_one_reported(browser: Any, addresses: dict[str, str]) -> None:
    page = browser.new_page()  # not the fixture, since the browser logs such answers to its console
    page.goto(addresses["plain"])
    answers = iter([503])
    page.route(
        "**/explain", lambda route: route.fulfill(status=status) if (status := next(answers, 0)) else route.continue_()
    )
    type_pair(page, "How are you?", "How are you?")
    shown(page, "#similarity", "similarity 1.000")
    for question, shape, verdict in (
        ("How are they?", lambda route: route.abort(), "The service does not answer."),
        ("How are we?", lambda route: route.fulfill(status=504, json={"detail": "too slow"}), "Not answered: too slow"),
    ):
        page.unroute("**/explain")
        page.route("**/explain", shape)
        page.fill("#question2", question)
        shown(page, "#verdict", verdict)
        assert page.is_hidden("#explanation")
    page.close()


def test_a_lone_surrogate_is_replaced_before_it_is_sent(page: Any) -> None:
    page.fill("#question1", "How are you?")
    page.evaluate("question2.value = 'How are you? \\ud83d'; question2.dispatchEvent(new Event('input'))")
    shown(page, "#verdict", "probability")


def test_the_archive_is_searched_while_typing(page: Any) -> None:
    shown(page, "label[for=search]", "3 questions")
    page.fill("#search", "reset my password")
    shown(page, "#hits", "How do I reset my password?")
    found = MODEL.predict("reset my password", "How do I reset my password?")
    hit = page.inner_text("#hits li:first-child")
    assert re.search(rf"similarity {found.similarity:.3f}, score \d\.\d\d, id 1$", hit), hit
    page.fill("#search", "where is the invoice")
    page.wait_for_function("() => document.querySelector('#hits li .payload')?.textContent === 'productshopn2'")
    page.fill("#search", "")
    page.wait_for_function("hits.children.length === 0")


@pytest.mark.parametrize("page", [(1000, "light", "plain")], indirect=True)
def test_without_an_archive_there_is_no_search(page: Any) -> None:
    page.wait_for_load_state("networkidle")
    assert page.is_hidden("#archive")


def test_the_heat_map_shows_the_similarities(page: Any) -> None:
    page.fill("#questions", "\n".join(["", *LIST, "  "]))
    page.wait_for_selector("#matrix:not([hidden])")
    cells = page.eval_on_selector_all("#rows tr", "all => all.map(r => [...r.cells].slice(1).map(c => c.textContent))")
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            expected = f"{MODEL.similarity([LIST[i]], [LIST[j]])[0]:.2f}".replace("-", "−")
            assert cell == ("·" if i == j else expected)
    framed = page.eval_on_selector_all("td.duplicate", "all => all.map(c => [c.parentNode.rowIndex, c.cellIndex])")
    assert framed == [[1, 2], [2, 1]]
    assert page.inner_text("#matrix-status").startswith("1 of 6 pairs are duplicates")
    page.fill("#questions", "\n".join(f"Question {i}?" for i in range(25)))
    shown(page, "#matrix-status", "25 questions: 24 is the most.")
    assert page.is_hidden("#matrix")


def fill_all(page: Any, question: str) -> None:
    with page.expect_response("**/explain"), page.expect_response("**/search"), page.expect_response("**/similarity"):
        type_pair(page, question, SECOND)
        page.fill("#search", question)
        page.fill("#questions", "\n".join([*LIST, question]))
    page.wait_for_timeout(100)  # until the answers are rendered
    assert "probability" in page.inner_text("#verdict")
    assert page.is_visible("#hits li")
    assert page.is_visible("#matrix")


def test_a_question_full_of_html_stays_text(page: Any) -> None:
    before = page.evaluate("document.scripts.length")
    fill_all(page, HTML)
    assert f"id {HTML}" in page.inner_text("#hits")
    names = page.eval_on_selector_all("#hits dt, #hits dd", "all => all.map(one => one.textContent)")
    assert names.count(HTML) == 2
    assert HTML in page.text_content("#rows")
    assert page.evaluate("[window.broken, document.images.length, document.scripts.length]") == [None, 0, before]


def test_the_policy_blocks_everything_else(browser: Any, addresses: dict[str, str]) -> None:
    page = browser.new_page()
    page.goto(addresses["plain"])
    page.evaluate(
        """() => {
            window.refused = [];
            addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
            const script = document.createElement("script");
            script.textContent = "window.broken = 1";
            const image = document.createElement("img");
            image.src = "http://192.0.2.1/x.png";
            const style = document.createElement("style");
            style.textContent = "body { color: red }";
            document.body.append(script, image, style);
            document.body.setAttribute("onclick", "window.broken = 1");
            document.body.click();
            fetch("http://192.0.2.1/").catch(() => {});
        }"""
    )
    page.wait_for_function("refused.length >= 5")
    assert sorted(page.evaluate("refused")) == [
        "connect-src", "img-src", "script-src-attr", "script-src-elem", "style-src-elem",
    ]  # fmt: skip
    assert page.evaluate("window.broken") is None
    page.close()


@pytest.mark.parametrize(
    "page", [(w, scheme, "archive") for w in (360, 1000) for scheme in ("light", "dark")], indirect=True
)
def test_it_fits_and_is_legible(page: Any) -> None:
    odd = "How can I lose weight?\u202e \N{GRINNING FACE} 日本語"
    for question in ("", FIRST, HTML, "weight " * 100, "weight " + "a" * 500, odd):
        if question:
            fill_all(page, question)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), question
        assert page.evaluate(CONTRASTS) == [], question


def test_by_keyboard_alone(page: Any) -> None:
    page.wait_for_selector("#archive:not([hidden])")
    keys, visited = page.keyboard, []
    for words in ("How old are you?", "How old are you?", "password", "One?\nTwo?"):
        keys.press("Tab")
        keys.type(words)
        visited.append(page.evaluate("document.activeElement.id"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert visited == ["question1", "question2", "search", "questions"]
    page.wait_for_selector("#matrix:not([hidden])")
    keys.press("Tab")
    assert page.evaluate("document.activeElement.id") == "matrix"  # arrows scroll it
    shown(page, "#verdict", "Duplicates: probability")


def test_what_a_screen_reader_announces(page: Any) -> None:
    for field in page.query_selector_all("textarea, input"):
        assert field.evaluate("field => field.labels.length") == 1
    fill_all(page, FIRST)
    assert page.get_attribute("#verdict", "aria-live") == "polite"
    assert page.get_by_role("region", name="Similarities of all pairs").is_visible()
    assert page.get_by_role("rowheader").count() == page.get_by_role("columnheader").count() == 5
    assert page.get_by_role("list", name="First question").get_by_role("listitem").count() == 8


CARD = f"""# Title
## {HTML}
- **bold** `code` [a link](https://example.com/a) {HTML}
  goes on
- [here](../x.md) [script](javascript:alert(1)) ![image](https://example.com/x.png) <https://example.com/b>

| a | b |
|---|---|
| 1 | {HTML} |

```
{HTML}
```
"""


def test_the_card_of_a_stranger_stays_text(browser: Any, addresses: dict[str, str]) -> None:
    known = {"name": HTML, "licence": None, "card": CARD, "dimensions": 2, "threshold": 0.5}
    with opened(browser, addresses["plain"]) as page:
        page.route("**/model", lambda route: route.fulfill(json=known))
        page.reload()
        shown(page, "#model-facts", f"{HTML}: no licence known, 2 dimensions, threshold 0.500")
        page.click("#model summary")
        assert page.evaluate("[window.broken, document.images.length, document.scripts.length]") == [None, 0, 2]
        assert page.inner_text("#card h3") == HTML == page.inner_text("#card td:last-child")
        assert page.inner_text("#card pre") == HTML
        items = page.eval_on_selector_all("#card li", "all => all.map(one => one.textContent)")
        assert items == [f"bold code a link {HTML} goes on", "here script) image https://example.com/b"]
        links = page.eval_on_selector_all("#card a", "all => all.map(one => one.href)")
        assert links == ["https://example.com/a", "https://example.com/b"]


# /docs


def test_every_operation_is_described_and_can_be_tried(page: Any, addresses: dict[str, str]) -> None:
    page.goto(addresses["archive"] + "docs")
    page.wait_for_selector("section.operation")
    document = page.evaluate("fetch('/openapi.json').then((answer) => answer.json())")
    described = [
        (method.upper(), path.replace(":path", ""))
        for path, methods in document["paths"].items() for method in methods
    ]  # fmt: skip
    shown_there = page.eval_on_selector_all("section.operation h2", "all => all.map(h => h.textContent.split(' '))")
    assert sorted(map(tuple, shown_there)) == sorted(described)
    assert len(page.query_selector_all("#contents a")) == len(described) > 8
    sent: list[tuple[str, str | None]] = []
    page.on("request", lambda asked: sent.append((asked.url, asked.headers.get("authorization"))))
    page.fill("#token", TOKEN)
    for name, status, part in (
        ("post-predict", "200 in ", '"is_duplicate": '),
        ("get-metrics", "200 in ", "siamese_requests_total"),
        ("post-questions", "201 in ", '"ids": ['),
    ):
        page.click(f"#{name} summary")
        page.click(f"#{name} button")
        shown(page, f"#{name} details [role=status]", status)
        assert part in page.inner_text(f"#{name} .answer")
    page.click("#get-questions summary")
    page.fill("#get-questions-where", "product=shop\nn=2")
    command = page.inner_text("#get-questions details pre")
    assert command.endswith("/questions?where=product%3Dshop&where=n%3D2'")
    page.click("#get-questions button")
    shown(page, "#get-questions .answer", '"product": "shop"')
    assert [token for _, token in sent[:3]] == [None, None, f"Bearer {TOKEN}"]
    page.fill("#post-predict textarea", '{"question1": "it\'s"}')
    command = page.inner_text("#post-predict details pre")
    assert command == f"curl -s '{addresses['archive']}predict' --json '{{\"question1\":\"it'\\''s\"}}'"


@pytest.mark.parametrize(
    "page", [(w, scheme, "archive") for w in (360, 1000) for scheme in ("light", "dark")], indirect=True
)
def test_the_description_fits_and_is_legible(page: Any, addresses: dict[str, str]) -> None:
    page.goto(addresses["archive"] + "docs")
    page.wait_for_selector("section.operation")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(CONTRASTS) == []
    for field in page.query_selector_all("textarea, input"):
        assert field.evaluate("field => field.labels.length") == 1
