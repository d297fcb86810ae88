"""The benchmark's sections on training: pairs a second, the limit, what a step consists of, the loss alone."""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reports.performance.measuring import (
    MM,
    ONEDNN,
    PARTS,
    TRIPLET,
    Amount,
    Corpus,
    Way,
    apart,
    computed_per_token,
    interleave,
    outside_operators,
    rate,
    ratio,
    share,
    square,
    timed,
)
from reports.performance.report_writer import Section, Spread, number
from reports.performance.rivals import Step, Worker
from siamese.config import Config
from siamese.losses import TripletLossFn
from siamese.training.step import encode_batch

COURSE = TRIPLET.replace(padding="power-of-two", anchors="rows", leave_out_known=False)
OURS, COURSES = "ours, float32, batch 512", "the course's way, batch 512"
EMPTY = "a step with vectors of one number"
METRIC = "pytorch-metric-learning"
FIXED = 13.2e6  # FLOP a pair by an earlier estimate, of longer questions than these
LOSS_SIZES = (256, 512, 1_024)
LARGE_BATCH = 16_384
SQUARES = (2_048, 4_096)
COPIED = 1 << 26  # float32 numbers, far more than the caches hold


def training_steps(corpus: Corpus, amount: Amount, rivals: dict[str, Worker]) -> dict[str, list[Step | None]]:
    """Steps of every way to train, with a square product by torch.mm and by oneDNN in each round."""
    ways: dict[str, Way] = {
        MM: square(SQUARES[0], MM),
        ONEDNN: square(SQUARES[0], ONEDNN),
        OURS: corpus.trainer(TRIPLET),
        "ours, float32, batch 256": corpus.trainer(TRIPLET.replace(batch_size=256)),
        "ours, float32, batch 1,024": corpus.trainer(TRIPLET.replace(batch_size=1024)),
        "ours, bfloat16, batch 512": corpus.trainer(TRIPLET.replace(precision="bfloat16")),
        "ours, preset best, batch 256": corpus.trainer(Config()),
        "ours, 256 numbers, batch 512": corpus.trainer(TRIPLET.replace(embedding=256, hidden=256)),
        "nn.LSTM, sorted, chunks of 128": corpus.trainer(TRIPLET, "chunks"),
        COURSES: corpus.trainer(COURSE, "course"),
        EMPTY: corpus.trainer(TRIPLET.replace(embedding=1, hidden=1)),
        **rivals,
    }
    return interleave(ways, amount.rounds, amount.warm, "training")


def training(steps: dict[str, list[Step | None]], corpus: Corpus) -> Section:
    """Pairs a second."""
    rows = []
    some = next(corpus.trainer(TRIPLET).batches)
    for name, own in steps.items():
        if name in (MM, ONEDNN, EMPTY) or not any(own):
            continue
        counted = [step.flop / step.count for step in own if step and step.flop]
        how = "course" if name == COURSES else "chunks" if "nn.LSTM" in name else "ragged"
        rows.append({
            "way": name,
            "pairs/s": rate(own),
            "times the course's way": ratio(own, steps[COURSES]),
            "times nn.LSTM": ratio(own, steps["nn.LSTM, sorted, chunks of 128"]),
            "MFLOP a pair": statistics.mean(counted) / 1e6 if counted else None,
            "% of the limit, torch.mm": share(own, steps[MM]) if counted else None,
            "% of the limit, oneDNN": share(own, steps[ONEDNN]) if counted else None,
            "tokens computed per real one": computed_per_token(some, how) if counted and "best" not in name else None,
        })  # fmt: skip
    text = (
        "Embedding 128, LSTM 128, triplet loss on rows and columns, known duplicates left out of the negatives, Adam; "
        "everything of a step counted. The course's way: both sides padded to a power of two, two calls of nn.LSTM, "
        "the mean over the padding, torch's default Adam, rows only. `best` has a batch of 256 duplicates and its "
        "share of labelled non-duplicates, all counted. The limit counts the operations of each batch's products, "
        "3 · 2 · 4H · (tokens · H + distinct words · E), at the rate of a square product of 2,048 in the same round. "
        "Keras trains the same tower with a mask; sentence-transformers its own tokens, modules and ranking loss; "
        "both in processes of their own, with OMP_WAIT_POLICY=passive unless it is set."
    )
    return Section("Training", text, rows, bars="pairs/s")


