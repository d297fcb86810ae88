"""Fuzz one target: `python -m tests.fuzz.run TARGET --engine atheris --seconds 600`, from the project's folder.

TARGET is text (to a vector), pairs (a file of them) or model (a folder). What breaks a promise is written to
`tests/fuzz/cases/TARGET/`, from where `tests/fuzz/test_fuzz.py` runs it again; the exit code is then not 0. The same
seed tries the same inputs as far as the time goes. `--engine hypothesis` makes inputs by their grammar, atheris
(`pip install atheris`; Linux) by which lines of the code they reach.
"""

import argparse
import faulthandler
import os
import sys
import tempfile
import time
from pathlib import Path

CASES = Path(__file__).parent / "cases"
MEMORY = 4 << 30  # bytes of addresses, libraries included
HANGS = 30  # seconds after which an input is given up


def main() -> None:
    """Run one engine on one target."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", choices=["text", "pairs", "model"])
    parser.add_argument("--engine", choices=["hypothesis", "atheris"], default="hypothesis")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    import resource  # not on Windows

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    (CASES / options.target).mkdir(parents=True, exist_ok=True)
    engine = {"hypothesis": by_hypothesis, "atheris": by_atheris}[options.engine]
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="fuzz", dir=memory if memory.is_dir() else None) as tempfile.tempdir:
        # libFuzzer ends its process without leaving this block.
        if (child := os.fork()) == 0:
            engine(options.target, options.seconds, options.seed)
            sys.exit()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.exit(code != 0)


def by_hypothesis(name: str, seconds: int, seed: int) -> None:
    """Draw inputs until the time is over; the smallest that fails is kept."""
    from tests.fuzz.targets import TARGETS, folder

    target, last = TARGETS[name], folder() / "last"
    start, tried, failed = time.monotonic(), 0, b""

    def run(data: bytes) -> None:
        nonlocal tried, failed
        tried += 1
        last.write_bytes(data)
        faulthandler.dump_traceback_later(HANGS, exit=True)
        try:
            target.run(data)
        except BaseException:
            failed = data
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()

    try:
        while time.monotonic() < start + seconds:
            check(target.inputs(), run, seed, 500)
            seed += 1
    except BaseException:
        path = CASES / name / f"hypothesis-{tried}"
        path.write_bytes(failed)
        print(f"{name}: input {tried} fails and is kept as {path}", file=sys.stderr)
        raise
    print(f"{name} by hypothesis: {tried:,} inputs in {time.monotonic() - start:.0f} s, none failed")


def check(inputs: object, run: object, seed: int, examples: int) -> None:
    """Have hypothesis try so many inputs."""
    import hypothesis

    test = hypothesis.given(inputs)(run)  # type: ignore[arg-type]
    settings = hypothesis.settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
    )  # fmt: skip
    hypothesis.seed(seed)(settings(test))()


def by_atheris(name: str, seconds: int, seed: int) -> None:
    """Let libFuzzer change inputs, led by the lines that they reach."""
    import atheris

    with atheris.instrument_imports(include=["siamese"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    target.run(target.seeds()[0])  # what is loaded once does not count
    with tempfile.TemporaryDirectory() as corpus:
        for i, data in enumerate(target.seeds()):
            Path(corpus, str(i)).write_bytes(data)
        arguments = [
            f"-max_total_time={seconds}", f"-seed={seed}", f"-timeout={HANGS}", "-rss_limit_mb=2048",
            f"-max_len={target.longest}", "-len_control=0", "-keep_seed=1",  # else it drops what reaches no new line
            f"-artifact_prefix={CASES / name}/", "-print_final_stats=1", "-verbosity=0", corpus,
        ]  # fmt: skip
        atheris.Setup([sys.argv[0], *arguments], target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
