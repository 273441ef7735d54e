"""How the command line speaks: one printer for people and programs, one place where exceptions become exit codes."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.errors import OpenOutcomesError, UsageError

DATA_HAS_ERRORS = 1


def to_plain(value: Any) -> Any:
    """Return a value as plain JSON: dataclasses become objects, dates and keys text, money text with its pence."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Sequence | set | frozenset):
        return [to_plain(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal | PurePath):
        return str(value)
    return str(value)


class Printer:
    """Prints results on standard output and everything else on standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self.err = Console(file=sys.stderr, highlight=False, soft_wrap=True)

    def result(self, document: Any, *lines: str) -> None:
        """Print a result: the document for a program, the lines for a person."""
        if self.as_json:
            self.out.print(json.dumps(to_plain(document), ensure_ascii=False, indent=2), markup=False)
            return
        for line in lines:
            self.out.print(line, markup=False)

    def table(self, document: Any, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], nothing: str) -> None:
        """Print rows as a table for a person, or the document for a program."""
        if self.as_json or not rows:
            self.result(document, nothing)
            return
        table = Table(title=title, title_justify="left", header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(escape("" if cell is None else str(cell)) for cell in row))
        Console(file=sys.stdout, highlight=False).print(table)

    def say(self, line: str) -> None:
        """Tell a person something beside the result."""
        self.err.print(line, markup=False)

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar on standard error while work is done; nothing when nobody watches."""
        if self.as_json or not self.err.is_terminal:
            yield lambda done: None  # noqa: ARG005
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.err, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done: bar.advance(task, done)


@contextmanager
def exit_codes(printer: Printer) -> Iterator[None]:
    """Turn the pipeline's exceptions into one line of advice and their exit code."""
    try:
        yield
    except OpenOutcomesError as error:
        if printer.as_json:
            printer.result({"error": type(error).__name__, "message": str(error), "exit_code": error.exit_code})
        else:
            printer.say(f"Error: {error}")
        raise SystemExit(error.exit_code) from error


def write_new(path: Path, content: bytes) -> None:
    """Write a file that was asked for. Raises: UsageError when it cannot be written, or other bytes stand there: somebody's work, perhaps."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        if not path.is_file() or path.read_bytes() != content:
            raise UsageError(f"{path} is there already and is not written over. Name another file with --output, or move it away.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}. Name another file with --output.") from error
