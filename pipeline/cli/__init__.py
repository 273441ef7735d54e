"""The command line: each command is one verb or one query, printed for a person or, with `--json`, for a program.

Heavy parts are imported inside commands, so that `outcomes --help` answers at once.
"""

from pipeline.cli.app import main

__all__ = ["main"]
