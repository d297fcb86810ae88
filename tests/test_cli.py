"""The commands as typed: output, files, and errors."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
from commands import TRAIN, Command, python
from files import read_csv, write_csv
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score, precision_score, roc_auc_score

import siamese
from siamese import SiameseModel, config
from siamese.cli import entry, losses, options
from siamese.config import Config
from siamese.evaluation.metrics import precision_at_recall
from siamese.evaluation.results import COLUMNS
from siamese.evaluation.thresholds import choose_threshold
from siamese.losses.registry import LOSSES
from siamese.model.calibration import calibrate, calibration_error
from siamese.pairs import splits
from siamese.pairs.reading import read_pairs

pytestmark = pytest.mark.slow

HEAVY = {"torch", "pandas", "nltk", "sklearn", "matplotlib", "scipy", "pyarrow"}
METRICS = {"accuracy", "precision", "recall", "f1", "average_precision", "roc_auc", "threshold", "confusion", "pairs"}
METRICS |= {"calibration_error", "precision_at_recall"}
BASELINES = {"majority", "tf-idf", "mean of embeddings", "look-up in training clusters"}
PAIR = ("What makes my bike chain skip?", "Why does the chain of my bike skip?")


def numbered(count: int) -> list[list[object]]:
    """Return pairs of different questions. Every second pair is a duplicate."""
    return [[f"what is number {i}", f"tell me number {i + i % 2}", i % 2] for i in range(count)]


def split_off(small_file: Path, part: str, path: Path) -> Path:
    """Write the pairs of one part to a file without a column `split`."""
    rows = [row for row in read_csv(small_file) if row["split"] == part]
    return write_csv(path, [[row["question1"], row["question2"], row["is_duplicate"]] for row in rows])


def recipe(line: str) -> Config:
    given = entry._parser().parse_args(shlex.split(line))
    return config.recipe(given.preset, options.changed_fields(given))


@pytest.fixture(scope="module")
def trained(small_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Run `train`. Return its folder and what it printed."""
    folder = tmp_path_factory.mktemp("trained") / "my model"
    words = ("--epochs", 3, "--batch-size", 64, "--learning-rate", 0.01, "--seed", 2)
    done = python("run.py", *TRAIN, "--data", small_file, "--out", folder, *words)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


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


def test_report_and_card_have_the_models_numbers(
    trained: tuple[Path, str, str], command: Command, small_file: Path
) -> None:
    folder, _, _ = trained
    model, found = SiameseModel.load(folder), evaluation(command, "--data", small_file, "--model", folder)
    fitted = model.calibration
    assert (model.config.seed, model.config.epochs, model.config.batch_size) == (2, 3, 64)
    how = "where the probability crosses one half" if "chosen_threshold" in model.facts else "not fitted"
    report, card = ((folder / name).read_text(encoding="utf-8") for name in ("report.md", "README.md"))
    for text in (report, card):
        assert "preset `best`, seed 2" in text
        assert f"threshold {model.threshold:.3f}, {how}" in text
        assert f"average precision {model.facts['validation']['average_precision']:.3f}" in text
        assert "| unseen (" in text and "| all (89, 44.9% duplicates) | this model |" in text
        assert f"sigmoid({fitted.slope:.2f} · similarity {fitted.intercept:+.2f})" in text
        assert ("about 45% of the pairs are duplicates" in text) == (how != "not fitted")  # 40 of 89 validation pairs
        assert f"{found['unseen']['calibration_error']:.3f}, all {found['calibration_error']:.3f}" in text
    for record in model.facts["history"]:
        assert f"| {record['epoch']} | {record['loss']:.4f} |" in report
    assert "| precision at recall | 0.5 | 0.8 | 0.9 | 0.95 |\n" in card
    for name, part in (("unseen", found["unseen"]), ("all", found)):
        row = next(line for line in card.splitlines() if re.match(rf"\| {name} \([\d.]+% duplicates\)", line))
        cells = [f"{precision:.3f}" for precision in part["precision_at_recall"].values()]
        assert [cell.strip() for cell in row.split("|")[2:-1]] == cells


@pytest.mark.slow
@pytest.mark.ci
def test_train_with_another_goal(command: Command, small_file: Path, tmp_path: Path) -> None:
    known = split_off(small_file, "train", tmp_path / "train.csv")
    words = ("--validation", known, "--goal", "f1", "--epochs", 1, "--out", tmp_path / "m")
    code, _, err = command(*TRAIN, "--data", small_file, *words)
    assert code == 0, err
    assert SiameseModel.load(tmp_path / "m").config.goal == "f1"
    assert ", chosen for f1 on the validation pairs\n" in (tmp_path / "m" / "README.md").read_text("utf-8")


