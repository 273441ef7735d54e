"""Two engines, one judgement: what DuckDB finds by the compiled schemas is what Frictionless finds, over random schemas and dirty tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.adapters.duckdb_checks import DuckDbChecker
from pipeline.adapters.frictionless_checks import FrictionlessChecker
from pipeline.domain.findings import Finding
from pipeline.domain.tables import Definitions, Field, TableSchema
from pipeline.errors import RuleError
from pipeline.ports import ReturnTable, StructureChecker

DEFINITIONS = load_definitions(find_definitions())
CODES = {"short": {"a": "A", "b": "B"}, "odd": {"it's": "an apostrophe", "\u00e9": "an accent", "1": "a digit"}}

DIRTY: Sequence[str | None] = (
    # empty, and words for empty
    None, "", " ", "\t", "N/A", "-", "nil", "null", "None", ".",
    # days
    "2024-02-29", "2000-01-01", "2100-12-31", "31/01/2024", "01/31/2024", "31/02/2024", "2024-02-31", "2023-02-29", "45383", "24-01-31", "2024-1-31",
    "2024-01-31T00:00:00", "2024-01-31 ", " 2024-01-31", "2024-01-31\n", "0024-01-31", "1024-01-31", "9999-12-31", "0000-01-01", "0000-02-30",
    "12024-01-31", "-2024-01-31", "1999-12-31", "2101-01-01", "2024-00-10", "2024-13-01", "2024-10-00", "Apr-24", "Q1", "TBC", "infinity", "epoch",
    "\u0662\u0660\u0662\u0664-01-31", "\uff12\uff10\uff12\uff14-01-31", "1900-02-29", "2000-02-29", "2024\u201101\u201131", "2024-01-31 (BC)",
    # numbers
    "0", "-0", "007", "1", "2", "5", "10", "-1", "999999999", "-999999999", "1000000000", "1000001", "1.5", "1.50", "-0.00", "0.01", "0.005",
    "12.345",
    "1.", ".5", "+5", "--5", "- 5", "1e3", "1E+05", "1e309", "1e-400", "NaN", "nan", "sNaN", "INF", "-INF", "Infinity", "1_000", "1,000", "1000,50",
    "(5)", "\u00a35", "\u20ac5", "\uff11\uff10\uff10\uff10", "\u0661", "\u00b2", "0x10", "0b1", "9" * 400, "1" * 40 + ".5", "5\n", "5\u00a0",
    "\u22125",
    "TRUE", "false", "#REF!", "#N/A",
    # texts
    "a", "b", "A", "it's", "\u00e9", "e\u0301", "abc", "ab-1", "A1\n", "A1\r\n", "A\u200b1", "\u0410\u0031", "A\u00ad1", "\ufeffA", "x" * 41,
    "x" * 500,
    "x" * 501, "\U0001f600" * 5, "x" * 200_000, "=1+1", "+1+1", "-2+3", "@SUM(A1)", "\uff1d1", "\uff0b1", "\uff201", "\tcmd", "a\x00b", "\x00",
    "a\x1bb",
    "a\x7fb", "a\x85b", "a\u202eb", "a\u2066b", "a\u2028b", "a\u200eb", "<script>", "{{7*7}}", "'; drop table cells; --", "two\nlines",
    "two\r\nlines",
    "a\vb", "E08000003", "E0800000", "e08000003", "2024-Q1", "2024-Q5", "yes", "Yes", "female", "verified", "verified ", "1.23457E+11", "MAR-1",
)  # fmt: skip
"""Cells of every kind in the catalogue of bad input, and the ends of what is allowed."""

PATTERNS = (
    "[A-Za-z0-9][A-Za-z0-9/._-]{0,39}", "[0-9]{4}-Q[1-4]", "a|b|abc", "(?:a|b)+", "(a|ab)(c|bc)?", r"[a-z]+\-[0-9]", "a*", "x{2,}", "[^a]",
    "[-a]", "[a-]+",
    # Python and RE2 read these differently, or only one of them does
    r"\d+", r"\w+", r"\s*", ".", ".*", "a$", "^a", "(?i)a", "(?=a)a", "(?!a).*", r"(a)\1", "a++", "x{,3}", "x{1001}", "\u00e9+", "[\u00e9]",
    "(?P<n>a)", r"\Aa",
    # and neither these
    "[", "a)|(b", "*", "(", "[b-a]", "a{2,1}",
)  # fmt: skip

names = st.sampled_from(["key", "first", "second", "third", 'a "b"', "number_of", "select"])
whole = st.integers(-5, 12) | st.sampled_from([-999_999_999, 999_999_999, 10**12])
amounts = whole | st.sampled_from([0.5, 1.5, -0.01, 0.005, 1e300])
bounds = {
    "integer": whole | st.sampled_from([1.5, "3", "x"]),
    "number": amounts | st.sampled_from(["1.5", "NaN"]),
    "date": st.sampled_from(["2024-01-01", "2024-01-31", "0001-01-01", "1999-12-31", "2024-1-1", "x"]),
}


def limits(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    required: dict[str, st.SearchStrategy[Any]] = {"required": st.booleans()}
    if kind == "string":
        words = st.lists(st.sampled_from(["a", "b", "it's", "\u00e9", "1", "2024-Q1"]), min_size=1, max_size=3, unique=True)
        own = {"pattern": st.sampled_from(PATTERNS), "enum": words, "maxLength": st.integers(0, 5) | st.just(500), "minLength": st.integers(0, 2)}
    elif kind == "boolean":
        own = {}
    else:
        own = {"minimum": bounds[kind], "maximum": bounds[kind]}
    return st.fixed_dictionaries({}, optional=required | own)


def fields(name: str) -> st.SearchStrategy[Field]:
    kinds = st.sampled_from(["string"] * 4 + ["integer", "number", "date"] * 3 + ["boolean"])
    return kinds.flatmap(
        lambda kind: st.builds(
            lambda constraints, decimals, codelist: Field(
                name=name,
                type=kind,
                title=name,
                description=name,
                decimals=decimals if kind == "number" else None,
                codelist=codelist if kind == "string" else None,
                constraints=constraints,
            ),
            limits(kind),
            st.sampled_from([None, None, 1, 2, 3, 0, 12]),
            st.sampled_from([None, None, None, "short", "odd", "no_such_list"]),
        )
    )


@st.composite
def schemas(draw: st.DrawFn) -> TableSchema:
    chosen = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    columns = [draw(fields(name)) for name in chosen]
    key = draw(st.lists(st.sampled_from(chosen), min_size=1, max_size=2, unique=True))
    return TableSchema(name="things", title="", description="", grain="", version=1, fields=columns, primary_key=key)


cells = st.sampled_from(DIRTY) | st.text(max_size=4) | st.from_regex(r"-?[0-9]{1,9}(\.[0-9]{1,2})?", fullmatch=True) | st.dates().map(str)


@st.composite
def tables(draw: st.DrawFn, schema: TableSchema) -> pa.Table:
    count = draw(st.integers(1, 8))
    rows = sorted(draw(st.sets(st.integers(2, 40), min_size=count, max_size=count)))
    pool = {name: draw(st.lists(cells, min_size=1, max_size=5)) for name in schema.columns}
    columns = {name: pa.array([draw(st.sampled_from(pool[name])) for _ in rows], pa.string()) for name in schema.columns}
    left_out = draw(st.sets(st.sampled_from(schema.columns), max_size=1)) if draw(st.integers(0, 5)) == 0 else set()
    return pa.table({"row": pa.array(rows, pa.int64())} | {name: column for name, column in columns.items() if name not in left_out})


def judged(checker: StructureChecker, name: str, table: pa.Table) -> Sequence[Finding] | str:
    """Return the findings, or the fact that a schema of ours cannot be used."""
    try:
        return checker.check({name: ReturnTable(name=name, place=name, cells=table)})
    except RuleError:
        return "a broken schema"


def both(definitions: Definitions, name: str, table: pa.Table) -> tuple[Sequence[Finding] | str, Sequence[Finding] | str]:
    return judged(FrictionlessChecker(definitions), name, table), judged(DuckDbChecker(definitions, small_rows=0), name, table)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_both_engines_find_the_same_in_any_table_under_any_schema(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    definitions = dataclasses.replace(DEFINITIONS, tables={**DEFINITIONS.tables, "submission": {"things": schema}}, codelists=CODES)

    reference, compiled = both(definitions, "things", data.draw(tables(schema)))

    assert compiled == reference


@pytest.mark.parametrize("pattern", PATTERNS)
def test_both_engines_read_every_pattern_alike_in_every_dirty_cell(pattern: str) -> None:
    column = Field(name="code", type="string", title="", description="", constraints={"pattern": pattern})
    schema = TableSchema(name="things", title="", description="", grain="", version=1, fields=[column], primary_key=["code"])
    definitions = dataclasses.replace(DEFINITIONS, tables={**DEFINITIONS.tables, "submission": {"things": schema}})

    reference, compiled = both(definitions, "things", with_rows({"code": [*DIRTY, "a", "b", "ab", "abc", "xx", "xxx", "x" * 1001, "n", "-", "^"]}))

    assert compiled == reference


def with_rows(columns: Mapping[str, Sequence[str | None]]) -> pa.Table:
    count = len(next(iter(columns.values())))
    return pa.table({"row": pa.array(range(2, count + 2), pa.int64())} | {name: pa.array(texts, pa.string()) for name, texts in columns.items()})


@pytest.mark.parametrize("name", sorted(DEFINITIONS.tables["submission"]))
def test_both_engines_find_the_same_in_real_tables_with_every_dirty_cell_in_every_column(name: str) -> None:
    columns = DEFINITIONS.table("submission", name).columns
    turned = {column: [*DIRTY[at:], *DIRTY[:at], *DIRTY[: 10 + at]] for at, column in enumerate(columns)}

    reference, compiled = both(DEFINITIONS, name, with_rows({column: texts[: len(DIRTY) + 10] for column, texts in turned.items()}))

    assert compiled == reference
    assert not isinstance(compiled, str)
    assert {finding.column for finding in compiled} >= set(columns)


@pytest.mark.parametrize(
    ("kind", "constraints"),
    [
        ("string", {"enum": [1]}),
        ("string", {"enum": []}),
        ("string", {"maxLength": "5"}),
        ("string", {"minLength": 2}),
        ("string", {"unique": True}),
        ("string", {"pattern": r"\d"}),
        ("string", {"pattern": "[b-a]"}),
        ("string", {"required": "yes"}),
        ("integer", {"minimum": 1.5}),
        ("integer", {"maximum": True}),
        ("integer", {"maximum": 10**9}),
        ("number", {"minimum": "1"}),
        ("number", {"minimum": float("nan")}),
        ("number", {"minimum": 1e-12}),
        ("date", {"minimum": "2024-1-1"}),
        ("date", {"maximum": 2024}),
        ("boolean", {}),
    ],
)
def test_what_sql_might_judge_otherwise_is_left_to_the_reference(kind: Any, constraints: dict[str, Any]) -> None:
    column = Field(name="code", type=kind, title="", description="", constraints=constraints)
    schema = TableSchema(name="things", title="", description="", grain="", version=1, fields=[column], primary_key=["code"])

    with duckdb.connect() as database:
        assert DuckDbChecker(DEFINITIONS).compile(schema, column, database) is None


def test_every_column_of_the_real_schemas_is_compiled_and_none_is_left_to_the_slow_reference() -> None:
    checker = DuckDbChecker(DEFINITIONS)
    with duckdb.connect() as database:
        left = [
            (name, column.name)
            for name, table in DEFINITIONS.tables["submission"].items()
            for column in table.fields
            if checker.compile(table, column, database) is None
        ]

    assert left == []
