"""Runs the expectation suites of `expectations/` with Great Expectations: content of returns, and of the tables about to be published.

A suite is data of ours in the form of GX 1.x; each expectation names its rule in `meta`. The import takes seconds, so it happens at the first check.
What GX gives back can hold cell values: only the numbers of rows leave this file. GX reports a crash of its own as if the data had failed, and leaves
out an expectation that it cannot build; both are our fault and raise.
"""

from __future__ import annotations

import gc
import importlib.util
import logging
import sys
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.adapters.row_kinds import find_kinds
from pipeline.domain.findings import Finding, Rule, in_order
from pipeline.domain.tables import Definitions
from pipeline.errors import RuleError

if TYPE_CHECKING:
    import pandas as pd

MOST_PLACES = 1000
"""How many places of one expectation become findings; each says how many there are in all."""

SMALL_ROWS = 10_000
"""Up to here GX sees every row: it takes no longer than finding out which rows are alike."""

FIRST_ROW = 2
"""Where the first row of a table stands when nobody says otherwise: below its heading."""

RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "exclude_unexpected_values": True,
    "include_unexpected_rows": False,
    "partial_unexpected_count": 0,
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What GX made of one expectation. `rows` are the places that do not meet it; none when it speaks of the table as a whole."""

    number: int
    is_met: bool
    has_raised: bool
    rows: Sequence[int]


class ExpectationChecker:
    """Checks tables against the suites of the definitions. In tables of more than `small_rows` rows, one row of each kind stands for all."""

    def __init__(self, definitions: Definitions, small_rows: int = SMALL_ROWS) -> None:
        self._definitions = definitions
        self._small_rows = small_rows

    def prepare(self) -> None:
        """Import Great Expectations."""
        import_expectations()

    def check(self, suite: str, table: pa.Table, rows: Sequence[int] | None = None) -> Sequence[Finding]:
        """Return which expectations of a suite a table does not meet, in reading order.

        Args: rows, for each row of the table, where the person sees it; by default the table's own order below a heading.
        Raises: RuleError when there is no such suite, it names an unknown rule, or one of its expectations could not be evaluated.
        """
        expectations = self._expectations(suite)
        rules = [self._rule(suite, expectation) for expectation in expectations]
        name = suite.partition("_")[2]
        findings: list[Finding] = []
        kinds = find_kinds(table, expectations) if table.num_rows > self._small_rows else None
        outcomes = _evaluate(suite, expectations, to_pandas(table.take(kinds.shown) if kinds else table))
        for rule, expectation, outcome in zip(rules, expectations, outcomes, strict=True):
            if not outcome.is_met:
                places = kinds.spread(outcome.number, outcome.rows) if kinds else outcome.rows
                findings.extend(_found(rule, name, _column_of(expectation), places, rows))
        return in_order(findings)

    def _expectations(self, suite: str) -> Sequence[Mapping[str, Any]]:
        document = self._definitions.suites.get(suite)
        if document is None:
            raise RuleError(f"There is no expectation suite {suite}.")
        expectations: Sequence[Mapping[str, Any]] = document.get("expectations", ())
        if not expectations:
            raise RuleError(f"The expectation suite {suite} expects nothing.")
        return expectations

    def _rule(self, suite: str, expectation: Mapping[str, Any]) -> Rule:
        rule = expectation.get("meta", {}).get("rule")
        if rule is None:
            raise RuleError(f"An expectation of the suite {suite} names no rule.")
        return self._definitions.rule(rule)


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Return a table as pandas columns that GX can compare: days as datetimes, decimals as floats, which is enough to judge signs and order."""
    columns = {}
    for field in table.schema:
        column = table[field.name]
        columns[field.name] = column.cast(pa.float64()) if pa.types.is_decimal(field.type) else column
    frame: pd.DataFrame = pa.table(columns).to_pandas(date_as_object=False)
    return frame


