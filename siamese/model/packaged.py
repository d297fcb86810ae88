"""The models that come with the package."""

from pathlib import Path

from siamese.config import PACKAGED, PRETRAINED
from siamese.errors import ModelError

SHIPPED = Path(__file__).parents[1] / "pretrained"  # the folder of the default one


def model_folder_of(name: str | Path) -> Path:
    """Return the folder of a packaged model by its name, or else the name as a path. It may not exist.

    Raises:
        ModelError: the packaged model is not installed.
    """
    if str(name) not in PACKAGED:
        return Path(name)
    if str(name) == PRETRAINED:
        return SHIPPED
    if not (folder := SHIPPED.with_name(f"{PRETRAINED}_{name}")).is_dir():
        raise ModelError(
            f"{name}: this model is not installed; copy {folder.name}/ of the project's source to {folder}"
        )
    return folder
