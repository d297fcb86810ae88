"""What is written about a model: its card, its report, its figures."""
