"""How one version of the published data differs from the one before it: cell by cell, and as a version number.

A figure that was or is hidden is counted and never shown: not the value that it had, not the value that it has. The day of the figures (`as_of`)
moves with every release and is no change. Called for the version number of a draft, for its changes, and by whoever reads published tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.release import Change
from pipeline.domain.tables import Field, TableSchema
from pipeline.errors import IntegrityError, RuleError
from pipeline.stages.frames import conform, equal_to
from pipeline.stages.verification import MANIFEST, parse_manifest, read_parquet, sha256

HIDDEN = "c"
"""The status of a figure that is hidden to protect people. Source: schemas/codelists/cell_status.csv."""

STATUS = "_status"
AS_OF = "as_of"
TOTAL = "all"

BESIDE = frozenset({"changes"})
"""Tables that stand in a version's folder and speak of the version: what is found out from the others is not compared with them."""

CHANGES = ("changed", "hidden", "shown", "status")
"""What can happen to a cell that stands in both versions: its value changed; it went into hiding; it came out; only its status changed."""

_JOINT = "\x1f"


@dataclass(frozen=True, kw_only=True)
class TableDifferences:
    """How one table differs between two versions.

    `schema` is the present one (None: the table is gone). `cells` has one row per changed cell of rows that stand in both versions: the key columns
    as text, `column`, `change` (one of CHANGES), `old` and `new` as text, filled for `changed` only, and the status of both, null where a column has
    none; in the order of keys, then of columns. `came` and `went` are the rows that stand in one version only.
    `figures_added` and `figures_removed` count published figures in rows that came or went, `hidden_added` the hidden ones in rows that came.
    """

    name: str
    schema: TableSchema | None
    cells: pa.Table
    came: pa.Table
    went: pa.Table
    is_new: bool = False
    grain_changed: bool = False
    words_changed: bool = False
    columns_added: Sequence[str] = ()
    columns_removed: Sequence[str] = ()
    columns_retyped: Sequence[str] = ()
    columns_moved: bool = False
    rows_added: int = 0
    rows_removed: int = 0
    figures_added: int = 0
    figures_removed: int = 0
    hidden_added: int = 0
    codes_added: Mapping[str, Sequence[str]] = field(default_factory=dict)
    codes_removed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    quarters_added: Sequence[str] = ()
    quarters: Sequence[str] = ()
    projects: Sequence[str] = ()

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of changed cells by change, zeros included."""
        return {change: pc.sum(equal_to(self.cells["change"], change)).as_py() or 0 for change in CHANGES}

    @property
    def is_breaking(self) -> bool:
        """Whether something that reads the version before may break on this one."""
        return self.schema is None or self.grain_changed or bool(self.columns_removed or self.columns_retyped) or self.columns_moved

    @property
    def is_growing(self) -> bool:
        """Whether there is something that the version before had no place for: a table, column, code or period."""
        return self.is_new or bool(self.columns_added or self.codes_added or self.quarters_added)

    @property
    def is_empty(self) -> bool:
        """Whether the table is the same in both versions."""
        same_rows = not (self.rows_added or self.rows_removed or self.cells.num_rows)
        return same_rows and not (self.is_breaking or self.is_growing or self.words_changed)


@dataclass(frozen=True, kw_only=True)
class Differences:
    """How a version differs from the one before it (`is_first`: there is none), by table name."""

    is_first: bool
    tables: Mapping[str, TableDifferences]

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not self.is_first and all(table.is_empty for table in self.tables.values())


def describe(schema: TableSchema) -> Mapping[str, str]:
    """Return what a Parquet file says of its own table, as the key-value pairs of its footer."""
    columns = {column.name: {"title": column.title, "description": column.description, "unit": column.unit} for column in schema.fields}
    return {
        "title": schema.title,
        "description": schema.description,
        "grain": schema.grain,
        "primary_key": json.dumps(list(schema.primary_key)),
        "columns": json.dumps(columns, ensure_ascii=False),
    }


def read_published(get: Callable[[str], bytes]) -> Mapping[str, pa.Table]:
    """Return every table of a published version from its Parquet files, by name; also those that are no longer made today, and not BESIDE.

    Args: `get` returns the bytes of a path inside the version folder.
    Raises: IntegrityError when a file does not match MANIFEST or its own page checksums.
    """
    tables = {}
    for path, expected in parse_manifest(get(MANIFEST)).items():
        if path.endswith(".parquet") and path.removesuffix(".parquet") not in BESIDE:
            content = get(path)
            if sha256(content) != expected:
                raise IntegrityError(f"{path} does not match the hash in MANIFEST. `outcomes verify` says what else is wrong with the folder.")
            tables[path.removesuffix(".parquet")] = read_parquet(content)
    return tables


def compare(before: Mapping[str, pa.Table] | None, after: Mapping[str, pa.Table], schemas: Mapping[str, TableSchema]) -> Differences:
    """Find what differs between the tables of two versions.

    Args: `before` as `read_published` gives it, None when nothing was published yet; `after` by name, with the columns of `schemas` at least.
    Raises: RuleError when a table does not fit its schema.
    """
    if not after.keys() <= schemas.keys():
        raise RuleError("A table is to be compared that no schema declares.")
    now = {name: conform(schemas[name], after[name]) for name in sorted(after)}
    then = before or {}
    found = {}
    for name in sorted(now.keys() | then.keys()):
        if name not in now:
            found[name] = _gone(name, then[name])
        elif name not in then:
            found[name] = _brand_new(schemas[name], now[name])
        else:
            found[name] = _differences(schemas[name], then[name], now[name])
    return Differences(is_first=before is None, tables=found)


def without_old(differences: Differences) -> Differences:
    """Return differences that tell no value of the version before: it was withdrawn because its values must not be known."""
    tables = {}
    for name, table in differences.tables.items():
        place = table.cells.column_names.index("old")
        cells = table.cells.set_column(place, "old", pa.nulls(table.cells.num_rows, pa.string()))
        tables[name] = replace(table, cells=cells, went=table.went.slice(0, 0))
    return replace(differences, tables=tables)


def required_change(differences: Differences, method_changed: bool) -> Change | None:
    """Return how far the version number must move; None when nothing differs. Source: design section 7.

    Major: a table or column removed, renamed, retyped or moved, a grain or the method of suppression changed (and a fund's first version). Minor: a
    new table, period, code, or column at the end. Patch: corrected values or words.
    """
    tables = differences.tables.values()
    if differences.is_first or method_changed or any(table.is_breaking for table in tables):
        return "major"
    if any(table.is_growing for table in tables):
        return "minor"
    return None if differences.is_empty else "patch"


def _gone(name: str, old: pa.Table) -> TableDifferences:
    projects, quarters = _values([old], "project_id"), _values([old], "quarter")
    return TableDifferences(
        name=name,
        schema=None,
        cells=_no_cells([]),
        came=old.slice(0, 0),
        went=old,
        rows_removed=old.num_rows,
        projects=projects,
        quarters=quarters,
    )


def _brand_new(schema: TableSchema, new: pa.Table) -> TableDifferences:
    figures, hidden = _figures(schema, new)
    return TableDifferences(
        name=schema.name,
        schema=schema,
        cells=_no_cells(schema.primary_key),
        came=new,
        went=new.slice(0, 0),
        is_new=True,
        rows_added=new.num_rows,
        figures_added=figures,
        hidden_added=hidden,
        projects=_values([new], "project_id"),
        quarters=_values([new], "quarter"),
    )


def _differences(schema: TableSchema, old: pa.Table, new: pa.Table) -> TableDifferences:
    added = tuple(name for name in new.column_names if name not in old.column_names)
    removed = tuple(name for name in old.column_names if name not in new.column_names)
    common = [name for name in new.column_names if name not in added]
    retyped = tuple(name for name in common if old.schema.field(name).type != new.schema.field(name).type)
    moved = [name for name in old.column_names if name not in removed] != common or new.column_names[: len(common)] != common
    grain_changed = _grain_changed(schema, old, retyped)
    came, went, was, now = _split_rows(schema.primary_key, old, new, comparable=not grain_changed)
    cells = _changed_cells(schema, was, now, [name for name in common if name not in retyped])
    figures, hidden = _figures(schema, came)
    return TableDifferences(
        name=schema.name,
        schema=schema,
        cells=cells,
        came=came,
        went=went,
        grain_changed=grain_changed,
        words_changed=_words_changed(schema, old),
        columns_added=added,
        columns_removed=removed,
        columns_retyped=retyped,
        columns_moved=moved,
        rows_added=came.num_rows,
        rows_removed=went.num_rows,
        figures_added=figures,
        figures_removed=_figures(schema, went)[0],
        hidden_added=hidden,
        codes_added=_new_codes(schema, new, old),
        codes_removed=_new_codes(schema, old, new),
        quarters_added=tuple(sorted(set(_values([new], "quarter")) - set(_values([old], "quarter")))),
        quarters=_values([came, went, cells], "quarter"),
        projects=_values([came, went, cells], "project_id"),
    )


def _grain_changed(schema: TableSchema, old: pa.Table, retyped: Iterable[str]) -> bool:
    """Say whether a row means another thing than before: other key columns, or a key that no longer tells the old rows apart."""
    key = list(schema.primary_key)
    written = (old.schema.metadata or {}).get(b"primary_key")
    if written is not None and json.loads(written) != key:
        return True
    if not set(key) <= set(old.column_names) or set(key) & set(retyped):
        return True
    return bool(old.group_by(key).aggregate([]).num_rows != old.num_rows)


def _words_changed(schema: TableSchema, old: pa.Table) -> bool:
    written = {name.decode(): text.decode() for name, text in (old.schema.metadata or {}).items()}
    return "title" in written and any(written.get(name) != text for name, text in describe(schema).items())


def _split_rows(key: Sequence[str], old: pa.Table, new: pa.Table, *, comparable: bool) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:
    """Return the rows that came, those that went, and those that stayed: as they were and as they are, in the same order."""
    if not comparable:
        return new, old, old.slice(0, 0), new.slice(0, 0)
    old_keys, new_keys = _joined_key(key, old), _joined_key(key, new)
    place = pc.index_in(new_keys, value_set=old_keys)
    stays = pc.is_valid(place)
    went = old.filter(pc.is_null(pc.index_in(old_keys, value_set=new_keys)))
    return new.filter(pc.invert(stays)), went, old.take(place.filter(stays)), new.filter(stays)


def _joined_key(key: Sequence[str], table: pa.Table) -> pa.Array:
    texts = [table[name].combine_chunks().cast(pa.string()) for name in key]
    return pc.binary_join_element_wise(*texts, _JOINT)


def _changed_cells(schema: TableSchema, was: pa.Table, now: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return one row per changed cell of rows that stand in both versions; see TableDifferences."""
    parts = []
    for number, name in enumerate(columns):
        if name in schema.primary_key or name == AS_OF or (name.endswith(STATUS) and name.removesuffix(STATUS) in columns):
            continue
        change = _change(name, was, now, has_status=name + STATUS in columns)
        if change.null_count == len(change):
            continue
        has_values = pc.equal(change, "changed")
        part = {key: now[key].cast(pa.string()) for key in schema.primary_key}
        part["column"] = pa.repeat(name, now.num_rows)
        part["change"] = change
        part["old"] = pc.if_else(has_values, was[name].combine_chunks().cast(pa.string()), None)
        part["new"] = pc.if_else(has_values, now[name].combine_chunks().cast(pa.string()), None)
        for side, rows in (("old", was), ("new", now)):
            has_status = name + STATUS in columns
            part[side + STATUS] = rows[name + STATUS].combine_chunks() if has_status else pa.nulls(now.num_rows, pa.string())
        part["_row"] = pa.array(range(now.num_rows), pa.int64())
        part["_column"] = pa.repeat(number, now.num_rows)
        parts.append(pa.table(part).filter(pc.is_valid(change)))
    if not parts:
        return _no_cells(schema.primary_key)
    cells = pa.concat_tables(parts).sort_by([("_row", "ascending"), ("_column", "ascending")])
    return cells.drop_columns(["_row", "_column"])


def _change(name: str, was: pa.Table, now: pa.Table, *, has_status: bool) -> pa.Array:
    """Return what happened to each cell of a column (one of CHANGES), null where nothing did."""
    differs = _differs(was[name], now[name])
    if not has_status:
        return pc.if_else(differs, "changed", pa.scalar(None, pa.string()))
    old_status, new_status = was[name + STATUS].combine_chunks(), now[name + STATUS].combine_chunks()
    was_hidden, is_hidden = equal_to(old_status, HIDDEN), equal_to(new_status, HIDDEN)
    seen = pc.invert(pc.or_(was_hidden, is_hidden))
    cases = pc.make_struct(
        pc.and_not(is_hidden, was_hidden),
        pc.and_not(was_hidden, is_hidden),
        pc.and_(seen, differs),
        pc.and_(seen, _differs(old_status, new_status)),
    )
    return pc.case_when(cases, "hidden", "shown", "changed", "status")


def _differs(was: pa.ChunkedArray, now: pa.ChunkedArray) -> pa.Array:
    """Return where two columns differ; null equals null and nothing else."""
    was, now = (column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column for column in (was, now))
    return pc.or_(pc.fill_null(pc.not_equal(was, now), False), pc.xor(pc.is_null(was), pc.is_null(now)))


def _no_cells(key: Sequence[str]) -> pa.Table:
    return pa.table({name: pa.array([], pa.string()) for name in (*key, "column", "change", "old", "new", "old_status", "new_status")})


def is_figure(schema: TableSchema, column: Field) -> bool:
    """Say whether a column holds figures; a number without a unit is a label, like a plan version."""
    return column.type in ("integer", "number") and column.unit is not None and column.name not in schema.primary_key


def _figures(schema: TableSchema, rows: pa.Table) -> tuple[int, int]:
    """Return how many published and how many hidden figures rows hold."""
    published = hidden = 0
    for column in schema.fields:
        if column.name not in rows.column_names or not is_figure(schema, column):
            continue
        published += rows.num_rows - rows[column.name].null_count
        if column.name + STATUS in rows.column_names:
            hidden += pc.sum(equal_to(rows[column.name + STATUS], HIDDEN)).as_py() or 0
    return published, hidden


def _values(tables: Iterable[pa.Table], column: str) -> tuple[str, ...]:
    """Return the distinct values of a text column over several tables, sorted, without the total."""
    found = {value for table in tables if column in table.column_names for value in table[column].unique().to_pylist()}
    return tuple(sorted(found - {None, TOTAL}))


def _new_codes(schema: TableSchema, there: pa.Table, here: pa.Table) -> Mapping[str, Sequence[str]]:
    """Return, by key column, the codes that one table has and the other has not. Quarters are periods, not codes."""
    found = {}
    for name in schema.primary_key:
        if name != "quarter" and name in there.column_names and name in here.column_names:
            ours, theirs = (set(table[name].cast(pa.string()).unique().to_pylist()) for table in (there, here))
            found[name] = tuple(sorted(ours - theirs))
    return {name: codes for name, codes in found.items() if codes}
