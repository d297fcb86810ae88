"""Files, locks, signals, progress and the console: what the system does for the other packages."""
