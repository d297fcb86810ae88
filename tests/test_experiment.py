"""Comparisons: scores of a model, running and recording of trainings, and the report."""

import dataclasses
import itertools
import json
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from files import read_csv
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from siamese.config import Config
from siamese.errors import DivergedError, UserError
from siamese.evaluation.evaluate import Setting, evaluate_in
from siamese.experiment import report
from siamese.experiment.comparison import UNFINISHED, Comparison, _key, compare
from siamese.experiment.records import FIELDS, RESULTS, TRAININGS, Record, Records
from siamese.experiment.scores import BINS, LEVELS, METRICS, RESAMPLES, measure, mining_average_precision
from siamese.experiment.statistics import MEASURES, contrasts
from siamese.experiment.variants import BASE, Question, Study, Variant, against_first, parse, parse_all
from siamese.experiment.verdicts import called_duplicates, constant
from siamese.model.model import SiameseModel
from siamese.pairs.clusters import Clusters
from siamese.pairs.pairs import Pairs, checksum
from siamese.pairs.splits import Datasets
from siamese.report import plots
from siamese.training import step
from siamese.training.checkpoints import CHECKPOINT
from siamese.training.train import train_model

TINY = BASE.replace(embedding=16, hidden=16, batch_size=32, epochs=2, learning_rate=0.02)
DIVERGES = "columns,learning_rate=1e40"  # more than a float32 holds
LOSSES = ("rows", "both", DIVERGES)
STUDY = against_first(LOSSES, TINY)
FIGURES = {"scores.png", "differences.png", "curves.png", "histograms.png", "time.png"}


@pytest.fixture()
def one_thread() -> Iterator[None]:
    """Use one thread, as training processes do, so that the same training gives the same bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# What is measured


def naive_mining(model: SiameseModel, pairs: Pairs, levels: int | None) -> float:
    """Return scikit-learn's average precision over all pairs of questions, with cosines rounded to 1/levels."""
    questions = list(dict.fromkeys([*pairs.question1, *pairs.question2]))
    wanted = {frozenset(pair) for *pair, label in zip(pairs.question1, pairs.question2, pairs.labels) if label == 1}
    cosines = model.encode(questions).astype(float) @ model.encode(questions).astype(float).T
    labels, scores = [], []
    for i, one in enumerate(questions):
        for j in range(i):
            labels.append(frozenset((one, questions[j])) in wanted)
            scores.append(round(cosines[i, j] * levels) if levels else cosines[i, j])
    return float(average_precision_score(labels, scores))


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> SiameseModel:
    return SiameseModel.load(tiny_model)


def test_mining_is_the_average_precision_of_every_two_questions(model: SiameseModel, parts: Datasets) -> None:
    for pairs in (parts.test, parts.training.take(np.arange(150))):
        found = mining_average_precision(model, pairs)
        assert 0.05 < found < 0.95  # neither extreme would tell much
        # A cosine may round to the neighbouring level, by the last bit of another order of adding up.
        assert found == pytest.approx(naive_mining(model, pairs, LEVELS), abs=2e-3)
        assert found == pytest.approx(naive_mining(model, pairs, None), abs=0.01)


@pytest.mark.ci
def test_mining_in_more_than_one_block(model: SiameseModel) -> None:
    """More than 1,024 questions; each third one is a duplicate of the next."""
    words = model.tokenizer.words[3:53]
    questions = [f"{a} {b}" for a in words for b in words[:30] if a != b]
    pairs = Pairs.of(questions, questions[1:] + questions[:1], [i % 3 == 0 for i in range(len(questions))])
    assert len(set(questions)) > 1_400
    expected = naive_mining(model, pairs, LEVELS)
    assert mining_average_precision(model, pairs) == pytest.approx(expected, rel=0.02)


def test_mining_by_hand(model: SiameseModel) -> None:
    # The same words in other letters have cosine 1. Four questions make 6 pairs; two of them, both with
    # cosine 1, are ranked first. If both are duplicates: 1. If only one is: found with precision 1/2.
    a, b = "what makes my bike chain skip", "how do i cook rice"
    first, second = [a, b, a], [a.upper(), b.upper(), b]
    assert mining_average_precision(model, Pairs.of(first, second, [1, 1, 0])) == 1
    assert mining_average_precision(model, Pairs.of(first, second, [1, 0, 0])) == 0.5
    # A question with itself is no pair of an archive; a pair named twice, or in both orders, is one.
    assert mining_average_precision(model, Pairs.of([*first, a, a.upper()], [*second, a, a], [1, 1, 0, 1, 1])) == 1
    assert math.isnan(mining_average_precision(model, Pairs.of([a, a], [b, a], [0, 1])))


@pytest.mark.slow
def test_mining_is_1_where_every_pair_is_a_duplicate(model: SiameseModel) -> None:
    """Whatever the cosines; a precision above 1 would come of rounding a pair to two levels."""
    random = np.random.default_rng(0)
    words = model.tokenizer.words[3:]
    for _ in range(600):
        texts = sorted({" ".join(random.choice(words, 3)) for _ in range(4)})
        pairs = list(itertools.combinations(texts, 2))
        assert mining_average_precision(model, Pairs.of(*zip(*pairs), [1] * len(pairs))) == pytest.approx(1, abs=1e-9)


