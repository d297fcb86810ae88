"""The benchmark's sections on training: pairs per second, what a step consists of, the loss alone."""

import statistics
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

import torch
from torch import Tensor, nn

from reports.measured import Spread
from reports.performance.corpus import TRIPLET, Corpus
from reports.performance.measuring import (
    MM,
    ONEDNN,
    PARTS,
    Amount,
    Steps,
    Trainer,
    Way,
    interleave,
    rate,
    ratio,
    share,
    square,
    timed,
)
from reports.performance.report_writer import Section
from siamese.config import Config
from siamese.losses import TripletLossFn

COURSE = TRIPLET.replace(padding="power-of-two", anchors="rows", leave_out_known=False)
OURS, COURSES, CHUNKS = "ours, float32, batch 512", "the course's way, batch 512", "nn.LSTM, sorted, chunks of 128"
EMPTY = "a step with dimension 1"
METRIC = "pytorch-metric-learning"
LOSS_SIZES = (256, 512, 1_024)
SQUARE = 2_048  # rows and columns of the matrices whose product is the limit


def training_steps(corpus: Corpus, amount: Amount, rivals: Mapping[str, Way]) -> dict[str, Steps]:
    """Return steps of every way to train, with a square product by torch.mm and by oneDNN in each round."""

    def trainer(config: Config, way: str = "ragged") -> Trainer:
        return Trainer(config, corpus.tokens, len(corpus.tokenizer), way)

    ways: dict[str, Way] = {
        MM: square(SQUARE, MM),
        ONEDNN: square(SQUARE, ONEDNN),
        OURS: trainer(TRIPLET),
        "ours, float32, batch 256": trainer(TRIPLET.replace(batch_size=256)),
        "ours, float32, batch 1,024": trainer(TRIPLET.replace(batch_size=1024)),
        "ours, bfloat16, batch 512": trainer(TRIPLET.replace(precision="bfloat16")),
        "ours, preset best, batch 256": trainer(Config()),
        "ours, dimension 256, batch 512": trainer(TRIPLET.replace(embedding=256, hidden=256)),
        "ours, --plain, batch 512": trainer(TRIPLET.replace(plain=True)),
        CHUNKS: trainer(TRIPLET, "chunks"),
        COURSES: trainer(COURSE, "course"),
        EMPTY: trainer(TRIPLET.replace(embedding=1, hidden=1)),
        **rivals,
    }
    return interleave(ways, amount.rounds, amount.warm, "training")


def training(steps: Mapping[str, Steps]) -> Section:
    """Return pairs per second of each way, and the share of what the machine's products allow."""
    rows = []
    for name, own in steps.items():
        if name in (MM, ONEDNN, EMPTY) or not any(own):
            continue
        counted = [step.flop / step.count / 1e6 for step in own if step and step.flop]
        rows.append({
            "way": name,
            "pairs/s": rate(own),
            "times the course's way": ratio(own, steps[COURSES]),
            "times nn.LSTM": ratio(own, steps[CHUNKS]),
            "MFLOP a pair": statistics.mean(counted) if counted else None,
            "% of the limit, torch.mm": share(own, steps[MM]),
            "% of the limit, oneDNN": share(own, steps[ONEDNN]),
        })  # fmt: skip
    flops = {how: Spread.of([step.flop / step.seconds / 1e9 for step in steps[how] if step]) for how in (MM, ONEDNN)}
    text = (
        "Embedding 128, LSTM 128, triplet loss on rows and columns, known duplicates left out of the negatives, Adam; "
        "everything in a step counts. The course's way: both sides padded to a power of two, two calls of nn.LSTM, "
        "the mean over the padding, torch's default Adam, rows only. `best` has a batch of 256 duplicates and its "
        "share of labelled non-duplicates, and all of them count. The limit is the number of operations in each "
        "batch's products, 3 · 2 · 4H · (tokens · H + distinct words · E), at the rate of a float32 product of square "
        f"matrices in the same round: by {MM} {flops[MM]} GFLOP/s, by {ONEDNN} {flops[ONEDNN]}. Keras trains the same "
        "tower with a mask; sentence-transformers has its own tokens, modules and ranking loss. Both run in processes "
        "of their own, with OMP_WAIT_POLICY=passive unless it is set."
    )
    return Section("Training", text, rows, bars="pairs/s")


