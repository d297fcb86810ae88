"""Errors that a user can cause. The command line prints them without a traceback."""


class UserError(Exception):
    """A user error. Its message says what is wrong, where (file, line, value), and what to do."""


class DataError(UserError):
    """A pairs file that cannot be used."""


class ModelError(UserError):
    """A model folder that is missing or cannot be used."""


class ArchiveError(UserError):
    """An archive that is missing, in use or damaged, or ids that exist already or do not exist."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position  # of the wrong id among those given, if an id is wrong


class BusyError(UserError):
    """Another process is writing there; a later try may succeed."""


class ArchiveBusyError(ArchiveError, BusyError):
    """An archive to which another process is writing."""


class DivergedError(UserError):
    """A training run whose loss or weights are no longer finite."""
