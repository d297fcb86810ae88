"""The errors that a user can cause; the command line prints them without a traceback."""


class UserError(Exception):
    """What went wrong, where (file, line, value), and what would be accepted."""


class DataError(UserError):
    """A pairs file that cannot be used."""


class ModelError(UserError):
    """A model folder that is missing or cannot be used."""


class ArchiveError(UserError):
    """An archive of questions that is missing, in use or damaged, or ids that do not fit it."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position  # which of the ids that were given, where it is one of them


class DivergedError(UserError):
    """A training whose loss or weights are no longer finite."""
