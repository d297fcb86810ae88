"""Archives of questions on disk: texts, ids and vectors, searched by meaning and by words."""