def limit(steps: dict[str, list[Step | None]], amount: Amount) -> Section:
    """What the machine's products allow, and the shares of it."""
    ways = {f"{how}, {n:,}": square(n, how) for n in SQUARES for how in (MM, ONEDNN, "numpy")}
    source, target = torch.ones(COPIED), torch.empty(COPIED)
    ways[f"copy of {4 * COPIED >> 20} MB"] = timed(lambda: target.copy_(source), 1, 2 * 4.0 * COPIED)
    products = interleave(ways, amount.products, 1, "limit")
    for how in (MM, ONEDNN):
        products[f"{how}, {SQUARES[0]:,}"] += steps[how]
    counted = statistics.mean(step.flop / step.count for step in steps[OURS] if step)
    speed = {name: rate(steps[name]) for name in (OURS, COURSES)}
    rows: list[dict[str, Any]] = []
    for name, own in products.items():
        done = Spread.of([step.flop / step.seconds / 1e9 for step in own if step])
        assert done
        row: dict[str, Any] = {"work": name, "G/s": done, "best": max(s.flop / s.seconds / 1e9 for s in own if s)}
        for label, a_pair in (("counted", counted), ("13.2 MFLOP", FIXED)):
            for who, way in (("limit, pairs/s", None), ("ours, %", OURS), ("course, %", COURSES)):
                value = done.median * 1e9 / a_pair
                done_there = speed[way] if way else None
                row[f"{who}, {label}"] = 100 * done_there.median / value if done_there else None if way else value
        rows.append(row if "copy" not in name else {k: v for k, v in row.items() if k in ("work", "G/s", "best")})
    best = max(row["best"] for row in rows[:-1])
    ours = speed[OURS]
    strict = f"{number(100 * ours.median * counted / best / 1e9)} %" if ours else "not measured"
    text = (
        f"Float32 products, GFLOP/s, and a copy, GB/s read and written. Our batches need {counted / 1e6:.1f} MFLOP a "
        f"pair as counted; the 13.2 of earlier measurements belongs to longer questions. "
        f"{'Counted' if counted < FIXED else '13.2'} is the stricter of the two, since fewer operations a pair make a "
        "higher limit. The strictest share, our median "
        f"step against the best product of any kind in this run ({number(best)} GFLOP/s): {strict}. "
        "Medians of the whole run here; round by round in the table above."
    )
    return Section("The limit", text, rows)


def breakdown(corpus: Corpus, steps: dict[str, list[Step | None]], amount: Amount) -> Section:
    """What our step consists of, in percent."""
    rows = []
    for name in [name for name in steps if name.startswith("ours")]:
        taken = [step for step in steps[name] if step]
        row: dict[str, Any] = {"way": name, "ms a step": Spread.of([1e3 * step.seconds for step in taken])}
        for i, part in enumerate(PARTS):
            row[f"{part}, %"] = Spread.of([100 * step.parts[i] / step.seconds for step in taken])
        rows.append(row)
    trainer = corpus.trainer(TRIPLET)
    for _ in range(amount.warm):
        trainer()
    outside = outside_operators(trainer, amount.rounds)
    small = Spread.of([step.seconds for step in steps[EMPTY] if step])
    whole = Spread.of([step.seconds for step in steps[OURS] if step])
    assert small and whole
    text = (
        "The backward pass is cut at the vectors, so that the loss has its own gradient beside it. Python and "
        f"bookkeeping, two ways: (1) {_python(outside)} (2) A step with vectors of one number, all calls and hardly "
        f"any arithmetic, takes {100 * small.median / whole.median:.1f} % of a step of 512; that holds the batch "
        "building, the packing, the loss's (B, B) work and the fixed cost of every operator."
    )
    return Section("What a step consists of", text, rows)


def _python(outside: tuple[float, float] | None) -> str:
    if outside is None:
        return "torch's profiler does not say."
    return (
        f"By torch.profiler over all threads, {outside[0]:.1f} to {outside[1]:.1f} % of a step of 512 lies outside "
        "every torch operator: wall time less the main thread's operators, less those of the LSTM team's busiest "
        "thread. The lower figure compares with a step without the profiler, the upper one with a step that it slows."
    )


