"""`outcomes site`: what people read who never open a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.output import Printer, exit_codes

app = typer.Typer(no_args_is_help=True, help="Build the public site.")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.callback()
def group() -> None:
    """Build the public site."""


@app.command()
def build(
    output: Annotated[Path, typer.Option(help="Folder of the site: new, empty, or built before.")],
    fund: Annotated[str | None, typer.Option(help="Only this fund; otherwise every fund that published something.")] = None,
    as_json: Json = False,
) -> None:
    """Build the public site from the public store alone: pages, feeds, a static API, and the files of every version that stands.

    Any bucket or web server can serve the folder as it is, under any prefix; it opens from a disk as well. Run again, it writes what differs and
    removes what is gone. It stops, naming the file, when a public file is not the one that was published.

    Example: outcomes site build --output site
    """
    from pipeline import bootstrap
    from pipeline.site import build_site

    printer = Printer(as_json=as_json)
    with exit_codes(printer):
        built = build_site(bootstrap.public_store_of(os.environ), output, fund)
        printer.result(
            built,
            f"{built.pages} pages, {built.files} files, {built.size_bytes / 1e6:.1f} MB: {built.written} written, {built.removed} removed.",
            f"Open {output / 'index.html'}",
        )
