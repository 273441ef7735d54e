"""The rules of the contract: a return against the register, against what other quarters' returns say, and against the revision that it replaces.

`check_delivery` judges a delivery as a whole, before its structure; `check` judges typed rows. One module holds the rules of one subject. Offending
rows are found a column at a time; only what is listed, and the terms of the contract, are looped over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from pipeline.domain.findings import Finding, in_order
from pipeline.domain.tables import Definitions
from pipeline.errors import RuleError
from pipeline.stages.acceptance import Pseudonyms
from pipeline.stages.contract.caps import check_caps
from pipeline.stages.contract.claims import check_claims
from pipeline.stages.contract.codes import check_codes
from pipeline.stages.contract.days import check_days
from pipeline.stages.contract.deliveries import check_delivery
from pipeline.stages.contract.given import EARLIER_COLUMNS, ContractContext, Given
from pipeline.stages.contract.movement import check_movement
from pipeline.stages.contract.people import check_people
from pipeline.stages.contract.prices import check_prices
from pipeline.stages.contract.repeats import check_repeats
from pipeline.stages.contract.settlement import check_settlement

__all__ = ["EARLIER_COLUMNS", "ContractContext", "check", "check_delivery"]

_CHECKS: Sequence[Callable[[Given], list[Finding]]] = (
    check_codes,
    check_days,
    check_people,
    check_claims,
    check_repeats,
    check_prices,
    check_caps,
    check_settlement,
    check_movement,
)


def check(context: ContractContext, definitions: Definitions, typed: Mapping[str, pa.Table], pseudonyms: Pseudonyms) -> list[Finding]:
    """Return where typed rows break the contract, at most MAX_PLACES for each rule and column, of which the last says how many there are.

    Args: typed, the tables of `acceptance.type_cells`; pseudonyms, of the project.
    Raises: RuleError when the register has no project or fund for the return: `check_delivery` refuses such a delivery.
    """
    if context.project is None or context.fund is None:
        raise RuleError("Contract rules were asked to judge a return of no registered project; check the delivery first.")
    given = Given.of(context, definitions, typed, pseudonyms)
    return list(in_order(finding for rules in _CHECKS for finding in rules(given)))