def test_resamples_of_few_pairs_are_numbers(model: SiameseModel, parts: Datasets) -> None:
    """One drawing in three of a single duplicate and 89 others has no duplicate at all."""
    test = parts.test
    one = np.flatnonzero(test.labels == 1)[:1]
    few = test.take(np.concatenate((one, np.flatnonzero(test.labels == 0))))
    found = measure(model, few, np.ones(len(few), bool))["resamples"]
    assert 40 < found.count(None) < 100
    assert np.isfinite([value for value in found if value is not None]).all()


def test_scores_are_those_of_an_evaluation(model: SiameseModel, parts: Datasets) -> None:
    test = parts.test
    unseen = Clusters(parts.training).unseen(test)
    assert 0 < unseen.sum() < len(test)
    found = measure(model, test, unseen)
    expected = evaluate_in(Setting(model, test, parts.training, parts.validation)).to_dict()
    assert found["all"] == {name: expected[name] for name in METRICS}
    assert found["unseen"] == {name: expected["unseen"][name] for name in METRICS}
    similarity = model.similarity(test.question1, test.question2)
    assert found["all"]["roc_auc"] == pytest.approx(roc_auc_score(test.labels, similarity))
    assert found["unseen"]["average_precision"] == pytest.approx(
        average_precision_score(test.labels[unseen], similarity[unseen])
    )
    assert found["mining"] == mining_average_precision(model, test.take(unseen))


def test_histograms_count_the_unseen_pairs(model: SiameseModel, parts: Datasets) -> None:
    test = parts.test
    unseen = Clusters(parts.training).unseen(test)
    counts = np.array(measure(model, test, unseen)["histogram"])
    assert counts.shape == (2, len(BINS) - 1)
    assert counts.sum(1).tolist() == [int((unseen & (test.labels == label)).sum()) for label in (0, 1)]
    similarity = model.similarity(test.question1, test.question2)
    for label in (0, 1):
        scores = similarity[unseen & (test.labels == label)]
        naive = [sum(low <= s < high for s in scores) for low, high in itertools.pairwise(BINS)]
        naive[-1] += sum(s == 1 for s in scores)
        assert counts[label].tolist() == naive


def test_resamples_are_the_same_drawings_for_every_model(model: SiameseModel, parts: Datasets) -> None:
    test = parts.test
    everything = np.ones(len(test), bool)
    found = measure(model, test, everything)
    assert measure(model, test, everything) == found
    assert len(found["resamples"]) == RESAMPLES
    # About the score itself, and scattered.
    assert np.mean(found["resamples"]) == pytest.approx(found["all"]["average_precision"], abs=0.05)
    assert np.std(found["resamples"]) > 0.01
    stricter = dataclasses.replace(model, threshold=0.9)  # ranks alike
    assert measure(stricter, test, everything)["resamples"] == found["resamples"]
    random = np.random.default_rng(0)
    other = dataclasses.replace(
        model, weights={k: w + random.normal(0, 0.02, w.shape).astype(np.float32) for k, w in model.weights.items()}
    )
    resampled = measure(other, test, everything)["resamples"]
    assert resampled != found["resamples"]
    # What the drawing does to both is most of the scatter: it cancels in the difference.
    assert np.corrcoef(resampled, found["resamples"])[0, 1] > 0.8


# Trainings


