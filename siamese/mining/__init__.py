"""Find all duplicates among questions: every pair above a threshold, and the clusters of these pairs."""
