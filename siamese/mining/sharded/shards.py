"""Read questions in shards, by many workers: from files to the vectors of the distinct questions.

A question's number is its shard and its place among the questions of that shard that are not blank. So numbers are in
the order of the files, and no worker needs to know how many questions the others have.

Every function here does a unit of work: it reads files, writes files, and returns a small summary. Its output depends
only on its arguments, so a unit whose worker died is simply done again. The first two arguments, the job and `shared`,
are the same for all units of a stage.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from siamese.errors import DataError
from siamese.mining.mine import PROGRAM, vectors_of
from siamese.mining.sharded import store
from siamese.model.model import SiameseModel
from siamese.model.verdict import Verdict
from siamese.pairs.questions import FilledRows, read_records
from siamese.text.cleaning import clean

PLACE = 40  # bits of a question's number that are its place in the shard
A_ROW = 1_600  # bytes of a question while its cells are joined: its vector three times, its text, its cells
A_PIECE = 24_576  # bytes of memory for each question of a piece

Summary = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """The settings that all units of work share."""

    work: str  # the folder of intermediate files
    column: str  # of the questions
    id_column: str | None
    lowest: int  # millionths that a pair needs
    max_pairs: int | None
    memory: int  # MB a worker
    linkage: str = ""  # of the clusters; empty if none are wanted
    verdict: Verdict | None = None  # orders the pairs and removes some; None: the similarity orders them

    def at(self, *parts: str) -> str:
        """Return the address of a file in the work folder."""
        return "/".join((self.work, *parts)) + ".arrow"

    @property
    def piece(self) -> int:
        """The number of questions that are read, encoded and put into cells at a time."""
        return max(1_024, (self.memory << 20) // A_PIECE)

    @property
    def block(self) -> int:
        """The number of questions of a block, of which a worker holds two while it joins cells."""
        return max(1_024, ((self.memory - PROGRAM) << 20) // A_ROW // 2)


def name_of(shard: int, piece: int) -> str:
    """Return the name of the files of a piece."""
    return f"{shard:06}-{piece:06}"


def read_shard(job: Job, shared: None, shard: int, address: str, groups: int) -> Summary:
    """Read a shard piece by piece, and send the digest of each text to one of the groups, to find copies.

    Raises:
        DataError: the shard cannot be read, or only some of its rows have ids.
    """
    count = pieces = 0
    try:
        with store.local_copy(address) as path:
            filled = FilledRows(read_records(path, job.column, job.id_column), f"{path}, line")
            questions = ((record.question, record.id) for _, record in filled)
            try:
                while rows := list(islice(questions, job.piece)):
                    _write_piece(job, shard, pieces, rows, groups)
                    count, pieces = count + len(rows), pieces + 1
            except DataError as error:
                raise DataError(str(error).replace(str(path), address)) from None
    except FileNotFoundError:
        raise DataError(f"{address}: no such file") from None
    return {
        "shard": shard, "address": address, "pieces": pieces, "rows": count, "blank": filled.blank,
        "ids": filled.with_ids,
    }  # fmt: skip


def _write_piece(job: Job, shard: int, piece: int, rows: Sequence[tuple[str, str | None]], groups: int) -> None:
    texts = pa.array([text for text, _ in rows], pa.large_string())
    ids = pa.array([id for _, id in rows], pa.large_string())
    number = (shard << PLACE) + piece * job.piece + np.arange(len(rows))
    name = name_of(shard, piece)
    store.write_table(job.at("questions", name), pa.table({"number": number, "question": texts, "id": ids}))
    cleaned = [clean(text) for text, _ in rows]
    digest = _digests(cleaned)
    table = pa.table({"low": digest[:, 0], "high": digest[:, 1], "number": number, "id": ids})
    own = pa.array([text if text != plain else None for (text, _), plain in zip(rows, cleaned)], pa.large_string())
    store.write_groups(
        job.at("texts", name), table.append_column("own", own), (digest[:, 0] % groups).astype(np.int64), groups
    )
    if rows[0][1] is not None:
        group = (_digests(str(id) for _, id in rows)[:, 0] % groups).astype(np.int64)
        store.write_groups(job.at("ids", name), table, group, groups)


def _digests(texts: Any) -> np.ndarray:
    """Hash each text to 128 bits, (n, 2) uint64; among a billion texts a collision is unlikely."""
    digests = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
    return np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)


def find_copies(job: Job, shards: Sequence[Summary], group: int) -> Summary:
    """Find copies of earlier texts in one group, and report each to its own piece and to that of the earlier text.

    Raises:
        DataError: two texts have the same id.
    """
    names = [name_of(shard["shard"], piece) for shard in shards for piece in range(shard["pieces"])]
    if any(shard["ids"] for shard in shards):
        _check_ids(store.read_groups([job.at("ids", name) for name in names], group), shards)
    table = store.read_groups([job.at("texts", name) for name in names], group)  # in the order of the numbers
    number = table["number"].to_numpy()
    text = np.stack((table["low"].to_numpy(), table["high"].to_numpy()), axis=1)
    _, first, which = np.unique(text, axis=0, return_index=True, return_inverse=True)
    which = which.ravel()  # numpy 2.0 has a column here
    again = np.flatnonzero(first[which] != np.arange(len(number)))
    ids = table["id"].take(pa.array(again)).to_pylist()
    firsts = table["id"].take(pa.array(first[which[again]])).to_pylist()
    seen: dict[int, set[str]] = {}
    is_copy = np.ones(len(again), bool)
    for i, (row, id, of_first) in enumerate(zip(again.tolist(), ids, firsts)):
        if id is not None:  # the same id and text again, as in a file of pairs, is no copy
            known = seen.setdefault(int(which[row]), {of_first})
            is_copy[i] = id not in known
            known.add(id)
    before = np.cumsum([0, *(shard["pieces"] for shard in shards)])

    def piece_of(numbers: np.ndarray) -> np.ndarray:
        return before[numbers >> PLACE] + (numbers & ((1 << PLACE) - 1)) // job.piece

    leaving, of = number[again], number[first[which[again]]]
    own = table["own"].take(pa.array(again))  # text of a copy that is not clean
    copies = pa.table({"first": of, "number": leaving, "id": pa.array(ids, pa.large_string()), "own": own})
    store.write_groups(job.at("leaving", f"{group:06}"), pa.table({"number": leaving}), piece_of(leaving), len(names))
    rows = np.flatnonzero(is_copy)
    store.write_groups(job.at("copies", f"{group:06}"), copies, piece_of(of[rows]), len(names), rows)
    return {"copies": len(rows)}


def _check_ids(table: pa.Table, shards: Sequence[Summary]) -> None:
    ids = table["id"].to_numpy(zero_copy_only=False)
    order = np.argsort(ids, kind="stable")
    columns = [table[name].to_numpy()[order] for name in ("low", "high")]
    ids, number = ids[order], table["number"].to_numpy()[order]
    wrong = (ids[1:] == ids[:-1]) & np.logical_or(*(column[1:] != column[:-1] for column in columns))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        where = [shards[n >> PLACE]["address"] for n in number[row : row + 2].tolist()]
        raise DataError(
            f"{where[1]}: the id {ids[row]!r} was another question's, in {where[0]}; expected one question an id"
        )


def encode(job: Job, model: SiameseModel, shard: int, piece: int, place: int, groups: int) -> Summary:
    """Write the distinct questions of a piece and their vectors.

    Args:
        model: encodes the questions.
        shard, piece: of the questions.
        place: of the piece among all.
        groups: of texts, in which copies were looked for.
    """
    name = name_of(shard, piece)
    leaving, copies = (
        store.read_groups([job.at(folder, f"{group:06}") for group in range(groups)], place)
        for folder in ("leaving", "copies")
    )
    table = store.read_table(job.at("questions", name))
    table = table.filter(~np.isin(table["number"].to_numpy(), leaving["number"].to_numpy()))
    vectors = vectors_of(table["question"].to_pylist(), model)
    store.write_table(job.at("vectors", name), table.append_column("vector", store.lists(vectors)))
    copies = copies.sort_by([("first", "ascending"), ("number", "ascending")])
    known = table.take(pa.array(np.searchsorted(table["number"].to_numpy(), copies["first"].to_numpy())))
    texts = zip(copies["own"].to_pylist(), known["question"].to_pylist())
    text = pa.array([clean(first) if own is None else own for own, first in texts], pa.large_string())
    columns = {"first": copies["first"], "question": known["question"], "id": known["id"]}
    store.write_table(job.at("copied", name), pa.table(columns | {"copy": copies["id"], "text": text}))
    unknown = int((~vectors.any(axis=1)).sum())
    return {"name": name, "rows": len(table), "unknown": unknown, "copies": len(copies)}
