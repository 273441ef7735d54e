"""`outcomes participant`: erase somebody, and say what was erased. A reference is never an argument: those stay in histories and process lists."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.output import Printer, exit_codes, to_plain, write_new
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.application.erasure import Certificate, Plan

app = typer.Typer(no_args_is_help=True, help="Participants: erase one from everything that is held of them.")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
LONGEST_REFERENCE = 1000


@app.command()
def erase(
    project: Annotated[str, typer.Argument(help="Project, as in the register.")],
    reason: Annotated[str, typer.Option(help="requested_by_person, requested_by_team, court_order or collected_in_error.")],
    ref_file: Annotated[Path | None, typer.Option(help="File with the participant's reference; otherwise it is read from standard input.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Write what can no longer be read to this JSON file.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    actor: Annotated[str | None, typer.Option("--as", help="Who acts; otherwise OUTCOMES_ACTOR or your user name.")] = None,
    as_json: Json = False,
) -> None:
    """Erase a participant: their rows in every revision, the uploads that hold their reference, and what was made of those.

    Published figures stay and verify as before; releases of before can no longer be rebuilt, and say so. Run it again after a crash.

    Example: outcomes participant erase SYN-P01 --reason requested_by_person --ref-file ref.txt --certificate erased.json --as steward.one
    """
    from pipeline import bootstrap
    from pipeline.application import erasure

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ, actor) as services:
        reference = _read_reference(ref_file)
        if dry_run:
            plan = erasure.find(services, project, reference)
            printer.result(_document(plan), *_describe_plan(plan))
            return
        made = erasure.erase(services, project, reference, reason, bootstrap.inbox_of(os.environ))
        if certificate is not None:
            import json

            write_new(certificate, (json.dumps(to_plain(made), indent=2) + "\n").encode())
        printer.result(made, *(_describe(made) or ["Nothing (more) is held of this participant."]))


@app.command()
def erasures(as_json: Json = False) -> None:
    """List the erasures of the log, each as its certificate: what can no longer be read, and which releases can no longer be rebuilt.

    Example: outcomes participant erasures --json
    """
    from pipeline import bootstrap
    from pipeline.application import erasure

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        made = erasure.certificates(services)
        printer.result(made, *(_describe(made) or ["Nobody was erased."]))


@app.command()
def finish(as_json: Json = False) -> None:
    """Destroy what erasures decided to destroy and a crash left, on this machine too: its inbox, and its copies of a remote store.

    Example: outcomes participant finish
    """
    from pipeline import bootstrap
    from pipeline.application import erasure

    printer = Printer(as_json=as_json)
    with exit_codes(printer), bootstrap.open_services(os.environ) as services:
        erasure.finish(services, bootstrap.inbox_of(os.environ))
        made = erasure.certificates(services)
        printer.result(made, *(_describe(made) or ["Nobody was erased."]))


def _read_reference(path: Path | None) -> str:
    try:
        if path is not None:
            return path.read_text("utf-8")[:LONGEST_REFERENCE]
        if sys.stdin.isatty():
            return str(typer.prompt("Reference of the participant", hide_input=True))
        return sys.stdin.read(LONGEST_REFERENCE)
    except (OSError, ValueError) as error:
        raise UsageError("The reference cannot be read: it is one line of UTF-8, in the file of --ref-file or on standard input.") from error


def _document(plan: Plan) -> dict[str, object]:
    return {"revisions": [str(key) for key in sorted(plan.files)], "rows": _rows(plan), "objects": len(plan.destroyed)}


def _rows(plan: Plan) -> int:
    return sum(file.rows for found in plan.files.values() for file in found)


def _describe_plan(plan: Plan) -> Sequence[str]:
    if plan.is_empty:
        return ["Nothing is held of this participant."]
    return [f"{_rows(plan)} rows would go, and {len(plan.destroyed)} objects: of {', '.join(str(key) for key in sorted(plan.files))}."]


def _describe(made: Sequence[Certificate]) -> list[str]:
    lines: list[str] = []
    for one in made:
        kinds = [f"{sum(item.kind == kind for item in one.destroyed)} {kind}" for kind in dict.fromkeys(item.kind for item in one.destroyed)]
        rows = sum(file.rows for file in one.redacted)
        lines.append(f"Event {one.event} at position {one.position}: {rows} rows erased; destroyed: {', '.join(kinds)}.")
        lines.append(f"  No longer rebuildable: {', '.join(one.releases) or 'no release'}.")
        lines += [f"  {len(one.remaining)} objects STILL STAND: run `outcomes participant finish`."] if one.remaining else []
    return lines
