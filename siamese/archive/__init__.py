"""An archive of questions on the disk: texts, ids and vectors, searched by meaning and by words."""
