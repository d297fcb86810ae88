"""Questions in shards, as many workers read them: from files to the vectors of the distinct questions.

A question's number says where it stands: the shard, and the place among the questions of that shard that are not blank.
So numbers are in the order of the files, and no worker has to know how many questions the others have.

Every function here is a unit of work: it reads files, writes files, and returns a small summary. What it writes depends
on nothing but what it is given, so a unit whose worker died is simply done again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from siamese.errors import DataError
from siamese.mining.mine import PROGRAM, vectors_of
from siamese.mining.sharded import store
from siamese.model.model import SiameseModel
from siamese.pairs.reading import QuestionRow, read_records

PLACE = 40  # bits of a question's number that are its place in the shard
A_ROW = 1_600  # bytes that a question takes while its cells are joined: its vector thrice, its text, its cells
A_PIECE = 24_576  # bytes of memory that are allowed for each question of a piece of work

Summary = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What every unit of work has to know."""

    work: str  # the folder for what is on its way
    column: str  # of the questions
    id_column: str | None
    lowest: int  # millionths that a pair needs
    max_pairs: int | None
    memory: int  # MB a worker
    linkage: str = ""  # of the clusters; empty: none are wanted

    def at(self, *parts: str) -> str:
        """The address of a file in the work folder."""
        return "/".join((self.work, *parts)) + ".arrow"

    @property
    def piece(self) -> int:
        """Questions that are read, encoded and put into cells at a time."""
        return max(1_024, (self.memory << 20) // A_PIECE)

    @property
    def block(self) -> int:
        """Questions of which a worker holds two such blocks while it joins cells."""
        return max(1_024, ((self.memory - PROGRAM) << 20) // A_ROW // 2)


def name_of(shard: int, piece: int) -> str:
    """Of the files of a piece."""
    return f"{shard:06}-{piece:06}"


def read_shard(job: Job, shared: None, shard: int, address: str, groups: int) -> Summary:
    """Read one shard, piece by piece, and send the digest of each text to one of the groups, to find copies.

    Raises:
        DataError: a shard that cannot be read, or with ids in some rows only.
    """
    rows: list[tuple[str, str | None]] = []
    count = pieces = blank = 0
    ids: bool | None = None
    try:
        with store.local_copy(address) as path:
            try:
                for record in read_records(path, job.column, job.id_column):
                    if not record.question.strip():
                        blank += 1
                        continue
                    ids = _with_id(record, ids, path)
                    rows.append((record.question, record.id))
                    count += 1
                    if len(rows) == job.piece:
                        _write_piece(job, shard, pieces, rows, groups)
                        rows, pieces = [], pieces + 1
            except DataError as error:
                raise DataError(str(error).replace(str(path), address)) from None
    except FileNotFoundError:
        raise DataError(f"{address}: no such file") from None
    if rows:
        _write_piece(job, shard, pieces, rows, groups)
        pieces += 1
    return {"shard": shard, "address": address, "pieces": pieces, "rows": count, "blank": blank, "ids": ids}


def _with_id(record: QuestionRow, before: bool | None, path: Any) -> bool:
    has = record.id is not None
    if before is not None and has != before:
        raise DataError(
            f"{path}, line {record.line}: {'an' if has else 'no'} id, unlike the rows before; expected all or none"
        )
    return has


def _write_piece(job: Job, shard: int, piece: int, rows: Sequence[tuple[str, str | None]], groups: int) -> None:
    texts = pa.array([text for text, _ in rows], pa.large_string())
    ids = pa.array([id for _, id in rows], pa.large_string())
    number = (shard << PLACE) + piece * job.piece + np.arange(len(rows))
    name = name_of(shard, piece)
    store.write_table(job.at("questions", name), pa.table({"number": number, "question": texts, "id": ids}))
    digest = _digests(text.strip() for text, _ in rows)
    table = pa.table({"low": digest[:, 0], "high": digest[:, 1], "number": number, "id": ids})
    store.write_groups(job.at("texts", name), table, (digest[:, 0] % groups).astype(np.int64), groups)
    if rows[0][1] is not None:
        group = (_digests(str(id) for _, id in rows)[:, 0] % groups).astype(np.int64)
        store.write_groups(job.at("ids", name), table, group, groups)


def _digests(texts: Any) -> np.ndarray:
    """128 bits of each text, (n, 2) uint64: among a billion texts no two are likely to share them."""
    digests = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
    return np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)


def find_copies(job: Job, shards: Sequence[Summary], group: int) -> Summary:
    """Among the texts of one group, find those that stand earlier too, and tell the pieces of both.

    Raises:
        DataError: an id that two texts have.
    """
    names = [name_of(shard["shard"], piece) for shard in shards for piece in range(shard["pieces"])]
    if any(shard["ids"] for shard in shards):
        _check_ids(store.read_groups([job.at("ids", name) for name in names], group), shards)
    table = store.read_groups([job.at("texts", name) for name in names], group)  # in the order of the numbers
    number = table["number"].to_numpy()
    text = np.stack((table["low"].to_numpy(), table["high"].to_numpy()), axis=1)
    _, first, which, counts = np.unique(text, axis=0, return_index=True, return_inverse=True, return_counts=True)
    which = which.ravel()  # numpy 2.0 has a column here
    again = np.flatnonzero((counts[which] > 1) & (first[which] != np.arange(len(number))))
    ids = table["id"].take(pa.array(again)).to_pylist()
    firsts = table["id"].take(pa.array(first[which[again]])).to_pylist()
    seen: dict[int, set[str]] = {}
    is_copy = np.ones(len(again), bool)
    for i, (row, id, of_first) in enumerate(zip(again.tolist(), ids, firsts)):
        if id is not None:  # an id may occur again with its text, as in a file of pairs: that is no copy
            known = seen.setdefault(int(which[row]), {of_first})
            is_copy[i] = id not in known
            known.add(id)
    before = np.cumsum([0, *(shard["pieces"] for shard in shards)])

    def piece_of(numbers: np.ndarray) -> np.ndarray:
        return before[numbers >> PLACE] + (numbers & ((1 << PLACE) - 1)) // job.piece

    leaving, of = number[again], number[first[which[again]]]
    copies = pa.table({"first": of, "number": leaving, "id": pa.array(ids, pa.large_string())})
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
    """The distinct questions of a piece and their vectors.

    Args:
        job, model: what is wanted of which model.
        shard, piece: which.
        place: of the piece among all.
        groups: that copies were looked for in.
    """
    name = name_of(shard, piece)
    table = store.read_table(job.at("questions", name))
    leaving = store.read_groups([job.at("leaving", f"{group:06}") for group in range(groups)], place)[
        "number"
    ].to_numpy()
    if len(leaving):
        table = table.take(pa.array(np.flatnonzero(~np.isin(table["number"].to_numpy(), leaving))))
    texts = table["question"].to_pylist()
    vectors = vectors_of(texts, model)
    store.write_table(job.at("vectors", name), _with_vectors(table, vectors))
    if job.linkage:
        copies = store.read_groups([job.at("copies", f"{group:06}") for group in range(groups)], place)
        copies = copies.sort_by([("first", "ascending"), ("number", "ascending")])
        known = table.take(pa.array(np.searchsorted(table["number"].to_numpy(), copies["first"].to_numpy())))
        columns = {"first": copies["first"], "question": known["question"], "id": known["id"], "copy": copies["id"]}
        store.write_table(job.at("copied", name), pa.table(columns))
    return {"name": name, "rows": len(texts)}


def _with_vectors(table: pa.RecordBatch, vectors: np.ndarray) -> pa.Table:
    return pa.Table.from_batches([table]).append_column("vector", store.lists(vectors))
