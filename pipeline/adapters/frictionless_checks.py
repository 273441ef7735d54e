"""Judges the structure of a return with Frictionless against our own schemas: headings, types, constraints, code lists, keys.

Frictionless judges cells one by one, so each column is shown to it once per distinct text: the judgement is the same, and rows that are alike cost
nothing. Keys are judged over all rows. It never sees the upload, a name or a descriptor of the upload, only texts that were read and schemas made
here. What it says of a cell (its errors carry whole rows and values) stays here: a finding is a rule and a place. This is the reference:
`duckdb_checks`, which judges big tables, finds what would be found here.

Frictionless takes numbers such as NaN and 1_000, days of the year 24, and a pattern that is followed by a line break. So every column of numbers,
days or free text has a second column beside it, in which the same text must match a pattern of ours (`written`); every pattern is closed at its end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.findings import Finding, in_order
from pipeline.domain.tables import Definitions, Field, TableSchema
from pipeline.errors import RuleError
from pipeline.ports import ReturnTable

if TYPE_CHECKING:
    from frictionless import Error

MOST_ERRORS = 100_000
"""Frictionless stops after so many errors of one column; by default it stops, without much ado, after 1,000."""

MOST_PLACES = 1000
"""How many places of one rule in one column become findings; each says how many there are in all."""

BATCH_CELLS = 50_000
EARLIEST, LATEST = "2000-01-01", "2100-12-31"
WRITTEN = "written"

FORMULA_STARTS = r"=+@\uff0b\uff1d\uff20\-"
HIDDEN_CHARACTERS = r"\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
FREE_TEXT = rf"(?![{FORMULA_STARTS}])[^{HIDDEN_CHARACTERS}]*"
"""Free text has no control, invisible or direction-changing characters, and does not begin like a formula."""

EMPTY_RULES: Mapping[tuple[str, str], str] = {("payments", "payer_id"): "S-102"}
RULES: Mapping[tuple[str, str], str] = {
    ("integer", WRITTEN): "S-103",
    ("number", WRITTEN): "S-104",
    ("date", WRITTEN): "S-105",
    ("string", WRITTEN): "S-114",
    ("integer", "type"): "S-103",
    ("number", "type"): "S-104",
    ("date", "type"): "S-106",
    ("date", "minimum"): "S-107",
    ("date", "maximum"): "S-107",
    ("integer", "minimum"): "S-108",
    ("number", "minimum"): "S-108",
    ("integer", "maximum"): "S-109",
    ("number", "maximum"): "S-109",
    ("string", "enum"): "S-110",
    ("string", "pattern"): "S-111",
    ("string", "maxLength"): "S-112",
}
"""The rule that a cell breaks, by the type of its column and by what Frictionless found, the gravest first: one finding a cell is enough."""

_AMOUNT = re.compile(r"[0-9 .+-]*", re.ASCII)

GRAVITY = tuple(dict.fromkeys(what for _, what in RULES))


class FrictionlessChecker:
    """Judges return tables against `schemas/submission/`."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions

    def check(self, tables: Mapping[str, ReturnTable]) -> Sequence[Finding]:
        """Return what is structurally wrong, in reading order.

        Raises: RuleError when a schema of ours cannot be used, or Frictionless fails for a reason that is not in the data.
        """
        findings: list[Finding] = []
        for name in sorted(tables):
            findings.extend(self.check_table(self._definitions.table("submission", name), tables[name].cells))
        return in_order(findings)

    def check_table(self, table: TableSchema, cells: pa.Table) -> Iterator[Finding]:
        """Yield what is wrong with one table."""
        yield from self.check_shape(table, cells)
        if not cells.num_rows:
            return
        for column in table.fields:
            if column.name in cells.column_names:
                yield from self.check_column(table, column, cells)
        if set(table.primary_key) <= set(cells.column_names):
            yield from self._check_key(table, cells)

    def check_shape(self, table: TableSchema, cells: pa.Table) -> Iterator[Finding]:
        """Yield what is wrong with the headings of a table, and with the number of rows of a cover."""
        yield from self._check_headings(table, cells)
        if table.name == "cover" and cells.num_rows != 1:
            yield self._definitions.rule("S-115").found(table.name, rows=str(cells.num_rows), count="1")

    def _check_headings(self, table: TableSchema, cells: pa.Table) -> Iterator[Finding]:
        labels = [name for name in cells.column_names if name != "row"]
        expected = [column.name for column in table.fields if column.is_required or column.name in labels]
        schema = {"fields": [{"name": name, "type": "any"} for name in expected], "fieldsMatch": "equal"}
        for error in _errors(table.name, schema, lambda: iter([labels])):
            if error.type == "missing-label":
                yield self._definitions.rule("S-116").found(table.name, 1, _field_name(error), count="1")
            elif error.type == "extra-label":
                yield self._definitions.rule("S-117").found(table.name, 1, count="1")
            else:
                raise _not_judged(table.name, error.type)

    def check_column(self, table: TableSchema, column: Field, cells: pa.Table) -> Iterator[Finding]:
        """Judge each distinct text of a column, then say in which rows the wrong ones stand."""
        encoded = cells[column.name].combine_chunks().dictionary_encode()
        texts: pa.StringArray = encoded.dictionary
        has_empty = encoded.null_count > 0
        schema = {"fields": self._descriptors(column)}
        width = len(schema["fields"]) - 1

        def rows() -> Iterator[Sequence[object]]:
            yield [field["name"] for field in schema["fields"]]
            for first in range(0, len(texts), BATCH_CELLS):
                for at, text in enumerate(texts.slice(first, BATCH_CELLS).to_pylist(), start=first):
                    yield [at, _comparable(column, text), text][: width + 1]
            if has_empty:
                yield [len(texts), None, None][: width + 1]

        broken = self._broken_rules(table, column, _errors(table.name, schema, rows))
        for rule, wrong in sorted(broken.items()):
            is_wrong = pc.is_in(encoded.indices, pa.array([at for at in wrong if at < len(texts)], encoded.indices.type))
            if len(texts) in wrong:
                is_wrong = pc.or_(is_wrong, encoded.is_null())
            where = cells["row"].filter(is_wrong)
            yield from self.places(rule, table, column, where.slice(0, MOST_PLACES).to_pylist(), len(where))
        if sum(map(len, broken.values())) >= MOST_ERRORS:
            yield self._definitions.rule("S-118").found(table.name, 0, column.name, limit=str(MOST_ERRORS), count="1")

    def _broken_rules(self, table: TableSchema, column: Field, errors: Iterator[Error]) -> Mapping[str, set[int]]:
        """Return the distinct texts, by number, that break each rule; of several errors of one text only the gravest counts."""
        gravest: dict[int, str] = {}
        for error in errors:
            what = _what(table.name, error)
            at = _position(error) - 2
            if at not in gravest or _gravity(what) < _gravity(gravest[at]):
                gravest[at] = what
        broken: dict[str, set[int]] = {}
        for at, what in gravest.items():
            broken.setdefault(rule_of(table.name, column, what), set()).add(at)
        return broken

    def places(self, rule: str, table: TableSchema, column: Field, rows: Sequence[int], count: int) -> Iterator[Finding]:
        """Yield a finding of a rule in a column for each of the rows that are listed; each says how many there are in all."""
        words = self._words(rule, column)
        for row in rows:
            yield self._definitions.rule(rule).found(table.name, row, column.name, count=str(count), **words)

    def _words(self, rule: str, column: Field) -> Mapping[str, str]:
        """Return what fills the placeholders of a rule: limits, codes and patterns of ours."""
        limits = self.limits(column)
        words: Mapping[str, Callable[[], Mapping[str, str]]] = {
            "S-104": lambda: {"decimals": str(decimals(column))},
            "S-107": lambda: {"earliest": str(limits["minimum"]), "latest": str(limits["maximum"])},
            "S-108": lambda: {"limit": str(limits["minimum"])},
            "S-109": lambda: {"limit": str(limits["maximum"])},
            "S-110": lambda: {"codes": ", ".join(limits["enum"])},
            "S-111": lambda: {"expected": str(column.constraints["pattern"])},
            "S-112": lambda: {"limit": str(limits["maxLength"])},
        }
        return words[rule]() if rule in words else {}

    def limits(self, column: Field) -> dict[str, Any]:
        """Return the constraints that Frictionless enforces on a column, code lists and our window of dates among them."""
        limits = dict(column.constraints)
        if column.codelist is not None:
            if column.codelist not in self._definitions.codelists:
                raise RuleError(f"There is no code list {column.codelist}, which column {column.name} names.")
            limits["enum"] = list(self._definitions.codelists[column.codelist])
        if column.type == "date":
            limits = {"minimum": EARLIEST, "maximum": LATEST} | limits
        return limits

    def _descriptors(self, column: Field) -> list[dict[str, Any]]:
        """Return the Frictionless fields of a column. The first field is never empty, so that an empty cell is not taken for an empty row."""
        limits = self.limits(column)
        if "pattern" in limits:
            limits["pattern"] = _closed(limits["pattern"])
        fields: list[dict[str, Any]] = [
            {"name": "number", "type": "any"},
            {"name": column.name, "type": column.type, "constraints": limits},
        ]
        written = written_pattern(column)
        if written is not None:
            fields.append({"name": WRITTEN, "type": "string", "constraints": {"pattern": _closed(written)}})
        return fields

    def _check_key(self, table: TableSchema, cells: pa.Table) -> Iterator[Finding]:
        """Judge that no two rows have one key. Rows without any key are left to the rule on empty cells."""
        key = list(table.primary_key)
        schema = {"fields": [{"name": name, "type": "string"} for name in ("number", *key)], "primaryKey": key}

        def rows() -> Iterator[Sequence[object]]:
            yield ["number", *key]
            for batch in cells.select(key).to_batches(BATCH_CELLS):
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    yield ["-", *values]

        repeated: list[tuple[int, int]] = []
        for error in _errors(table.name, schema, rows):
            if error.type == "primary-key" and error.note.startswith("the same as"):
                repeated.append((_position(error) - 2, int(error.note.rpartition(" ")[2]) - 2))
            elif error.type != "primary-key":
                raise _not_judged(table.name, error.type)
        numbers = cells["row"]
        for at, earlier in repeated[:MOST_PLACES]:
            words = {"other": str(numbers[earlier].as_py()), "count": str(len(repeated))}
            yield self._definitions.rule("S-113").found(table.name, numbers[at].as_py(), key[0], **words)


