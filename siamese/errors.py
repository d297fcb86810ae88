"""The errors that a user can cause; the command line prints them without a traceback."""


class UserError(Exception):
    """What went wrong, where (file, line, value), and what would be accepted."""


class DataError(UserError):
    """A pairs file that cannot be used."""


class ModelError(UserError):
    """A model folder that is missing or cannot be used."""


class DivergedError(UserError):
    """A training whose loss or weights are no longer finite."""