def test_train_prints_scores_place_and_a_next_step_that_works(trained: tuple[Path, str, str], command: Command) -> None:
    folder, out, err = trained
    history = SiameseModel.load(folder).facts["history"]
    best = max(history, key=lambda record: record["average_precision"])
    assert out.startswith(f"epoch {best['epoch']} kept; validation pairs: average precision")
    assert re.search(r"^unseen \(.*this model +0\.\d{3}", out, re.MULTILINE)
    assert f"model: {folder}, with report.md and its figures" in out
    lines = [line for line in err.splitlines() if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2", "epoch 3"]
    assert all(f"loss {record['loss']:.4f}" in line for record, line in zip(history, lines))
    program, script, *words = shlex.split(out.rpartition("try: ")[2])
    assert (program, script) == ("python", "run.py")
    assert command(*words)[0] == 0


def test_train_on_groups_and_other_names(command: Command, tmp_path: Path) -> None:
    groups = [[text.format(i), f"g{i}"] for i in range(30) for text in ("what is {}", "say what {} is", "define {}")]
    path = write_csv(tmp_path / "groups.csv", groups, "text,meaning")
    names = ("--question", "text", "--group", "meaning")
    code, out, err = command(*TRAIN, "--data", path, *names, "--out", tmp_path / "m", "--epochs", 1)
    assert code == 0, err
    assert splits.recall(SiameseModel.load(tmp_path / "m").facts)
    assert "test pairs" not in out  # nothing was kept for a test


def test_train_a_course_preset_from_another_file(command: Command, small_file: Path, tmp_path: Path) -> None:
    data = split_off(small_file, "train", tmp_path / "train.csv")
    validation = split_off(small_file, "train", tmp_path / "validation.csv")
    words = ("--preset", "course-tensorflow", "--epochs", 1, "--out", tmp_path / "m")
    code, out, err = command(*TRAIN, "--data", data, "--validation", validation, *words)
    assert code == 0, err
    model = SiameseModel.load(tmp_path / "m")
    assert model.threshold == 0.7
    report = (tmp_path / "m" / "report.md").read_text(encoding="utf-8")
    chosen = model.facts["chosen_threshold"]
    assert f"as published; chosen on the validation pairs it would be {chosen:.3f}" in report
    assert f"validation pairs from {validation}" in report
    assert "at threshold 0.700" in out


def test_options_change_the_recipe() -> None:
    given = {
        "loss": "none", "labelled": "logistic", "anchors": "columns", "closest": "semi-hard", "combine": "pooled",
        "reduction": "sum", "margin": 0.1, "temperature": 0.2, "labelled_weight": 3, "labelled_margin": 0.7,
        "epochs": 7, "batch_size": 9, "learning_rate": 0.5, "patience": 2, "goal": "precision=0.9", "seed": 5,
    }  # fmt: skip
    words = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in given.items())
    config = recipe(f"train --preset course-trax-2020 {words} --squared --no-swap --drop-last --keep-known")
    assert config.preset == "course-trax-2020" and config.tokens == "nltk"
    switches = {"squared": True, "swap": False, "drop_last": True, "leave_out_known": False}
    for name, value in {**given, **switches}.items():
        assert getattr(config, name) == value, name
    assert recipe("train") == Config()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--batch-size 1", "--batch-size: 1 is not a whole number of 2 or more"),
        ("--loss none --labelled none", "--loss and --labelled are both none"),
        ("--split course --validation x.csv", "leave out --validation"),
        ("--start-from nowhere", "nowhere: no trained model there"),
    ],
)
def test_a_recipe_that_cannot_be(command: Command, small_file: Path, tmp_path: Path, words: str, message: str) -> None:
    code, out, err = command(*TRAIN, "--data", small_file, "--out", tmp_path / "m", *words.split())
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "m").exists()


def test_predict(command: Command, tiny_model: Path) -> None:
    said = SiameseModel.load(tiny_model).predict(*PAIR)
    verdict = "duplicate" if said.is_duplicate else "not duplicate"
    numbers = f"similarity {said.similarity:.3f} (threshold {said.threshold:.3f}), probability {said.probability:.2f}"
    assert command("predict", *PAIR, "--model", tiny_model) == (0, f"{verdict}: {numbers}\n", "")
    code, out, err = command("predict", *PAIR, "--model", tiny_model, "--json")
    assert (code, err) == (0, "")
    names = ("is_duplicate", "similarity", "threshold", "probability")
    assert json.loads(out) == {name: getattr(said, name) for name in names} | {"differences": []}