def breakdown(steps: Mapping[str, Steps]) -> Section:
    """Return what our step consists of, in percent."""
    rows = []
    for name in [name for name in steps if name.startswith("ours")]:
        taken = [step for step in steps[name] if step]
        parts = {
            f"{part}, %": Spread.of([100 * step.parts[i] / step.seconds for step in taken])
            for i, part in enumerate(PARTS)
        }
        rows.append({"way": name, "ms a step": Spread.of([1e3 * step.seconds for step in taken]), **parts})
    small, whole = (statistics.median(step.seconds for step in steps[name] if step) for name in (EMPTY, OURS))
    text = (
        "The backward pass is cut at the vectors, so that the loss is timed with its own gradient. A step with vectors "
        f"of one number, all calls and hardly any arithmetic, takes {100 * small / whole:.1f} % of a step of 512: "
        "batch building, packing, the loss's (B, B) work and the fixed cost of every operator."
    )
    return Section("What a step consists of", text, rows)


def plain_loss(v1: Tensor, v2: Tensor, margin: float = 0.25) -> Tensor:
    """Return the triplet loss on rows and columns as one would write it, differentiated through all of S."""
    scores = v1 @ v2.T
    own, hidden = scores.diagonal(), scores - 3 * torch.eye(len(v1))
    total = scores.new_zeros(())
    for dim in (1, 0):
        mean = (scores.sum(dim) - own) / (len(v1) - 1)
        total = total + ((mean - own + margin).relu() + (hidden.amax(dim) - own + margin).relu()).mean()
    return total / 2


def loss(amount: Amount, rivals: bool) -> Section:
    """Return the time of the loss alone, forwards and backwards."""
    known = {B: torch.zeros(B, B, dtype=torch.bool) for B in LOSS_SIZES}
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "ours, rows": lambda v1, v2: TripletLossFn(v1, v2, anchors="rows"),
        "ours, both": TripletLossFn,
        "ours, both, known left out": lambda v1, v2: TripletLossFn(v1, v2, same=known[len(v1)]),
        "plain autograd over S, both": plain_loss,
    }
    if rivals:  # if it is installed
        with suppress(ImportError):
            losses[METRIC] = metric_learning()
    ways: dict[str, Way] = {}
    for B in LOSS_SIZES:
        v1, v2 = (nn.functional.normalize(torch.randn(B, 128), dim=1).requires_grad_() for _ in range(2))
        for name, function in losses.items():
            ways[f"{name}, {B:,}"] = timed(partial(_both_passes, function, v1, v2), B)
    steps = interleave(ways, amount.rounds, 2, "loss")
    rows = [
        {
            "loss": name,
            "ms": Spread.of([1e3 * step.seconds for step in own if step]),
            "pairs/s": rate(own),
            "times ours, both": ratio(own, steps[f"ours, both, {name.rsplit(', ', 1)[1]}"]),
        }
        for name, own in steps.items()
    ]
    return Section(
        "The loss alone", "Forwards and backwards, vectors of 128; each name ends with the batch size.", rows
    )


def _both_passes(function: Callable[[Tensor, Tensor], Tensor], v1: Tensor, v2: Tensor) -> None:
    function(v1, v2).backward()


def metric_learning() -> Callable[[Tensor, Tensor], Tensor]:
    """Return pytorch-metric-learning's triplet loss on the hardest positive and negative of each of the 2B vectors."""
    from pytorch_metric_learning import distances, losses, miners

    distance = distances.CosineSimilarity()
    mine, triplet = miners.BatchHardMiner(distance=distance), losses.TripletMarginLoss(margin=0.25, distance=distance)

    def both(v1: Tensor, v2: Tensor) -> Tensor:
        vectors, labels = torch.cat((v1, v2)), torch.arange(len(v1)).repeat(2)
        return triplet(vectors, labels, mine(vectors, labels))

    return both
