"""Keep the numbers of clusters from one run to the next."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def numbered(clusters: Sequence[Sequence[Any]], earlier: Mapping[Any, int], unused: int) -> list[int]:
    """Give each cluster the earlier number that most of its questions had.

    The largest overlap chooses first; of equal ones the lower number, then the earlier cluster. A number goes to one
    cluster only, and clusters that find none left get new ones.

    Args:
        clusters: the ids of the questions of each.
        earlier: the number of the cluster that a question was in, by its id.
        unused: the first number that no cluster ever had.

    Returns:
        A number for each cluster.
    """
    shared = [
        (-count, number, place)
        for place, ids in enumerate(clusters)
        for number, count in Counter(earlier[id] for id in ids if id in earlier).items()
    ]
    given: dict[int, int] = {}
    taken: set[int] = set()
    for _, number, place in sorted(shared):
        if place not in given and number not in taken:
            given[place] = number
            taken.add(number)
    new = itertools.count(unused)
    return [given[place] if place in given else next(new) for place in range(len(clusters))]