def _evaluate(suite: str, expectations: Sequence[Mapping[str, Any]], frame: pd.DataFrame) -> Sequence[Outcome]:
    """Return the outcome of each expectation, in their order.

    Raises: RuleError when GX could not build or evaluate one of them. Its own words stay here: they can hold cell values.
    """
    numbered = [{**entry, "meta": {**entry["meta"], "number": number}} for number, entry in enumerate(expectations)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            outcomes = {outcome.number: outcome for outcome in _validate(suite, numbered, frame)}
        except Exception as error:
            raise RuleError(f"The expectation suite {suite} could not be evaluated ({type(error).__name__}).") from None
    for number, expectation in enumerate(expectations):
        if number not in outcomes or outcomes[number].has_raised:
            kind, column = expectation["type"], _column_of(expectation)
            raise RuleError(f"{kind} on {column or 'the table'} in the expectation suite {suite} could not be evaluated.")
    return [outcomes[number] for number in range(len(expectations))]


def _validate(suite: str, expectations: Sequence[dict[str, Any]], frame: pd.DataFrame) -> Sequence[Outcome]:
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # it logs the errors of metrics, which can quote cells
    gx = import_expectations()
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults, ProgressBarsConfig

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    source = context.data_sources.add_pandas(suite)
    try:
        batch = source.add_dataframe_asset(suite).add_batch_definition_whole_dataframe(suite).get_batch({"dataframe": frame})
        validated = batch.validate(gx.ExpectationSuite(name=suite, expectations=expectations), result_format=RESULT_FORMAT)
    finally:
        context.data_sources.delete(suite)
    return [
        Outcome(
            number=result.expectation_config.meta["number"],
            is_met=bool(result.success),
            has_raised=_has_raised(result.exception_info),
            rows=sorted(result.result.get("unexpected_index_list") or ()),
        )
        for result in validated.results
        if result.expectation_config is not None
    ]


class _LeanImports:
    """Spares the import of Great Expectations what the suites do not use: half its time, and 100 MB.

    Charts and statistics are loaded when somebody first uses them. SQLAlchemy is optional to GX, and no suite looks into a database. Only imports of
    the thread that makes this are spared anything.
    """

    LATER = frozenset({"altair", "scipy.stats"})
    NOT = frozenset({"sqlalchemy"})

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Return a module that is loaded later, refuse one that is not wanted, and say nothing about all others."""
        if threading.get_ident() != self._thread or name not in self.LATER | self.NOT:
            return None
        if name in self.NOT:
            raise ModuleNotFoundError(name, name=name)
        self._thread = 0  # this one is not asked again by the next line
        spec = importlib.util.find_spec(name)
        self._thread = threading.get_ident()
        if spec is not None and spec.loader is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


def import_expectations() -> ModuleType:
    """Return Great Expectations, imported at the first call: 1.3 seconds instead of the 2.7 that a plain import takes."""
    if "great_expectations" not in sys.modules:
        lean, is_collecting = _LeanImports(), gc.isenabled()
        sys.meta_path.insert(0, lean)
        gc.disable()  # it goes over the thousands of classes that are being made again and again, and finds nothing
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # it uses modules of Python that are going away
                importlib.import_module("great_expectations")
        finally:
            sys.meta_path.remove(lean)
            if is_collecting:
                gc.enable()
    return sys.modules["great_expectations"]


def _has_raised(information: Mapping[str, Any]) -> bool:
    """Say whether an expectation ended in an exception: GX says so once, or once for each metric that failed."""
    if "raised_exception" in information:
        return bool(information["raised_exception"])
    return any(_has_raised(part) for part in information.values())


def _found(rule: Rule, table: str, column: str, places: Sequence[int], rows: Sequence[int] | None) -> Iterable[Finding]:
    """Yield a finding for each place; one without a row when the expectation speaks of the table as a whole."""
    if not places:
        yield rule.found(table, 0, column, count="1")
    for at in places[:MOST_PLACES]:
        yield rule.found(table, at + FIRST_ROW if rows is None else rows[at], column, count=str(len(places)))


def _column_of(expectation: Mapping[str, Any]) -> str:
    """Return the column to look at: the one that is judged, the first of a pair or of a key."""
    kwargs = expectation.get("kwargs", {})
    column = kwargs.get("column") or kwargs.get("column_A") or next(iter(kwargs.get("column_list", ())), "")
    return str(column)
