"""The commands as they are typed: what they print, what they write, and how they fail."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
from commands import Command, Typed
from files import read_csv, write_csv
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score, precision_score, roc_auc_score

import siamese
from siamese import SiameseModel
from siamese.cli import entry, losses, options
from siamese.config import Config
from siamese.errors import DataError
from siamese.evaluation.metrics import precision_at_recall
from siamese.evaluation.results import COLUMNS
from siamese.evaluation.thresholds import choose_threshold
from siamese.losses.registry import LOSSES
from siamese.model.calibration import HIGHEST, calibrate, calibration_error
from siamese.pairs import splits
from siamese.pairs.pairs import Columns
from siamese.pairs.reading import read_pairs

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "pandas", "nltk", "sklearn", "matplotlib", "scipy", "pyarrow"}
METRICS = {"accuracy", "precision", "recall", "f1", "average_precision", "roc_auc", "threshold", "confusion", "pairs"}
METRICS |= {"calibration_error", "precision_at_recall"}
BASELINES = {"majority", "tf-idf", "mean of embeddings", "look-up in training clusters"}
PAIR = ("What makes my bike chain skip?", "Why does the chain of my bike skip?")


def start(*words: object) -> subprocess.Popen[str]:
    """A Python command in a process of its own."""
    pipe = subprocess.PIPE
    line = [sys.executable, *map(str, words)]
    return subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, encoding="utf-8", cwd=ROOT)


def numbered(count: int) -> list[list[object]]:
    """Pairs of different questions, every second one a duplicate."""
    return [[f"what is number {i}", f"tell me number {i + i % 2}", i % 2] for i in range(count)]


def finish(*words: object) -> tuple[int, str, str]:
    process = start(*words)
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def split_off(small_file: Path, part: str, path: Path) -> Path:
    """The pairs of one part, in a file without a column `split`."""
    rows = [row for row in read_csv(small_file) if row["split"] == part]
    return write_csv(path, [[row["question1"], row["question2"], row["is_duplicate"]] for row in rows])


# Training


@pytest.fixture(scope="module")
def trained(small_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder that `train` made, and what it printed."""
    folder = tmp_path_factory.mktemp("trained") / "my model"
    code, out, err = finish(
        "run.py", "train", "--data", small_file, "--out", folder, "--epochs", 3, "--batch-size", 64,
        "--learning-rate", 0.01, "--seed", 2,
    )  # fmt: skip
    assert code == 0, err
    return folder, out, err


def test_train_makes_a_model_folder(trained: tuple[Path, str, str]) -> None:
    folder, _, _ = trained
    figures = {"training.png", "similarity.png", "curves.png", "reliability.png", "prior.png", "heat-map.png"}
    model = {"config.json", "model.safetensors", "vocabulary.txt", "README.md", "report.md", "metrics.csv"}
    assert {path.name for path in folder.iterdir()} == model | figures
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert set(re.findall(r"!\[[^\]]+\]\((.+?)\)", report)) == figures
    for name in figures:
        image = matplotlib.image.imread(folder / name)  # decodes it
        assert min(image.shape[:2]) > 300, name
        assert image[..., :3].std() > 0.05, name  # something is drawn


def test_report_and_card_have_the_models_numbers(trained: tuple[Path, str, str]) -> None:
    folder, _, _ = trained
    model = SiameseModel.load(folder)
    assert (model.config.seed, model.config.epochs, model.config.batch_size) == (2, 3, 64)
    report, card = ((folder / name).read_text(encoding="utf-8") for name in ("report.md", "README.md"))
    for text in (report, card):
        assert "preset `best`, seed 2" in text
        assert f"threshold {model.threshold:.3f}" in text
        assert f"average precision {model.facts['validation']['average_precision']:.3f}" in text
        assert "| unseen (" in text and "| all (89, 44.9% duplicates) | this model |" in text
    for record in model.facts["history"]:
        assert f"| {record['epoch']} | {record['loss']:.4f} |" in report


def test_report_and_card_say_how_far_to_trust_the_probability(
    trained: tuple[Path, str, str], command: Command, small_file: Path
) -> None:
    folder, _, _ = trained
    fitted = SiameseModel.load(folder).calibration
    found = evaluation(command, "--data", small_file, "--model", folder)
    errors = f"unseen {found['unseen']['calibration_error']:.3f}, all {found['calibration_error']:.3f}"
    report, card = ((folder / name).read_text(encoding="utf-8") for name in ("report.md", "README.md"))
    for text in (report, card):
        how = "where the probability crosses one half" if fitted.slope > 0 else "chosen for accuracy on the validation"
        assert f", {how}" in text
        assert f"sigmoid({fitted.slope:.2f} · similarity {fitted.intercept:+.2f})" in text
        assert "about 45% of the pairs are duplicates" in text  # 40 of 89 validation pairs
        assert f"calibration error of the probability (15 bins): {errors}" in text
    assert "| precision at recall | 0.5 | 0.8 | 0.9 | 0.95 |\n" in card
    for name, part in (("unseen", found["unseen"]), ("all", found)):
        row = next(line for line in card.splitlines() if re.match(rf"\| {name} \([\d.]+% duplicates\)", line))
        cells = [f"{precision:.3f}" for precision in part["precision_at_recall"].values()]
        assert [cell.strip() for cell in row.split("|")[2:-1]] == cells


