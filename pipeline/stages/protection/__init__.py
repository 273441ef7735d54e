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
from pipeline.stages.protection.equations import build_equations, find_priced
from pipeline.stages.protection.history import About, Past, Union, unite
from pipeline.stages.protection.masking import mask_table
from pipeline.stages.protection.pattern import find_pattern
from pipeline.stages.protection.prices import find_doubtful, find_nothings
from pipeline.stages.protection.rules import read_rules

__all__ = ["Past", "Protected", "protect"]

CAUSES = ("primary", "secondary", "kept", "deferred")
FOUR_PLACES = Decimal("0.0001")


@dataclass(frozen=True, kw_only=True)
class Protected:
    """Tables that may be published, and what that cost.

    Counts are of cells by table: `hidden` is everything that bears the marker, `primary` what few people stand behind, `secondary` what was hidden
    so that this cannot be worked out, `kept` what an earlier release hid and what therefore stays hidden, `deferred` figures that were shown and
    have changed, whose new values no release may show yet, `derived` the shares and averages that went with all these. `value_share` is, by table
    and column ("table.column"), the part of the sum of all values that is hidden: for the steward, not for the public.
    """

    tables: Mapping[str, pa.Table]
    hidden: Mapping[str, int]
    primary: Mapping[str, int]
    secondary: Mapping[str, int]
    kept: Mapping[str, int]
    deferred: Mapping[str, int]
    derived: Mapping[str, int]
    value_share: Mapping[str, Decimal]

    @property
    def suppression(self) -> Mapping[str, Mapping[str, object]]:
        """What the steward looks at: by table, the cells hidden and why, and the part of each column's total."""
        return {
            name: {
                "hidden": self.hidden[name],
                "few_people": self.primary[name],
                "protects_others": self.secondary[name],
                "hidden_before": self.kept[name],
                "revision_deferred": self.deferred[name],
                "made_of_hidden": self.derived[name],
                "hidden_part_of_total": {
                    column.removeprefix(f"{name}."): str(share) for column, share in self.value_share.items() if column.startswith(f"{name}.")
                },
            }
            for name in sorted(self.tables)
        }


def protect(tables: Mapping[str, pa.Table], definitions: Definitions, earlier: Sequence[Past] = ()) -> Protected:
    """Hide what would tell of few people, and whatever would let an outsider work that out, from this release or from all releases together.

    Args: `tables` have the published columns and, for each cell column of disclosure.json, the column that counts the people behind it; `earlier`
    are the releases before it, oldest first.
    Raises: RuleError when a table or column is not covered by the disclosure rules, is missing, or breaks a declared relation: nothing then goes out.
    Source: threshold rule with secondary suppression, as in the national handbooks of disclosure control; schemas/published/disclosure.json.
    """
    rules = read_rules(definitions)
    grids, cells = read_cells(tables, rules, definitions)
    equations = build_equations(grids, cells, rules)
    priced = find_priced(grids, tables, rules)
    union = unite(grids, cells, equations, priced, earlier, About(rules, definitions))
    aside = find_nothings(priced, cells) - union.known if rules.hides_zeros else frozenset[int]()
    while True:
        hidden = find_pattern(union, len(cells), aside)
        doubtful = find_doubtful(priced, cells, hidden) - union.known
        if not doubtful:
            break
        aside |= doubtful
    safe = {name: mask_table(definitions.table("published", name), grid, hidden, rules.tables[name], rules) for name, grid in grids.items()}
    causes = {number: _cause(number, cells, union) for number in hidden}
    counted = {cause: Counter(cells[number].table for number, found in causes.items() if found == cause) for cause in CAUSES}
    every = Counter(cells[number].table for number in hidden)
    return Protected(
        tables={name: frame for name, (frame, _) in safe.items()},
        hidden={name: every[name] + derived for name, (_, derived) in safe.items()},
        **{cause: {name: counted[cause][name] for name in safe} for cause in CAUSES},
        derived={name: derived for name, (_, derived) in safe.items()},
        value_share=_value_share(cells, hidden),
    )


def _cause(number: int, cells: Sequence[Cell], union: Union) -> str:
    """Return why a cell is hidden, the weightiest reason first."""
    if cells[number].is_primary:
        return "primary"
    if number in union.kept:
        return "kept"
    return "deferred" if number in union.revised else "secondary"


def _value_share(cells: Sequence[Cell], hidden: Collection[int]) -> Mapping[str, Decimal]:
    """Return which part of the sum of all values is hidden, by table and column."""
    whole: Counter[str] = Counter()
    gone: Counter[str] = Counter()
    for number, cell in enumerate(cells):
        whole[f"{cell.table}.{cell.column}"] += abs(cell.value)
        gone[f"{cell.table}.{cell.column}"] += abs(cell.value) if number in hidden else 0
    return {name: (Decimal(gone[name]) / (whole[name] or 1)).quantize(FOUR_PLACES) for name in sorted(whole)}