def test_predict_with_another_threshold_or_prior(command: Command, steep: Path) -> None:
    def said(*words: object) -> dict[str, Any]:
        code, out, err = command("predict", *words, "--model", steep, "--json")
        assert (code, err in ("", "note: the model knows no word of 1 question\n")) == (0, True)
        found: dict[str, Any] = json.loads(out)
        return found

    for threshold, verdict in ((0, True), (1, False)):
        other = said(PAIR[0], PAIR[0], "--threshold", threshold)
        assert (other["threshold"], other["is_duplicate"]) == (threshold, verdict)
    plain, rare = said(*PAIR), said(*PAIR, "--prior", 0.01)
    # 20 t − 10 + log(0.01 / 0.99) = 0 at t = (10 + 4.59512) / 20
    assert (plain["threshold"], rare["threshold"]) == (0.5, pytest.approx(0.729756))
    odds = plain["probability"] / (1 - plain["probability"]) / 99
    assert rare["probability"] == pytest.approx(odds / (1 + odds))
    assert rare["is_duplicate"] == (rare["similarity"] > rare["threshold"])
    # a threshold that is given stays, the probability is restated
    both = {**rare, "threshold": 0.25, "is_duplicate": rare["similarity"] > 0.25}
    assert said(*PAIR, "--prior", 0.01, "--threshold", 0.25) == both
    for words, message in (
        (("--threshold", "1.5"), "threshold 1.5: expected a number from 0 to 1"),
        (("--prior", 1), "prior 1.0: expected a share of duplicates between 0 and 1, such as 0.01"),
    ):
        assert command("predict", *PAIR, "--model", steep, *words) == (2, "", f"error: {message}\n")


def test_predict_of_odd_questions(command: Command, tiny_model: Path) -> None:
    for question in ("", "zzz", "駅はどこ 🚉", "a" * 100_000, "caf\udce9"):  # the last: bytes that are no UTF-8
        code, out, err = command("predict", question, PAIR[0], "--model", tiny_model, "--threshold", 0, "--json")
        assert (code, err in ("", "note: the model knows no word of 1 question\n")) == (0, True)
        assert (json.loads(out)["is_duplicate"], json.loads(out)["similarity"]) == (False, 0)
    assert command("predict", "--model", tiny_model, "--", "--what", "-is")[0] == 0


def test_predict_a_file(command: Command, steep: Path, tmp_path: Path) -> None:
    rows = [["How do I\nstart?", 'My "chain" skips, why?', "x"], ["a, b", "", "y"], [*PAIR, "z"]]
    path, out_path = write_csv(tmp_path / "pairs.csv", rows, "left,right,extra"), tmp_path / "scored.csv"
    words = ("predict", "--file", path, "--question1", "left", "--question2", "right", "--model", steep)
    model = SiameseModel.load(steep)
    for more in ({"threshold": 0.2}, {"prior": 0.01}, {"prior": 0.01, "threshold": 0.2}):
        given = [word for name, value in more.items() for word in (f"--{name}", value)]
        code, out, err = command(*words, *given, "--out", out_path)
        assert code == 0
        scored = read_csv(out_path)
        assert list(scored[0]) == ["left", "right", "extra", "similarity", "probability", "is_duplicate", "fault"]
        assert [[row["left"], row["right"], row["extra"]] for row in scored] == rows
        assert scored[1]["fault"] == "right is missing or empty" and scored[1]["is_duplicate"] == ""
        count = sum(row["is_duplicate"] == "1" for row in scored)
        assert out == f"2 pairs, {count} of them duplicates, written to {out_path}\n"
        # the faulty row, which begins on line 4 of the file since the first has two lines
        assert err == f"{path}: 1 of 3 rows without an answer\n  {path}, line 4: right is missing or empty\n"
        for row in scored[::2]:
            said = model.predict(row["left"], row["right"], **more)
            assert float(row["similarity"]) == pytest.approx(said.similarity, abs=1e-6)
            assert float(row["probability"]) == pytest.approx(said.probability, abs=1e-6)
            assert row["is_duplicate"] == str(int(said.is_duplicate))
        assert command(*words, *given)[:2] == (0, out_path.read_text(encoding="utf-8"))


