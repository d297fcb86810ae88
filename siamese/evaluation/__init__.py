"""Metrics, thresholds, baselines, and a close look at a model's mistakes."""
