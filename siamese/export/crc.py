"""The bucket of a word, by a file of the library tokenizers: a crc as regular expressions.

Words outside of the vocabulary are numbered by the last bits of zlib.crc32 (`siamese.text.Tokenizer.bucket`). A crc is
linear over GF(2), up to a constant for each length: what a byte changes in it hangs on the byte and on how many come
after it, and not on the others (Peterson and Brown, Cyclic Codes for Error Detection, 1961). So a bit of it is 1 where
the bytes that change this bit are odd in number, and a regular expression can tell while it goes along the word.

`steps` write a code before each word, a letter for each bit: A or N, B or O, ... Capitals are free for that, as those
of the question have become small letters. `vocabulary` knows the code and spelling of each word of the vocabulary as
one token; of any other word the code alone is left, the token of its bucket.
"""

import re
import zlib
from collections.abc import Sequence
from typing import Any

PADDING = "[PAD]"  # no word: these begin with a capital
ZERO, ONE, LONG = "ABCDEFGHIJKL", "NOPQRSTUVWXY", "M"  # what is written for each bit; and for a word that is too long
LONGEST_WORD = 255  # bytes; longer words outside of the vocabulary are all alike
BLOCK = 8  # bytes of the longest word that an expression passes over at once where a word is shorter

# What `siamese.text` takes for words, for the library's regular expressions: their \w has the combining marks too, and
# their \s lacks four of Python's spaces.
LETTER, SPACE = r"\p{L}\p{N}_", r"\s\x1c-\x1f"
START = rf"(?<![{LETTER}])(?=[{LETTER}])|(?=[^{LETTER}{SPACE}])"

# How the library spells bytes (GPT-2's table): those that can be seen as they are in Latin 1, the others by Ā, ā, ...
_SEEN = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_SPELLED = {byte: chr(byte) for byte in _SEEN}
_SPELLED |= {byte: chr(0x100 + i) for i, byte in enumerate(sorted({*range(256)} - {*_SEEN}))}
BYTE = f"[^A-Y{_SPELLED[ord(' ')]}]"  # of a word


def steps(bits: int) -> list[Any]:
    """What the library does with a question in small letters: each word becomes a code and its bytes."""
    from tokenizers import Regex
    from tokenizers.normalizers import ByteLevel, Prepend, Replace

    return [
        Prepend(" "),  # since nothing may be put in at the very beginning: ByteLevel fails then
        Replace(Regex(f"[{SPACE}]+"), " "),
        Replace(Regex(START), ZERO[:bits]),
        ByteLevel(),
        *(Replace(Regex(_one(bit, bits)), ONE[bit]) for bit in range(bits)),
        Replace(Regex(f"[A-Y]{{{bits}}}(?={BYTE}{{{LONGEST_WORD + 1}}})"), LONG),
    ]


def words(bits: int) -> str:
    """An expression for a word after the steps."""
    return f"(?:[A-Y]{{{bits}}}|{LONG}){BYTE}+"


def _one(bit: int, bits: int) -> str:
    """An expression that finds the letter of a bit where it should be that of 1.

    The crc of bytes is the sum (exclusive or) of what each adds: the crc of it and of as many zeros as bytes come after
    it, plus the crc of these zeros alone. The expression has a step for each number of bytes that are left, which
    passes a byte; its group, which captures nothing, is set where the sum is 1 so far.
    """
    found = ""
    for left in range(LONGEST_WORD, 0, -1):
        zeros = bytes(left - 1)
        adds = [
            re.escape(letter)
            for byte, letter in _SPELLED.items()
            if re.match(BYTE, letter) and (zlib.crc32(bytes([byte]) + zeros) ^ zlib.crc32(zeros)) >> bit & 1
        ]
        one, before = f"[{''.join(adds)}]" if adds else "(?!)", LONGEST_WORD - left
        changes = f"(?({before})(?!{one})|(?={one}))" if before else f"(?={one})"
        if before % BLOCK == 0:
            found += f"(?>(?={BYTE}{{{max(left - BLOCK, 0) + 1}}})"
        found += f"(?>(?={BYTE}{{{left}}})(?>{changes}()|){BYTE}|)"
        if (before + 1) % BLOCK == 0 or left == 1:
            found += "|)"
    return f"{ZERO[bit]}(?=[A-Y]{{{bits - bit - 1}}}{found}(?({LONGEST_WORD})|(?!)))"


def vocabulary(known: Sequence[str], buckets: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The tokens with the ids that `siamese.text.Tokenizer` gives them, and what is merged to make a code of letters.

    Args:
        known: the words of the vocabulary.
        buckets: 2, 4, ... or 4,096.
    """
    bits = buckets.bit_length() - 1

    def code(crc: int) -> str:
        return "".join((ZERO, ONE)[crc >> bit & 1][bit] for bit in range(bits))

    ids = {PADDING: 0, LONG: 1} | {code(bucket): 2 + bucket for bucket in range(buckets)}
    for word in known:
        spelling = word.encode()
        before = code(zlib.crc32(spelling)) if len(spelling) <= LONGEST_WORD else LONG
        ids[before + "".join(map(_SPELLED.__getitem__, spelling))] = len(ids)
    # Beginnings of codes, after all that have rows: no word of a question is left as one of them.
    merges, parts = [], [ZERO[0], ONE[0]]
    for letters in zip(ZERO[1:bits], ONE[1:bits]):
        ids |= {part: len(ids) + i for i, part in enumerate([*parts, *letters])}
        merges += [(part, letter) for part in parts for letter in letters]
        parts = [part + letter for part, letter in merges[-2 * len(parts) :]]
    return ids, merges
