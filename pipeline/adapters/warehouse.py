"""Runs the table expressions of `stages.tabulation` with DuckDB over fact files on this machine.

The database lives in memory, and in the spill folder when memory runs short, and ends with the call: nothing unprotected stays behind.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc
from ibis.backends.duckdb import Backend

from pipeline.domain.tables import Definitions, TableSchema
from pipeline.errors import IntegrityError, RuleError, UnavailableError
from pipeline.stages import tabulation
from pipeline.stages.frames import PEOPLE, arrow_schema, conform


class DuckDbWarehouse:
    """Fulfils `ports.Warehouse`.

    Args: threads, all cores when None; memory, DuckDB's limit like "3GB", most of the machine's when None; spill, a folder of this installation for
    what does not fit in memory, None to fail instead.
    """

    def __init__(self, definitions: Definitions, threads: int | None = None, memory: str | None = None, spill: Path | None = None) -> None:
        self._definitions = definitions
        self._settings: dict[str, str | int | bool] = {
            "temp_directory": "" if spill is None else str(spill),
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
        }
        if threads is not None:
            self._settings["threads"] = threads
        if memory is not None:
            self._settings["memory_limit"] = memory

    def tabulate(self, facts: Mapping[str, Sequence[Path]], register: Mapping[str, pa.Table], as_of: date) -> Mapping[str, pa.Table]:
        """Return every published table, unprotected, in the declared columns and order of rows, with the people columns behind.

        Raises: UnavailableError when a fact file cannot be read or memory runs out; IntegrityError when a fact file is broken, or the facts speak of
        a metric or payer that the register does not hold; RuleError when a table definition of ours is broken.
        """
        with self._database() as database:
            tables = tabulation.tables(self._facts(database, facts), _register(database, register), as_of, keep=_keeper(database))
            return {name: self._finish(name, database.to_pyarrow(table)) for name, table in tables.items()}

    @contextmanager
    def _database(self) -> Iterator[Backend]:
        """Open a database that is gone at the end. DuckDB's own messages may quote a value, so they end here."""
        database = ibis.duckdb.connect(**self._settings)
        try:
            yield database
        except duckdb.OutOfMemoryException:
            raise UnavailableError("DuckDB ran out of memory. Give the warehouse more of it, or a spill folder with room.") from None
        except duckdb.IOException:
            raise UnavailableError("DuckDB could not read a fact file or write to its spill folder.") from None
        except duckdb.InvalidInputException:
            raise IntegrityError("A fact file is not the Parquet that was written. Check the restricted store.") from None
        except duckdb.Error as error:
            raise RuleError(f"DuckDB could not run a table definition ({type(error).__name__}).") from None
        finally:
            database.disconnect()

    def _facts(self, database: Backend, facts: Mapping[str, Sequence[Path]]) -> Mapping[str, ir.Table]:
        found = {}
        for name, schema in self._definitions.tables["facts"].items():
            paths = facts.get(name, ())
            if paths:
                found[name] = database.read_parquet([glob.escape(str(path)) for path in paths], table_name=f"facts_{name}")
            else:
                found[name] = _lend(database, f"facts_{name}", arrow_schema(schema).empty_table())
        return found

    def _finish(self, name: str, frame: pa.Table) -> pa.Table:
        """Return a frame as its schema declares it, the people columns behind."""
        schema = self._definitions.table("published", name)
        frame = _rounded(schema, frame)
        for column in schema.fields:
            if column.is_required and frame[column.name].null_count:
                raise IntegrityError(
                    f"Table {name} has no {column.name} in {frame[column.name].null_count} rows: the facts speak of a metric or payer that the "
                    "register does not hold. Load the register again with every metric and payer that was ever in it."
                )
        sorted_frame = frame.sort_by([(key, "ascending") for key in schema.primary_key])
        finished = conform(schema, sorted_frame)
        for people in sorted(column for column in frame.column_names if column.endswith(PEOPLE)):
            finished = finished.append_column(people, sorted_frame[people].cast(pa.int64()))
        return finished.combine_chunks()


def _register(database: Backend, register: Mapping[str, pa.Table]) -> Mapping[str, ir.Table]:
    return {name: _lend(database, f"register_{name}", table) for name, table in register.items()}


def _lend(database: Backend, name: str, table: pa.Table) -> ir.Table:
    """Let the database see a table of ours under a name, without a copy."""
    database.con.register(name, table)
    return database.table(name)


def _keeper(database: Backend) -> tabulation.Keep:
    """Return what computes a shared intermediate once and keeps it as a temporary table."""

    def keep(name: str, expression: ir.Table) -> ir.Table:
        return database.create_table(f"kept_{name}", expression, temp=True)

    return keep


def _rounded(schema: TableSchema, frame: pa.Table) -> pa.Table:
    """Return a frame with its decimals at the declared scale, halves to even."""
    for column in schema.fields:
        if column.type == "number":
            values = pc.round(frame[column.name], ndigits=column.decimals if column.decimals is not None else 2, round_mode="half_to_even")
            frame = frame.set_column(frame.column_names.index(column.name), column.name, values)
    return frame