def plain_loss(v1: Tensor, v2: Tensor, margin: float = 0.25) -> Tensor:
    """The triplet loss on rows and columns as one would write it, differentiated through all of S."""
    scores = v1 @ v2.T
    own, hidden = scores.diagonal(), scores - 3 * torch.eye(len(v1))
    total = scores.new_zeros(())
    for dim in (1, 0):
        mean = (scores.sum(dim) - own) / (len(v1) - 1)
        total = total + ((mean - own + margin).relu() + (hidden.amax(dim) - own + margin).relu()).mean()
    return total / 2


def loss(amount: Amount, skipped: dict[str, str]) -> Section:
    """The loss alone, forwards and backwards."""
    known = {B: torch.zeros(B, B, dtype=torch.bool) for B in LOSS_SIZES}
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "ours, rows": lambda v1, v2: TripletLossFn(v1, v2, anchors="rows"),
        "ours, both": TripletLossFn,
        "ours, both, known left out": lambda v1, v2: TripletLossFn(v1, v2, same=known[len(v1)]),
        "plain autograd over S, both": plain_loss,
    }
    if METRIC not in skipped:
        try:
            losses[METRIC] = metric_learning()
        except ImportError as error:
            skipped[METRIC] = f"not installed ({error})"
    ways: dict[str, Way] = {}
    for B in LOSS_SIZES:
        v1, v2 = (nn.functional.normalize(torch.randn(B, 128), dim=1).requires_grad_() for _ in range(2))
        for name, function in losses.items():
            ways[f"{name}, {B:,}"] = timed(partial(_both_passes, function, v1, v2), B)
    steps = interleave(ways, amount.loss_rounds, 2, "loss")
    rows = [
        {
            "loss": name,
            "ms": Spread.of([1e3 * step.seconds for step in own if step]),
            "pairs/s": rate(own),
            "times ours, both": ratio(own, steps[f"ours, both, {name.rsplit(', ', 1)[1]}"]),
        }
        for name, own in steps.items()
    ]
    memory = apart("loss_memory", LARGE_BATCH)
    text = (
        "Forwards and backwards, 128 numbers a vector; the last number of each name is the batch. A batch of "
        f"{LARGE_BATCH:,}, both sides, with its (B, B) mask of known duplicates, has its peak at {memory:,.0f} MB "
        "resident, torch included (the bound is 4,096)."
    )
    return Section("The loss alone", text, rows)


def _both_passes(function: Callable[[Tensor, Tensor], Tensor], v1: Tensor, v2: Tensor) -> None:
    function(v1, v2).backward()


def metric_learning() -> Callable[[Tensor, Tensor], Tensor]:
    """pytorch-metric-learning's triplet loss on the hardest positive and negative of each of the 2B vectors."""
    from pytorch_metric_learning import distances, losses, miners

    distance = distances.CosineSimilarity()
    mine, triplet = miners.BatchHardMiner(distance=distance), losses.TripletMarginLoss(margin=0.25, distance=distance)

    def both(v1: Tensor, v2: Tensor) -> Tensor:
        vectors, labels = torch.cat((v1, v2)), torch.arange(len(v1)).repeat(2)
        return triplet(vectors, labels, mine(vectors, labels))

    return both


def approximation(corpus: Corpus) -> Section:
    """What bfloat16 products lose: one batch, the same weights, against float32."""
    vectors, gradients = [], []
    for precision in ("float32", "bfloat16"):
        trainer = corpus.trainer(TRIPLET.replace(precision=precision))
        batch = next(trainer.batches)
        vectors.append(encode_batch(trainer.tower, trainer.config, batch, 0))
        trainer.objective(batch, vectors[-1]).backward()
        gradients.append(torch.cat([w.grad.flatten() for w in trainer.tower.parameters() if w.grad is not None]))
    row = {
        "what is approximate": "products in bfloat16 (training only, an option)",
        "largest difference of a vector's number": float((vectors[1] - vectors[0]).detach().abs().max()),
        "gradient's difference, % of its norm": float(100 * (gradients[1] - gradients[0]).norm() / gradients[0].norm()),
    }
    return Section("What is fast by being approximate", "Everything else here is exact to rounding.", [row])
