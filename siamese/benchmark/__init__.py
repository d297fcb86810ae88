"""What `python run.py benchmark` measures, and beside whom."""
