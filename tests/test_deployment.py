"""The Dockerfile and the systemd unit of the service: their own lines, run in a clean folder."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import ROOT, posix
from servers import port_of

SERVICE = ROOT / "siamese" / "service"
UNIT = (SERVICE / "siamese.service").read_text("utf-8")


@contextmanager
def serving(command: list[str], folder: Path, **variables: str) -> Iterator[int]:
    process = subprocess.Popen(
        [*command, "--port", "0"], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, **variables},
    )  # fmt: skip
    try:
        yield port_of(process)
    finally:
        process.terminate()
    assert process.wait(20) == 143


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "siamese.service"
    unit.write_text(UNIT.replace("/opt/siamese/bin/siamese", sys.executable), "utf-8")
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@posix
@pytest.mark.ci
@pytest.mark.slow
def test_the_units_command_serves_an_archive_and_ends_as_the_unit_expects(tmp_path: Path) -> None:
    (tmp_path / "faq.txt").write_text("How old are you?\n", "utf-8")
    run = [sys.executable, str(ROOT / "run.py")]
    subprocess.run([*run, "archive", "build", "faq.txt", "--out", "archive", "--model", "pretrained"], cwd=tmp_path,
                   check=True, capture_output=True)  # fmt: skip
    found = re.search(r"^ExecStart=/opt/siamese/bin/siamese (.*)$", UNIT, re.M)
    assert found and "SuccessExitStatus=143" in UNIT
    with (
        serving([*run, *shlex.split(found[1].replace("/var/lib/siamese", str(tmp_path)))], tmp_path) as port,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer,
    ):
        assert json.load(answer)["archive"] == 1


@posix
@pytest.mark.ci
@pytest.mark.slow
def test_the_steps_of_the_dockerfile_make_a_service(tmp_path: Path) -> None:
    steps = [line.split(" ", 1) for line in (SERVICE / "Dockerfile").read_text("utf-8").splitlines() if line[:1] != "#"]
    for paths in (rest.split() for step, rest in steps if step == "COPY"):
        for path in paths[:-1]:
            if (ROOT / path).is_dir():
                shutil.copytree(ROOT / path, tmp_path / paths[-1], ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / path, tmp_path / paths[-1])
    installed = tmp_path / "installed"
    # The libraries are here already, so that only the project is installed; it finds them by this Python.
    (install,) = (rest for step, rest in steps if step == "RUN" and "pip" in rest)
    words = [sys.executable, "-m", *shlex.split(install), "--quiet", "--no-deps", "--target", str(installed)]
    subprocess.run(words, cwd=tmp_path, check=True, timeout=300)
    shutil.rmtree(tmp_path / "siamese")  # what was installed does without
    listed = {step: json.loads(rest[rest.index("[") :]) for step, rest in steps if "[" in rest and step != "RUN"}
    (program, *words), (_, *check) = listed["ENTRYPOINT"], listed["HEALTHCHECK"]
    with serving([str(installed / "bin" / program), *words], tmp_path, PYTHONPATH=str(installed)) as port:
        check = [part.replace(":8000/", f":{port}/") for part in check]
        subprocess.run([sys.executable, *check], check=True, timeout=30)
