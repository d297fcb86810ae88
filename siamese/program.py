"""How the program is called here, for messages that say what to run."""

import os
import sys


def program() -> str:
    """`siamese` where that command runs or the package is installed, `python run.py` in the project's own folder."""
    command = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    beside = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "run.py")
    return "siamese" if command == "siamese" or not os.path.isfile(beside) else "python run.py"
