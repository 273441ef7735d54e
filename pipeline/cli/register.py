"""`outcomes register`: the fund, its projects, metrics, rate card, plans, payers and investments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.output import DATA_HAS_ERRORS, Printer, exit_codes

app = typer.Typer(no_args_is_help=True, help="The register: fund, projects, outcome metrics, rate card, plans, payers, investments.")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Actor = Annotated[str | None, typer.Option("--as", help="Who acts; otherwise OUTCOMES_ACTOR or your user name.")]


@app.command()
def load(
    folder: Annotated[Path, typer.Argument(help="Folder with funds, projects, metrics, rate_card, plans, payers, investments .csv.")],
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Load a register from CSV files; what did not change is left alone.

    Example: outcomes register load fund/register --as steward.one
    """
    from pipeline import bootstrap
    from pipeline.application.register import load_register

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        loaded = load_register(services, folder)
        lines = [f"{finding.severity}: {finding.rule} in {finding.table}, row {finding.row}, {finding.column}" for finding in loaded.findings[:50]]
        if loaded.is_loaded:
            said = f"{loaded.fund_id}: {len(loaded.registered)} projects registered, {len(loaded.revised)} revised, {loaded.unchanged} unchanged."
        else:
            said = f"Nothing was loaded: {len(loaded.findings)} findings. `outcomes rules RULE` explains each."
        printer.result(loaded, *lines, said)
    if not loaded.is_loaded:
        raise typer.Exit(DATA_HAS_ERRORS)


@app.command()
def show(
    fund: Annotated[str | None, typer.Option(help="Fund; needed when there are several.")] = None,
    as_json: Json = False,
) -> None:
    """Show the projects in the register.

    Example: outcomes register show --json
    """
    from pipeline import bootstrap
    from pipeline.application.register import project_records, sole_fund
    from pipeline.application.services import read_ledger

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        ledger = read_ledger(services)
        records = project_records(services, ledger, sole_fund(ledger, fund))
        rows = [
            (project_id, record["project"]["name"], record["project"]["starts_on"], record["project"]["ends_on"], len(record["metrics"]))
            for project_id, record in records.items()
        ]
        printer.table(records, "Projects", ("Project", "Name", "Starts", "Ends", "Metrics"), rows, "The register has no projects.")
