"""Judges the structure of big tables: the schemas that Frictionless judges by, compiled to DuckDB SQL that finds the same.

`frictionless_checks` is the reference; the property tests show that the two agree, rule, row, column and words. What cannot be compiled with
certainty (a pattern that RE2 and Python may read differently, a constraint without a rule) is left to the reference, column by column. There is one
difference, in favour of big tables: Frictionless gives up after so many errors of a column, and here all are counted.

Every column becomes one CASE that names the rule that a cell breaks, the gravest first. All columns are counted in one pass over the Arrow table,
which is not copied; a column that has wrong cells takes one more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.adapters.frictionless_checks import (
    FORMULA_STARTS,
    FREE_TEXT,
    HIDDEN_CHARACTERS,
    MOST_PLACES,
    RULES,
    WRITTEN,
    FrictionlessChecker,
    decimals,
    rule_of,
    written_pattern,
)
from pipeline.domain.findings import Finding, in_order
from pipeline.domain.tables import Definitions, Field, TableSchema
from pipeline.errors import RuleError
from pipeline.ports import ReturnTable

if TYPE_CHECKING:
    import duckdb

SMALL_ROWS = 1000
"""Up to here Frictionless itself is as quick. The two find the same, so the number decides nothing but time."""

SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "temp_directory": "",
    "preserve_insertion_order": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}

SAME_IN_BOTH = re.compile(
    r"""(?:
        [A-Za-z0-9\ _/,:@\#'-]                              # a character that means itself
      | \\[./+*?()\-]                                       # one that does so after a backslash
      | \[(?!\^)(?:[A-Za-z0-9\ _./,:@\#'()+]|-(?!-))+\]     # a class of those
      | \(\?: | \((?!\?) | [)|]                             # a group, an alternative
      | (?:[?*+]|\{[0-9]+(?:,[0-9]*)?\})(?![?*+{])          # how often
    )*""",
    re.VERBOSE | re.ASCII,
)
"""The patterns that Python's re and DuckDB's RE2 read alike when the whole text must match."""

MOST_DECIMALS = 9
WHOLE_DIGITS = 9
BEYOND = 10**WHOLE_DIGITS


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One way in which a cell can be wrong: a condition on `{cell}`, with its parameters, and the rule that it breaks, None when it may be."""

    condition: str
    parameters: Sequence[object]
    rule: str | None


class DuckDbChecker:
    """Fulfils `ports.StructureChecker`: Frictionless for tables of up to `small_rows`, the compiled schemas for bigger ones.

    Shape: the rows of a table stand in the order of their numbers, as the reader leaves them.
    """

    def __init__(self, definitions: Definitions, small_rows: int = SMALL_ROWS) -> None:
        self._definitions = definitions
        self._reference = FrictionlessChecker(definitions)
        self._small_rows = small_rows

    def check(self, tables: Mapping[str, ReturnTable]) -> Sequence[Finding]:
        """Return what is structurally wrong, in reading order.

        Raises: RuleError when a schema of ours cannot be used, or a checker fails for a reason that is not in the data.
        """
        findings: list[Finding] = []
        for name in sorted(tables):
            table, cells = self._definitions.table("submission", name), tables[name].cells
            check = self._reference.check_table if cells.num_rows <= self._small_rows else self._check_big
            findings.extend(check(table, cells))
        return in_order(findings)

    def _check_big(self, table: TableSchema, cells: pa.Table) -> Iterator[Finding]:
        yield from self._reference.check_shape(table, cells)
        columns = [column for column in table.fields if column.name in cells.column_names]
        with _database(table.name, cells.select(["row", *(column.name for column in columns)])) as database:
            compiled = {column.name: self.compile(table, column, database) for column in columns}
            wrong = _count_wrong(database, {name: clauses for name, clauses in compiled.items() if clauses is not None})
            for column in columns:
                clauses = compiled[column.name]
                if clauses is None:
                    yield from self._reference.check_column(table, column, cells)
                elif wrong[column.name]:
                    for rule, count, rows in _places(database, column.name, clauses):
                        yield from self._reference.places(rule, table, column, rows, count)
            if set(table.primary_key) <= set(cells.column_names):
                yield from self._check_key(table, database)

    def compile(self, table: TableSchema, column: Field, database: duckdb.DuckDBPyConnection) -> Sequence[Clause] | None:
        """Return how a cell of a column can be wrong, the gravest first; None when SQL might judge otherwise than the reference."""
        limits = self._reference.limits(column)
        is_required = limits.pop("required", False)
        if not isinstance(is_required, bool) or any((column.type, name) not in RULES for name in limits):
            return None
        conditions = _conditions(column, limits)
        if conditions is None or not all(_can_match(database, condition) for condition in conditions):
            return None
        empty = Clause(condition="{cell} is null", parameters=(), rule=rule_of(table.name, column, "required") if is_required else None)
        return [empty, *(Clause(condition=sql, parameters=given, rule=RULES[column.type, what]) for what, sql, given in conditions)]

    def _check_key(self, table: TableSchema, database: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
        """Judge that no two rows have one key. Only rows that share a hash are compared; rows without any key are left to the rule on empty cells."""
        key = [f"nullif({_quoted(name)}, '')" for name in table.primary_key]
        names = ", ".join(f"key{number}" for number in range(len(key)))
        keyed = f'select "row", {", ".join(f"{part} as key{number}" for number, part in enumerate(key))} from cells'  # noqa: S608 (names of ours)
        query = f"""
            with keyed as ({keyed} where coalesce({", ".join(key)}) is not null),
                shared as (select hashed from (select hash({names}) as hashed from keyed) group by hashed having count(*) > 1),
                compared as (
                    select "row", lag("row") over (partition by {names} order by "row") as earlier
                    from keyed where hash({names}) in (from shared)
                )
            select count(*), min({{'row': "row", 'earlier': earlier}}, {MOST_PLACES}) from compared where earlier is not null
        """  # noqa: S608
        count, places = database.execute(query).fetchall()[0]
        for place in places or ():
            words = {"other": str(place["earlier"]), "count": str(count)}
            yield self._definitions.rule("S-113").found(table.name, place["row"], table.primary_key[0], **words)


Condition = tuple[str, str, Sequence[object]]
"""What is wrong, as the reference calls it; the SQL that is true then; its parameters."""


def _conditions(column: Field, limits: Mapping[str, Any]) -> Sequence[Condition] | None:
    """Return the conditions of a column in the order of their gravity, or None when one of them cannot be compiled."""
    by_type = {"string": _text_conditions, "integer": _integer_conditions, "number": _number_conditions, "date": _date_conditions}
    return by_type[column.type](column, limits) if column.type in by_type else None


def _text_conditions(column: Field, limits: Mapping[str, Any]) -> Sequence[Condition] | None:
    found: list[Condition] = []
    if written_pattern(column) == FREE_TEXT:
        found.append((WRITTEN, "regexp_matches({cell}, ?)", [_re2(f"^[{FORMULA_STARTS}]|[{HIDDEN_CHARACTERS}]")]))
    if "enum" in limits:
        codes = limits["enum"]
        if not isinstance(codes, list) or not codes or not all(isinstance(code, str) for code in codes):
            return None
        found.append(("enum", f"{{cell}} not in ({', '.join('?' * len(codes))})", codes))
    if "pattern" in limits:
        pattern = limits["pattern"]
        if not isinstance(pattern, str) or not SAME_IN_BOTH.fullmatch(pattern):
            return None
        found.append(("pattern", "not regexp_full_match({cell}, ?)", [pattern]))
    if "maxLength" in limits:
        if not _is_whole(limits["maxLength"]):
            return None
        found.append(("maxLength", "length({cell}) > ?", [limits["maxLength"]]))
    return found


def _integer_conditions(column: Field, limits: Mapping[str, Any]) -> Sequence[Condition] | None:
    if not all(_is_whole(limit) for limit in limits.values()):
        return None
    return _bounded(column, "try_cast({cell} as integer)", limits)


def _number_conditions(column: Field, limits: Mapping[str, Any]) -> Sequence[Condition] | None:
    scale = decimals(column)
    if not 1 <= scale <= MOST_DECIMALS or not all(_is_amount(limit) for limit in limits.values()):
        return None
    bounds = {name: Decimal(str(limit)) for name, limit in limits.items()}
    return _bounded(column, f"try_cast({{cell}} as decimal({WHOLE_DIGITS + scale}, {scale}))", bounds)


def _date_conditions(column: Field, limits: Mapping[str, Any]) -> Sequence[Condition] | None:
    if not all(_is_day(limit) for limit in limits.values()):
        return None
    # DuckDB knows a year 0. Days that are written alike are in the order of their texts.
    missing: Condition = ("type", "try_cast({cell} as date) is null or {cell} < '0001'", ())
    written, *bounds = _bounded(column, "{cell}", limits)
    return [written, missing, *bounds]


def _bounded(column: Field, value: str, limits: Mapping[str, Any]) -> Sequence[Condition]:
    found: list[Condition] = [(WRITTEN, "not regexp_full_match({cell}, ?)", [written_pattern(column)])]
    signs = {"minimum": "<", "maximum": ">"}
    return found + [(name, f"{value} {sign} ?", [limits[name]]) for name, sign in signs.items() if name in limits]


def _is_whole(limit: object) -> bool:
    return isinstance(limit, int) and not isinstance(limit, bool) and abs(limit) < BEYOND


def _is_amount(limit: object) -> bool:
    if not _is_whole(limit) and not isinstance(limit, float):
        return False
    amount = Decimal(str(limit))
    exponent = amount.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -MOST_DECIMALS and abs(amount) < BEYOND


def _is_day(limit: object) -> bool:
    try:
        return isinstance(limit, str) and date.fromisoformat(limit).isoformat() == limit
    except ValueError:
        return False


def _re2(pattern: str) -> str:
    r"""Return a pattern of ours as RE2 writes it: \x{200b} for \u200b."""
    return re.sub(r"\\u([0-9a-f]{4})", r"\\x{\1}", pattern)


@contextmanager
def _database(table: str, cells: pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
    """Lend a table to a database in memory. DuckDB's own messages may quote a cell, so they end here."""
    import duckdb

    with duckdb.connect(config=SETTINGS) as database:
        try:
            database.execute("set enable_external_access = false")
            database.register("cells", cells)
            yield database
        except duckdb.Error as error:
            raise RuleError(f"DuckDB could not judge the table {table} ({type(error).__name__}).") from None


def _can_match(database: duckdb.DuckDBPyConnection, condition: Condition) -> bool:
    """Say whether DuckDB takes a condition: RE2 refuses some patterns, among them all that Python refuses."""
    import duckdb

    _, sql, parameters = condition
    try:
        database.execute(f"select {sql.format(cell='cell')} from (select cast(? as varchar) as cell)", [*parameters, "0"]).fetchall()  # noqa: S608 (SQL of ours)
    except duckdb.InvalidInputException:
        return False
    return True


def _count_wrong(database: duckdb.DuckDBPyConnection, compiled: Mapping[str, Sequence[Clause]]) -> Mapping[str, int]:
    """Return how many cells of each column are wrong."""
    counts = ", ".join(f"count({_case(name, clauses)})" for name, clauses in compiled.items())
    parameters = [value for clauses in compiled.values() for value in _parameters(clauses)]
    found = database.execute(f"select {counts or 0} from cells", parameters).fetchall()[0]  # noqa: S608 (SQL of ours)
    return dict(zip(compiled, found, strict=False))


def _places(database: duckdb.DuckDBPyConnection, name: str, clauses: Sequence[Clause]) -> Sequence[tuple[str, int, Sequence[int]]]:
    """Return for each rule that a column breaks how many cells do, and the first rows of those."""
    query = f"""
        select rule, count(*), min("row", {MOST_PLACES})
        from (select "row", {_case(name, clauses)} as rule from cells) where rule is not null group by rule order by rule
    """  # noqa: S608 (SQL of ours)
    return database.execute(query, _parameters(clauses)).fetchall()


def _case(name: str, clauses: Sequence[Clause]) -> str:
    """Return the SQL that gives the rule that a cell of a column breaks, null for none."""
    cell = f"nullif({_quoted(name)}, '')"
    whens = " ".join(f"when {clause.condition.format(cell=cell)} then {_rule(clause)}" for clause in clauses)
    return f"(case {whens} end)"


def _rule(clause: Clause) -> str:
    return "null" if clause.rule is None else f"'{clause.rule}'"


def _parameters(clauses: Sequence[Clause]) -> list[object]:
    return [value for clause in clauses for value in clause.parameters]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
