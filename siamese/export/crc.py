"""The bucket of an unknown word, computed by a file of the library tokenizers: a CRC as regular expressions.

Words outside the vocabulary are numbered by the last bits of zlib.crc32 (`siamese.text.Tokenizer.bucket`). A CRC is
linear over GF(2), up to a constant for each length: what a byte changes depends on the byte and on the number of bytes
after it, not on the other bytes (Peterson and Brown, Cyclic Codes for Error Detection, 1961). So a bit of the CRC is 1
if an odd number of bytes change it, and a regular expression can count that along the word.

`normalizers` write a code before each word, one capital for each bit: A or N, B or O, ... Capitals are free for this,
since questions are in lower case by then. `vocabulary` holds the code and spelling of each known word as one token. Of
any other word only the code remains, the token of its bucket.
"""

import re
import zlib
from collections.abc import Sequence
from typing import Any

PADDING = "[PAD]"  # not a word, since it has capitals
ZERO, ONE, LONG = "ABCDEFGHIJKL", "NOPQRSTUVWXY", "M"  # for each bit, 0 or 1, and for a word that is too long
LONGEST_WORD = 255  # bytes; all longer words outside the vocabulary share a token
SKIPPED = 8  # byte positions that an expression skips at once if the word is shorter

# The words of `siamese.text` in the library's regular expressions, whose \w also matches combining marks and whose \s
# lacks four of Python's spaces.
LETTER, SPACE = r"\p{L}\p{N}_", r"\s\x1c-\x1f"
START = rf"(?<![{LETTER}])(?=[{LETTER}])|(?=[^{LETTER}{SPACE}])"

# How the library spells bytes (GPT-2's table): printable ones as in Latin-1, the others as Ā, ā, ...
_SEEN = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_SPELLED = {byte: chr(byte) for byte in _SEEN}
_SPELLED |= {byte: chr(0x100 + i) for i, byte in enumerate(sorted({*range(256)} - {*_SEEN}))}
BYTE = f"[^A-Y{_SPELLED[ord(' ')]}]"  # one byte of a word


def normalizers(bits: int) -> list[Any]:
    """Return the normalizers that turn each word of a lower-case question into a code and its bytes."""
    from tokenizers import Regex
    from tokenizers.normalizers import ByteLevel, Prepend, Replace

    return [
        Prepend(" "),  # ByteLevel fails if the next step inserts at the very beginning
        Replace(Regex(f"[{SPACE}]+"), " "),
        Replace(Regex(START), ZERO[:bits]),
        ByteLevel(),
        *(Replace(Regex(_set_bit(bit, bits)), ONE[bit]) for bit in range(bits)),
        Replace(Regex(f"[A-Y]{{{bits}}}(?={BYTE}{{{LONGEST_WORD + 1}}})"), LONG),
    ]


def word_pattern(bits: int) -> str:
    """Return an expression for a word after the normalizers."""
    return f"(?:[A-Y]{{{bits}}}|{LONG}){BYTE}+"


def _set_bit(bit: int, bits: int) -> str:
    """Return an expression that matches the capital of a bit, still 0, if the CRC has a 1 there.

    The CRC of bytes is the exclusive or of what each one adds: the CRC of the byte followed by as many zeros as bytes
    come after it, xor the CRC of those zeros alone. The expression has a step for each number of bytes left, which
    passes a byte; its empty group is set if the sum so far is 1.
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
        if before % SKIPPED == 0:
            found += f"(?>(?={BYTE}{{{max(left - SKIPPED, 0) + 1}}})"
        found += f"(?>(?={BYTE}{{{left}}})(?>{changes}()|){BYTE}|)"
        if (before + 1) % SKIPPED == 0 or left == 1:
            found += "|)"
    return f"{ZERO[bit]}(?=[A-Y]{{{bits - bit - 1}}}{found}(?({LONGEST_WORD})|(?!)))"


def vocabulary(known: Sequence[str], buckets: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the tokens with their ids in `siamese.text.Tokenizer`, and the merges that build codes from capitals.

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
    # Prefixes of codes come after all ids with a row in the embedding. No word of a question ends as one of them.
    merges, parts = [], [ZERO[0], ONE[0]]
    for letters in zip(ZERO[1:bits], ONE[1:bits]):
        ids |= {part: len(ids) + i for i, part in enumerate([*parts, *letters])}
        merges += [(part, letter) for part in parts for letter in letters]
        parts = [part + letter for part, letter in merges[-2 * len(parts) :]]
    return ids, merges
