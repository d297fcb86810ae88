"""Name the program in messages that say what to run."""

import os
import shlex
import sys
from pathlib import Path


def program() -> str:
    """Return "siamese" if that command runs or the package is installed, "python run.py" in the project's folder."""
    command = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    beside = Path(__file__).parents[2] / "run.py"
    return "siamese" if command == "siamese" or not beside.is_file() else "python run.py"


def command_line(*more: str, without: str | None = None) -> str:
    """Return the command line of this process, to be pasted, with more words at its end and without one."""
    words = [word for word in sys.argv if word not in (*more, without)] + list(more)
    if (count := os.environ.get("LOCAL_WORLD_SIZE")) is not None:
        words = ["torchrun", "--nproc-per-node", count, *words]
    else:
        words = ["siamese", *words[1:]] if program() == "siamese" else ["python", *words]
    return joined(*words)


def joined(*words: object) -> str:
    """Return words as one command line, quoted for the shell into which a person pastes it."""
    texts = [str(word) for word in words]
    if os.name == "posix":
        return shlex.join(texts)
    from subprocess import list2cmdline

    return list2cmdline(texts)