@pytest.mark.parametrize("goal", ["accuracy", "f1", "precision=0.4"])
def test_train_with_another_goal(command: Command, small_file: Path, tmp_path: Path, goal: str) -> None:
    code, _, err = command("train", "--data", small_file, "--goal", goal, "--epochs", 1, "--out", tmp_path / "m")
    assert code == 0, err
    model, pairs = SiameseModel.load(tmp_path / "m"), read_pairs(small_file).part("validation")
    assert pairs is not None and model.config.goal == goal
    best = choose_threshold(pairs.labels, model.similarity(pairs.question1, pairs.question2), goal)
    assert model.threshold == min(best, HIGHEST)
    assert f", chosen for {goal} on the validation pairs\n" in (tmp_path / "m" / "README.md").read_text("utf-8")


def test_train_prints_scores_place_and_next_step(trained: tuple[Path, str, str], command: Command) -> None:
    folder, out, err = trained
    history = SiameseModel.load(folder).facts["history"]
    best = max(history, key=lambda record: record["average_precision"])
    assert out.startswith(f"epoch {best['epoch']} kept; validation pairs: average precision")
    assert re.search(r"^unseen \(.*this model +0\.\d{3}", out, re.MULTILINE)
    assert f"model: {folder}, with report.md and its figures" in out
    lines = [line for line in err.splitlines() if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2", "epoch 3"]
    assert all(f"loss {record['loss']:.4f}" in line for record, line in zip(history, lines))


def test_the_next_step_works_as_printed(trained: tuple[Path, str, str], command: Command) -> None:
    _, out, _ = trained
    python, script, *words = shlex.split(out.rpartition("try: ")[2])
    assert (python, script) == ("python", "run.py")
    assert command(*words)[0] == 0


def test_train_on_groups_and_other_names(command: Command, tmp_path: Path) -> None:
    groups = [[text.format(i), f"g{i}"] for i in range(30) for text in ("what is {}", "say what {} is", "define {}")]
    path = write_csv(tmp_path / "groups.csv", groups, "text,meaning")
    names = ("--question", "text", "--group", "meaning")
    code, out, err = command("train", "--data", path, *names, "--out", tmp_path / "m", "--epochs", 1)
    assert code == 0, err
    assert splits.recall(SiameseModel.load(tmp_path / "m").facts)
    assert "test pairs" not in out  # nothing was kept for a test


def test_train_a_course_preset_from_another_file(command: Command, small_file: Path, tmp_path: Path) -> None:
    data = split_off(small_file, "train", tmp_path / "train.csv")
    validation = split_off(small_file, "validation", tmp_path / "validation.csv")
    code, out, err = command(
        "train", "--data", data, "--validation", validation, "--preset", "course-tensorflow", "--epochs", 1,
        "--out", tmp_path / "m",
    )  # fmt: skip
    assert code == 0, err
    model = SiameseModel.load(tmp_path / "m")
    assert model.threshold == 0.7
    chosen = model.facts["chosen_threshold"]
    report = (tmp_path / "m" / "report.md").read_text(encoding="utf-8")
    assert f"as published; chosen on the validation pairs it would be {chosen:.3f}" in report
    assert f"validation pairs from {validation}" in report
    assert "at threshold 0.700" in out


def test_options_change_the_recipe() -> None:
    line = (
        "train --preset course-trax-2020 --loss none --labelled logistic --anchors columns --closest semi-hard "
        "--combine pooled --reduction sum --margin 0.1 --temperature 0.2 --squared --labelled-weight 3 "
        "--labelled-margin 0.7 --epochs 7 --batch-size 9 "
        "--learning-rate 0.5 --patience 2 --no-swap --drop-last --keep-known --goal precision=0.9 --seed 5"
    )
    config = options.recipe(entry._parser().parse_args(line.split()))
    assert config.preset == "course-trax-2020" and config.tokens == "nltk"
    for name, value in {
        "loss": "none", "labelled": "logistic", "anchors": "columns", "closest": "semi-hard", "combine": "pooled",
        "reduction": "sum", "margin": 0.1, "labelled_weight": 3, "epochs": 7, "batch_size": 9, "learning_rate": 0.5,
        "patience": 2, "swap": False, "drop_last": True, "leave_out_known": False, "goal": "precision=0.9",
        "seed": 5,
    }.items():  # fmt: skip
        assert getattr(config, name) == value, name
    untouched = options.recipe(entry._parser().parse_args(["train"]))
    assert untouched.swap and untouched.leave_out_known and not untouched.drop_last and untouched.preset == "best"
    assert untouched.goal == "probability"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--batch-size 1", "--batch-size: 1 is not a whole number of 2 or more"),
        ("--epochs 0", "--epochs: 0 is not a whole number of 1 or more"),
        ("--margin 3", "--margin: 3.0 is not a number from 0 to 2"),
        ("--loss none --labelled none", "--loss and --labelled are both none"),
        ("--split course --validation x.csv", "leave out --validation"),
        ("--start-from nowhere", "nowhere: no trained model there"),
        ("--preset worst", "invalid choice: 'worst'"),
        ("--goal recall", "goal 'recall': expected probability, accuracy, f1 or precision=0.95"),
    ],
)
def test_a_recipe_that_cannot_be(command: Command, small_file: Path, tmp_path: Path, words: str, message: str) -> None:
    code, out, err = command("train", "--data", small_file, "--out", tmp_path / "m", *words.split())
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "m").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "pairs.csv", numbered(60))
    line = ["run.py", "train", "--data", data, "--out", tmp_path / "my model", "--epochs", "100000"]
    first = 0
    for _ in range(2):
        training = Typed(line)
        epoch = next(line for line in training.stderr if line.startswith("epoch "))
        number = int(epoch.split()[1].rstrip(":"))
        assert number > first  # the second time it goes on
        first = number
        training.send_signal(signal.SIGINT)
        out, err = training.communicate(timeout=60)
        assert (training.returncode, out) == (130, "")
        assert "Traceback" not in err
        said = re.search(r"^stopped; step ([\d,]+) is kept, go on with: python (.*)$", err, re.MULTILINE)
        assert said
        assert int(said[1].replace(",", "")) >= number  # an epoch is a step here
        assert shlex.split(said[2]) == [*map(str, line[:7]), "100000", "--resume"]
        line = shlex.split(said[2])
    assert not (tmp_path / "my model" / "config.json").exists()


