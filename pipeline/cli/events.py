"""`outcomes events`: the log itself."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pipeline.cli.output import Printer, exit_codes

app = typer.Typer(no_args_is_help=True, help="The log: list events, verify the chain.")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command(name="list")
def list_(
    stream: Annotated[str | None, typer.Option(help="Only this stream or those under it, like submission/SYN-01.")] = None,
    after: Annotated[int, typer.Option(min=0, help="Only events after this position.")] = 0,
    as_json: Json = False,
) -> None:
    """List events in the order of the log.

    Example: outcomes events list --stream release/SYN-LCF
    """
    from pipeline import bootstrap, queries

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        found = list(queries.events(services.log, stream, after))
        rows = [(row.position, f"{row.recorded_at:%Y-%m-%d %H:%M:%S}", row.stream, row.name, row.actor) for row in found]
        printer.table(found, "Events", ("Position", "Recorded (UTC)", "Stream", "Event", "Actor"), rows, "The log is empty.")


@app.command()
def verify(as_json: Json = False) -> None:
    """Verify the hash chain over all events. Exit code 7 and the first bad position when it breaks.

    Example: outcomes events verify
    """
    from pipeline import bootstrap

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        head, fault = services.log.head(), services.log.verify()
        said = f"{head.position} events, chain whole, head {head.hash}." if fault is None else f"Broken at position {fault.position}: {fault.reason}"
        printer.result({"position": head.position, "head": head.hash, "fault": fault}, said)
    if fault is not None:
        raise typer.Exit(7)
