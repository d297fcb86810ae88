"""Files of other people: what a person has is never replaced, and links at our names are refused."""

import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from commands import ROOT, TRAIN, Command, posix
from files import write_csv

from siamese import Archive, SiameseModel
from siamese.errors import UserError
from siamese.system.files import UNFINISHED, replacing, write_text
from siamese.system.program import joined

pytestmark = pytest.mark.slow
PERSONS = b"a person's work\n"
QUESTIONS = ["How do I lose weight?", "How can I lose weight?", "How do I gain weight?", "What is your age?"]
Refuse = Callable[..., str]


@pytest.fixture()
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with questions, pairs, and a file of a person."""
    monkeypatch.chdir(tmp_path)
    write_csv(Path("questions.csv"), [[question] for question in QUESTIONS], "question")
    write_csv(Path("pairs.csv"), [[a, b, int(a[:5] == b[:5])] for a in QUESTIONS for b in QUESTIONS if a < b])
    Path("important.txt").write_bytes(PERSONS)
    return tmp_path


@pytest.fixture()
def refuse(files: Path, command: Command) -> Refuse:
    """Run a command that must be refused in one line, and leave every file as it was. Return that line."""

    def state() -> dict[Path, object]:
        found = (path for path in sorted(files.rglob("*")) if not path.name.endswith(("-shm", "-wal")))
        return {path: path.read_bytes() if path.is_file() else path.is_symlink() for path in found}

    def run(*words: object) -> str:
        before = state()
        code, _, err = command(*words)
        assert code == 2 and err.count("error: ") == 1 and "Traceback" not in err, (words, err)
        assert state() == before, words
        return err.splitlines()[-1]

    return run


LINES = {  # each with its output and files of a person's that could be there
    "predict --file pairs.csv --out OUT": "out.csv",
    "encode questions.csv --out OUT": "out.npy",
    "mine questions.csv --out OUT --threshold 0.5": "out.csv",
    "mine questions.csv --out OUT --threshold 0.5 --label-sample 2": "out.csv",
    "mine questions.csv --out pairs-found.csv --threshold 0.5 --clusters OUT": "out.csv",
    "mine questions.csv --out pairs-found.csv --threshold 0.5 --report OUT": "out.html",
}


@pytest.mark.parametrize("line", LINES)
def test_a_file_is_replaced_only_if_we_wrote_it(line: str, files: Path, refuse: Refuse, command: Command) -> None:
    words = [LINES[line] if word == "OUT" else word for word in line.split()]
    for content in (PERSONS, b"question1,question2,similarity\na,b,1\n", b"\x93NUMPY\x01\x00v\x00{}", b"<html></html>"):
        Path(LINES[line]).write_bytes(content)
        assert "--force" in refuse(*words)
    assert command(*words, "--force")[0] == 0
    written = Path(LINES[line]).read_bytes()
    assert written and written != PERSONS
    assert command(*words)[0] == 0  # again
    assert Path(LINES[line]).read_bytes() == written


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("predict --file pairs.csv --out pairs.csv", "pairs.csv"),
        ("predict --file pairs.csv --out ./x/../pairs.csv", "./x/../pairs.csv"),
        ("predict --file pairs.csv --out link.csv", "link.csv"),
        ("predict --file pairs.csv --out model/model.safetensors --model model", "model/model.safetensors"),
        ("encode questions.csv --out questions.csv", "questions.csv"),
        ("mine questions.csv --out questions.csv", "questions.csv"),
        ("mine questions.csv --out a.csv --clusters questions.csv", "questions.csv"),
        ("mine questions.csv --out a.csv --report questions.csv", "questions.csv"),
        ("mine --from found.csv --out found.csv --threshold 0.9", "found.csv"),
        ("mine questions.csv --out a --clusters a", "a"),
        ("mine questions.csv --out a.csv --clusters b.csv --report ./b.csv", "./b.csv"),
        ("archive build questions.csv --out model --model model", "model"),
        ("train --data pairs.csv --out model --start-from model", "model"),
        ("export --to onnx --model model --out model/model.safetensors", "model/model.safetensors"),
        ("export --to onnx --model model --out model/config.json", "model/config.json"),
        ("examine --data pairs.csv --out model --model model", "model"),
        ("search --file questions.csv --archive archive --out archive/archive.sqlite", "archive/archive.sqlite"),
    ],
)
def test_an_output_that_is_an_input_or_another_output(
    files: Path, refuse: Refuse, tiny_model: Path, line: str, named: str
) -> None:
    Path("x").mkdir()
    shutil.copytree(tiny_model, "model")
    Path("link.csv").symlink_to("pairs.csv")
    Path("found.csv").write_text("question1,question2,similarity,probability\na,b,0.9,0.9\n")
    Archive.build("archive", QUESTIONS).close()
    for force in ((), ("--force",)):
        assert refuse(*line.split(), *force).startswith(f"error: {named}: ")


@pytest.mark.parametrize(
    "labels",
    [
        "question1,question2,is_duplicate,similarity,stratum,stratum_pairs,stratum_above\na,b,,0.9,1,2,0.8\na,c,1,0.9,1,2,0.8\n",
        "question1;question2;is_duplicate;similarity;stratum;stratum_pairs;stratum_above\na;b;;0,9;1;2;0,8\na;c;no;0,9;1;2;0,8\n",
        "question1,question2,is_duplicate\na,b,0\n",
        "question1\tquestion2\tDecision\na\tb\tkeep\n",
        "question1,question2,answer\na,b,different\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_labels_of_a_person_are_never_replaced(files: Path, refuse: Refuse, labels: str, encoding: str) -> None:
    Path("labels.csv").write_text(labels, encoding=encoding)
    sample = ("mine", "questions.csv", "--threshold", "0.5", "--out", "labels.csv", "--label-sample", 2)
    for line in (sample, sample[:-2], ("predict", "--file", "pairs.csv", "--out", "labels.csv")):
        for force in ((), ("--force",)):
            assert "labels, which are never replaced" in refuse(*line, *force)


def test_labels_that_are_filled_in_while_it_mines(files: Path) -> None:
    from siamese import mine

    found = mine(QUESTIONS, threshold=0.5)
    found.write_sample("labels.csv", 2)
    found.write_sample("labels.csv", 2)  # nothing is filled in
    text = Path("labels.csv").read_text().replace('?","",', '?","1",')
    Path("labels.csv").write_text(text)
    with pytest.raises(UserError, match="never replaced"):
        found.write_sample("labels.csv", 2)
    assert Path("labels.csv").read_text() == text


@pytest.mark.parametrize(
    "name",
    ["README.md", "report.md", "config.json", "vocabulary.txt", "tokenizer.json", "model.safetensors", "similarity.png",
     "metrics.csv", "checkpoint.safetensors"],
)  # fmt: skip
def test_a_folder_of_a_person_is_no_model_folder(files: Path, refuse: Refuse, tiny_model: Path, name: str) -> None:
    Path("theirs").mkdir()
    Path("theirs", name).write_bytes(PERSONS)
    Path("theirs", "thesis.txt").write_bytes(PERSONS)
    said = refuse(*TRAIN, "--data", "pairs.csv", "--out", "theirs")
    assert said.startswith(f"error: theirs/{name}: exists") and "--force" in said
    if name.endswith((".txt", ".json")) or name.startswith("model"):
        with pytest.raises(UserError, match=name):
            SiameseModel.load(tiny_model).save("theirs")
        assert Path("theirs", name).read_bytes() == PERSONS


def test_only_our_files_of_a_model_folder_are_touched(files: Path, tiny_model: Path, small_file: Path) -> None:
    model = SiameseModel.load(tiny_model)
    Path("model").mkdir()
    theirs = [Path("model", name) for name in (".config.json.swp", ".model.safetensors.bak", "thesis.txt", "notes.md")]
    for path in theirs:
        path.write_bytes(PERSONS)
    for _ in range(2):
        model.save("model")
    Path("model", "tokenizer.json").write_bytes(PERSONS)  # no file of this model, whose words are in vocabulary.txt
    model.save("model")
    assert all(path.read_bytes() == PERSONS for path in [*theirs, Path("model", "tokenizer.json")])
    assert SiameseModel.load("model").threshold == model.threshold


@pytest.mark.ci
def test_training_twice_into_a_folder_and_into_a_persons_by_force(
    files: Path, command: Command, refuse: Refuse, small_file: Path
) -> None:
    line = (*TRAIN, "--data", small_file, "--epochs", 1, "--batch-size", 32, "--out", "m")
    for _ in range(2):
        assert command(*line)[0] == 0
    Path("m", "README.md").write_bytes(PERSONS)
    assert refuse(*line).startswith("error: m/README.md: exists")
    assert command(*line, "--force")[0] == 0
    examine = ("examine", "--data", small_file, "--model", "m", "--out", "e")
    for _ in range(2):
        assert command(*examine)[0] == 0
    Path("e", "examination.md").write_bytes(PERSONS)
    assert refuse(*examine).startswith("error: e/examination.md: exists")
    for name in ("results.csv", "report.md", "scores.png"):
        Path("c").mkdir(exist_ok=True)
        Path("c", name).write_bytes(PERSONS)
        assert refuse("compare", "--data", small_file, "--out", "c").startswith(f"error: c/{name}: exists")
        Path("c", name).unlink()


# Links

LINKS = {
    "archive build questions.csv --out lk": (".lock", ".building", "archive.sqlite", "vectors.f32"),
    "search weight --archive archive": ("archive.sqlite-wal", "archive.sqlite-shm", "archive.sqlite-journal"),
    "archive add questions.csv --archive archive": ("archive.sqlite-wal", "archive.sqlite-journal"),
    "train --data pairs.csv --out lk --start-from none": (
        ".lock", "config.json", "model.safetensors", "README.md", "tensorboard"
    ),
    "compare --data pairs.csv --out lk": (".lock", "unfinished", "report.md"),
    "examine --data pairs.csv --out lk": ("examination.md", "slices.png"),
    "mine questions.csv --threshold 0.5 --out lk/out.csv": ("out.csv.unfinished",),
    "mine questions.csv --threshold 0.5 --out out.csv": (".lock", "identity.json", "pairs.bin"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "name"), [(line, name) for line, names in LINKS.items() for name in names])
@pytest.mark.parametrize("target", ["important.txt", "folder", "nowhere"])
def test_a_link_at_one_of_our_names_is_refused(
    files: Path, refuse: Refuse, small_file: Path, line: str, name: str, target: str
) -> None:
    shutil.copy(small_file, "pairs.csv")
    Archive.build("archive", QUESTIONS).close()
    Path("folder").mkdir()
    Path("folder", "theirs").write_bytes(PERSONS)
    folder = Path("archive" if "--archive" in line else "out.csv.unfinished" if line.endswith(" out.csv") else "lk")
    folder.mkdir(exist_ok=True)
    (folder / name).symlink_to(files / target)
    assert refuse(*line.split()).startswith(f"error: {folder / name}: a link")


@pytest.mark.parametrize("name", ["archive.sqlite", "vectors.f32"])
def test_an_archive_of_a_stranger_whose_files_are_links(files: Path, refuse: Refuse, name: str) -> None:
    Archive.build("archive", QUESTIONS).close()
    shutil.move(f"archive/{name}", name)
    Path("archive", name).symlink_to(files / name)
    for line in (
        ("search", "weight"),
        ("archive", "info"),
        ("archive", "add", "questions.csv"),
        ("archive", "remove", 1),
    ):
        assert f"archive/{name}: a link" in refuse(*line, "--archive", "archive")


def test_a_path_that_a_person_names_may_be_a_link(files: Path, command: Command) -> None:
    Path("real").mkdir()
    Path("linked").symlink_to("real")
    for _ in range(2):
        assert command("archive", "build", "questions.csv", "--out", "linked")[0] == 0
    assert command("mine", "questions.csv", "--threshold", "0.5", "--out", "linked/out.csv")[0] == 0
    assert {path.name for path in Path("real").iterdir()} == {"archive.sqlite", "vectors.f32", "out.csv"}


# Archives


@pytest.mark.slow
@pytest.mark.ci
def test_an_archive_is_built_again_only_if_nobody_has_changed_it(files: Path, refuse: Refuse, command: Command) -> None:
    build = ("archive", "build", "questions.csv", "--out", "a")
    for _ in range(2):
        assert command(*build)[0] == 0
    with Archive.open("a") as archive:
        archive.add(["Where is Rome?"], ids=["x"])
    assert "changed since it was built" in refuse(*build)
    assert command(*build, "--force")[1].startswith("a: 4 questions")
    os.remove("a/archive.sqlite")
    Path("a", "vectors.f32").write_bytes(PERSONS)
    assert "a/vectors.f32: exists without an archive" in refuse(*build)


# Devices and pipes


@pytest.mark.slow
@pytest.mark.ci
@posix
def test_a_device_and_a_pipe_are_written_to_as_they_are(files: Path, command: Command) -> None:
    mine = ("mine", "questions.csv", "--threshold", "0.5", "--out")
    assert command(*mine, "expected.csv")[0] == 0
    os.mkfifo("pipe")
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE) as reader:
        assert command(*mine, "pipe")[0] == 0
        assert reader.communicate()[0] == Path("expected.csv").read_bytes()
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    for line in (mine, ("predict", "--file", "pairs.csv", "--out"), ("encode", "questions.csv", "--out")):
        assert command(*line, "/dev/null")[0] == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode) and not Path("/dev/null.unfinished").exists()
    line = joined(sys.executable, ROOT / "run.py", *mine[:4], "--out")
    done = subprocess.run(f"{line} /dev/stdout | cat", shell=True, capture_output=True, text=True)
    assert Path("expected.csv").read_text() in done.stdout
    done = subprocess.run(f"{line} /dev/stdout > said.txt", shell=True, capture_output=True, text=True)
    assert done.returncode == 2 and "/dev/stdout: leads to a file" in done.stderr


# Modes


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_umask_holds_for_new_files_and_the_mode_of_a_replaced_one_is_kept(files: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        for path, old in (("new", None), ("private", 0o600), ("shared", 0o664), ("locked", 0o444)):
            if old:
                Path(path).write_bytes(PERSONS)
                os.chmod(path, old)
            with replacing(path) as temporary:
                temporary.write_text("ours")
                assert not old or not temporary.stat().st_mode & 0o077  # nobody reads it before it has its mode
            assert stat.S_IMODE(os.stat(path).st_mode) == (old or 0o666 & ~mask)
        SiameseModel.pretrained().save("model")
        assert {stat.S_IMODE(path.stat().st_mode) for path in Path("model").iterdir()} == {0o666 & ~mask}
        for path in Path("model").iterdir():
            path.chmod(0o600)
        SiameseModel.pretrained().save("model")  # its weights and words pass through names of their own
        assert {stat.S_IMODE(path.stat().st_mode) for path in Path("model").iterdir()} == {0o600}
    finally:
        os.umask(before)


@posix
def test_the_owner_of_a_replaced_file_is_kept(files: Path) -> None:
    try:
        os.chown("important.txt", 12345, 12345)
    except PermissionError:
        pytest.skip("needs root")
    with replacing("important.txt") as temporary:
        temporary.write_text("ours")
    assert (os.stat("important.txt").st_uid, os.stat("important.txt").st_gid) == (12345, 12345)


# Kills, hangups, and lines to paste


@pytest.mark.slow
@pytest.mark.ci
def test_temporary_files_go_when_the_run_continues(files: Path, command: Command, small_file: Path) -> None:
    left = [Path(f"m/.{name}.0123abcd{UNFINISHED}") for name in ("training.png", "report.md", "metrics.csv")]
    theirs = [Path("m/.report.md.swp"), Path("m/.training.png.bak"), Path("m/.x.0123abcd")]
    Path("m").mkdir()
    for path in [*left, *theirs, Path(f".out.csv.0123abcd{UNFINISHED}"), Path(f".other.csv.0123abcd{UNFINISHED}")]:
        path.write_bytes(PERSONS)
    train = (*TRAIN, "--data", small_file, "--epochs", 1, "--batch-size", 32, "--out", "m", "--resume")
    assert command(*train)[0] == 0
    assert not any(path.exists() for path in left) and all(path.exists() for path in theirs)
    assert command("mine", "questions.csv", "--threshold", "0.5", "--out", "out.csv", "--resume")[0] == 0
    assert not Path(f".out.csv.0123abcd{UNFINISHED}").exists()
    assert Path(f".other.csv.0123abcd{UNFINISHED}").exists()  # another run may be writing it


@posix
@pytest.mark.slow
def test_what_a_killed_command_left_goes_when_it_runs_again(files: Path, command: Command) -> None:
    import fcntl

    for line, out in (
        (("encode", "questions.csv"), "v.npy"), (("predict", "--file", "pairs.csv"), "p.csv"),
        (("search", "--archive", "a", "--file", "questions.csv"), "s.jsonl"),
    ):  # fmt: skip
        if "search" in line:
            assert command("archive", "build", "questions.csv", "--out", "a")[0] == 0
        left, used = (Path(f".{out}.{digit * 8}{UNFINISHED}") for digit in "01")
        for path in (left, used):
            path.write_bytes(PERSONS)
        with open(used) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # as by a process that is writing it
            assert command(*line, "--out", out)[0] == 0
        assert (left.exists(), used.exists()) == (False, True)


@posix
def test_a_temporary_file_is_locked_while_it_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with subprocess.Popen([sys.executable, "-c", WRITING, out], cwd=ROOT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout and writer.stdout.readline()
        write_text(out, "mine")
        assert len(list(tmp_path.iterdir())) == 2
        writer.kill()
        writer.wait()
    write_text(out, "mine again")
    assert list(tmp_path.iterdir()) == [out]


WRITING = """
import sys, time
from siamese.system.files import replacing
with replacing(sys.argv[1]):
    print(flush=True)
    time.sleep(60)
