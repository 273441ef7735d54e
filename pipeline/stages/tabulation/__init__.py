"""Facts become tidy tables: the published tables of `schemas/published/`, before anybody is protected.

Pure Ibis expressions that an adapter runs on DuckDB or Spark: no SQL, no files, no rounding that depends on an engine. Beside the published columns
stand `<column>__people` columns, which say how many people are behind a figure; protection needs them and nobody publishes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import ibis.expr.types as ir
import pyarrow as pa

from pipeline.stages.tabulation.completeness import tabulate_completeness
from pipeline.stages.tabulation.contracts import read_contracts, tabulate_outcome_metrics, tabulate_projects
from pipeline.stages.tabulation.performance import tabulate_performance
from pipeline.stages.tabulation.quarterly import tabulate_outcomes, tabulate_payments, tabulate_service_users
from pipeline.stages.tabulation.sums import Keep, sum_facts

__all__ = ["STAYING", "Keep", "tables"]

STAYING: Mapping[str, tuple[str, pa.Schema]] = {
    "payments_by_quarter": ("paid_before", pa.schema([(name, pa.string()) for name in ("project_id", "payer_id", "basis", "quarter")])),
    "service_users_by_quarter": ("started_before", pa.schema([(name, pa.string()) for name in ("project_id", "characteristic", "category")])),
}
"""The published tables whose rows stay once a release has them, with the name and columns under which tabulation is given those rows."""


def as_written(_name: str, expression: ir.Table) -> ir.Table:
    """Keep nothing: leave every shared intermediate to be computed where it is used."""
    return expression


def tables(facts: Mapping[str, ir.Table], register: Mapping[str, ir.Table], as_of: date, keep: Keep = as_written) -> Mapping[str, ir.Table]:
    """Return the published tables as lazy expressions.

    Args: facts by the names of `schemas/facts/`; register by the names of `schemas/register/` and `returns` (project_id, quarter,
    first_received_on, revisions_count, state, revision, is_queried), and perhaps the rows of earlier releases by the names of STAYING; as_of, the
    day up to which quarters count as ended; keep, which is offered every shared intermediate by name and may compute it once.
    Shape: the columns of `schemas/published/` in any order, unsorted, and the people columns that `disclosure.json` names.
    Source: design section 6.
    """
    sums = sum_facts(facts["outcomes"], facts["service_starts"], facts["payments"], keep)
    contracts = read_contracts(register, sums, as_of, keep)
    quarterly = {
        "outcomes_by_quarter": tabulate_outcomes(sums, contracts, register["metrics"]),
        "payments_by_quarter": tabulate_payments(sums, contracts, register["payers"], register.get("paid_before")),
        "service_users_by_quarter": tabulate_service_users(sums, contracts, register.get("started_before")),
    }
    quarterly = {name: keep(name, table) for name, table in quarterly.items()}
    completeness = keep("completeness", tabulate_completeness(register, as_of))
    return {
        "projects": tabulate_projects(register),
        "outcome_metrics": tabulate_outcome_metrics(register, as_of),
        **quarterly,
        "performance": tabulate_performance(sums, contracts, {**quarterly, "completeness": completeness}, register["investments"], keep),
        "completeness": completeness,
    }
