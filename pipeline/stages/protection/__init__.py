"""Makes tables safe to publish: hides figures that few people stand behind, and enough others that no hidden one can be worked out.

Tables come in as tabulation made them, true and whole; what goes out has the published columns only. The rules are data
(`schemas/published/disclosure.json`). Which others are hidden is decided in `pattern`; the audit, which shares no code with this, tries to break
the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa

from pipeline.domain.tables import Definitions
from pipeline.stages.protection.cells import Cell, read_cells
from pipeline.stages.protection.equations import build_equations
from pipeline.stages.protection.masking import mask_table
from pipeline.stages.protection.pattern import find_pattern
from pipeline.stages.protection.rules import read_rules

__all__ = ["Protected", "protect"]

FOUR_PLACES = Decimal("0.0001")


@dataclass(frozen=True, kw_only=True)
class Protected:
    """Tables that may be published, and what that cost.

    Counts are of cells by table: `hidden` is everything that bears the marker, `primary` what few people stand behind, `secondary` what was hidden
    so that this cannot be worked out, `derived` the shares and averages that went with them. `value_share` is, by table and column ("table.column"),
    the part of the sum of all values that is hidden: for the steward, not for the public.
    """

    tables: Mapping[str, pa.Table]
    hidden: Mapping[str, int]
    primary: Mapping[str, int]
    secondary: Mapping[str, int]
    derived: Mapping[str, int]
    value_share: Mapping[str, Decimal]


def protect(tables: Mapping[str, pa.Table], definitions: Definitions) -> Protected:
    """Hide what would tell of few people, and whatever would let an outsider work that out.

    Args: `tables` have the published columns and, for each cell column of disclosure.json, the column that counts the people behind it.
    Raises: RuleError when a table or column is not covered by the disclosure rules, is missing, or breaks a declared relation: nothing then goes out.
    Source: threshold rule with secondary suppression, as in the national handbooks of disclosure control; schemas/published/disclosure.json.
    """
    rules = read_rules(definitions)
    grids, cells = read_cells(tables, rules, definitions)
    hidden = find_pattern(cells, build_equations(grids, cells, rules))
    safe = {name: mask_table(definitions.table("published", name), grid, hidden, rules.tables[name], rules) for name, grid in grids.items()}
    primary = Counter(cells[number].table for number in hidden if cells[number].is_primary)
    secondary = Counter(cells[number].table for number in hidden if not cells[number].is_primary)
    return Protected(
        tables={name: frame for name, (frame, _) in safe.items()},
        hidden={name: primary[name] + secondary[name] + derived for name, (_, derived) in safe.items()},
        primary={name: primary[name] for name in safe},
        secondary={name: secondary[name] for name in safe},
        derived={name: derived for name, (_, derived) in safe.items()},
        value_share=_value_share(cells, hidden),
    )


def _value_share(cells: Sequence[Cell], hidden: Collection[int]) -> Mapping[str, Decimal]:
    """Return which part of the sum of all values is hidden, by table and column."""
    whole: Counter[str] = Counter()
    gone: Counter[str] = Counter()
    for number, cell in enumerate(cells):
        whole[f"{cell.table}.{cell.column}"] += abs(cell.value)
        gone[f"{cell.table}.{cell.column}"] += abs(cell.value) if number in hidden else 0
    return {name: (Decimal(gone[name]) / (whole[name] or 1)).quantize(FOUR_PLACES) for name in sorted(whole)}
