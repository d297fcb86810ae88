"""Run `mine` in this process, and measure its stages: `reports.archive.mining` starts it with `whole`.

    python -m reports.archive.mine_stages QUESTIONS --out PATH ...

The last line is JSON: of each stage the seconds and the CPU seconds. "join" is without the verdict, "verdict" is what
judging the pairs takes within it, "command" is all from the start of the process.
"""

import functools
import json
import sys
import time
from collections import defaultdict
from typing import Any

from siamese.cli.entry import main
from siamese.mining import mine
from siamese.mining.mined import Mined
from siamese.mining.questions import Questions

BEGAN = time.time() - time.process_time()  # about when the process began
Clocks = tuple[float, float]


def clocks() -> Clocks:
    """Return the seconds since the start, and the CPU seconds of all threads."""
    return time.time() - BEGAN, time.process_time()


class Stages:
    """Adds up the time of functions that it replaces."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add(self, stage: str, begun: Clocks, sign: int = 1) -> None:
        """Add the time since `begun` to a stage, or take it off."""
        for i, (now, then) in enumerate(zip(clocks(), begun)):
            self.seconds[stage][i] += sign * (now - then)

    def time(self, owner: Any, name: str, stage: str, within: str = "") -> None:
        """Replace a function by one that adds its time to a stage, and takes it off the one it is within."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            begun = clocks()
            try:
                return function(*arguments, **options)
            finally:
                self.add(stage, begun)
                if within:
                    self.add(within, begun, -1)

        setattr(owner, name, timed)


def run(words: list[str]) -> None:
    """Run `mine` with these arguments, and print its stages."""
    stages = Stages()
    stages.time(Questions, "read", "reading")
    stages.time(mine, "vectors_of", "encoding")
    stages.time(mine, "join", "join")
    stages.time(mine, "many_features", "verdict", within="join")
    stages.time(Mined, "write_pairs", "writing")
    main(["mine", *words])
    stages.add("command", (0.0, 0.0))
    print(json.dumps(stages.seconds))


if __name__ == "__main__":
    run(sys.argv[1:])
