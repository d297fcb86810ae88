"""Model folders that a stranger could send: a small valid one as bytes, and ways to damage it."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from siamese.config import Config
from siamese.model.folder import sealed
from tests.helpers.tiny_models import random_model

CONFIG, VOCABULARY, WEIGHTS = NAMES = ("config.json", "vocabulary.txt", "model.safetensors")
WORDS = ["how", "old", "are", "you", "what", "is", "your", "age", "é", "駅"]
SIZE, BUCKETS = 4, 3
FORMS = ("as it came", "checksums made right", "format 2")

Files = dict[str, bytes]


def good(compact: bool = False) -> Files:
    """Return the files of a model of four dimensions."""
    model = random_model(Config(buckets=BUCKETS, compact=compact), WORDS, size=SIZE)
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        return {name: Path(folder, name).read_bytes() for name in NAMES}


def in_form(files: Files, form: str) -> Files:
    """Return the files as they are, with matching checksums, or as format 2, which has none."""
    if form == "as it came":
        return files
    try:
        settings = json.loads(files[CONFIG].decode("utf-8"))
    except (ValueError, RecursionError):
        return files
    if not isinstance(settings, dict) or settings.get("format") != 3:
        return files  # the format is the attack
    settings.pop("sha256", None)
    if form == "format 2":
        return {**files, CONFIG: json.dumps({**settings, "format": 2}).encode()}
    sums = {name: hashlib.sha256(files[name]).hexdigest() for name in (VOCABULARY, WEIGHTS)}
    return {**files, CONFIG: sealed(settings, sums)}


def put(files: Files, folder: Path) -> Path:
    """Write the files into a folder."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).unlink(missing_ok=True)  # some file systems wait for the disk when a file is written over
        (folder / name).write_bytes(content)
    return folder


# Settings


def settings(files: Files) -> dict[str, Any]:
    return json.loads(files[CONFIG])


def with_settings(files: Files, **changes: Any) -> Files:
    return {**files, CONFIG: json.dumps({**settings(files), **changes}).encode()}


def with_config(files: Files, **changes: Any) -> Files:
    return with_settings(files, config={**settings(files)["config"], **changes})


def with_text(files: Files, old: str, new: str) -> Files:
    """Replace the text of config.json and put its checksum right."""
    text = files[CONFIG].decode()
    assert old in text
    own = settings(files)["sha256"][CONFIG]
    blank = text.replace(own, "0" * 64, 1).replace(old, new, 1)
    return {**files, CONFIG: blank.replace("0" * 64, hashlib.sha256(blank.encode()).hexdigest(), 1).encode()}


# Weights


def parts(files: Files) -> tuple[dict[str, Any], bytes]:
    """Return the header of the weights, and their data."""
    length = int.from_bytes(files[WEIGHTS][:8], "little")
    return json.loads(files[WEIGHTS][8 : 8 + length]), files[WEIGHTS][8 + length :]


