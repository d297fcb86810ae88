"""Files of version 0.1.0 still open: model folders, an archive, a checkpoint, and a pickled classifier.

The files beside this one were written by the last commit of 0.1.0, with a model of 8 dimensions.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import python

from siamese import SiameseModel
from siamese.archive.store import Archive
from siamese.config import Config
from siamese.errors import UserError
from siamese.evaluation.thresholds import choose_threshold
from siamese.pairs import splits
from siamese.pairs.clusters import pair_keys
from siamese.pairs.reading import read_pairs
from siamese.pairs.splits import Source
from siamese.training.train import train_model

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text("utf-8"))
RECIPE = Config(embedding=8, hidden=8, buckets=16, min_count=1, epochs=2, batch_size=8)
QUESTION1, QUESTION2 = "How do I mend part 0?", "How can part 0 be mended?"


@pytest.mark.parametrize("version", ["format-2", "format-3"])
def test_a_model_folder(version: str) -> None:
    model = SiameseModel.load(HERE / version)
    assert model.threshold == EXPECTED["threshold"]
    assert model.predict(QUESTION1, QUESTION2).similarity == pytest.approx(EXPECTED["similarity"], abs=1e-6)


@pytest.mark.parametrize("name", ["archive", "archive-format-2"])  # the second was written before payloads came
def test_an_archive(tmp_path: Path, name: str) -> None:
    shutil.copytree(HERE / name, tmp_path / "archive")
    with Archive.open(tmp_path / "archive", SiameseModel.load(HERE / "format-3")) as archive:
        (hit,) = archive.search(["How can part 3 be mended?"], k=1)[0]
        assert (hit.id, hit.payload, archive.info()["format"]) == ("c", {}, 1 if name == "archive" else 2)
        with archive._database.reading():
            assert archive._database.rows_where({}).tolist() == [0, 1, 2]
        archive.copy(tmp_path / "copy")
        assert archive.add(["How do I mend part 9?"], ["d"], [{"product": "part 9"}]) == ["d"]
        assert archive.search(["How do I mend part 9?"], k=1)[0][0].payload == {"product": "part 9"}
        assert archive.get("c") == hit.question
    for folder, count in (("archive", 4), ("copy", 3)):
        with Archive.open(tmp_path / folder, SiameseModel.load(HERE / "format-3")) as archive:
            assert (archive.info()["format"], len(archive)) == (3, count)


@pytest.mark.slow
def test_a_checkpoint(tmp_path: Path) -> None:
    rows = ["question1,question2,is_duplicate"]
    for i in range(40):
        rows += [f"How do I mend part {i}?,How can part {i} be mended?,1"]
        rows += [f"How do I mend part {i}?,Where do I buy part {i + 1}?,0"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    pairs = read_pairs(tmp_path / "pairs.csv")
    with pytest.raises(UserError, match="differs in the training pairs, the validation pairs"):
        parts = splits.load(Source(str(tmp_path / "pairs.csv")))  # by questions, while 0.1.0 drew pairs, as here:
        shutil.copy(HERE / "checkpoint.safetensors", tmp_path)
        train_model(RECIPE, parts.training, parts.validation, tmp_path, resume=True)
    _, pair = np.unique(pair_keys(pairs), axis=0, return_inverse=True)
    held = np.random.default_rng(0).random(pair.max() + 1)[pair] < 0.1
    validation = pairs.take(held)
    resumed = train_model(RECIPE, pairs.take(~held), validation, tmp_path, resume=True)
    similarity = resumed.similarity(validation.question1, validation.question2)
    threshold = choose_threshold(validation.labels, similarity, RECIPE.goal)
    assert threshold == pytest.approx(EXPECTED["threshold"], abs=1e-4)
    assert resumed.threshold == 0.8  # since version 0.2 chooses none on eight pairs


# In a process of its own, which has imported nothing of the package, as a server that loads the dump has not.
CLASSIFIER = """
import json, sys, joblib
classifier = joblib.load(sys.argv[1])
print(json.dumps([classifier.model_.threshold, classifier.predict_proba(json.loads(sys.argv[2])).tolist()]))
"""


@pytest.mark.slow
def test_a_classifier_that_was_dumped() -> None:
    pairs = [[QUESTION1, QUESTION2], [QUESTION1, "Where do I buy part 1?"]]
    done = python("-c", CLASSIFIER, HERE / "classifier.joblib", json.dumps(pairs))
    assert done.returncode == 0, done.stderr
    threshold, probability = json.loads(done.stdout)
    assert threshold == EXPECTED["clf_threshold"]
    np.testing.assert_allclose(probability, EXPECTED["proba"], atol=1e-6)