@pytest.fixture(scope="module")
def finished(parts: Datasets, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """Run the trainings of `STUDY`, two at a time, each with two seeds."""
    out = tmp_path_factory.mktemp("comparison")
    return out, compare(STUDY, parts, 2, out, jobs=2)


def lines(out: Path) -> list[Record]:
    return [json.loads(line) for line in (out / TRAININGS).read_text("utf-8").splitlines()]


def timeless(record: Record) -> Record:
    """Return a record without times."""
    record = {name: value for name, value in record.items() if name != "seconds_an_epoch"}
    clock = ("seconds", "pairs_per_second")
    if "history" in record:
        record["history"] = [{k: v for k, v in epoch.items() if k not in clock} for epoch in record["history"]]
    return record


def by_name(records: Sequence[Record]) -> dict[tuple[str, int], Record]:
    found = {(r["variant"], r["config"]["seed"]): timeless(r) for r in records}
    assert len(found) == len(records)
    return found


@pytest.mark.slow
def test_every_training_has_a_record_and_a_row(finished: tuple[Path, Comparison], parts: Datasets) -> None:
    out, comparison = finished
    assert {path.name for path in out.iterdir()} == {TRAININGS, RESULTS}  # no checkpoint is left
    records = by_name(lines(out))
    assert set(records) == {(name, seed) for name in LOSSES for seed in (1, 2)}
    for (name, seed), record in records.items():
        assert record["config"] == asdict(parse(name, TINY).settings[0].replace(seed=seed))
        assert record["data"] == prints(parts)
    rows = read_csv(out / RESULTS)
    assert sorted((row["variant"], int(row["seed"])) for row in rows) == sorted(records)
    for row in rows:
        record = records[row["variant"], int(row["seed"])]
        assert {field: row[field] for field in FIELDS} == {field: str(record["config"][field]) for field in FIELDS}
        for part in ("all", "unseen"):
            for metric in METRICS:
                score = row[f"{part}_{metric}"]
                assert score == "" if "error" in record else float(score) == pytest.approx(record[part][metric], 1e-5)
        assert row["error"] == record.get("error", "")
        assert row["epoch"] == str(record.get("epoch", ""))
        assert (float(row["seconds_an_epoch"]) > 0) if not row["error"] else row["seconds_an_epoch"] == ""
    assert {name: len(found) for name, found in comparison.records.items()} == {"rows": 2, "both": 2, DIVERGES: 0}


@pytest.mark.slow
def test_a_record_says_what_the_training_gave(
    finished: tuple[Path, Comparison], parts: Datasets, one_thread: None
) -> None:
    (record,) = (r for r in finished[1].records["both"] if r["config"]["seed"] == 2)
    model = train_model(parse("both", TINY).settings[0].replace(seed=2), parts.training, parts.validation)
    history = model.facts["history"]
    precision = [epoch["average_precision"] for epoch in history]
    assert [epoch["average_precision"] for epoch in record["history"]] == pytest.approx(precision, abs=1e-6)
    assert record["epoch"] == 1 + precision.index(max(precision))
    assert record["validation"] == pytest.approx(max(precision), abs=1e-6)
    assert record["threshold"] == pytest.approx(model.threshold, abs=1e-6)
    expected = measure(model, parts.test, Clusters(parts.training).unseen(parts.test))
    for part in ("all", "unseen"):
        assert record[part] == pytest.approx(expected[part], abs=1e-6)
    assert record["mining"] == pytest.approx(expected["mining"], abs=1e-6)
    assert record["seconds_an_epoch"] == pytest.approx(np.median([epoch["seconds"] for epoch in record["history"]]))


@pytest.mark.slow
def test_a_training_that_diverges_is_a_result(finished: tuple[Path, Comparison]) -> None:
    _, comparison = finished
    assert [r["variant"] for r in comparison.failed] == [DIVERGES, DIVERGES]
    for record in comparison.failed:
        assert re.fullmatch(
            r"step \d+: the loss is nan at a learning rate of \S+; try a lower --learning-rate", record["error"]
        )
        assert "all" not in record


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_vectors_that_are_no_numbers_are_a_divergence_too(model: SiameseModel, parts: Datasets) -> None:
    """Weights of 1e38 are finite, but encoding a question overflows."""
    wild = dataclasses.replace(model, weights={k: np.full_like(w, 1e38) for k, w in model.weights.items()})
    with pytest.raises(DivergedError, match="vectors are not finite; try a lower learning rate"):
        measure(wild, parts.test, np.ones(89, bool))


@pytest.mark.slow
def test_done_is_done(finished: tuple[Path, Comparison], parts: Datasets) -> None:
    out, comparison = finished
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}
    again = compare(STUDY, parts, 2, out, jobs=2)
    assert again == comparison
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()} == before
    fewer = compare(STUDY, parts, 1, out, jobs=1)
    assert {name: [r["config"]["seed"] for r in found] for name, found in fewer.records.items()} == {
        "rows": [1], "both": [1], DIVERGES: [],
    }  # fmt: skip


@pytest.mark.ci
def test_how_many_at_a_time_changes_nothing(finished: tuple[Path, Comparison], parts: Datasets, tmp_path: Path) -> None:
    """One at a time in one process gives the same bits as two at a time in two."""
    alone = by_name(run_lines(parts, ("both", "rows"), 2, tmp_path, jobs=1))
    together = by_name(lines(finished[0]))
    assert len(alone) == 4
    assert alone == {name: together[name] for name in alone}


def run_lines(parts: Datasets, losses: Sequence[str], seeds: int, out: Path, jobs: int) -> list[Record]:
    compare(against_first(losses, TINY), parts, seeds, out, jobs)
    return lines(out)