def with_header(files: Files, header: Any, data: bytes | None = None) -> Files:
    """Replace the header by an object or a text, and the data."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return {**files, WEIGHTS: len(text).to_bytes(8, "little") + text + (parts(files)[1] if data is None else data)}


def with_entry(files: Files, name: str, **changes: Any) -> Files:
    header, _ = parts(files)
    return with_header(files, {**header, name: {**header[name], **changes}})


def with_number(files: Files, name: str, number: float) -> Files:
    """Replace one number of a tensor."""
    header, data = parts(files)
    begin, end = header[name]["data_offsets"]
    kind = {"F32": "<f4", "F16": "<f2", "I8": "i1"}[header[name]["dtype"]]
    tensor = np.frombuffer(data[begin:end], kind).copy()
    tensor[len(tensor) // 2] = number
    return with_header(files, header, data[:begin] + tensor.tobytes() + data[end:])


def headers(files: Files) -> Iterator[tuple[str, Files]]:
    """Return files of weights with a wrong header."""
    right, data = parts(files)
    table, bias = "embedding.weight", "lstm.bias_ih_l0"
    begin, end = right[table]["data_offsets"]
    size = end - begin
    for what, offsets in {
        "that overlap": [begin - 4, end - 4],
        "with a gap": [begin + 4, end + 4],
        "that are negative": [-size, 0],
        "that are huge": [2**40, 2**40 + size],
        "at the end of 64 bits": [2**64 - size, 2**64],
        "of 400 digits": [10**400, 10**400 + size],
        "of fractions": [begin + 0.5, end + 0.5],
        "of text": [str(begin), str(end)],
        "of an object": {"begin": begin, "end": end},
    }.items():
        yield f"offsets {what}", with_entry(files, table, data_offsets=offsets)
    for kind in ("F64", "F16", "BF16", "I8", "U8", "I64", "BOOL", "F32 ", "f32", "", "pickle", None, 4, [], {}):
        if kind != right[table]["dtype"]:
            yield f"type {kind!r}", with_entry(files, table, dtype=kind)
    rows, width = right[table]["shape"]
    for shape in (
        [], [rows], [rows * width], [width, rows], [rows, width, 1], [-rows, -width], [rows, -width], [2**40, width],
        [2**32, 2**32], [2**63, 2**63], [10**400, 0], [0, width], [rows + 1, width], [rows - 1, width],
        [rows + 0.5, width], [str(rows), width], [None, width], None, "shape", 7, {"rows": rows},
    ):  # fmt: skip
        yield f"shape {str(shape)[:40]}", with_entry(files, table, shape=shape)
    for name in right:
        yield f"without {name}", with_header(files, {n: entry for n, entry in right.items() if n != name})
        entry = right[name]
        for key in entry:
            short = {k: value for k, value in entry.items() if k != key}
            yield f"{name} without {key}", with_header(files, {**right, name: short})
    for name in ("../../../etc/passwd", "/etc/passwd", "", "head.weight", "a\0b", "lstm.bias_ih_l0\n", "os.system"):
        end_of_all = len(data)
        more = {"dtype": "F32", "shape": [1], "data_offsets": [end_of_all, end_of_all + 4]}
        yield f"and {name!r} besides", with_header(files, {**right, name: more}, data + b"\0" * 4)
        yield f"{name!r} instead", with_header(files, {(name if n == bias else n): e for n, e in right.items()})
    text = json.dumps(right)
    entry = json.dumps({table: right[table]})[1:-1]
    for what, content in {
        "a field twice": text[:-1] + ", " + entry + "}",
        "an entry that is a list": json.dumps({**right, table: [1, 2, 3]}),
        "null": "null",
        "an empty object": "{}",
        "cut off": text[:-1],
        "not JSON": "\x80\x04K\x01.",
        "lists 30,000 deep": "[" * 30_000,
        "lists in an entry": text[:-1] + ', "x": ' + "[" * 20_000 + "]" * 20_000 + "}",
        "an integer of 20,000 digits": text[:-1] + ', "x": ' + "9" * 20_000 + "}",
        "infinity as offsets": text.replace(f"{begin}, {end}", "-Infinity, Infinity"),
    }.items():
        yield f"header: {what}", with_header(files, content)
    for more in (b"\0", b"\0" * 4, b"x" * 1_000):
        yield f"{len(more)} bytes besides", with_header(files, right, data + more)
    yield "a byte short", with_header(files, right, data[:-1])
    yield "without data", with_header(files, right, b"")
    for length in (0, 1, 2**16, 2**16 + 1, 10**8, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1):
        yield f"header of {length:,} bytes", {**files, WEIGHTS: length.to_bytes(8, "little") + files[WEIGHTS][8:]}
    yield "a file of 8 bytes", {**files, WEIGHTS: files[WEIGHTS][:8]}


# Vocabulary


def vocabularies(files: Files) -> Iterator[tuple[str, Files]]:
    """Return wrong vocabularies."""
    text = files[VOCABULARY].decode("utf-8")
    changes: Mapping[str, str | bytes] = {
        "a word more": text + "more\n",
        "a word less": text.partition("\n")[2],
        "no word": "",
        "a million words": "".join(f"w{i}\n" for i in range(1_000_000)),
        "a word twice": text.replace("old\n", "how\n"),
        "a newline in a word": text.replace("old", "o\nld"),
        "an empty word": text.replace("old", ""),
        "a NUL in a word": text.replace("old", "o\0ld"),
        "a carriage return": text.replace("old", "o\rld"),
        "a space in a word": text.replace("old", "o ld"),
        "a line separator": text.replace("old", "o\u2028ld"),
        "a no-break space": text.replace("old", "o\xa0ld"),
        "no end of the last line": text[:-1],
        "an empty line at the end": text + "\n",
        "bytes that are no UTF-8": text.encode().replace(b"old", b"\xff\xfe"),
        "half a surrogate pair": text.encode().replace(b"old", b"\xed\xa0\x80"),
        "UTF-16": text.encode("utf-16"),
    }
    for what, content in changes.items():
        yield what, {**files, VOCABULARY: content.encode() if isinstance(content, str) else content}


# Settings that are wrong


def configs(files: Files) -> Iterator[tuple[str, Files]]:
    """Return wrong settings. `in_form` puts their checksums right."""
    right = settings(files)
    for size in (2**31, 2**40, 2**63, 2**70, 10**400):
        digits = f"{len(str(size))} digits"
        yield f"embedding of {digits}", with_config(files, embedding=size)
        yield f"hidden of {digits}", with_config(files, hidden=size)
        yield f"both of {digits}", with_config(files, embedding=size, hidden=size)
        yield f"buckets of {digits}", with_config(files, buckets=size)
    for size in (0, -1, -(2**40), 1.0, 4.0, "4", True, [4], {"4": 4}, float("nan"), float("inf")):
        yield f"hidden {size!r}", with_config(files, hidden=size, embedding=size)
        if size != 0 or type(size) is not int:
            yield f"buckets {size!r}", with_config(files, buckets=size)
    for key in ("colour", "__class__", "self", "os.system", "", "a\nb", "\x1b[2J", "x" * 100_000):
        yield f"config with {key[:20]!r}", with_config(files, **{key: 1})
        yield f"calibration with {key[:20]!r}", with_settings(files, calibration={**right["calibration"], key: 1})
        yield f"settings with {key[:20]!r}", with_settings(files, **{key: 1})
    for key in ("config", "threshold", "calibration", "facts"):
        yield f"without {key}", {**files, CONFIG: json.dumps({k: v for k, v in right.items() if k != key}).encode()}
        for value in (None, [], [[]], "text", "", 3, -1, float("nan"), float("inf"), 10**400, True, {"a": 1}):
            if not (key == "facts" and isinstance(value, dict)):
                yield f"{key} {str(value)[:20]!r}", with_settings(files, **{key: value})
    for key in right["calibration"]:
        for value in (None, [], "6", True, float("nan"), float("inf"), float("-inf"), 10**400):
            calibration = {**right["calibration"], key: value}
            yield f"{key} {str(value)[:20]!r}", with_settings(files, calibration=calibration)


def versions(files: Files) -> Iterator[tuple[str, Files]]:
    """Return formats that this version does not read."""
    for version in (4, 1, 0, -3, 3.0, 2.0, "3", True, None, [3], {"3": 3}, 2**70, 10**400, float("nan"), float("inf")):
        yield f"format {str(version)[:20]!r}", with_settings(files, format=version)


def texts(files: Files) -> Iterator[tuple[str, Files]]:
    """Return files config.json that we never write. Their own checksums are right if they can be."""
    margin = '"margin": 0.25'
    for what, old, new in (
        ("a field twice", margin, f"{margin}, {margin}"),
        ("a setting twice", '"threshold": 0.5', '"threshold": 0.5, "threshold": 0.5'),
        ("the checksums twice", '"facts"', '"sha256": {}, "facts"'),
        ("lists 100,000 deep", '"note": ', '"note": ' + "[" * 100_000 + "]" * 100_000 + ', "more": '),
        ("objects 100,000 deep", '"note": ', '"note": ' + '{"a":' * 100_000 + "1" + "}" * 100_000 + ', "more": '),
        ("an integer of 3 million digits", margin, '"margin": ' + "9" * 3_000_000),
        ("an integer of 3 million digits in facts", '"note": ', '"more": -' + "9" * 3_000_000 + ', "note": '),
        ("an exponent of a million digits", margin, '"margin": 1e' + "9" * 1_000_000),
        ("infinity", margin, '"margin": Infinity'),
        ("a comment", margin, f"{margin} /* */"),
        ("text after the end", "\n}\n", "\n}\n{}"),
        ("a byte order mark", "{", "\ufeff{"),
        ("a control character", '"note": "', '"note": "\x01'),
    ):  # fmt: skip
        yield what, with_text(files, old, new)
    for what, content in {
        "nothing": b"",
        "a list": b"[1, 2]",
        "UTF-16": files[CONFIG].decode().encode("utf-16"),
        "no UTF-8": files[CONFIG].replace(b'"best"', b'"\xff"'),
        "lists 100,000 deep": b"[" * 100_000,
        "Python code": b"__import__('os').system('true')",
    }.items():
        yield f"{what} instead", {**files, CONFIG: content}


def checksums(files: Files) -> Iterator[tuple[str, Files]]:
    """Return invalid checksums."""
    right = settings(files)["sha256"]
    for what, sums in {
        "of null": None,
        "in a list": list(right.values()),
        "of another file besides": {**right, "../../../etc/passwd": "0" * 64},
        "of another name": {**{name: right[name] for name in (CONFIG, WEIGHTS)}, "../vocabulary.txt": "0" * 64},
        "without its own": {name: right[name] for name in (VOCABULARY, WEIGHTS)},
    }.items():
        yield f"checksums {what}", with_settings(files, sha256=sums)
    for name in NAMES:
        for value in ("", "0" * 64, right[name][:-1], right[name] + "\n", right[name].upper(), None, 0, [], {}):
            yield f"{name} {str(value)[:12]!r}", with_settings(files, sha256={**right, name: value})


Attacks = Callable[[Files], Iterator[tuple[str, Files]]]
KINDS: dict[str, Attacks] = {
    "headers of the weights": headers,
    "vocabularies": vocabularies,
    "settings": configs,
    "format versions": versions,
    "texts of config.json": texts,
    "checksums": checksums,
}
