"""Training: start, loop and finish of a run, and what they need: batches, steps, losses, checkpoints, processes."""
