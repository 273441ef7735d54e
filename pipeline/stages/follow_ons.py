"""One mistake, one finding: what follows from another finding is not said again.

A price cannot be checked for a metric that does not exist, and a day in the wrong year is before the contract, before the start and out of sequence.
A finding is left out only for a cause that weighs as much or more, so a return that failed still fails; one that sets a delivery apart, never.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.findings import Finding, Severity
from pipeline.domain.tables import Definitions
from pipeline.ports import ReturnTable

COUNT = "count"
"""Value of a finding that speaks for others too: how many breaches of its rule there are in its table and column, listed or not."""


@dataclass(frozen=True, kw_only=True)
class Consequences:
    """What follows from a finding: these rules in its cell, these in its row, and every rule of the contract about these columns of its row."""

    in_cell: frozenset[str] = frozenset()
    in_row: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()


PRICED = frozenset({"metric_id", "payer_id", "quantity", "amount_gbp"})
CAUSES: Mapping[str, Consequences] = {
    "K-301": Consequences(columns=PRICED),
    "K-302": Consequences(columns=PRICED),
    "K-322": Consequences(in_row=frozenset({"K-317"})),
    "C-201": Consequences(
        in_cell=frozenset({"K-305", "K-306"}),
        in_row=frozenset({"C-202", "C-213", "C-221", "K-303", "K-305", "K-306", "K-314", "K-317", "K-322"}),
    ),
    "K-306": Consequences(in_cell=frozenset({"K-305"}), in_row=frozenset({"C-202", "C-213", "C-221", "K-303", "K-314", "K-317", "K-322"})),
    "K-304": Consequences(in_cell=frozenset({"K-307", "K-321"}), in_row=frozenset({"C-202", "C-213", "K-317", "K-322"})),
    "K-307": Consequences(in_cell=frozenset({"K-321"}), in_row=frozenset({"C-202", "C-213", "C-221", "K-317", "K-322"})),
    "C-221": Consequences(in_row=frozenset({"C-230", "K-305", "K-317"})),
    "K-303": Consequences(in_row=frozenset({"K-314"})),
    "C-226": Consequences(in_row=frozenset({"K-316"})),
    "C-228": Consequences(in_row=frozenset({"K-316", "K-334"})),
    "K-311": Consequences(in_row=frozenset({"K-313", "K-326", "K-327"})),
    "K-325": Consequences(in_row=frozenset({"K-313", "K-326"})),
    "K-312": Consequences(in_row=frozenset({"K-326", "K-327"})),
    "K-313": Consequences(in_row=frozenset({"K-326", "K-327"})),
    "K-320": Consequences(in_row=frozenset({"K-318", "K-319", "K-327"})),
    "K-335": Consequences(in_row=frozenset({"K-318", "K-319"})),
}
"""What follows from a finding of each rule in the same table."""

OF_DELIVERY: Mapping[str, frozenset[str]] = {"F-036": frozenset({"D-012"})}
"""What follows wherever it stands: a sheet with a misspelt name leaves its table empty."""

WRONG_STARTS = frozenset({"C-201", "C-202", "K-304", "K-306", "K-307"})
BEFORE_START = "K-303"
_WEIGHT = {severity: number for number, severity in enumerate(Severity)}


def without_follow_ons(findings: Iterable[Finding], definitions: Definitions, tables: Mapping[str, ReturnTable]) -> Sequence[Finding]:
    """Return the findings that do not follow from another one, with their counts of the unlisted made right.

    Args: tables, as delivered: a wrong start of a participant explains the outcomes before it, which stand in another table.
    """
    found = list(findings)
    causes: dict[tuple[str, int], list[Finding]] = {}
    for finding in found:
        causes.setdefault((finding.table, finding.row), []).append(finding)
    early = _explained_by_start(found, tables)
    left_out = {
        finding
        for finding in found
        if (finding.rule == BEFORE_START and finding.row in early)
        or any(_follows(finding, cause, definitions) for cause in causes[finding.table, finding.row] if finding.row)
        or any(finding.rule in OF_DELIVERY.get(cause.rule, ()) for cause in found)
    }
    return _recount(found, left_out) if left_out else found


def _follows(finding: Finding, cause: Finding, definitions: Definitions) -> bool:
    consequences = CAUSES.get(cause.rule)
    if consequences is None or cause.rule == finding.rule or _WEIGHT[cause.severity] > _WEIGHT[finding.severity]:
        return False
    rule = definitions.rule(finding.rule)
    if rule.quarantine:
        return False
    if rule.id in consequences.in_row or (rule.id in consequences.in_cell and finding.column == cause.column):
        return True
    return rule.stage == "contract" and rule.id not in CAUSES and finding.column in consequences.columns


def _explained_by_start(found: Sequence[Finding], tables: Mapping[str, ReturnTable]) -> frozenset[int]:
    """Return the rows of outcomes whose participant has a start that is wrong itself."""
    rows = [finding.row for finding in found if finding.table == "participants" and finding.rule in WRONG_STARTS]
    if not rows or not any(finding.rule == BEFORE_START for finding in found):
        return frozenset()
    cells = [tables[name].cells for name in ("participants", "outcomes") if name in tables and "participant_ref" in tables[name].cells.column_names]
    if len(cells) < 2:
        return frozenset()
    participants, outcomes = cells
    people = participants["participant_ref"].filter(pc.is_in(participants["row"], value_set=pa.array(rows, pa.int64())))
    return frozenset(outcomes["row"].filter(pc.is_in(outcomes["participant_ref"], value_set=people.combine_chunks().drop_null())).to_pylist())


def _recount(found: Sequence[Finding], left_out: set[Finding]) -> Sequence[Finding]:
    """Return what is left, its counts less by what was left out. Where all that are listed were, those not listed are taken to follow as well."""
    fewer: dict[tuple[str, str, str], int] = {}
    for finding in left_out:
        place = (finding.rule, finding.table, finding.column)
        fewer[place] = fewer.get(place, 0) + 1
    kept = []
    for finding in found:
        if finding not in left_out:
            less = fewer.get((finding.rule, finding.table, finding.column), 0)
            values = tuple((name, str(int(value) - less) if name == COUNT and value.isdecimal() else value) for name, value in finding.values)
            kept.append(replace(finding, values=values) if less else finding)
    return kept
