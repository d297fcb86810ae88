"""Questions that differ in signs or case alone are not one question: no label follows from their likeness."""

from pathlib import Path

import numpy as np
import pytest
from tiny_models import random_model

from siamese.config import PRESETS
from siamese.errors import DataError
from siamese.evaluation.evaluate import Setting, baselines
from siamese.pairs.groups import from_groups
from siamese.pairs.pairs import Pairs
from siamese.pairs.reading import read_pairs
from siamese.text.keys import identity, key
from siamese.training.batches import learn_tokenizer, prepare

ALIKE = [
    ["C", "C++", "C#"],
    ["polish", "Polish"],
    ["$5", "5%", "5"],
    ["U.S.", "us"],
    ["re:sign", "resign"],
    ["-1", "1"],
]


@pytest.mark.parametrize("names", ALIKE, ids=str)
def test_groups_of_names_alike(names: list[str]) -> None:
    groups = {name: [f"What is {name}?", f"Please explain {name} to me"] for name in names}
    groups |= {f"g{i}": [f"question {i}", f"another {i}"] for i in range(30)}
    group_of = {question: group for group, questions in groups.items() for question in questions}
    for seed in range(20):
        pairs = from_groups(groups, seed)
        found = list(zip(pairs.question1, pairs.question2, pairs.labels))
        assert {a for a, b, label in found if label} == {questions[0] for questions in groups.values()}
        for a, b, label in found:
            assert label == (group_of[a] == group_of[b])
            assert label or key(a) != key(b)  # no label at all for two that look alike
        sides = [{key(q) for one in (part.question1, part.question2) for q in one} for part in parts_of(pairs)]
        assert not sides[0] & sides[1]  # what gives the other away is on its side


def parts_of(pairs: Pairs) -> list[Pairs]:
    return [pairs.take(np.asarray(pairs.split == name)) for name in ("train", "validation")]


def test_a_file_of_such_groups(tmp_path: Path) -> None:
    path = tmp_path / "g.csv"
    names = ["C", "C++", "C#", "Java", "Perl", "Lua"]
    path.write_text("question,group\n" + "".join(f"{w} is {name}?,{name}\n" for name in names for w in ("What", "Who")))
    pairs = read_pairs(path)
    for a, b, label in zip(pairs.question1, pairs.question2, pairs.labels):
        assert label == (a.split()[-1] == b.split()[-1])
    path.write_text("question,group\n" + "".join(f"What is {name}?,{name}\nWho?,{name}\n" for name in names[:3]))
    with pytest.raises(DataError, match="1 groups of questions; give at least four"):
        read_pairs(path)


def test_copies_differ_in_white_space_alone() -> None:
    assert identity(" How\told  are you? ") == identity("How old are you?") == identity("How old are you?")
    assert identity("caf\u00e9") == identity("cafe\u0301")
    assert len({identity(text) for names in ALIKE for text in names}) == sum(map(len, ALIKE))


def test_no_mask_and_no_look_up_joins_names_alike(tmp_path: Path) -> None:
    names = ["C", "C++", "C#"]
    training = Pairs.of([f"What is {name}?" for name in names], [f"Explain {name}" for name in names], [1, 1, 1])
    tokenizer = learn_tokenizer(PRESETS["best"], training)
    pairs, _ = prepare(training, tokenizer)
    assert len(set(pairs.clusters.tolist())) == 3  # so that they are negatives of each other in a batch
    test = Pairs.of(["What is C?", "What is C?"], ["Explain  C", "Explain C++"], [1, 0])
    found = baselines(Setting(random_model(), test, training), {})["look-up in training clusters"]
    assert found.scores.tolist() == [1, 0]
    alike = Setting(random_model(), test, training).clusters
    assert alike and not alike.unseen(Pairs.of(["what is C++#?"], ["x"], [0])).any()  # what gives one away is seen