def _errors(table: str, schema: Mapping[str, Any], rows: Callable[[], Iterator[Sequence[object]]]) -> Iterator[Error]:
    """Yield what Frictionless finds in inline rows, the first of which are the labels."""
    from frictionless import Schema
    from frictionless.resources import TableResource

    try:
        report = TableResource(data=rows, schema=Schema.from_descriptor(dict(schema))).validate(limit_errors=MOST_ERRORS)
    except Exception as error:
        raise _not_judged(table, type(error).__name__) from None
    yield from report.errors
    for task in report.tasks:
        yield from task.errors


def _what(table: str, error: Error) -> str:
    """Return what an error is about: the type, one constraint, or how the text is written."""
    if error.type == "type-error":
        return "type"
    if error.type == "constraint-error":
        return WRITTEN if _field_name(error) == WRITTEN else error.note.split('"')[1]
    raise _not_judged(table, error.type)


def rule_of(table: str, column: Field, what: str) -> str:
    """Return the rule that a cell of a column breaks. Raises: RuleError when the catalogue has none for it."""
    if what == "required":
        return EMPTY_RULES.get((table, column.name), "S-101")
    rule = RULES.get((column.type, what))
    if rule is None:
        raise RuleError(f"No rule speaks of {what} in a column of type {column.type} ({table}.{column.name}).")
    return rule


