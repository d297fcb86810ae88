"""Files, locks, signals, progress and the console."""