def test_resume_of_another_run_is_refused(command: Command, trained: tuple[Path, str, str], small_file: Path) -> None:
    folder, _, _ = trained
    code, out, err = command("train", "--data", small_file, "--out", folder, "--epochs", 9, "--resume")
    assert (code, out) == (2, "")
    assert "holds the finished model of a run that differs in seed, batch_size, learning_rate, epochs; train" in err
    assert err.count("\n") == 1


# Predicting


def test_predict(command: Command, tiny_model: Path) -> None:
    said = SiameseModel.load(tiny_model).predict(*PAIR)
    code, out, err = command("predict", *PAIR, "--model", tiny_model)
    assert (code, err) == (0, "")
    verdict = "duplicate" if said.is_duplicate else "not duplicate"
    assert out == (
        f"{verdict}: similarity {said.similarity:.3f} (threshold {said.threshold:.3f}), "
        f"probability {said.probability:.2f}\n"
    )
    code, out, err = command("predict", *PAIR, "--model", tiny_model, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "is_duplicate": said.is_duplicate,
        "similarity": said.similarity,
        "threshold": said.threshold,
        "probability": said.probability,
    }


def test_predict_with_another_threshold(command: Command, tiny_model: Path) -> None:
    for threshold, verdict in ((0, True), (1, False)):
        _, out, _ = command("predict", PAIR[0], PAIR[0], "--model", tiny_model, "--threshold", threshold, "--json")
        assert json.loads(out)["is_duplicate"] is verdict
        assert json.loads(out)["threshold"] == threshold
    for threshold in ("1.5", "-0.1", "nan"):
        code, out, err = command("predict", *PAIR, "--model", tiny_model, "--threshold", threshold)
        assert (code, out) == (2, "")
        assert err == f"error: threshold {float(threshold)}: expected a number from 0 to 1\n"


def test_predict_with_a_prior(command: Command, steep: Path) -> None:
    def said(*words: object) -> dict[str, Any]:
        code, out, err = command("predict", *words, "--model", steep, "--json")
        assert (code, err) == (0, "")
        found: dict[str, Any] = json.loads(out)
        return found

    plain, rare = said(*PAIR), said(*PAIR, "--prior", 0.01)
    # 20 t − 10 + log(0.01 / 0.99) = 0 at t = (10 + 4.59512) / 20
    assert (plain["threshold"], rare["threshold"]) == (0.5, pytest.approx(0.729756))
    assert rare["similarity"] == plain["similarity"]
    odds = plain["probability"] / (1 - plain["probability"]) / 99
    assert rare["probability"] == pytest.approx(odds / (1 + odds))
    assert rare["is_duplicate"] == (rare["similarity"] > rare["threshold"])
    assert said(*PAIR, "--prior", 0.5) == plain
    # a threshold that is given stays, the probability is restated
    assert said(*PAIR, "--prior", 0.01, "--threshold", 0.25) == {
        **rare, "threshold": 0.25, "is_duplicate": rare["similarity"] > 0.25,
    }  # fmt: skip
    # 20 · 1 − 10 − 13.82 is below 0, but the same question twice is a duplicate
    same = said(PAIR[0], PAIR[0], "--prior", 1e-6)
    assert (same["is_duplicate"], same["threshold"]) == (True, HIGHEST)
    assert same["probability"] < 0.5
    code, out, _ = command("predict", "zzz", PAIR[0], "--model", steep, "--prior", 0.01)
    assert (code, out) == (0, "not duplicate: similarity 0.000 (threshold 0.730), probability 0.00\n")


