"""The words of a question, the same for every model."""

import re

from siamese.text.tokenizer import composed

_WORD = re.compile(r"\d+(?:[.,]\d+)+(?!\w)|\w+(?:['’]\w+)*")  # 1,000 and don't are one word each


Words = list[str]


def words_of(question: str) -> Words:
    """Return the words in lower case, without punctuation."""
    return _WORD.findall(composed(question.lower()).replace("’", "'"))
