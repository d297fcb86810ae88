"""Rules that make a question into another one: near misses, which differ by one change, and rewordings."""