@pytest.mark.ci
@pytest.mark.slow
def test_the_seed_decides_weights_and_batches(parts: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variant begins with the same weights and meets the same duplicates in the same order."""
    met: list[tuple[dict[str, torch.Tensor], Any]] = []
    encode = step.encode_batch

    def watched(tower: torch.nn.Module, config: Config, batch: Any, pad_id: int) -> torch.Tensor:
        met.append(({name: w.detach().clone() for name, w in tower.state_dict().items()}, batch))
        return encode(tower, config, batch, pad_id)  # type: ignore[arg-type]

    monkeypatch.setattr(step, "encode_batch", watched)

    def seen(text: str, seed: int) -> tuple[dict[str, torch.Tensor], list[list[frozenset[tuple[int, ...]]]], list[Any]]:
        """Return the initial weights, and the pairs of each batch, without and with their sides."""
        met.clear()
        config = parse(text, TINY).settings[0].replace(seed=seed, epochs=2)
        train_model(config, parts.training, parts.validation)
        sides = [list(zip(texts(batch.b1), texts(batch.b2))) for _, batch in met]
        return met[0][0], [[frozenset(pair) for pair in batch] for batch in sides], sides

    def texts(tokens: Any) -> list[tuple[int, ...]]:
        ends = np.cumsum(tokens.lengths)
        return [tuple(tokens.ids[end - n : end].tolist()) for end, n in zip(ends, tokens.lengths)]

    weights, pairs, sides = seen("rows", 1)
    assert len(sides) == 14  # 210 duplicates by 32, twice
    assert sides[:7] != sides[7:]
    for text in ("both", "pooled,closest=semi-hard", "matrix-bce+logistic", "mse", "rows,leave_out_known=false"):
        other_weights, _, other_sides = seen(text, 1)
        assert all(torch.equal(weights[name], other_weights[name]) for name in weights), text
        assert other_sides == sides, text
    swapped_weights, swapped, swapped_sides = seen("rows,swap=true", 1)
    assert all(torch.equal(weights[name], swapped_weights[name]) for name in weights)
    assert swapped == pairs and swapped_sides != sides
    _, _, halves = seen("rows,batch_size=16", 1)
    assert [halves[i] + halves[i + 1] for i in range(0, 14, 2)] == sides[:7]
    other_weights, _, other_sides = seen("rows", 2)
    assert not torch.equal(weights["embedding.weight"], other_weights["embedding.weight"])
    assert other_sides != sides


# Records


def record_of(name: str, config: Config, score: float = 0.7, **more: Any) -> Record:
    """Make a record as a training would. `score` is the unseen average precision; the other scores rise with it."""
    history = [
        {"epoch": e + 1, "step": 7 * (e + 1), "loss": 0.5 / (e + 1), "seconds": 2.0, "pairs_per_second": 100.0,
         "average_precision": score - 0.05 * (2 - e), "roc_auc": 0.8, "accuracy": 0.7, "threshold": 0.6}
        for e in range(3)
    ]  # fmt: skip
    unseen = dict(zip(METRICS, (score, score + 0.05, 0.3 + score / 8, 0.2 + score / 8)))
    every = dict(zip(METRICS, (score - 0.1, score + 0.1, 0.4 + score / 4, 0.3 + score / 2)))
    made = {
        "variant": name, "config": asdict(config), "epoch": 3, "validation": score, "threshold": 0.6,
        "seconds_an_epoch": 2.0, "history": history, "all": every, "unseen": unseen, "mining": score / 2,
        "histogram": [[5] * 80, [3] * 80], "resamples": [score + 0.001 * (i % 7) for i in range(RESAMPLES)],
    }  # fmt: skip
    return made | more


def failed_record(name: str, config: Config) -> Record:
    return {"variant": name, "config": asdict(config), "error": "step 3: the loss is inf; try a lower --learning-rate"}


def prints(parts: Datasets) -> dict[str, str]:
    """Return the checksums that a record keeps of its pairs."""
    return {name: checksum(getattr(parts, name)) for name in ("training", "validation", "test")}


def write_records(out: Path, parts: Datasets, records: Sequence[Record]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / TRAININGS).write_text("".join(json.dumps(r | {"data": prints(parts)}) + "\n" for r in records), "utf-8")


def seeded(name: str, seeds: int, base: Config = TINY, **more: Any) -> list[Record]:
    setting = parse(name, base).settings[0]
    return [record_of(name, setting.replace(seed=seed), **more) for seed in range(1, seeds + 1)]


@pytest.mark.slow
def test_settings_are_chosen_on_the_validation_pairs_alone(parts: Datasets, tmp_path: Path) -> None:
    losses = ("rows", "both,margin=0.1/0.25/0.5/0.75")
    variants = parse_all(losses, TINY)
    settings = variants[1].settings
    # The test scores run against the validation scores; the last setting fails.
    validation, test = (0.60, 0.64, 0.62), (0.9, 0.5, 0.7)
    tried = [
        record_of("both", setting.replace(seed=1), score=after, validation=before)
        for setting, before, after in zip(settings, validation, test)
    ]
    tried.append(failed_record("both", settings[3].replace(seed=1)))
    second = record_of("both", settings[1].replace(seed=2), score=0.5)
    write_records(tmp_path, parts, [*seeded("rows", 2), *tried[::-1], second])
    before = (tmp_path / TRAININGS).read_bytes()
    comparison = compare(against_first(losses, TINY), parts, 2, tmp_path, jobs=1)
    assert (tmp_path / TRAININGS).read_bytes() == before  # all was there, none was trained
    assert [r["config"]["margin"] for r in comparison.records["both"]] == [0.25, 0.25]
    assert [r["config"]["seed"] for r in comparison.records["both"]] == [1, 2]
    assert [r["config"]["margin"] for r in comparison.tried] == [0.1, 0.25, 0.5, 0.75]
    said = report_of(comparison, parts, tmp_path).splitlines()
    assert [line for line in said if line.startswith("| `both` | margin")] == [
        "| `both` | margin 0.1 | 60.00 |  |",
        "| `both` | margin 0.25 | 64.00 | taken |",
        "| `both` | margin 0.5 | 62.00 |  |",
        "| `both` | margin 0.75 | failed |  |",
    ]


def test_where_every_setting_fails_so_does_the_variant(parts: Datasets, tmp_path: Path) -> None:
    losses = ("rows", "both,margin=0.1/0.25")
    variants = parse_all(losses, TINY)
    failed = [failed_record("both", setting.replace(seed=1)) for setting in variants[1].settings]
    write_records(tmp_path, parts, [*seeded("rows", 1), *failed])
    comparison = compare(against_first(losses, TINY), parts, 1, tmp_path, jobs=1)
    assert (comparison.records["both"], len(comparison.failed), len(comparison.tried)) == ([], 1, 2)


def test_a_field_that_came_later_had_its_default(parts: Datasets, tmp_path: Path) -> None:
    """Records written before a field existed are those of its default, and of no other value."""
    records = [*seeded("rows", 1), *seeded("both", 1)]
    for record in records:
        for field in ("labelled_margin", "temperature", "precision"):
            del record["config"][field]
    write_records(tmp_path, parts, records)
    before = (tmp_path / TRAININGS).read_bytes()
    comparison = compare(against_first(("rows", "both"), TINY), parts, 1, tmp_path, jobs=1)
    assert (tmp_path / TRAININGS).read_bytes() == before
    assert [len(found) for found in comparison.records.values()] == [1, 1]
    kept = Records(tmp_path, lines(tmp_path)[0]["data"])
    assert kept.find(parse("rows", TINY).settings[0]) == kept.all[0]
    for change in ({"temperature": 0.1}, {"precision": "bfloat16"}, {"seed": 2}, {"margin": 0.5}):
        assert kept.find(parse("rows", TINY).settings[0].replace(**change)) is None


def test_what_is_added_is_read_again(tmp_path: Path) -> None:
    (one,), (other,) = seeded("rows", 1), seeded("both,batch_size=64", 1)
    records = Records(tmp_path, {"test": "abc"})
    records.add(one)
    records.add(other)
    records.add(failed_record("columns", TINY))
    again = Records(tmp_path, {"test": "abc"})
    assert again.all == records.all == lines(tmp_path)
    assert again.find(parse("both,batch_size=64", TINY).settings[0]) == other | {"data": {"test": "abc"}}
    results = read_csv(tmp_path / RESULTS)
    assert [(row["variant"], row["unseen_average_precision"], row["mining"]) for row in results] == [
        ("rows", "0.700000", "0.350000"), ("both,batch_size=64", "0.700000", "0.350000"), ("columns", "", ""),
    ]  # fmt: skip


@pytest.mark.parametrize("part", ["training", "validation", "test"])
def test_records_of_other_data_are_refused(parts: Datasets, tmp_path: Path, part: str) -> None:
    write_records(tmp_path, parts, seeded("rows", 1))
    pairs = getattr(parts, part)
    changed = dataclasses.replace(parts, **{part: pairs.take(np.arange(1, len(pairs)))})
    with pytest.raises(UserError) as refused:
        compare(STUDY, changed, 1, tmp_path, jobs=1)
    said = str(refused.value)
    assert said == f"{tmp_path / TRAININGS}: belongs to other {part} pairs; choose another --out"


@pytest.mark.parametrize(
    "line",
    [
        '{"variant": "rows", "conf',  # cut off
        "[1, 2]",
        "null",
        '{"variant": "rows"}',
        '{"variant": "rows", "data": {"training": "1"}}',
        '{"variant": "rows", "data": {"training": "1", "validation": "2", "test": "3"}}',  # no recipe
        "\udcff\udcfe",  # bytes that are no text
        "",
    ],
)
def test_a_damaged_record_is_named(parts: Datasets, tmp_path: Path, line: str) -> None:
    write_records(tmp_path, parts, seeded("rows", 2))
    with open(tmp_path / TRAININGS, "a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(line + "\n")
    before = (tmp_path / TRAININGS).read_bytes()
    with pytest.raises(UserError) as refused:
        compare(STUDY, parts, 1, tmp_path, jobs=1)
    assert str(refused.value).startswith(f"{tmp_path / TRAININGS}, line 3: not a record of a training (")
    assert "\n" not in str(refused.value)
    assert (tmp_path / TRAININGS).read_bytes() == before


def test_results_are_made_again_where_they_are_gone(parts: Datasets, tmp_path: Path) -> None:
    """A crash between the two files leaves the last training out of results.csv."""
    write_records(tmp_path, parts, [*seeded("rows", 1), *seeded("both", 1)])
    compare(against_first(("rows", "both"), TINY), parts, 1, tmp_path, jobs=1)
    assert [row["variant"] for row in read_csv(tmp_path / RESULTS)] == ["rows", "both"]


def test_the_checkpoint_of_a_finished_training_goes(parts: Datasets, tmp_path: Path) -> None:
    """A crash between a record and the removal of its checkpoint leaves that behind."""
    write_records(tmp_path, parts, [*seeded("rows", 1), *seeded("both", 1)])
    left = tmp_path / UNFINISHED / _key(parse("both", TINY).settings[0], prints(parts))
    left.mkdir(parents=True)
    (left / CHECKPOINT).write_bytes(b"")
    compare(against_first(("rows", "both"), TINY), parts, 1, tmp_path, jobs=1)
    assert not left.exists()


def test_without_test_pairs_nothing_begins(parts: Datasets, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no test pairs to score: give them with --test PATH"):
        compare(STUDY, dataclasses.replace(parts, test=None), 1, tmp_path / "out", jobs=1)
    with pytest.raises(UserError, match="0 of the 50 test pairs have two questions that were not trained on"):
        seen = dataclasses.replace(parts, test=parts.training.take(np.arange(50)))
        compare(STUDY, seen, 1, tmp_path / "out", jobs=1)
    test = parts.test
    alike = test.take(test.labels == 1)  # no non-duplicate among them
    with pytest.raises(UserError, match="needs duplicates and non-duplicates among these"):
        compare(STUDY, dataclasses.replace(parts, test=alike), 1, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()


# The report


def comparison(
    scores: dict[str, Sequence[float]], study: Study | None = None, failed: Sequence[Record] = (), **more: Any
) -> Comparison:
    """Make a comparison from the scores of each variant's seeds, from 1."""
    names = list(scores)
    variants: list[Variant] = parse_all(names, TINY)
    records = {
        variant.name: [
            record_of(variant.name, variant.settings[0].replace(seed=seed), score=score, **more)
            for seed, score in enumerate(scores[variant.name], 1)
        ]
        for variant in variants
    }
    study = study or against_first(names, TINY)
    return Comparison(study, variants, records, list(failed), [])


def report_of(made: Comparison, parts: Datasets, out: Path) -> str:
    """Write the report and return its text."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report.write(made, parts, out, "python run.py compare --losses rows both")
    return (out / report.REPORT).read_text("utf-8")


def around(mean: float, spread: float, n: int = 8) -> list[float]:
    return [mean + spread * (-1) ** i for i in range(n)]


REFERENCE = [0.70, 0.71, 0.72, 0.70, 0.71, 0.72, 0.70, 0.71]


def beside(mean: float, spread: float) -> list[float]:
    """Return scores that differ from REFERENCE by `mean`, half of them by `spread` more and half less."""
    return [r + d for r, d in zip(REFERENCE, around(mean, spread))]


SCORES = {
    "rows": REFERENCE,
    "both": beside(0.02, 0.002),
    "columns": beside(0.0, 0.0005),
    "pooled": beside(-0.03, 0.002),
    "rows,swap=true": beside(0.002, 0.0002),
    "rows,batch_size=64": beside(0.0, 0.03),
}


@pytest.mark.slow
def test_scores_by_the_number_of_training_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "by_size", lambda *what: drawn.append(what))
    made = comparison({
        "both": [0.8, 0.9], "both,training_pairs=100": [0.5, 0.6], "rows,training_pairs=100": [0.4, 0.4],
    })  # fmt: skip
    assert report.draw_sizes(made, list(made.records), 1_000, tmp_path)
    ((sizes, panels, path),) = drawn
    assert (sizes, path) == ([100, 1_000], tmp_path / "sizes.png")
    curves = panels["unseen average precision"]
    assert list(curves) == ["both", "rows"]
    assert curves["both"][0] == pytest.approx([0.55, 0.85])
    # two seeds 0.1 apart: t(0.975, 1) · s / √2 = 12.706 · 0.0707 / 1.414 = 0.635
    assert curves["both"][1] == pytest.approx([0.55 - 0.635, 0.85 - 0.635], abs=1e-3)
    assert curves["rows"][0] == pytest.approx([0.4, np.nan], nan_ok=True)
    monkeypatch.undo()
    assert report.draw_sizes(made, list(made.records), 1_000, tmp_path)
    assert (tmp_path / "sizes.png").read_bytes().startswith(b"\x89PNG")
    assert not report.draw_sizes(made, ["both"], 1_000, tmp_path)


@pytest.fixture(scope="module")
def written(parts: Datasets, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Write a report with one variant for each verdict and a failed training."""
    out = tmp_path_factory.mktemp("report") / "my report"
    out.mkdir()
    failed = [failed_record("pooled", parse("pooled", TINY).settings[0].replace(seed=9))]
    return out, report_of(comparison(SCORES, failed=failed), parts, out)


def sentences(text: str) -> dict[str, str]:
    """Return the conclusion's line on each contrast, by its first variant."""
    found = re.findall(r"^  - ((?:Primary contrast: )?`([^`]+)` against `[^`]+`: .*)$", text, re.MULTILINE)
    return {name: line for line, name in found}


@pytest.mark.slow
def test_the_conclusion_says_each_verdict(written: tuple[Path, str]) -> None:
    said = sentences(written[1])
    verdicts = {name: re.findall(r"\*\*(.+?)\*\*", line) for name, line in said.items()}
    assert verdicts == {
        "both": ["higher"],
        "columns": ["equal within half a point"],
        "pooled": ["lower"],
        "rows,swap=true": ["higher, by less than half a point"],
        "rows,batch_size=64": ["no difference shown"],
    }
    # ± 0.002 over 8 seeds: standard deviation 0.002·√(8/7) = 0.0021381, error 0.00075593, t 2.364624: 0.18 points.
    # Mining scores go up half as much and the accuracy of all pairs a quarter: 0.089 and 0.045.
    assert said["both"] == (
        "Primary contrast: `both` against `rows`: **higher** (+2.00 ± 0.18 points of unseen average precision, "
        "p < 0.001; accuracy +0.50 ± 0.04, mining +1.00 ± 0.09)"
    )
    assert "(-3.00 ± 0.18 points of unseen average precision, corrected p < 0.001;" in said["pooled"]


@pytest.mark.slow
def test_the_primary_contrast_alone_is_marked_and_left_out_of_holm(written: tuple[Path, str]) -> None:
    text = written[1]
    assert [name for name, line in sentences(text).items() if line.startswith("Primary contrast: ")] == ["both"]
    table = [line for line in text.splitlines() if " against " in line and line.startswith("| ")]
    assert [line.split(" | ")[0] for line in table if "(primary)" in line] == ["| `both` against `rows` (primary)"]
    found = {c.one: c for several in contrasts(comparison(SCORES)).values() for c in several}
    rest = {name: c.main.p for name, c in found.items() if name != "both"}
    assert math.isnan(found["both"].main.holm)
    smallest = min(rest, key=lambda name: rest[name])
    assert found[smallest].main.holm == pytest.approx(4 * rest[smallest])  # four, not five
    assert found["rows,batch_size=64"].main.holm == 1
    for measure_name in MEASURES:
        assert math.isnan(found["both"].by[measure_name].holm)
        assert not math.isnan(found["pooled"].by[measure_name].holm)


def test_holm_can_take_a_verdict_away() -> None:
    # t = √7 = 2.646 with 7 degrees of freedom, p = 0.033: shown as the primary contrast, and not as one of two others.
    doubtful, noise = beside(0.02, 0.02), beside(0.0, 0.05)
    alone = report.conclusion(comparison({"rows": REFERENCE, "both": doubtful, "columns": noise}))
    among = report.conclusion(comparison({"rows": REFERENCE, "pooled": noise, "both": doubtful, "columns": noise}))
    assert "**higher**" in sentences(alone)["both"] and "p 0.033;" in sentences(alone)["both"]
    assert "**no difference shown**" in sentences(among)["both"] and "corrected p 0.066;" in sentences(among)["both"]


def test_contrasts_pair_the_seeds(parts: Datasets) -> None:
    """A variant that lost a seed is compared over the others, each with its own."""
    made = comparison({"rows": [0.1, 0.2, 0.4, 0.8], "both": [0.11, 0.22, 0.43, 0.84]})
    made.records["both"].pop(1)
    (found,) = contrasts(made)["Is another better than rows?"]
    assert found.main.n == 3
    assert found.main.interval.mean == pytest.approx((0.01 + 0.03 + 0.04) / 3)


def test_every_question_of_a_study_is_answered() -> None:
    study = Study(
        ("rows", "both", "columns"),
        (Question("Does this help?", (("both", "rows"),)), Question("And that?", (("columns", "both"),))),
    )
    made = comparison({"rows": REFERENCE, "both": beside(0.02, 0.002), "columns": beside(-0.01, 0.001)}, study)
    said = report.conclusion(made).splitlines()
    assert [line for line in said if line.startswith("- ")] == ["- Does this help?", "- And that?"]
    assert said[1].startswith("  - Primary contrast: `both` against `rows`: **higher** (+2.00")
    assert said[3].startswith("  - `columns` against `both`: **lower** (-3.00")


@pytest.mark.slow
def test_which_serves_what(written: tuple[Path, str]) -> None:
    text = written[1]
    for purpose in ("a verdict on a pair", "ranking pairs", "mining an archive"):
        (line,) = (line for line in text.splitlines() if line.startswith(f"- {purpose}"))
        assert ": `both`, " in line
        # Its differences to `both` scatter by 3 points about −2, so it is not shown to be worse; all others are.
        assert line.endswith("not shown to be worse: `rows,batch_size=64`")


@pytest.mark.slow
def test_the_tables_have_every_variant(written: tuple[Path, str]) -> None:
    text = written[1]
    # 0.70 · 3 + 0.71 · 3 + 0.72 · 2 = 5.67, by 8: 70.875; squares about it: 3 · 0.875² + 3 · 0.125² + 2 · 1.125²
    # = 4.875, by 7: 0.69643, root 0.83452, by √8: 0.29505, by 2.364624: 0.70.
    for part, scores in (
        ("unseen", ["70.87", "75.87", "38.86", "28.86", "35.44"]),
        ("all", ["60.87", "80.87", "57.72", "65.44"]),
    ):
        (row,) = re.findall(rf"^\| {part} test pairs .*\n.*\n(\| `rows` .*)$", text, re.MULTILINE)
        name, seeds, *cells = row.strip("| ").split(" | ")
        assert (name, seeds) == ("`rows`", "8")
        # 0.3 + 0.70875/8 = 0.38859, 0.4 + 0.70875/4 = 0.57719, and so on
        assert [float(cell.split(" ± ")[0]) for cell in cells] == pytest.approx([float(s) for s in scores], abs=0.011)
        assert cells[0].endswith(" ± 0.70")
    for name in SCORES:
        assert text.count(f"\n| `{name}` |") == 3  # unseen, all, time


@pytest.mark.slow
def test_time_is_compared_seed_by_seed(parts: Datasets, tmp_path: Path) -> None:
    made = comparison({"rows": [0.5] * 3, "both": [0.5] * 3})
    for record, seconds in zip(made.records["both"], (2.0, 3.0, 8.0)):
        record["seconds_an_epoch"] = seconds
    for record, seconds in zip(made.records["rows"], (2.0, 2.0, 4.0)):
        record["seconds_an_epoch"] = seconds
    assert "| `both` | 3.0 | 1.50 |" in report_of(made, parts, tmp_path)  # medians of 2, 3, 8 and of 1, 1.5, 2


@pytest.mark.slow
def test_the_resampled_difference(written: tuple[Path, str], parts: Datasets, tmp_path: Path) -> None:
    # Every resample of `both` is above that of `rows` by the difference of their means, 2 points.
    assert "the primary difference would lie between +2.00 and +2.00 points 95 times in a hundred" in written[1]
    made = comparison({"rows": [0.5, 0.9], "both": [0.6, 0.6]})
    made.records["both"].pop()  # of seed 1 both are there, and differ by 10 points
    assert "between +10.00 and +10.00 points" in report_of(made, parts, tmp_path)


@pytest.mark.ci
@pytest.mark.slow
def test_what_a_person_wrote_above_stays(parts: Datasets, tmp_path: Path) -> None:
    made = comparison({"rows": REFERENCE, "both": beside(0.02, 0.002)})
    first = report_of(made, parts, tmp_path)
    assert first.startswith(f"# Is another better than rows?\n\n{report.COMPUTED}\n")
    by_hand = "# My question\n\nWhat a person thinks – of it.\n\n"
    (tmp_path / report.REPORT).write_text(by_hand + first[first.index(report.COMPUTED) :] + "old\n", "utf-8")
    assert report_of(made, parts, tmp_path) == by_hand + first[first.index(report.COMPUTED) :]
    (tmp_path / report.REPORT).write_text("# Another program's\n", "utf-8")
    assert report_of(made, parts, tmp_path) == first


@pytest.mark.slow
def test_the_report_states_the_base_and_not_a_variant(parts: Datasets, tmp_path: Path) -> None:
    base = TINY.replace(labelled_weight=3.0, patience=5, teacher="some-encoder", teacher_weight=9.0)
    losses = ("both+logistic,margin=0.1/0.5,epochs=9", "rows,learning_rate=0.5")
    study = against_first(losses, base)
    variants = parse_all(losses, base)
    records = {v.name: [record_of(v.name, v.settings[0])] for v in variants}
    text = report_of(Comparison(study, variants, records, [], []), parts, tmp_path)
    (equal,) = (line for line in text.splitlines() if line.startswith("Equal for all"))
    for said in (
        "margin 0.25,",
        "2 epochs of which the best",
        "5 epochs without a better",
        "adam at 0.02 (",
        "a labelled loss beside another counts 3 times",
        "9 × distance from the vectors of some-encoder",
    ):
        assert said in equal


@pytest.mark.slow
def test_failures_are_listed(written: tuple[Path, str]) -> None:
    assert "## Trainings that failed\n\n- `pooled`, seed 9: step 3: the loss is inf; try a lower" in written[1]


@pytest.mark.slow
def test_the_report_stands_by_itself(written: tuple[Path, str]) -> None:
    out, text = written
    assert "```bash\npython run.py compare --losses rows both\n```" in text
    for place in (str(out), str(Path.cwd()), str(Path.home()), "/tmp/"):
        assert place not in text
    linked = set(re.findall(r"\]\(([^)]+)\)", text))
    assert linked == FIGURES | {RESULTS, TRAININGS}
    assert {path.name for path in out.iterdir()} == FIGURES | {"report.md"}
    for name in FIGURES:
        content = (out / name).read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) > 5_000
    assert "nan" not in re.sub(r"`[^`]*`", "", text)
    assert "\n\n\n" not in text


