"""A delivery as a whole: its project and quarter, its cover, and whether the same file was accepted already."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.domain.findings import Finding, in_order
from pipeline.domain.quarters import Quarter
from pipeline.domain.submission import UNIDENTIFIED, SubmissionKey
from pipeline.domain.tables import Definitions
from pipeline.errors import UsageError
from pipeline.ports import ReturnTable
from pipeline.stages.acceptance import SOURCES
from pipeline.stages.contract.given import ContractContext, Terms

_YEARS = range(1900, 2200)


def check_delivery(context: ContractContext, definitions: Definitions, tables: Mapping[str, ReturnTable]) -> list[Finding]:
    """Return what is wrong with a delivery as a whole: its project, its quarter, its cover. No tables (nothing could be read): only the first two."""
    if context.key.project_id == UNIDENTIFIED:
        return [definitions.rule("D-001").found()]
    found = _check_place(context, definitions) + _check_same_file(context, definitions)
    if tables:
        found += _check_cover(context, definitions, tables) + _check_nil(definitions, tables)
    return list(in_order(found))


def _check_place(context: ContractContext, definitions: Definitions) -> list[Finding]:
    quarter = _quarter(context.key)
    found = [] if quarter else [definitions.rule("D-004").found()]
    if context.project is None:
        return [*found, definitions.rule("D-002").found()]
    if context.fund is None:
        found.append(definitions.rule("D-003").found())
    if quarter is None:
        return found
    terms = Terms.of(context.project)
    if quarter.end < terms.starts_on:
        found.append(definitions.rule("D-005").found(starts_on=str(terms.starts_on)))
    if quarter.start > terms.claims_until:
        found.append(definitions.rule("D-006").found(claims_until=str(terms.claims_until)))
    if quarter.start > context.received_on:
        found.append(definitions.rule("D-007").found(quarter_start=str(quarter.start), received_on=str(context.received_on)))
    return found


def _check_same_file(context: ContractContext, definitions: Definitions) -> list[Finding]:
    """Refuse a file that is in force for another return; whose it is stays unsaid when it is another project's."""
    if not context.accepted_as:
        return []
    own = [other.quarter for other in context.accepted_as if other.project_id == context.key.project_id]
    return [definitions.rule("D-015").found(accepted_for=min(own) if own else "another project")]


def _quarter(key: SubmissionKey) -> Quarter | None:
    try:
        quarter = Quarter.parse(key.quarter)
    except UsageError:
        return None
    return quarter if quarter.year in _YEARS else None


def _check_cover(context: ContractContext, definitions: Definitions, tables: Mapping[str, ReturnTable]) -> list[Finding]:
    cover = tables.get("cover")
    if cover is None:
        return [definitions.rule("D-008" if len(tables) > 1 else "D-014").found()]
    if cover.cells.num_rows != 1:
        return [definitions.rule("D-009").found("cover", rows=str(cover.cells.num_rows))]
    found = []
    for rule, column, expected in (("D-010", "project_id", context.key.project_id), ("D-011", "quarter", context.key.quarter)):
        cell = _cover_cell(cover, column)
        if cell is not None and cell != expected:
            found.append(definitions.rule(rule).found("cover", cover.cells["row"][0].as_py(), column, **{column: expected}))
    return found


def _check_nil(definitions: Definitions, tables: Mapping[str, ReturnTable]) -> list[Finding]:
    rows = sum(tables[source.table].cells.num_rows for source in SOURCES.values() if source.table in tables)
    cover = tables.get("cover")
    if cover is not None and (cover.cells.num_rows != 1 or _cover_cell(cover, "is_nil_return") is None):
        return []
    is_nil = cover is not None and _cover_cell(cover, "is_nil_return") == "yes"
    if cover is not None and is_nil and rows:
        return [definitions.rule("D-013").found("cover", cover.cells["row"][0].as_py(), "is_nil_return", rows=str(rows))]
    return [definitions.rule("D-012").found()] if not is_nil and not rows else []


def _cover_cell(cover: ReturnTable, column: str) -> str | None:
    """Return a cell of the cover's only row; None when it is empty, missing or doubled, which the structure check says."""
    if cover.cells.column_names.count(column) != 1:
        return None
    cell: str | None = cover.cells[column][0].as_py()
    return cell
