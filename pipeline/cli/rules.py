"""`outcomes rules`: the catalogue, one rule of it, and what a rule would have found. `rules RULE` is short for `rules show RULE`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pipeline.cli.output import Printer, exit_codes
from pipeline.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


class RuleGroup(TyperGroup):
    """A group in which a word that names no command names a rule."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is meant."""
        named = args if args[0] in self.commands else ["show", *args]
        return super().resolve_command(ctx, named)


app = typer.Typer(cls=RuleGroup, help="The validation rules: list, show, try on the returns of the past.")


@app.callback(invoke_without_command=True)
def catalogue(context: typer.Context, as_json: Json = False) -> None:
    """List the validation rules, explain one, or try one on the returns of the past.

    Examples: outcomes rules · outcomes rules K-310 · outcomes rules try K-310
    """
    context.obj = as_json
    if context.invoked_subcommand is None:
        list_(as_json=as_json)


@app.command(name="list")
def list_(as_json: Json = False) -> None:
    """List the validation rules.

    Example: outcomes rules list
    """
    from pipeline import bootstrap
    from pipeline.settings import Settings

    printer = Printer(as_json=as_json)
    with exit_codes(printer):
        found = list(bootstrap.definitions_of(Settings.parse(os.environ)).rules.values())
        rows = [(item.id, item.severity, item.stage, item.title) for item in found]
        printer.table(found, "Rules", ("Rule", "Severity", "Stage", "Title"), rows, "There are no rules.")


@app.command()
def show(context: typer.Context, rule: Annotated[str, typer.Argument(help="Id of one rule.")], as_json: Json = False) -> None:
    """Explain one rule: what it finds, why it matters, what to do.

    Example: outcomes rules K-310
    """
    from pipeline import bootstrap
    from pipeline.settings import Settings

    printer = Printer(as_json=as_json or bool(context.obj))
    with exit_codes(printer):
        definitions = bootstrap.definitions_of(Settings.parse(os.environ))
        if rule not in definitions.rules:
            raise UsageError("There is no such rule. `outcomes rules` lists them.")
        found = definitions.rules[rule]
        why = [f"Why it matters: {found.why}"] if found.why else []
        printer.result(found, f"{found.id} ({found.severity}): {found.title}", found.message, *why, f"What to do: {found.fix}")


@app.command(name="try")
def try_(
    rule: Annotated[str, typer.Argument(help="Id of the rule, installed or of the folder of --definitions.")],
    definitions: Annotated[Path | None, typer.Option(help="A changed copy of the folder that holds schemas/ and expectations/.")] = None,
    rules: Annotated[Path | None, typer.Option("--rules", help="A catalogue file with new or changed rules; the others are those installed.")] = None,
    fund: Annotated[str | None, typer.Option(help="Only the returns of this fund.")] = None,
    is_every: Annotated[bool, typer.Option("--all", help="All revisions that were ever judged, not only those in force.")] = False,
    as_json: Json = False,
) -> None:
    """Say what a rule would have found in the returns of the past, before it is switched on. Changes nothing.

    Examples: outcomes rules try K-310 · outcomes rules try K-305 --rules stricter.json · outcomes rules try C-401 --definitions draft/
    """
    from pipeline import bootstrap
    from pipeline.application import rule_trials
    from pipeline.application.register import sole_fund
    from pipeline.application.services import read_ledger

    printer = Printer(as_json=as_json)
    environment = dict(os.environ) | ({"OUTCOMES_DEFINITIONS": str(definitions.absolute())} if definitions else {})
    with exit_codes(printer), bootstrap.open_services(environment, rules=rules) as services:
        fund_id = sole_fund(read_ledger(services), fund) if fund else None
        trial = rule_trials.try_rule(services, rule, printer.progress, fund_id=fund_id, is_every=is_every)
        printer.result({"total": trial.total, "trial": trial}, *rule_trials.describe(trial))