@pytest.mark.slow
def test_one_seed_has_no_interval_and_shows_nothing(parts: Datasets, tmp_path: Path) -> None:
    made = comparison({"rows": [0.5], "both": [0.9], "columns": [0.5]})
    text = report_of(made, parts, tmp_path)
    assert {line.split("**")[1] for line in sentences(text).values()} == {"no difference shown"}
    tables = [line for line in text.splitlines() if line.startswith(("| `", "  - "))]
    assert not any("±" in line or "nan" in line for line in tables)
    assert "(+40.00 points of unseen average precision, p 1.000;" in sentences(text)["both"]
    assert {path.name for path in tmp_path.glob("*.png")} == FIGURES


@pytest.mark.slow
def test_the_report_of_real_trainings(finished: tuple[Path, Comparison], parts: Datasets, tmp_path: Path) -> None:
    text = report_of(finished[1], parts, tmp_path)
    assert set(sentences(text)) == {"both"}  # what failed has no scores
    for seed in (1, 2):
        assert f"- `{DIVERGES}`, seed {seed}: step " in text
    assert f"Trained on {len(parts.training)} pairs ({parts.training.duplicates} duplicates)" in text
    assert "2 epochs of which the best" in text


@pytest.mark.parametrize("said", [0, 1, 40, 99, 100])
def test_verdicts_are_counted_from_f1_and_accuracy(said: int) -> None:
    labels = np.arange(100) < 42
    called = np.random.default_rng(said).permutation(100) < said
    found = called_duplicates(f1_score(labels, called, zero_division=0), (labels == called).mean(), 100, 42)
    assert found == said