@pytest.mark.parametrize("prior", ["0", "1", "2", "-1", "nan", "inf", "text", ""])
@pytest.mark.parametrize("more", [[], ["--threshold", "0.5"], ["--json"]])
def test_predict_with_a_prior_that_is_no_share(
    command: Command, tiny_model: Path, prior: str, more: list[str], tmp_path: Path
) -> None:
    code, out, err = command("predict", *PAIR, "--model", tiny_model, f"--prior={prior}", *more)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    if prior in ("text", ""):
        assert err.startswith(f"error: argument --prior: invalid float value: {prior!r}\n")
    else:
        assert err == f"error: prior {float(prior)}: expected a share of duplicates between 0 and 1, such as 0.01\n"


def test_predict_a_file_with_a_prior(command: Command, steep: Path, small_file: Path, tmp_path: Path) -> None:
    model, out_path = SiameseModel.load(steep), tmp_path / "scored.csv"
    words = ("predict", "--file", small_file, "--model", steep, "--out", out_path, "--prior")
    code, out, err = command(*words, 0.01)
    assert (code, err) == (0, "")
    scored = read_csv(out_path)
    similarity = [float(row["similarity"]) for row in scored]
    assert [float(row["probability"]) for row in scored] == pytest.approx(
        model.calibration.probability(similarity, 0.01).tolist(), abs=2e-5
    )
    verdicts = [row["is_duplicate"] == "1" for row in scored]
    assert verdicts == [s > 0.729756 for s in similarity]
    assert out == f"{len(scored)} pairs, {sum(verdicts)} of them duplicates, written to {out_path}\n"
    assert 0 < sum(verdicts) < sum(s > 0.5 for s in similarity)
    assert command(*words, 0.01, "--threshold", 0.5)[0] == 0
    restated = read_csv(out_path)
    assert [row["probability"] for row in restated] == [row["probability"] for row in scored]
    assert [row["is_duplicate"] == "1" for row in restated] == [s > 0.5 for s in similarity]
    before = out_path.read_bytes()
    code, out, err = command(*words, 1)
    assert (code, out) == (2, "")
    assert err == "error: prior 1.0: expected a share of duplicates between 0 and 1, such as 0.01\n"
    assert out_path.read_bytes() == before


def test_predict_of_odd_questions(command: Command, tiny_model: Path) -> None:
    for question in ("", " ", "zzz", "駅はどこ 🚉", "a" * 100_000, "caf\udce9"):  # the last: bytes that are no UTF-8
        code, out, err = command("predict", question, PAIR[0], "--model", tiny_model, "--threshold", 0, "--json")
        assert (code, err) == (0, "")
        assert (json.loads(out)["is_duplicate"], json.loads(out)["similarity"]) == (False, 0)
    assert command("predict", "--model", tiny_model, "--", "--what", "-is")[0] == 0


def test_predict_a_file(command: Command, tiny_model: Path, tmp_path: Path) -> None:
    rows = [["How do I\nstart?", 'My "chain" skips, why?', "x"], ["a, b", "", "y"], [*PAIR, "z"]]
    path = write_csv(tmp_path / "pairs.csv", rows, "left,right,extra")
    names = ("--question1", "left", "--question2", "right", "--model", tiny_model)
    code, out, err = command("predict", "--file", path, *names, "--out", tmp_path / "scored.csv", "--threshold", 0.2)
    assert code == 0
    scored = read_csv(tmp_path / "scored.csv")
    assert list(scored[0]) == ["question1", "question2", "similarity", "probability", "is_duplicate"]
    assert [(row["question1"], row["question2"]) for row in scored] == [(a, b) for a, b, _ in rows if b]
    count = sum(row["is_duplicate"] == "1" for row in scored)
    assert out == f"2 pairs, {count} of them duplicates, written to {tmp_path / 'scored.csv'}\n"
    # the faulty row, which begins on line 4 of the file since the first has two lines
    assert err == f"{path}: 1 of 3 rows skipped\n  {path}, line 4: right is missing or empty\n"
    model = SiameseModel.load(tiny_model)
    for row in scored:
        said = model.predict(row["question1"], row["question2"], 0.2)
        assert float(row["similarity"]) == pytest.approx(said.similarity, abs=1e-6)
        assert float(row["probability"]) == pytest.approx(said.probability, abs=1e-6)
        assert row["is_duplicate"] == str(int(said.is_duplicate))
    code, printed, _ = command("predict", "--file", path, *names, "--threshold", 0.2)
    assert (code, printed) == (0, (tmp_path / "scored.csv").read_text(encoding="utf-8"))


def test_predict_takes_two_questions_or_a_file(command: Command, tiny_model: Path, small_file: Path) -> None:
    for words in ([], ["one"], ["one", "two", "three"], ["one", "two", "--file", small_file]):
        code, out, err = command("predict", *words, "--model", tiny_model)
        assert (code, out) == (2, "")
        assert "error: predict takes two questions, or --file PATH" in err


