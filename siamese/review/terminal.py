"""Review in the terminal: pairs by single keys, or by lines if standard input is no terminal; clusters by lines."""

import os
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from siamese.errors import UserError
from siamese.model.differences import differs
from siamese.review.cluster_session import ClusterReview
from siamese.review.decisions import DIFFERENT, DUPLICATE, SKIP, UNSURE
from siamese.review.journal import Progress
from siamese.review.session import Answered, PairReview
from siamese.system.console import visible
from siamese.text.keys import pieces_beside, words_of

KEYS = {"y": DUPLICATE, "n": DIFFERENT, "u": UNSURE, "s": SKIP}
HELP = "y duplicate   n different   u unsure   s skip   z undo   q quit"
CLUSTER_HELP = [
    "y all the same    x 3 split off 3    r 3 is the representative    n 2 3 never the same",
    "m a merge with a    n a never the same as a    s skip    z undo    q quit",
]
INDENT = 3
NEAR_LETTERS = "abcde"
CLEAR, MARK, PLAIN = "\x1b[2J\x1b[H", "\x1b[1;4m", "\x1b[0m"

Ask = Callable[[], str]  # returns the next key or line; "" at the end of the input


class Screen:
    """A terminal, or a plain stream of text, in which differing words have stars."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._terminal = stream, stream.isatty()
        self._width = min(os.get_terminal_size(stream.fileno()).columns or 80, 100) if self._terminal else 80

    def show(self, lines: list[str]) -> None:
        """Show these lines, whose texts are `safe`, on a screen of their own."""
        self._stream.write((CLEAR if self._terminal else "") + "\n".join(lines) + "\n")
        self._stream.flush()

    def header(self, title: str, right: str) -> str:
        """Return a line with a text at either end."""
        return title + right.rjust(self._width - len(title) - 1)

    def question(self, label: str, text: str, other: str, after: str = "") -> list[str]:
        """Return a question in lines, with the words marked that the other one lacks, and a note after it."""
        lines, line, used = [], label.ljust(INDENT), INDENT
        for piece, differing in [*pieces_beside(safe(text), words_of(safe(other))), (after, False)]:
            for part in _parts(piece, self._width - INDENT - 3):
                need = columns(part) + 2 * (differing and not self._terminal)
                if used + need > self._width - 1 and used > INDENT:
                    lines.append(line.rstrip())
                    line, used = " " * INDENT, INDENT
                line += self._marked(part) + " " if differing else part + " "
                used += need + 1
        return [*lines, line.rstrip()]

    def _marked(self, text: str) -> str:
        return f"{MARK}{text}{PLAIN}" if self._terminal else f"*{text}*"


def safe(text: str) -> str:
    """Return a text in one line, whose control characters do not act on a terminal."""
    return visible(" ".join(text.split()))


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _parts(piece: str, width: int) -> Iterator[str]:
    """Cut a word that is wider than a line."""
    while columns(piece) > width:
        end = next(i for i in range(len(piece), 0, -1) if columns(piece[:i]) <= width)
        yield piece[:end]
        piece = piece[end:]
    yield piece


@contextmanager
def keys(stream: TextIO) -> Iterator[Ask]:
    """Yield a function that waits for a key on a terminal; elsewhere for a line, of which it returns all."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        termios = None  # type: ignore[assignment]
    if termios is None or not stream.isatty():
        yield lambda: stream.readline()
        return
    number = stream.fileno()
    before = termios.tcgetattr(number)

    def key() -> str:
        # A key that was pressed before the question was shown is no answer to it.
        termios.tcflush(number, termios.TCIFLUSH)
        return os.read(number, 1_024).decode("utf-8", "replace").replace("\x04", "")

    try:
        tty.setcbreak(number)
        yield key
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def review_pairs(review: PairReview, part: str, screen: Screen, ask: Ask) -> None:
    """Ask about pairs until none is left or the person quits."""
    note = ""
    while task := review.task:
        progress = review.progress
        texts = task.question1, task.question2
        lines = [screen.header("Do they ask the same?", at(progress, part)), ""]
        lines += [*screen.question("1", *texts), "", *screen.question("2", *texts[::-1]), ""]
        differing = safe(differs(*texts))
        lines += [f"   differs: {differing}" if differing else "", "", note, HELP]
        screen.show(lines)
        given = ask()
        if (key := given.strip().lower()) == "q" or not given:
            return
        if key == "z":
            note = "The last answer is taken back." if review.undo() else "There is no answer to take back."
        elif key in KEYS:
            review.answer(KEYS[key])
            note = said(review.last)
        else:
            note = "Press one of these keys:"
    screen.show([screen.header("Every pair has an answer.", at(review.progress, part)), note])


def review_clusters(review: ClusterReview, part: str, screen: Screen, ask: Ask) -> None:
    """Ask about clusters until none is left or the person quits. A line is a letter, and what it is about."""
    note = ""
    while task := review.task:
        first = review.texts[task.members[0]]
        lines = [screen.header("Are these all the same?", at(review.progress, part)), ""]
        for number, question in enumerate(task.members, 1):
            lines += screen.question(str(number), review.texts[question], first)
        if task.near:
            lines += ["", "Near, but not in it:"]
        for letter, (question, size) in zip(NEAR_LETTERS, task.near):
            more = f"(and {size - 1} more)" if size > 1 else ""
            lines += screen.question(letter, review.texts[question], first, more)
        screen.show([*lines, "", note, *CLUSTER_HELP])
        given = ask()
        words = given.lower().split()
        if not given or words[:1] == ["q"]:
            return
        named = {str(number): question for number, question in enumerate(task.members, 1)}
        named |= {letter: near.question for letter, near in zip(NEAR_LETTERS, task.near)}
        try:
            note = _do(review, words[0] if words else "", [named[word] for word in words[1:]], task.members[0])
        except (KeyError, TypeError):
            note = "Type one of these, with the numbers or letters shown:"
        except UserError as error:
            note = safe(str(error))
    screen.show([screen.header("Every cluster is settled.", at(review.progress, part)), note])


def _do(review: ClusterReview, letter: str, about: list[int], representative: int) -> str:
    """Do what a line says, and return what to say of it; TypeError if it is about too much or too little."""
    if letter == "z":
        return "The last step is taken back." if review.undo(*about) else "There is nothing to take back."
    if letter == "n" and len(about) == 1:
        about = [representative, *about]
    steps: dict[str, Callable[..., None]] = {
        "y": review.same, "x": review.split, "r": review.represent, "m": review.merge, "n": review.never,
        "s": review.skip,
    }  # fmt: skip
    steps[letter](*about)
    return review.last


def at(progress: Progress, part: str) -> str:
    """Return how far the review has come."""
    return f"{progress.done:,} of {progress.total:,}{part and f', {part}'}"


def said(last: Answered | None) -> str:
    """Return what was answered last, and what the model says of it."""
    if last is None:
        return ""
    return f"Last answer: {last.answer} (similarity {last.similarity:.3f}, probability {last.probability:.2f})" + (
        f". {safe(last.fault)}" if last.fault else ""
    )
