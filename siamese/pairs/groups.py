"""Make pairs from groups of questions that mean the same."""

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from siamese.errors import DataError
from siamese.pairs.clusters import Clusters, connected
from siamese.pairs.pairs import Pairs
from siamese.text.keys import identity, key


def from_groups(groups: Mapping[str, list[str]], seed: int = 0) -> Pairs:
    """Make pairs from groups of questions that mean the same. Groups that share a question are joined.

    Groups with questions that differ in signs or case alone, such as C, C++ and C#, are not. But they stay in one part,
    and no non-duplicates are drawn from two of them.

    Every two questions of a group are duplicates; in a group of more than ten, each is paired with five others. As many
    non-duplicates are drawn from different groups, however alike they are. One group in ten is kept whole for the
    validation part, so that its questions are never trained on.

    Raises:
        DataError: there are fewer than four groups.
    """
    chains = [pair for members in groups.values() for pair in zip(members, [*members[1:], *members[-1:]])]
    linked = Clusters(Pairs.of((a for a, _ in chains), (b for _, b in chains), [1] * len(chains)), node=identity)
    joined: dict[int, dict[int, str]] = {}  # cluster to its distinct questions
    for question, cluster in zip((a for a, _ in chains), linked.of(a for a, _ in chains)):
        joined.setdefault(int(cluster), {}).setdefault(identity(question), question)
    distinct = [list(group.values()) for group in joined.values()]
    owner: dict[int, int] = {}  # key to the first group that has it
    edges = [(owner.setdefault(key(question), g), g) for g, group in enumerate(distinct) for question in group]
    _, alike = np.unique(connected(len(distinct), *np.array(edges, int).reshape(-1, 2).T), return_inverse=True)

    if (count := len(set(alike))) < 4:
        raise DataError(f"{count} groups of questions; give at least four, two to train and two to validate")
    random = np.random.default_rng(seed)
    held = random.permutation(count) < max(2, count // 10)
    rows: list[tuple[str, str, int, str]] = []
    for part, members in (("train", ~held), ("validation", held)):
        chosen = [g for g in np.argsort(alike, kind="stable") if members[alike[g]]]
        duplicates = [pair for g in chosen for pair in _within(distinct[g])]
        rows += [(a, b, 1, part) for a, b in duplicates]
        owners = np.repeat(alike[chosen], [len(distinct[g]) for g in chosen])
        questions = [question for g in chosen for question in distinct[g]]
        first, size = np.searchsorted(owners, owners), np.bincount(owners)[owners]  # of the groups alike
        for i in random.integers(len(questions), size=len(duplicates)):
            j = int(random.integers(len(questions) - size[i]))  # among the questions of the other groups
            rows.append((questions[i], questions[j if j < first[i] else j + size[i]], 0, part))
    pairs = Pairs.of((r[0] for r in rows), (r[1] for r in rows), (r[2] for r in rows))
    return dataclasses.replace(pairs, split=np.array([r[3] for r in rows]))


def _within(group: list[str]) -> list[tuple[str, str]]:
    if len(group) <= 10:
        return list(itertools.combinations(group, 2))
    return [(group[i], group[(i + step) % len(group)]) for i in range(len(group)) for step in range(1, 6)]
