"""Reads a delivery in a contained child process: limited in memory, time and files, without network or environment, ended if it does not end itself.

The parent never opens the delivery. It starts `pipeline.adapters.reading.child`, waits, and takes over the canonical tables that the child left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.adapters.reading.child import ANSWER, REQUEST, STARTED
from pipeline.adapters.reading.containers import Caps
from pipeline.domain.findings import Finding, Severity, in_order
from pipeline.domain.tables import Definitions, TableSchema
from pipeline.errors import ConfigurationError
from pipeline.ports import ReadReturn, ReturnTable, idle

RETURN_TABLES = ("cover", "participants", "outcomes", "payments")
START = (
    "import sys; sys.path.insert(0, sys.argv[2]); from pipeline.adapters.reading.isolation import isolate; isolate(); "
    "from pathlib import Path; from pipeline.adapters.reading.child import main; main(Path(sys.argv[1]))"
)
ENVIRONMENT: Mapping[str, str] = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"}
"""All that the child gets to know of its surroundings: allocators that do not reserve address space ahead."""

OVER_LIMITS = "F-014"


class ContainedReader:
    """Reads returns. `memory_mb` and `seconds` bound the child process that parses a delivery."""

    def __init__(self, definitions: Definitions, memory_mb: int, seconds: int, caps: Caps | None = None) -> None:
        self._definitions = definitions
        self._memory_mb = memory_mb
        self._seconds = seconds
        self._caps = caps or Caps()

    def read(self, delivery: Path, meanwhile: Callable[[], object] = idle) -> ReadReturn:
        """Return the tables of a delivery, or the findings that say why there are none. `meanwhile` is called while the child reads.

        Raises: ConfigurationError when the child process cannot even start within the memory that it is given.
        """
        with tempfile.TemporaryDirectory(prefix="outcomes-reading-") as name:
            folder = Path(name)
            (folder / REQUEST).write_text(json.dumps(self._request(delivery)), "utf-8")
            self._run(folder, meanwhile)
            answer = self._answer(folder)
            if answer is None:
                return ReadReturn(tables={}, findings=(self._over_limits(),))
            findings = in_order(self._finding(document) for document in answer["findings"])
            if any(finding.severity is Severity.REFUSE for finding in findings):
                return ReadReturn(tables={}, findings=findings)
            return ReadReturn(tables=self._tables(folder, answer["tables"]), findings=findings)

    def _request(self, delivery: Path) -> dict[str, Any]:
        return {
            "delivery": str(delivery.absolute()),
            "memory_mb": self._memory_mb,
            "seconds": self._seconds,
            "caps": asdict(self._caps),
            "tables": [describe_form(self._definitions.table("submission", name)) for name in RETURN_TABLES],
        }

    def _run(self, folder: Path, meanwhile: Callable[[], object]) -> None:
        """Start the child and wait until it has ended, by itself or by force; nothing of it is left behind."""
        root = Path(__file__).resolve().parents[2]
        child = subprocess.Popen(  # noqa: S603 (our own interpreter and code; the delivery's path travels in a file)
            [sys.executable, "-I", "-B", "-c", START, str(folder), str(root)],
            cwd=folder,
            env=dict(ENVIRONMENT),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            until = time.monotonic() + self._seconds
            meanwhile()
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, until - time.monotonic()))
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()

    def _answer(self, folder: Path) -> dict[str, Any] | None:
        """Return what the child left, or None when it was ended or left nothing that can be used."""
        if not (folder / STARTED).exists():
            raise ConfigurationError(
                f"The reading process could not start within {self._memory_mb} MB and {self._seconds} seconds. "
                "Raise OUTCOMES_READER_MEMORY_MB or OUTCOMES_READER_SECONDS."
            )
        try:
            answer: dict[str, Any] = json.loads((folder / ANSWER).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return answer

    def _over_limits(self) -> Finding:
        return self._finding({"rule": OVER_LIMITS, "table": "", "row": 0, "column": "", "values": {"count": "1"}})

    def _finding(self, document: Mapping[str, Any]) -> Finding:
        values: dict[str, str] = document["values"]
        if document["rule"] == OVER_LIMITS:
            values = {**values, "memory_mb": str(self._memory_mb), "seconds": str(self._seconds)}
        return self._definitions.rule(document["rule"]).found(document["table"], document["row"], document["column"], **values)

    def _tables(self, folder: Path, written: Sequence[Mapping[str, Any]]) -> Mapping[str, ReturnTable]:
        """Take over the tables; those that the return does not have are empty, but for the cover, which is then missing."""
        found = {document["name"]: document for document in written}
        tables: dict[str, ReturnTable] = {}
        for name in RETURN_TABLES:
            schema = cells_schema(self._definitions.table("submission", name))
            if name in found:
                cells = _take_over(folder / f"{name}.arrow", schema.names)
                tables[name] = ReturnTable(name=name, place=found[name]["place"], cells=cells, blank_rows=found[name]["blank_rows"])
            elif name != "cover":
                tables[name] = ReturnTable(name=name, place=name, cells=schema.empty_table())
        return tables


def describe_form(table: TableSchema) -> dict[str, Any]:
    """Return what the child must know of a table: its headings, which must be there, and which columns hold free text."""
    return {
        "name": table.name,
        "columns": [[column.name, column.title, column.is_required] for column in table.fields],
        "free_text": [
            column.name
            for column in table.fields
            if column.type == "string" and not column.codelist and not {"pattern", "enum"} & set(column.constraints)
        ],
    }


def cells_schema(table: TableSchema) -> pa.Schema:
    """Return the shape of a full table of a return before its cells are typed: the row, then text. A delivered one has its own order of columns."""
    return pa.schema([("row", pa.int64()), *((name, pa.string()) for name in table.columns)])


def _take_over(path: Path, known: Sequence[str]) -> pa.Table:
    """Return a table that the child wrote, checked to the last offset: the child read what a stranger sent.

    Its columns are in one piece, which every stage after this would otherwise copy them into again.
    """
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    table.validate(full=True)
    table = table.combine_chunks()
    names = [name for name in table.column_names if name in known]
    return table.select(names).cast(pa.schema([(name, pa.int64() if name == "row" else pa.string()) for name in names]))
