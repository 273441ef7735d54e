"""`outcomes data`, `changes` and `revisions`: what the public knew, what changed, how often figures were revised. From the public store alone."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pipeline.cli.output import Printer, exit_codes
from pipeline.errors import UsageError

SHOWN_ROWS = 50

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print the rows as CSV, and nothing else.")]
Fund = Annotated[str | None, typer.Option(help="Fund; needed when there are several.")]


def data(
    table: Annotated[str, typer.Argument(help="Table, like outcomes_by_quarter.")],
    as_of: Annotated[str | None, typer.Option(help="Day like 2024-06-30 or version like 1.2.0; otherwise the newest that stands.")] = None,
    fund: Fund = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Print a table as the public knew it on a day, or as a version has it.

    A day means the version that stood at its end. A version that was withdrawn says so.

    Examples: outcomes data performance · outcomes data outcomes_by_quarter --as-of 2024-06-30 --csv
    """
    from pipeline import bootstrap
    from pipeline.application import known
    from pipeline.stages.publication import csv_bytes

    printer = Printer(as_json=as_json)
    with exit_codes(printer):
        _check_form(as_json=as_json, as_csv=as_csv)
        public = bootstrap.public_store_of(os.environ)
        found = known.read_data(public, known.sole_fund(public, fund), table, as_of)
        if found.note:
            printer.say(found.note)
        if as_csv:
            typer.echo(csv_bytes(found.rows), nl=False)
            return
        about = {name: getattr(found, name) for name in ("fund_id", "table", "version", "as_of", "published_at", "status", "note")}
        rows = found.rows.to_pylist() if as_json else found.rows.slice(0, SHOWN_ROWS).to_pylist()
        shown = f"{table}, version {found.version}, as of {found.as_of}: {found.rows.num_rows:,} rows"
        title = shown + (f", the first {SHOWN_ROWS}" if found.rows.num_rows > SHOWN_ROWS else "")
        printer.table(about | {"rows": rows}, title, found.rows.column_names, [list(row.values()) for row in rows], f"{shown}.")


def changes(
    old: Annotated[str, typer.Argument(help="Older version, like 1.0.0.")],
    new: Annotated[str, typer.Argument(help="Newer version, like 1.2.0.")],
    fund: Fund = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Show what changed between two published versions, cell by cell, and why; figures that were or are hidden without their values.

    Examples: outcomes changes 1.0.0 1.2.0 · outcomes changes 1.0.0 1.2.0 --csv
    """
    from pipeline import bootstrap
    from pipeline.application import history, known
    from pipeline.settings import Settings
    from pipeline.stages.publication import csv_bytes

    printer = Printer(as_json=as_json)
    with exit_codes(printer):
        _check_form(as_json=as_json, as_csv=as_csv)
        public, definitions = bootstrap.public_store_of(os.environ), bootstrap.definitions_of(Settings.parse(os.environ))
        found = history.compare_versions(public, definitions, known.sole_fund(public, fund), old, new)
        if as_csv:
            typer.echo(csv_bytes(found.cells), nl=False)
            return
        document = {"fund_id": found.fund_id, "old": found.old, "new": found.new, "steps": found.steps, "cells": found.cells.to_pylist()}
        printer.result(document if as_json else None, *history.describe(found))


def revisions(fund: Fund = None, as_json: Json = False) -> None:
    """Show how often and by how much the figures of each column were revised, over all versions that stand.

    The triangles themselves are `revisions.parquet` and `revisions.csv` beside the list of versions.

    Example: outcomes revisions --fund SYN-LCF
    """
    from pipeline import bootstrap
    from pipeline.application import history, known
    from pipeline.settings import Settings
    from pipeline.stages import triangles

    printer = Printer(as_json=as_json)
    with exit_codes(printer):
        public, definitions = bootstrap.public_store_of(os.environ), bootstrap.definitions_of(Settings.parse(os.environ))
        found = triangles.measure(history.make_triangles(public, definitions, known.sole_fund(public, fund)))
        rows = [
            (
                item.table,
                item.column,
                item.figures,
                f"{item.revised_share:.1%}",
                item.mean_revision,
                item.mean_absolute_revision,
                item.mean_versions_to_last,
            )
            for item in found
        ]
        titles = ("Table", "Column", "Figures", "Revised", "Mean revision", "Mean size", "Versions to the last value")
        printer.table(found, "Revisions", titles, rows, "No figure was published by two versions yet.")


def _check_form(*, as_json: bool, as_csv: bool) -> None:
    if as_json and as_csv:
        raise UsageError("Ask for --json or for --csv, not for both.")
