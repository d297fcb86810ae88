"""All duplicates in an archive: every pair of questions above a threshold, and the clusters that they make."""
