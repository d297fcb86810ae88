"""Write N generated pairs as CSV, half of them duplicates.

    python -m reports.performance.generate_pairs 5000000 pairs.csv

Words are drawn by Zipf's law; the lengths are like those of Quora's questions.
"""

import sys

import numpy as np

WORDS = 40_000  # different ones
AT_A_TIME = 100_000  # pairs


def main() -> None:
    """Run the command."""
    count, path = int(sys.argv[1]), sys.argv[2]
    random = np.random.default_rng(1)
    names = np.array([f"w{i}" for i in range(WORDS)])
    chance = 1 / np.arange(1, WORDS + 1)
    cumulative = np.cumsum(chance / chance.sum())
    with open(path, "w", encoding="utf-8") as file:
        file.write("question1,question2,is_duplicate\n")
        for first in range(0, count, AT_A_TIME):
            n = min(AT_A_TIME, count - first)
            lengths = 3 + random.exponential(9, (n, 2)).astype(int)
            words = names[np.minimum(np.searchsorted(cumulative, random.random(lengths.sum())), WORDS - 1)]
            questions = iter(" ".join(part) for part in np.split(words, np.cumsum(lengths.ravel())[:-1]))
            labels = random.integers(0, 2, n)
            file.writelines(f"{a},{b},{label}\n" for a, b, label in zip(questions, questions, labels))


if __name__ == "__main__":
    main()
