"""The verb that imports an INDIGO export: register, then one return per project and quarter, through the same steps as any other delivery."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.application import submissions
from pipeline.application.register import RegisterLoad, load_tables
from pipeline.application.services import Services
from pipeline.ports import Progress
from pipeline.stages import indigo
from pipeline.stages.indigo import Accounting, IndigoExport, Tally
from pipeline.stages.return_files import write_zip


@dataclass(frozen=True, kw_only=True)
class ImportSummary:
    """What an import came to. `kinds` tallies rows and pounds by kind of row; `rules` counts the rows that each rule spoke of."""

    fund_id: str
    is_loaded: bool
    projects: int
    returns_new: int
    returns_known: int
    returns_rejected: Sequence[str]
    returns_held: Sequence[str]
    kinds: Mapping[str, Tally]
    rules: Mapping[str, int]
    refused_or_queried: Sequence[Mapping[str, object]]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """An import's summary, the same in words, and the full account: CSV with one line per row of the export."""

    summary: ImportSummary
    lines: Sequence[str]
    account: bytes


def import_indigo(services: Services, export: IndigoExport, fund_id: str, progress: Progress, reason: str | None = None) -> Imported:
    """Import one fund of an INDIGO export; importing it again appends nothing.

    Args: reason, the coded reason for altering what is published; without it such returns are held, and the others go on.
    Nothing is imported when the export lacks files or columns, or the register would not load.
    """
    converted = indigo.convert(export, fund_id, services.definitions)
    loaded = load_tables(services, converted.register) if converted.register else None
    new, known = 0, 0
    rejected: list[str] = []
    held: list[str] = []
    if loaded is not None and loaded.is_loaded:
        with progress("Returns", len(converted.returns)) as advance, tempfile.TemporaryDirectory() as folder:
            for key, tables in sorted(converted.returns.items()):
                delivery = Path(folder) / "return.zip"
                delivery.write_bytes(write_zip(tables, key.project_id, key.quarter, services.definitions))
                received, judged = submissions.submit(services, delivery, key, reason=reason)
                new, known = new + received.is_new, known + (not received.is_new)
                rejected += [] if judged.report.passed else [str(received.key)]
                held += [str(received.key)] if submissions.load(services, key).revision(received.key.revision).held else []
                advance(1)
    summary = _summarise(fund_id, converted.accounting, loaded, (new, known, rejected, held))
    return Imported(summary=summary, lines=_describe(services, summary), account=_account(converted.accounting))


def _summarise(
    fund_id: str, accounting: Accounting, loaded: RegisterLoad | None, returns: tuple[int, int, Sequence[str], Sequence[str]]
) -> ImportSummary:
    rules: dict[str, int] = {}
    for by_rule in accounting.rules.values():
        for rule, tally in by_rule.items():
            rules[rule] = rules.get(rule, 0) + tally.rows
    return ImportSummary(
        fund_id=fund_id,
        is_loaded=loaded is not None and loaded.is_loaded,
        projects=len(loaded.registered) + len(loaded.revised) + loaded.unchanged if loaded else 0,
        returns_new=returns[0],
        returns_known=returns[1],
        returns_rejected=returns[2],
        returns_held=returns[3],
        kinds={str(kind): tally for kind, tally in accounting.kinds.items()},
        rules=dict(sorted(rules.items())),
        refused_or_queried=[
            {"kind": row.kind, "table": row.table, "row": row.row, "project_id": row.project_id, "disposition": row.disposition, "rules": row.rules}
            for row in accounting.outcomes
            if row.disposition != "taken"
        ],
    )


def _describe(services: Services, summary: ImportSummary) -> Sequence[str]:
    if not summary.is_loaded:
        return [f"{summary.fund_id}: nothing was imported. The findings (--json) say why."]
    lines = [f"{summary.fund_id}: {summary.projects} projects in the register."]
    for kind, tally in summary.kinds.items():
        pounds = f"; £{tally.pounds_in:,} = {tally.pounds_taken:,} + {tally.pounds_queried:,} + {tally.pounds_refused:,}" if tally.pounds_in else ""
        lines.append(
            f"  {kind}: {tally.rows_in:,} rows = {tally.rows_taken:,} taken + {tally.rows_queried:,} queried + {tally.rows_refused:,} refused{pounds}"
        )
    lines.append("Held back:" if summary.refused_or_queried else "Nothing was held back.")
    for row in summary.refused_or_queried:
        rules = [services.definitions.rule(rule) for rule in _texts(row["rules"])]
        named = "; ".join(f"{rule.id} {rule.title}" for rule in rules if rule.severity != "note")
        lines.append(f"  {row['table']} row {row['row']} ({row['project_id']}): {row['disposition']} by {named}")
    lines.append(f"Returns: {summary.returns_new} taken in, {summary.returns_known} already received, {len(summary.returns_rejected)} rejected.")
    if summary.returns_held:
        lines.append(f"{len(summary.returns_held)} alter published quarters and wait for a reason: {', '.join(summary.returns_held)}")
    return lines


def _texts(value: object) -> Sequence[str]:
    return [str(item) for item in value] if isinstance(value, tuple | list) else []


def _account(accounting: Accounting) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["kind", "table", "row", "project_id", "disposition", "rules", "pounds"])
    for row in accounting.outcomes:
        writer.writerow([row.kind, row.table, row.row, row.project_id, row.disposition, " ".join(row.rules), row.pounds])
    return text.getvalue().encode()
