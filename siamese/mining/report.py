"""A page that lists the clusters: one HTML file that loads nothing, runs without a network, and shows text as text."""

import base64
import hashlib
import html
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from siamese.mining.clusters import Cluster
from siamese.mining.questions import Copy, Questions
from siamese.system.files import write_text
from siamese.text.keys import words_of

MOST = 20_000  # questions on the page; more make a browser slow


def write(
    path: str | Path, questions: Questions, clusters: Sequence[Cluster], linkage: str, lowest: float | None
) -> int:
    """Write the page; the number of clusters on it: the first ones, with MOST questions at most.

    Args:
        path: the file.
        questions: of the archive.
        clusters: in the order of the page.
        linkage: that the clusters were made by.
        lowest: the similarity of the least similar pair; None without pairs.
    """
    style, script = (files("siamese.mining").joinpath(f"report.{kind}").read_text("utf-8") for kind in ("css", "js"))
    copies = questions.copies_of()
    shown: list[str] = []
    rows = 0
    for number, cluster in enumerate(clusters, 1):
        count = len(cluster.members) + sum(len(copies.get(member.question, ())) for member in cluster.members)
        if shown and rows + count > MOST:
            break
        shown.append(_section(number, count, cluster, questions, copies))
        rows += count
    members = sum(len(cluster.members) for cluster in clusters)
    since = "" if lowest is None else f", of pairs with a similarity of {lowest:.3f} or more"
    cap = ""
    if len(shown) < len(clusters):
        cap = f" The page shows the first {len(shown):,} of them; the file of clusters has all."
    # Only this style and this script may act, whatever a question holds.
    allowed = f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Duplicate questions</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>Duplicate questions</h1>
<p>{len(clusters):,} clusters of {members:,} different questions, {linkage} linkage{since}.{cap}</p>
<p>The first question of a cluster stands for it. In the others <mark>words</mark> are marked that it does not have,
and <del>struck out</del> those that only it has. The number is the cosine with the most similar question of the
cluster; point at it, tap it or go there with the Tab key to see which that is.</p>
</header>
<div class="filters" role="search">
<label>Text <input id="text" type="search" autocomplete="off" placeholder="words, in any order"></label>
<label>Similarity from <input id="least" type="number" min="0" max="1" step="0.01" value="0"></label>
<output id="count" aria-live="polite"></output>
</div>
<main>
{"".join(shown) or "<p>No clusters.</p>"}
</main>
<script>{script}</script>
</body>
</html>
"""
    write_text(path, page)
    return len(shown)


def _section(number: int, count: int, cluster: Cluster, questions: Questions, copies: dict[int, list[Copy]]) -> str:
    first = words_of(questions.texts[cluster.representative])
    rows = "".join(_rows(cluster, questions, copies, first))
    return f'<section><h2 id="c{number}">Cluster {number} · {count:,} questions</h2>\n<ol>\n{rows}</ol></section>\n'


def _rows(cluster: Cluster, questions: Questions, copies: dict[int, list[Copy]], first: list[str]) -> Iterator[str]:
    texts, ids = questions.texts, questions.ids
    for place, (question, neighbour, similarity) in enumerate(cluster.members):
        text = _marked(texts[question], first) if place else f"<strong>{html.escape(texts[question])}</strong>"
        id = f' <span class="id">{html.escape(str(ids[question]))}</span>' if ids else ""
        if neighbour == question:  # all the others are copies
            score = ""
        else:
            near = html.escape(f"most similar: {texts[neighbour]}")
            score = f'<span class="score" tabindex="0" title="{near}" data-near="{near}">{similarity:.3f}</span> '
        yield f'<li data-s="{similarity:.6f}">{score}<span>{text}{id}</span></li>\n'
        if again := copies.get(question):
            shown = ", ".join([str(copy.id) for copy in again[:20]] + ["…"] * (len(again) > 20))
            named = f": {shown}" if ids else ""
            copy = "copy" if len(again) == 1 else "copies"
            yield f'<li class="copies" data-s="1"><span>{len(again):,} exact {copy}{html.escape(named)}</span></li>\n'


def _marked(text: str, first: list[str]) -> str:
    """A question as HTML: words that are not among `first` marked, and those of `first` that it lacks struck out."""
    own = set(words_of(text))
    pieces = [
        f"<mark>{html.escape(piece)}</mark>" if set(words_of(piece)) - set(first) else html.escape(piece)
        for piece in text.split(" ")
    ]
    lacking = " ".join(dict.fromkeys(word for word in first if word not in own))
    return " ".join(pieces) + (f" <del>{html.escape(lacking)}</del>" if lacking else "")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
