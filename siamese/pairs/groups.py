"""Make pairs from groups of questions that mean the same."""

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from siamese.errors import DataError
from siamese.pairs.clusters import Clusters
from siamese.pairs.pairs import Pairs
from siamese.text.keys import key


def from_groups(groups: Mapping[str, list[str]], seed: int = 0) -> Pairs:
    """Make pairs from groups of questions that mean the same. Groups that share a question are joined.

    Every two questions of a group are duplicates; in a group of more than ten, each is paired with five others. As many
    non-duplicates are drawn from different groups, however alike they are. One group in ten is kept whole for the
    validation part, so that its questions are never trained on.

    Raises:
        DataError: there are fewer than four groups.
    """
    chains = [pair for members in groups.values() for pair in zip(members, [*members[1:], *members[-1:]])]
    linked = Clusters(Pairs.of((a for a, _ in chains), (b for _, b in chains), [1] * len(chains)))
    joined: dict[int, dict[int, str]] = {}  # cluster to its distinct questions, by key
    for question, cluster in zip((a for a, _ in chains), linked.of(a for a, _ in chains)):
        joined.setdefault(int(cluster), {}).setdefault(key(question), question)

    if len(joined) < 4:
        raise DataError(f"{len(joined)} groups of questions; give at least four, two to train and two to validate")
    random = np.random.default_rng(seed)
    held = random.permutation(len(joined)) < max(2, len(joined) // 10)
    rows: list[tuple[str, str, int, str]] = []
    for part, members in (("train", ~held), ("validation", held)):
        chosen = [list(group.values()) for group, here in zip(joined.values(), members) if here]
        duplicates = [pair for group in chosen for pair in _within(group)]
        rows += [(a, b, 1, part) for a, b in duplicates]
        owner = np.repeat(np.arange(len(chosen)), [len(group) for group in chosen])
        questions = [question for group in chosen for question in group]
        first, size = np.searchsorted(owner, owner), np.bincount(owner)[owner]  # of each question's group
        for i in random.integers(len(questions), size=len(duplicates)):
            j = int(random.integers(len(questions) - size[i]))  # among the questions of the other groups
            rows.append((questions[i], questions[j if j < first[i] else j + size[i]], 0, part))
    pairs = Pairs.of((r[0] for r in rows), (r[1] for r in rows), (r[2] for r in rows))
    return dataclasses.replace(pairs, split=np.array([r[3] for r in rows]))


def _within(group: list[str]) -> list[tuple[str, str]]:
    if len(group) <= 10:
        return list(itertools.combinations(group, 2))
    return [(group[i], group[(i + step) % len(group)]) for i in range(len(group)) for step in range(1, 6)]