"""


@posix
@pytest.mark.ci
def test_a_hangup_keeps_a_checkpoint(files: Path, small_file: Path) -> None:
    line = [
        sys.executable,
        ROOT / "run.py",
        *TRAIN,
        "--data",
        small_file,
        "--epochs",
        "2000",
        "--batch-size",
        "32",
    ]
    words = [str(word) for word in [*line, "--out", "$(touch X) m"]]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}) as run:
        while not Path("$(touch X) m/metrics.csv").exists():
            time.sleep(0.1)
        run.send_signal(signal.SIGHUP)
        said = run.communicate(timeout=60)[1]
    assert run.returncode == 129
    assert Path("$(touch X) m/checkpoint.safetensors").exists()
    again = said.rpartition("continue with: python ")[2].splitlines()[0]
    assert shlex.split(again)[1:] == [*words[2:], "--resume"]
    # Pasted into a shell, with less to do.
    done = subprocess.run(f"{sys.executable} {again} --patience x", shell=True, capture_output=True, text=True)
    assert "--patience" in done.stderr and not Path("X").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="terminals as on Linux")
@pytest.mark.ci
def test_a_terminal_that_closes_is_a_hangup_and_no_error(files: Path, small_file: Path) -> None:
    import pty

    line = [
        sys.executable,
        str(ROOT / "run.py"),
        *TRAIN,
        "--data",
        str(small_file),
        "--epochs",
        "2000",
        "--out",
        "m",
    ]
    process, terminal = pty.fork()
    if not process:
        os.execve(sys.executable, line, {**os.environ, "OMP_NUM_THREADS": "1"})
    os.set_blocking(terminal, False)
    while not Path("m/metrics.csv").exists():
        with suppress(BlockingIOError):
            os.read(terminal, 65_536)
        time.sleep(0.1)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 129
    assert Path("m/checkpoint.safetensors").exists()


@posix
def test_every_printed_command_can_be_pasted(files: Path, command: Command, tiny_model: Path) -> None:
    out = "$(touch X) 'n' \"m\".csv"
    code, _, err = command("mine", "questions.csv", "--out", out)
    assert code == 0
    line = next(text for text in err.splitlines() if "--label-sample" in text)
    assert shlex.split(line)[2:] == ["mine", "--from", out, "--label-sample", "200", "--out", "to_label.csv"]
    said = command("mine", "--from", out, "--label-sample", 2, "--out", f"labels {out}")[1]
    assert shlex.split(said.splitlines()[-1])[2:] == ["mine", "--labels", f"labels {out}", "--precision", "0.95"]
    subprocess.run(f"cd {shlex.quote(str(files))}; {line.replace('python', 'true', 1)}", shell=True, check=True)
    assert not Path("X").exists()