def test_without_any_model_it_says_what_to_run(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_file: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("siamese.model.model.SHIPPED", tmp_path / "pretrained")
    for words in (["predict", *PAIR], ["predict", "--file", small_file], ["evaluate", "--data", small_file]):
        code, out, err = command(*words)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {tmp_path / 'pretrained'}: no trained model there")
        assert "`python run.py train`" in err


def test_an_output_that_cannot_be_written_is_named(command: Command, tiny_model: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "pairs.csv", [PAIR], "question1,question2")
    (tmp_path / "folder").mkdir()
    for out_path in (tmp_path / "folder", path / "scored.csv"):
        code, out, err = command("predict", "--file", path, "--model", tiny_model, "--out", out_path)
        assert (code, out) == (2, "")
        assert re.fullmatch(rf"error: {re.escape(str(tmp_path))}/(folder|pairs.csv): [\w ,]+\n", err)
    assert {entry.name for entry in tmp_path.iterdir()} == {"folder", "pairs.csv"}


def test_a_closed_pipe_is_no_error(tiny_model: Path, tmp_path: Path) -> None:
    # 5,000 rows are more than a pipe holds (64 KiB), so the writer meets the closed end.
    path = write_csv(tmp_path / "pairs.csv", [PAIR] * 5_000, "question1,question2")
    process = start("run.py", "predict", "--file", path, "--model", tiny_model)
    assert process.stdout and process.stderr
    assert process.stdout.readline() == '"question1","question2","similarity","probability","is_duplicate"\n'
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 0
    process.stderr.close()


# Evaluating


def evaluation(command: Command, *words: object) -> dict[str, Any]:
    code, out, err = command("evaluate", *words, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_evaluate_finds_the_training_file_by_itself(command: Command, tiny_model: Path, small_file: Path) -> None:
    found = evaluation(command, "--data", small_file, "--model", tiny_model)
    model, test = SiameseModel.load(tiny_model), read_pairs(small_file).part("test")
    assert test is not None
    similarity = model.similarity(test.question1, test.question2)
    verdicts = similarity > model.threshold
    assert found.keys() >= METRICS | {"baselines", "unseen", "unseen_from"}
    assert found["pairs"] == len(test) == 89
    assert found["threshold"] == model.threshold
    assert found["confusion"] == confusion_matrix(test.labels, verdicts).tolist()
    assert found["accuracy"] == pytest.approx((verdicts == test.labels).mean())
    assert found["f1"] == pytest.approx(f1_score(test.labels, verdicts))
    assert found["average_precision"] == pytest.approx(average_precision_score(test.labels, similarity))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(test.labels, similarity))
    assert found["baselines"].keys() == BASELINES
    assert found["baselines"]["majority"] == {"accuracy": pytest.approx(49 / 89)}  # 49 of 89 are no duplicates
    assert found["unseen_from"] == "the training pairs"
    unseen = found["unseen"]
    assert unseen.keys() == (METRICS | {"baselines", "duplicates"})
    assert unseen["baselines"].keys() == BASELINES
    training = {
        q for row in read_csv(small_file) if row["split"] == "train" for q in (row["question1"], row["question2"])
    }
    new = [i for i in range(len(test)) if not {test.question1[i], test.question2[i]} & training]
    assert 0 < unseen["pairs"] == len(new) < 89
    assert unseen["accuracy"] == pytest.approx((verdicts == test.labels)[new].mean())
    probability = model.probability(similarity)
    for part, which in ((found, range(len(test))), (unseen, new)):
        labels, scores = test.labels[which], similarity[which]
        assert part["calibration_error"] == pytest.approx(calibration_error(labels, probability[which]))
        assert part["precision_at_recall"] == pytest.approx(precision_at_recall(labels, scores))
        assert all(row.keys() >= METRICS for name, row in part["baselines"].items() if name != "majority")


def test_evaluate_prints_a_table(command: Command, tiny_model: Path, small_file: Path) -> None:
    code, out, err = command("evaluate", "--data", small_file, "--model", tiny_model)
    assert (code, err) == (0, "")
    found = evaluation(command, "--data", small_file, "--model", tiny_model)
    lines = out.splitlines()
    assert re.split("  +", lines[0]) == ["pairs", *(name.replace("_", " ") for name in COLUMNS)]
    names = ["this model", *found["baselines"]]
    assert lines[1].startswith(f"unseen ({found['unseen']['pairs']}, ")  # the headline
    assert lines[1 + len(names)].startswith("all (89, 44.9% duplicates)")
    for i, scores in ((0, found["unseen"]), (len(names), found)):
        for line, name in zip(lines[1 + i :], names):
            row = scores if name == "this model" else scores["baselines"][name]
            assert f" {name} " in line
            assert line.split(name)[1].split()[0] == f"{row['accuracy']:.3f}"
    errors = f"unseen {found['unseen']['calibration_error']:.3f}, all {found['calibration_error']:.3f}"
    assert lines[-2] == f"calibration error of the probability (15 bins): {errors}"
    assert lines[-1].startswith("unseen: neither question was trained on (the training pairs)")


@pytest.fixture()
def forgetful(tiny_model: Path, tmp_path: Path, seal: Callable[[Path], None]) -> Path:
    """The model without a memory of its training file."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "forgetful"))
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del settings["facts"]["data"]
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    seal(folder)
    return folder


def test_evaluate_without_the_training_file(
    command: Command, forgetful: Path, tiny_model: Path, small_file: Path
) -> None:
    found = evaluation(command, "--data", small_file, "--model", forgetful)
    assert found["unseen"] is None
    assert found["unseen_from"].startswith("unknown: ") and "--trained-on" in found["unseen_from"]
    assert found["baselines"].keys() == BASELINES - {"look-up in training clusters"}
    assert found["baselines"]["tf-idf"]["accuracy"] is None  # nothing to choose its threshold on
    assert found["baselines"]["tf-idf"]["average_precision"] > 0
    code, out, err = command("evaluate", "--data", small_file, "--model", forgetful)
    assert code == 0, err
    assert out.splitlines()[-1].startswith("unseen pairs (neither question trained on): unknown: no column 'unseen'")
    errors = f"all {found['calibration_error']:.3f}"
    assert out.splitlines()[-2] == f"calibration error of the probability (15 bins): {errors}"
    # told where it is, it says what the model that remembers says
    told = evaluation(
        command, "--data", small_file, "--model", forgetful, "--trained-on", small_file, "--tune-on", small_file
    )
    assert told == evaluation(command, "--data", small_file, "--model", tiny_model)


def test_a_changed_training_file_is_not_trusted(
    command: Command, tiny_model: Path, small_file: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copy(small_file, tmp_path / "copy.csv"))
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    model = SiameseModel.load(folder)
    model.facts["data"] = splits.remember(splits.Source(str(copy)))
    model.save(folder)
    assert evaluation(command, "--data", small_file, "--model", folder)["unseen"]
    with open(copy, "a", encoding="utf-8") as file:
        file.write("9999,1,2,one more,and another,1,train\n")
    assert evaluation(command, "--data", small_file, "--model", folder)["unseen"] is None


def test_the_files_own_column_unseen(command: Command, forgetful: Path, tmp_path: Path) -> None:
    rows = [[*row, int(i % 5 == 0)] for i, row in enumerate(numbered(20))]
    path = write_csv(tmp_path / "pairs.csv", rows, "question1,question2,is_duplicate,unseen")
    found = evaluation(command, "--data", path, "--model", forgetful)
    assert found["unseen"]["pairs"] == 4
    assert found["unseen_from"] == "the file's column 'unseen'"


def test_tune_on(command: Command, steep: Path, small_file: Path, tmp_path: Path) -> None:
    model = SiameseModel.load(steep)
    tuning = read_pairs(split_off(small_file, "validation", tmp_path / "validation.csv"))
    test = read_pairs(split_off(small_file, "test", tmp_path / "test.csv"))
    similarity, tested = (model.similarity(p.question1, p.question2) for p in (tuning, test))
    words = ("--data", tmp_path / "test.csv", "--model", steep, "--tune-on", tmp_path / "validation.csv")
    fitted = calibrate(tuning.labels, similarity)  # anew, whatever the goal
    error = calibration_error(test.labels, fitted.probability(tested))
    assert fitted != model.calibration
    for goal in (None, "probability", "accuracy", "f1", "precision=0.2"):
        found = evaluation(command, *words, *(["--goal", goal] if goal else []))
        threshold = choose_threshold(tuning.labels, similarity, goal or "probability")
        assert found["calibration_error"] == pytest.approx(error)
        assert found["threshold"] == found["unseen"]["threshold"] == threshold
        assert found["precision"] == pytest.approx(precision_score(test.labels, tested > threshold, zero_division=0))
    for goal, message in (
        ("recall", "goal 'recall': expected probability, accuracy, f1 or precision=0.95"),
        ("precision=2", "goal 'precision=2': expected probability, accuracy, f1 or precision=0.95"),
        ("precision=1", "no threshold reaches a precision of 1.0; the highest is 0."),
    ):
        with open(tmp_path / "validation.csv", "a", encoding="utf-8") as file:  # alike as can be, and no duplicates
            file.write("".join("how is it?,how is it?,0\n" for _ in range(5)))
        code, out, err = command("evaluate", *words, "--goal", goal)
        assert (code, out) == (2, "")
        assert message in err
    code, out, err = command("evaluate", "--data", small_file, "--model", steep, "--goal", "f1")
    assert (code, out) == (2, "")
    assert "--goal is what a threshold is chosen for; it needs --tune-on" in err


@pytest.mark.parametrize("label", [0, 1])
def test_pairs_of_one_label_can_be_scored(command: Command, tiny_model: Path, tmp_path: Path, label: int) -> None:
    path = write_csv(tmp_path / "pairs.csv", [[*PAIR, label], ["how old", "how young", label]])
    assert command("evaluate", "--data", path, "--model", tiny_model)[0] == 0
    code, out, _ = command("evaluate", "--data", path, "--model", tiny_model, "--json")

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    assert code == 0
    found = json.loads(out, parse_constant=refuse)
    assert found["roc_auc"] is None  # there is no such number
    assert found["precision_at_recall"] == ({} if label == 0 else dict.fromkeys(["0.5", "0.8", "0.9", "0.95"], 1))


# Errors of the user's


FAULTY: dict[str, bytes | None] = {
    "missing.csv": None,
    "column.csv": b"question1,text,is_duplicate\na,b,1\n",
    "label.csv": b"question1,question2,is_duplicate\n" + b"a b,c d,2\n" * 1_000,
    "empty.csv": b"",
    "header.csv": b"question1,question2,is_duplicate\n",
    "binary.csv": bytes(range(256)) * 40,
    "binary.parquet": bytes(range(256)) * 40,
    "ending.xlsx": b"PK",
    "one.csv": b"question1,question2,is_duplicate\nhow old are you,what is your age,1\n",
    "folder": None,
}
SAYS = {
    "missing.csv": "no such file; expected a .csv, .tsv, .jsonl or .parquet file",
    "column.csv": "line 1: no column 'question2'; it has 'question1', 'text', 'is_duplicate'",
    "label.csv": "1000 of 1000 rows are faulty",
    "empty.csv": "empty; expected columns question1, question2",
    "header.csv": "no usable",
    "binary.csv": "line 2: not UTF-8 text",  # line 1 ends with byte 10
    "binary.parquet": "not a Parquet file",
    "ending.xlsx": "cannot tell the format from '.xlsx'",
    "one.csv": "duplicate pair(s) to train on",
    "folder": "a folder, expected a .csv, .tsv, .jsonl or .parquet file",
}


def put(folder: Path, name: str) -> Path:
    path, content = folder / name, FAULTY[name]
    if name == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", FAULTY)
@pytest.mark.parametrize("what", ["train --data", "evaluate --data", "predict --file", "train --validation"])
def test_a_file_that_cannot_be_used(
    command: Command, tiny_model: Path, small_file: Path, tmp_path: Path, what: str, name: str
) -> None:
    verb, option = what.split()
    works = {"evaluate": {"one.csv"}, "predict": {"one.csv", "label.csv", "header.csv"}}.get(verb, set())
    path = put(tmp_path, name)
    place = ["--out", tmp_path / "m"] if verb == "train" else ["--model", tiny_model]
    data = ["--data", small_file] if option == "--validation" else []
    code, out, err = command(verb, *data, option, path, *place)
    if name in works:
        assert code == 0, err
        return
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {path}")
    assert "Traceback" not in err
    if option != "--validation" or name != "one.csv":
        assert SAYS[name] in err
    if name == "label.csv":  # the first five, with line and reason
        reasons = [f"line {line}: is_duplicate is '2', expected 0 or 1" for line in range(2, 7)]
        assert err.splitlines()[1:] == ["  " + "; ".join(reasons)]
    else:
        assert err.count("\n") == 1
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_one_wrong_label_in_a_thousand_rows_is_skipped(
    command: Command, tiny_model: Path, tmp_path: Path, verb: str
) -> None:
    rows = numbered(1_000)
    rows[500][2] = 2
    path = write_csv(tmp_path / "pairs.csv", rows)
    place = ["--out", tmp_path / "m", "--epochs", 1] if verb == "train" else ["--model", tiny_model]
    code, out, err = command(verb, "--data", path, *place)
    assert code == 0 and out
    fault = f"{path}: 1 of 1000 rows skipped\n  {path}, line 502: is_duplicate is '2', expected 0 or 1\n"
    assert err.startswith(fault)


def test_an_error_shows_its_traceback_only_when_asked(tmp_path: Path) -> None:
    line = ["run.py", "predict", "--file", tmp_path / "missing.csv", "--model", tmp_path]
    code, out, err = finish(*line)
    assert (code, out) == (2, "")
    assert err == f"error: {tmp_path}: no trained model there (no config.json); `python run.py train` makes one\n"
    code, out, err = finish(*line, "--debug")
    assert (code, out) == (1, "")
    assert err.startswith("Traceback") and "ModelError: " in err


def test_debug_raises(command: Command, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing.csv: no such file"):
        command("train", "--data", tmp_path / "missing.csv", "--debug")


# Names that stay, and what a start costs


def test_options_that_other_things_hold_on_to(command: Command) -> None:
    names = {
        "train": "data validation preset loss labelled epochs batch-size margin seed out resume start-from split",
        "predict": "model threshold prior json file out",
        "evaluate": "data tune-on trained-on model json",
        "examine": "data tune-on trained-on model against show-text out",
    }
    code, out, _ = command("--help")
    assert code == 0 and all(name in out for name in names)
    for name, words in names.items():
        code, out, _ = command(name, "--help")
        assert code == 0
        assert all(f"--{option}" in out for option in words.split())


def test_the_program_alone_says_what_it_can_do(command: Command) -> None:
    assert command() == command("--help")
    assert command("--version") == (0, f"{siamese.__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("pedict a b", "'pedict'; did you mean predict?"),
        ("train --preset bets", "'bets'; did you mean best?"),
        ("train --loss triplet-cosin", "'triplet-cosin'; did you mean triplet-cosine?"),
        ("losses logistik", "'logistik'; did you mean logistic?"),
        ("losses xyz", "(choose from"),
    ],
)
def test_a_mistyped_word_suggests_the_nearest(command: Command, words: str, near: str) -> None:
    code, out, err = command(*words.split())
    assert (code, out) == (2, "") and near in err


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_explained_without_torch(name: str) -> None:
    loss, text = LOSSES[name], losses.explanation(LOSSES[name])
    assert text.splitlines()[2][0].isupper() or name == "mse"  # what it is for
    assert all(part in text for part in (loss.formula, loss.needs, loss.source))
    recipe = options.recipe(
        entry._parser().parse_args(shlex.split(text.partition("example:   ")[2].splitlines()[0])[2:])
    )
    assert name in (recipe.loss, recipe.labelled)
    for field in loss.settings.values():
        assert f"--{field.replace('_', '-')}" in text


def test_help_of_train_shows_the_defaults_of_the_preset(command: Command) -> None:
    out = " ".join(command("train", "--help")[1].split())
    for name in ("loss", "margin", "labelled_weight", "learning_rate", "batch_size", "seed", "goal"):
        assert re.search(rf"--{name.replace('_', '-')} .*?\(default {getattr(Config, name)}\)", out), name


def test_a_start_loads_nothing_heavy(tiny_model: Path) -> None:
    code, out, err = finish(
        "-c", "import sys, siamese, siamese.cli; print(*{name.split('.')[0] for name in sys.modules})"
    )
    assert code == 0, err
    assert not HEAVY & set(out.split())
    assert "numpy" not in out.split()
    code, out, err = finish("-X", "importtime", "run.py", "predict", *PAIR, "--model", tiny_model)
    assert code == 0 and "similarity" in out
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in err.splitlines()}
    assert {"siamese", "numpy"} <= loaded
    assert not HEAVY & loaded


def test_public_names() -> None:
    code, out, err = finish(
        "-c", "import siamese; from siamese import *; print(Pairs, TripletLoss, read_pairs.__name__)"
    )
    assert code == 0, err
    assert out == "<class 'siamese.pairs.pairs.Pairs'> <class 'siamese.losses.triplet.TripletLoss'> read_pairs\n"
    import siamese

    with pytest.raises(AttributeError, match="module 'siamese' has no attribute 'nothing'"):
        _ = siamese.nothing
    assert Columns() == Columns("question1", "question2", "is_duplicate", "question", "group")


def test_a_threshold_is_never_chosen_on_scored_pairs(command: Command, tiny_model: Path, tmp_path: Path) -> None:
    pairs = write_csv(tmp_path / "pairs.csv", [[*PAIR, 1], ["how old", "how young", 0]])
    other = write_csv(tmp_path / "other.csv", [[PAIR[1], PAIR[0].upper(), 1], ["a b", "c d", 0]])
    code, out, err = command("evaluate", "--data", pairs, "--tune-on", other, "--model", tiny_model)
    assert (code, out) == (2, "")
    assert "1 of its pairs" in err
    assert str(other) in err


def test_evaluation_says_when_it_scores_training_pairs(command: Command, tiny_model: Path, small_file: Path) -> None:
    rows = [line for line in small_file.read_text(encoding="utf-8").splitlines() if not line.endswith(("test", "ion"))]
    path = small_file.with_name("training-part.csv")
    path.write_text("\n".join(line.removesuffix(",train").removesuffix(",split") for line in rows) + "\n", "utf-8")
    code, _, err = command("evaluate", "--data", path, "--model", tiny_model)
    assert code == 0
    assert f"note: {len(rows) - 1} of the {len(rows) - 1} pairs were used to train" in err


@pytest.mark.parametrize("words", [["--out", "x.csv", "a", "b"], ["--file", "x.csv", "--json"]])
def test_options_that_do_not_go_together(command: Command, tiny_model: Path, words: list[str]) -> None:
    assert command("predict", *words, "--model", tiny_model)[0] == 2


def test_half_a_character_is_a_faulty_row(command: Command, tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"question1": "\\ud800", "question2": "b"}\n{"question1": "a", "question2": "b"}\n', "utf-8")
    code, out, err = command("predict", "--file", path, "--model", tiny_model)
    assert (code, len(out.splitlines())) == (0, 2)
    assert "line 1: question1 is no text" in err


def test_a_last_step_that_breaks_the_weights_saves_no_model(command: Command, small_file: Path, tmp_path: Path) -> None:
    code, _, err = command(
        "train", "--data", small_file, "--out", tmp_path / "m", "--epochs", 1, "--batch-size", 999,
        "--learning-rate", 1e38,
    )  # fmt: skip
    assert code == 2
    assert "--learning-rate" in err
    assert not (tmp_path / "m" / "config.json").exists()


def test_a_wanted_precision_out_of_reach_loses_no_model(command: Command, tmp_path: Path) -> None:
    # Every validation pair is the same one, so no threshold parts duplicates from the rest.
    pairs = write_csv(tmp_path / "pairs.csv", numbered(60))
    same = write_csv(tmp_path / "same.csv", [[*PAIR, 1], [*PAIR, 0], [*PAIR, 0]])
    code, _, err = command(
        "train", "--data", pairs, "--validation", same, "--goal", "precision=0.9", "--epochs", 1, "--out", tmp_path
    )
    assert code == 0
    assert "no threshold reaches a precision of 0.9" in err
    assert command("train", "--data", pairs, "--goal", "recall=1", "--out", tmp_path)[0] == 2