def _gravity(what: str) -> int:
    return GRAVITY.index(what) if what in GRAVITY else len(GRAVITY)


def written_pattern(column: Field) -> str | None:
    """Return how the cells of a column must be written, in ASCII digits only; None for text that its own pattern or codes bind."""
    if column.type == "date":
        return "[0-9]{4}-[0-9]{2}-[0-9]{2}"
    if column.type == "integer":
        return "-?[0-9]{1,9}"
    if column.type == "number":
        return f"-?[0-9]{{1,9}}([.][0-9]{{1,{decimals(column)}}})?"
    is_free = column.type == "string" and column.codelist is None and not {"pattern", "enum"} & set(column.constraints)
    return FREE_TEXT if is_free else None


def _comparable(column: Field, text: str) -> str:
    """Return the text that the type of a column is judged by: for sNaN, a number that raises when it is compared, one that is none."""
    return "-" if column.type == "number" and not _AMOUNT.fullmatch(text) else text


def decimals(column: Field) -> int:
    """Return how many decimals a number may have."""
    return column.decimals if column.decimals is not None else 2


def _closed(pattern: str) -> str:
    """Return a pattern that Frictionless, which puts ^ and $ around it, matches against the whole text and nothing else."""
    return rf"(?:{pattern})\Z"


def _position(error: Error) -> int:
    position: int = error.row_number  # type: ignore[attr-defined]
    return position


def _field_name(error: Error) -> str:
    name: str = error.field_name  # type: ignore[attr-defined]
    return name


def _not_judged(table: str, what: str) -> RuleError:
    return RuleError(f"Frictionless could not judge the table {table} ({what}): a schema of ours is broken.")
