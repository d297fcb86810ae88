"""The command line: one short function per command."""

from siamese.cli.entry import main

__all__ = ["main"]