def test_predict_takes_two_questions_or_a_file(command: Command, tiny_model: Path, small_file: Path) -> None:
    file = ["--file", small_file]
    for words in ([], ["one"], ["one", "two", "three"], ["one", "two", *file], [*file, "--json"]):
        code, out, err = command("predict", *words, "--model", tiny_model)
        assert (code, out) == (2, "")
        assert "predict takes two questions, or --file PATH" in err or "--json is for two questions" in err


def test_without_any_model_it_says_what_to_run(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_file: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("siamese.model.packaged.SHIPPED", tmp_path / "pretrained")
    for words in (["predict", *PAIR], ["predict", "--file", small_file], ["evaluate", "--data", small_file]):
        code, out, err = command(*words)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {tmp_path / 'pretrained'}: no trained model there")
        assert "`python run.py train`" in err


def evaluation(command: Command, *words: object) -> dict[str, Any]:
    code, out, err = command("evaluate", *words, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_evaluate_finds_the_training_file_by_itself(command: Command, tiny_model: Path, small_file: Path) -> None:
    found = evaluation(command, "--data", small_file, "--model", tiny_model)
    model, test = SiameseModel.load(tiny_model), read_pairs(small_file).part("test")
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
    assert found["baselines"]["majority"] == {"accuracy": pytest.approx(49 / 89)}  # 49 of 89 are no duplicates
    assert found["unseen_from"] == "the training pairs"
    unseen = found["unseen"]
    assert unseen.keys() == (METRICS | {"baselines", "duplicates"})
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
        assert part["baselines"].keys() == BASELINES
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
            assert line.split(f" {name} ")[1].split()[0] == f"{row['accuracy']:.3f}"
    errors = f"unseen {found['unseen']['calibration_error']:.3f}, all {found['calibration_error']:.3f}"
    assert lines[-2] == f"calibration error of the probability (15 bins): {errors}"
    assert lines[-1].startswith("unseen: neither question was trained on (the training pairs)")


@pytest.fixture()
def forgetful(tiny_model: Path, tmp_path: Path, seal: Callable[[Path], None]) -> Path:
    """Return the model without the record of its training file."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "forgetful"))
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del settings["facts"]["data"]
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    seal(folder)
    return folder


def test_evaluate_without_the_training_file(
    command: Command, forgetful: Path, tiny_model: Path, small_file: Path
) -> None:
    words = ("--data", small_file, "--model", forgetful)
    found = evaluation(command, *words)
    assert found["unseen"] is None
    assert found["unseen_from"].startswith("unknown: ") and "--trained-on" in found["unseen_from"]
    assert found["baselines"].keys() == BASELINES - {"look-up in training clusters"}
    assert found["baselines"]["tf-idf"]["accuracy"] is None  # nothing to choose its threshold on
    assert found["baselines"]["tf-idf"]["average_precision"] > 0
    last = command("evaluate", *words)[1].splitlines()[-1]
    assert last.startswith("unseen pairs (neither question trained on): unknown: no column 'unseen'")
    # with --trained-on, the results are those of the model that remembers
    told = evaluation(command, *words, "--trained-on", small_file, "--tune-on", small_file)
    assert told == evaluation(command, "--data", small_file, "--model", tiny_model)


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
    for goal in (None, "accuracy", "f1", "precision=0.2"):
        found = evaluation(command, *words, *(["--goal", goal] if goal else []))
        threshold = choose_threshold(tuning.labels, similarity, goal or "probability")
        assert found["calibration_error"] == pytest.approx(error)
        assert found["threshold"] == found["unseen"]["threshold"] == threshold
        assert found["precision"] == pytest.approx(precision_score(test.labels, tested > threshold, zero_division=0))
    code, out, err = command("evaluate", "--data", small_file, "--model", steep, "--goal", "f1")
    assert (code, out) == (2, "")
    assert "--goal needs --tune-on" in err


def test_a_threshold_is_never_chosen_on_scored_pairs(command: Command, tiny_model: Path, tmp_path: Path) -> None:
    pairs = write_csv(tmp_path / "pairs.csv", [[*PAIR, 1], ["how old", "how young", 0]])
    other = write_csv(tmp_path / "other.csv", [[PAIR[1], PAIR[0].upper(), 1], ["a b", "c d", 0]])
    code, out, err = command("evaluate", "--data", pairs, "--tune-on", other, "--model", tiny_model)
    assert (code, out) == (2, "")
    assert f"{other}: 1 of its pairs" in err


def test_evaluation_says_when_it_scores_training_pairs(
    command: Command, tiny_model: Path, small_file: Path, tmp_path: Path
) -> None:
    path = split_off(small_file, "train", tmp_path / "train.csv")
    count = len(read_csv(path))
    code, _, err = command("evaluate", "--data", path, "--model", tiny_model)
    assert code == 0
    assert f"note: {count} of the {count} pairs were used to train" in err


@pytest.mark.parametrize("label", [0, 1])
def test_pairs_of_one_label_can_be_scored(command: Command, tiny_model: Path, tmp_path: Path, label: int) -> None:
    path = write_csv(tmp_path / "pairs.csv", [[*PAIR, label], ["how old", "how young", label]])
    assert command("evaluate", "--data", path, "--model", tiny_model)[0] == 0
    code, out, _ = command("evaluate", "--data", path, "--model", tiny_model, "--json")
    assert code == 0 and "NaN" not in out
    found = json.loads(out)
    assert found["roc_auc"] is None  # there is no such number
    assert found["precision_at_recall"] == ({} if label == 0 else dict.fromkeys(["0.5", "0.8", "0.9", "0.95"], 1))


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_wrong_labels(command: Command, tiny_model: Path, tmp_path: Path, verb: str) -> None:
    rows = numbered(1_000)
    rows[500][2] = 2
    place = (
        ["--out", tmp_path / "m", "--epochs", 1, "--start-from", "none"] if verb == "train" else ["--model", tiny_model]
    )
    path = write_csv(tmp_path / "pairs.csv", rows)
    code, out, err = command(verb, "--data", path, *place)
    assert code == 0 and out
    fault = f"{path}: 1 of 1000 rows skipped\n  {path}, line 502: is_duplicate is '2', expected 0 or 1\n"
    assert err.startswith(fault)
    path = write_csv(tmp_path / "pairs.csv", [[*row[:2], 2] for row in rows])
    code, out, err = command(verb, "--data", path, *place)
    assert (code, out) == (2, "")
    assert f"{path}: 1000 of 1000 rows are faulty" in err
    reasons = [f"line {line}: is_duplicate is '2', expected 0 or 1" for line in range(2, 7)]
    assert err.splitlines()[1:] == ["  " + "; ".join(reasons)]  # the first five


def test_an_error_shows_its_traceback_only_when_asked(tmp_path: Path) -> None:
    line = ["run.py", "predict", "--file", tmp_path / "missing.csv", "--model", tmp_path]
    done = python(*line)
    assert (done.returncode, done.stdout) == (2, "")
    says = "no trained model there (no config.json); `python run.py train` makes one"
    assert done.stderr == f"error: {tmp_path}: {says}\n"
    done = python(*line, "--debug")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Traceback") and "ModelError: " in done.stderr


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


def test_help_of_train_shows_the_defaults_of_the_preset(command: Command) -> None:
    out = " ".join(command("train", "--help")[1].split())
    for name in ("loss", "margin", "labelled_weight", "learning_rate", "batch_size", "seed", "goal"):
        assert re.search(rf"--{name.replace('_', '-')} .*?\(default {getattr(Config, name)}\)", out), name


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_explained(name: str) -> None:
    loss, text = LOSSES[name], losses.explanation(LOSSES[name])
    assert len(text.splitlines()[2]) > 30  # what it is for
    assert all(part in text for part in (loss.formula, loss.needs, loss.source))
    config = recipe(text.partition("example:   python run.py ")[2].splitlines()[0])
    assert name in (config.loss, config.labelled)
    assert all(f"--{field.replace('_', '-')}" in text for field in loss.settings.values())


def test_a_start_loads_nothing_heavy(tiny_model: Path) -> None:
    done = python("-c", "import sys, siamese, siamese.cli; print(*{name.split('.')[0] for name in sys.modules})")
    assert done.returncode == 0, done.stderr
    assert not (HEAVY | {"numpy"}) & set(done.stdout.split())
    for words, says in ((("predict", *PAIR, "--model", tiny_model), "similarity"), (("losses", "mse"), "mse: ")):
        done = python("-X", "importtime", "run.py", *words)
        assert done.returncode == 0 and says in done.stdout
        loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
        assert "siamese" in loaded and not HEAVY & loaded


def test_public_names() -> None:
    done = python("-c", "from siamese import *; print(Pairs.__name__, TripletLoss.__name__, read_pairs.__name__)")
    assert done.stdout == "Pairs TripletLoss read_pairs\n"
    with pytest.raises(AttributeError, match="module 'siamese' has no attribute 'nothing'"):
        _ = siamese.nothing
