"""Files in a folder that all workers reach, at any fsspec address; tables as Arrow files, cut into groups.

Groups move rows between stages: each unit of work writes one file with a record batch for each group, and whoever works
on a group reads that batch of every file. So neither side holds more than its own part in memory, and the files survive
if a worker dies.
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
from siamese.system.outputs import refuse_links


def connect(address: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of an address, and the path there.

    Raises:
        UserError: fsspec does not know the address, or its package is not installed.
    """
    try:
        return fsspec.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise UserError(f"{address}: {error}; expected a path or an address that fsspec knows") from None


def absolute(address: str) -> str:
    """Return an address that is the same from any folder of any machine."""
    files, path = connect(address)
    return path if isinstance(files, LocalFileSystem) else str(files.unstrip_protocol(path))


@contextmanager
def held(folder: str) -> Iterator[None]:
    """Lock a folder for the block, and remove it afterwards if it is empty. Only a local file system has locks."""
    files, path = connect(folder)
    if not isinstance(files, LocalFileSystem):
        yield
        return
    refuse_links(Path(path).parent, Path(path).name)
    with locked(path):
        yield
    with suppress(OSError):
        Path(path).rmdir()


def clear(folder: str) -> None:
    """Remove all that is in a folder, except for its lock."""
    for name in names(folder):
        if name != LOCK:
            remove(f"{folder}/{name}")


def exists(address: str) -> bool:
    """Return whether a file exists."""
    files, path = connect(address)
    return bool(files.exists(path))


def names(folder: str) -> list[str]:
    """Return the sorted names of the files in a folder; none if it does not exist."""
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
    """Yield a local path of a file: its own, or that of a copy for the block, with the same name."""
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
    """Yield a local path. If the block ends without an error, the file there is moved to the address, atomically."""
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
    """Read a value that `write_json` wrote."""
    files, path = connect(address)
    return json.loads(files.cat_file(path))


def write_table(address: str, table: pa.Table) -> None:
    """Write a table as one group."""
    write_groups(address, table, np.zeros(len(table), np.int64), 1)


def write_groups(address: str, table: pa.Table, group: np.ndarray, groups: int, rows: np.ndarray | None = None) -> None:
    """Write a table cut into groups.

    Args:
        address: of the file.
        table: n rows.
        group: (m,) from 0 to groups − 1.
        groups: number of groups.
        rows: (m,) the row that goes to each, in the order within its group; None if each row goes to one group.
    """
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(groups + 1))
    taken = order if rows is None else rows[order]
    with writing(address) as path, pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        for start, stop in pairwise(ends):  # one at a time, since a row may go to many
            part = table.take(pa.array(taken[start:stop])).combine_chunks()
            writer.write_batch(part.to_batches()[0] if stop > start else pa.RecordBatch.from_pylist([], table.schema))


def _read_group(address: str, group: int) -> pa.RecordBatch:
    files, path = connect(address)
    if isinstance(files, LocalFileSystem):
        with pa.memory_map(path) as source:
            return pa.ipc.open_file(source).get_batch(group)
    with files.open(path, "rb") as remote:
        return pa.ipc.open_file(pa.PythonFile(remote, "r")).get_batch(group)


def read_groups(addresses: Sequence[str], group: int) -> pa.Table:
    """Read one group of files that `write_groups` wrote, one file after the other."""
    return pa.Table.from_batches([_read_group(address, group) for address in addresses])


def read_table(address: str) -> pa.Table:
    """Read a table that `write_table` wrote."""
    return read_groups([address], 0)


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of n lists of equal length as a new array, (n, length)."""
    width = column.type.list_size
    rows = np.empty((0, width), column.type.value_type.to_pandas_dtype())
    return np.concatenate([rows, *(chunk.flatten().to_numpy().reshape(-1, width) for chunk in column.chunks)])


def lists(rows: np.ndarray) -> pa.FixedSizeListArray:
    """Return an array, (n, length), as a column of lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
