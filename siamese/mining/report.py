"""The page of clusters: one HTML file that needs no network and shows questions as plain text."""

import base64
import hashlib
import html
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from itertools import count
from pathlib import Path
from string import Template

from siamese.mining.clusters import Member
from siamese.mining.questions import Copy, Questions
from siamese.model.differences import differs
from siamese.system.files import write_text
from siamese.text.keys import pieces_beside, words_of

MARK = '<meta name="generator" content="siamese mine">'
MOST = 20_000  # questions on the page; more make a browser slow

Copies = dict[int, list[Copy]]  # of each question that has any


def write(
    path: str | Path, questions: Questions, clusters: Sequence[list[Member]], linkage: str, lowest: float | None,
    by_verdict: bool = False, numbers: Iterable[int] | None = None,
) -> int:  # fmt: skip
    """Write the page, and return the number of clusters on it: the first ones, with about MOST questions at most.

    Args:
        path: the file.
        questions: all questions.
        clusters: in the order of the page.
        linkage: of the clusters.
        lowest: the similarity of the least similar pair; None without pairs.
        by_verdict: whether to say what differs between a question and the most similar one.
        numbers: of the clusters; None: from 1 on.
    """
    page, style, script = (
        files("siamese.mining").joinpath(f"report.{kind}").read_text("utf-8") for kind in ("html", "css", "js")
    )
    copies = questions.copies_of()
    shown: list[str] = []
    rows = 0
    for number, cluster in zip(count(1) if numbers is None else numbers, clusters):
        size = len(cluster) + sum(len(copies.get(member.question, ())) for member in cluster)
        if shown and rows + size > MOST:
            break
        items = "".join(_items(cluster, questions, copies, by_verdict))
        title = f'<h2 id="c{number}">Cluster {number} · {size:,} questions</h2>'
        shown.append(f"<section>{title}\n<ol>\n{items}</ol></section>\n")
        rows += size
    since = "" if lowest is None else f", of pairs with a similarity of {lowest:.3f} or more"
    members = sum(map(len, clusters))
    summary = f"{len(clusters):,} clusters of {members:,} different questions, {linkage} linkage{since}."
    if len(shown) < len(clusters):
        summary += f" The page shows the first {len(shown):,} of them; the file of clusters has all."
    # Only this style and this script may run, whatever a question contains.
    allowed = f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    sections = "".join(shown) or "<p>No clusters.</p>"
    page = Template(page).substitute(policy=policy, style=style, script=script, summary=summary, clusters=sections)
    write_text(path, page)
    return len(shown)


def _items(cluster: list[Member], questions: Questions, copies: Copies, by_verdict: bool) -> Iterator[str]:
    texts, ids = questions.texts, questions.ids
    first = words_of(texts[cluster[0].question])
    for place, (question, neighbour, similarity) in enumerate(cluster):
        text = _marked(texts[question], first) if place else f"<strong>{html.escape(texts[question])}</strong>"
        id = f' <span class="id">{html.escape(str(ids[question]))}</span>' if ids else ""
        if neighbour == question:  # all others are copies
            score = ""
        else:
            differing = differs(texts[question], texts[neighbour]) if by_verdict else ""
            near = html.escape(f"most similar: {texts[neighbour]}" + (f" (differs: {differing})" if differing else ""))
            score = f'<span class="score" tabindex="0" title="{near}" data-near="{near}">{similarity:.3f}</span> '
        yield f'<li data-s="{similarity:.6f}">{score}<span>{text}{id}</span></li>\n'
        if again := copies.get(question):
            shown = ", ".join([str(copy.id) for copy in again[:20]] + ["…"] * (len(again) > 20))
            named = f": {shown}" if ids else ""
            copy = "copy" if len(again) == 1 else "copies"
            yield f'<li class="copies" data-s="1"><span>{len(again):,} exact {copy}{html.escape(named)}</span></li>\n'


def _marked(text: str, first: list[str]) -> str:
    """Return a question as HTML, with words that are not in `first` marked, and those that it lacks struck out."""
    own = set(words_of(text))
    pieces = [
        f"<mark>{html.escape(piece)}</mark>" if own_word else html.escape(piece)
        for piece, own_word in pieces_beside(text, first)
    ]
    lacking = " ".join(dict.fromkeys(word for word in first if word not in own))
    return " ".join(pieces) + (f" <del>{html.escape(lacking)}</del>" if lacking else "")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
