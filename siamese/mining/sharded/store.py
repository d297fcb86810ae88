"""Files in a folder that all workers reach, by any fsspec address; tables as Arrow files, cut into groups.

A table that is cut into groups is how rows move between stages: each piece of the work writes one file, with one record
batch for each group, and whoever works on a group reads that batch of every file and nothing else. So neither side
holds more than its own part, and what is written stays when a worker dies.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from siamese.errors import UserError
from siamese.system.files import replacing
from siamese.system.locking import LOCK, locked


def connect(address: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of an address, and the path there.

    Raises:
        UserError: an address that fsspec does not know, or whose package is not installed.
    """
    try:
        return fsspec.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise UserError(f"{address}: {error}; expected a path or an address that fsspec knows") from None


def absolute(address: str) -> str:
    """The same address from any folder of any machine."""
    files, path = connect(address)
    return path if isinstance(files, LocalFileSystem) else str(files.unstrip_protocol(path))


@contextmanager
def held(folder: str) -> Iterator[None]:
    """Hold a folder for the length of the block, where it is this machine's: other file systems know no locks.

    An empty one is removed in the end, who ever made it.
    """
    files, path = connect(folder)
    if not isinstance(files, LocalFileSystem):
        yield
        return
    with locked(path):
        yield
    with suppress(OSError):
        Path(path).rmdir()


def clear(folder: str) -> None:
    """Remove all that is in a folder, but for its lock."""
    for name in names(folder):
        if name != LOCK:
            remove(f"{folder}/{name}")


def exists(address: str) -> bool:
    """Whether there is a file."""
    files, path = connect(address)
    return bool(files.exists(path))


def names(folder: str) -> list[str]:
    """The names of the files in a folder, sorted; none where there is no folder."""
    files, path = connect(folder)
    if not files.exists(path):
        return []
    return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in files.ls(path, detail=False))


def remove(address: str) -> None:
    """Remove a file, or a folder with all that is in it."""
    files, path = connect(address)
    if files.exists(path):
        files.rm(path, recursive=True)


@contextmanager
def local_copy(address: str) -> Iterator[Path]:
    """A file under a path of this machine: itself, or a copy for the length of the block, with the same ending."""
    files, path = connect(address)
    if isinstance(files, LocalFileSystem):
        yield Path(path)
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / Path(path).name
        files.get_file(path, str(copy))
        yield copy


@contextmanager
def writing(address: str) -> Iterator[Path]:
    """A path of this machine; on leaving without an error the file there is put under the address, whole."""
    files, path = connect(address)
    if isinstance(files, LocalFileSystem):
        with replacing(path) as temporary:
            yield temporary
        return
    with TemporaryDirectory() as folder:
        temporary = Path(folder) / "file"
        temporary.touch()
        yield temporary
        files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        files.put_file(str(temporary), path)


def write_json(address: str, value: Any) -> None:
    """Write a value as JSON."""
    with writing(address) as path:
        path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def read_json(address: str) -> Any:
    """What `write_json` wrote."""
    files, path = connect(address)
    return json.loads(files.cat_file(path))


def write_table(address: str, table: pa.Table) -> None:
    """Write a table whole."""
    write_groups(address, table, np.zeros(len(table), np.int64), 1)


def write_groups(address: str, table: pa.Table, group: np.ndarray, groups: int, rows: np.ndarray | None = None) -> None:
    """Write a table cut into groups.

    Args:
        address: of the file.
        table: n rows.
        group: (m,) from 0 to groups − 1.
        groups: how many there are.
        rows: (m,) the rows that go there, in the order that they shall have within their group; None: all, one each.
    """
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(groups + 1))
    taken = order if rows is None else rows[order]
    with writing(address) as path, pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        for start, stop in pairwise(ends):  # one at a time, as a row may go to many
            part = table.take(pa.array(taken[start:stop])).combine_chunks()
            writer.write_batch(part.to_batches()[0] if stop > start else _nothing(table.schema))


def _nothing(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def read_group(address: str, group: int) -> pa.RecordBatch:
    """One group of a file that `write_groups` wrote."""
    files, path = connect(address)
    if isinstance(files, LocalFileSystem):
        with pa.memory_map(path) as source:
            return pa.ipc.open_file(source).get_batch(group)
    with files.open(path, "rb") as remote:
        return pa.ipc.open_file(pa.PythonFile(remote, "r")).get_batch(group)


def read_groups(addresses: Sequence[str], group: int) -> pa.Table:
    """One group of several files, one after the other."""
    return pa.Table.from_batches([read_group(address, group) for address in addresses])


def read_table(address: str) -> pa.RecordBatch:
    """What `write_table` wrote."""
    return read_group(address, 0)


def matrix(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A column of lists of equal length as an array of its own, (n, length)."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    rows = np.empty((len(column), column.type.list_size), column.type.value_type.to_pandas_dtype())
    start = 0
    for chunk in chunks:
        rows[start : start + len(chunk)] = chunk.flatten().to_numpy().reshape(len(chunk), -1) if len(chunk) else 0
        start += len(chunk)
    return rows


def lists(rows: np.ndarray) -> pa.FixedSizeListArray:
    """The same the other way: (n, length) to a column of lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
