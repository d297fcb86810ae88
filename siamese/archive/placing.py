"""Put a new archive into its folder, all or none, in place of one that nobody has changed since it was built."""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from siamese.archive.database import FILES, Database
from siamese.archive.sqlite import DATABASE, refusing
from siamese.archive.vectors import VECTORS
from siamese.errors import ArchiveError
from siamese.system.files import sync_folder
from siamese.system.locking import locked
from siamese.system.outputs import refuse_links

BUILDING = ".building"


@contextmanager
def placing(folder: Path, force: bool) -> Iterator[Path]:
    """Yield an empty folder, whose archive comes into `folder` if the block ends without an error."""
    with locked(folder):
        refuse_links(folder, BUILDING, *FILES)
        _check_replaceable(folder, force)
        building = folder / BUILDING
        shutil.rmtree(building, ignore_errors=True)  # from a process that was killed
        building.mkdir()
        try:
            with refusing(folder):
                yield building
            _check_replaceable(folder, force)  # again, since others may have added to it meanwhile
            for name in FILES:  # the database first: without it there is no archive
                (folder / name).unlink(missing_ok=True)
            os.replace(building / VECTORS, folder / VECTORS)
            sync_folder(folder)
            os.replace(building / DATABASE, folder / DATABASE)  # from here on the archive exists
            sync_folder(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def _check_replaceable(folder: Path, force: bool) -> None:
    """Raise an ArchiveError if a folder has an archive that was changed since it was built, or a file of its names."""
    if force:
        return
    if (folder / DATABASE).exists():
        with closing(Database(folder)) as earlier:
            if earlier.facts["changes"] <= 1:
                return
        raise ArchiveError(f"{folder}: an archive is there already, changed since it was built; `archive add` adds to "
                           "it, --force replaces it")  # fmt: skip
    if (folder / VECTORS).exists() and not (folder / BUILDING).exists():  # else from a build that was killed
        raise ArchiveError(f"{folder / VECTORS}: exists without an archive; choose another folder, or use --force")
