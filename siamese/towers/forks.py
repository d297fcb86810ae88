"""Let a process that has run torch fork, as `multiprocessing` does on Linux up to Python 3.13."""

import os

import torch

_ran = False


def torch_runs() -> None:
    """Take note that this process runs torch, whose threads a fork would not have."""
    global _ran
    _ran = True


def _after_fork() -> None:
    if _ran:
        torch.set_num_threads(1)  # with more it would wait forever for the threads that stayed in its parent


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