def test_a_variant_that_calls_everything_the_same_is_named(parts: Datasets, tmp_path: Path) -> None:
    assert parts.test is not None
    pairs, duplicates = len(parts.test), parts.test.duplicates
    share = duplicates / pairs
    made = comparison({"rows": [0.5, 0.6], "both": [0.6, 0.7], "columns": [0.6, 0.7]})
    learned = {"f1": 0.7, "accuracy": 0.75}
    never, always = {"f1": 0.0, "accuracy": 1 - share}, {"f1": 2 * share / (1 + share), "accuracy": share}
    for name, scores in (("rows", [never, never]), ("both", [learned, always]), ("columns", [learned, learned])):
        for record, values in zip(made.records[name], scores):
            record["all"] |= values
    one, other = constant(made, parts.test)
    assert one.startswith("`rows` calls nearly all test pairs not duplicates, with 2 of 2 seeds")
    assert other.startswith("`both` calls nearly all test pairs duplicates, with 1 of 2 seeds")
    assert f"\n- {one}\n- {other}\n" in report_of(made, parts, tmp_path)


@pytest.mark.slow
def test_a_report_without_the_reference(parts: Datasets, tmp_path: Path) -> None:
    """If every training of the reference failed, the report says that there is nothing to compare."""
    made = comparison({"rows": [], "both": [0.6, 0.7]}, failed=[failed_record("rows", TINY)])
    text = report_of(made, parts, tmp_path)
    assert "`rows`, seed 1: step 3" in text
    assert set(re.findall(r"\]\(([^)]+\.png)\)", text)) == {path.name for path in tmp_path.glob("*.png")}


@pytest.mark.slow
def test_failures_alone_are_an_error(parts: Datasets, tmp_path: Path) -> None:
    losses = (DIVERGES, "rows,learning_rate=1e40")
    with pytest.raises(UserError, match="every training failed, such as columns,learning_rate=1e40: step 2: the loss"):
        compare(against_first(losses, TINY), parts, 1, tmp_path, jobs=1)
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 3
