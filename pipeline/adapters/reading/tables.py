"""Writes the canonical tables into the hand-over folder, batch by batch, and has every cell looked at on the way."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.adapters.reading.canonical import Findings, Layout, TableForm, WrittenTable, letter, tidy
from pipeline.adapters.reading.cells import CellChecks


class TableWriter:
    """Writes one canonical table into the hand-over folder, batch by batch, so that memory stays bounded."""

    def __init__(self, folder: Path, form: TableForm, layout: Layout, findings: Findings) -> None:
        self._form = form
        self._layout = layout
        self._findings = findings
        self._checks = CellChecks(form, layout, findings)
        self._schema = pa.schema([("row", pa.int64()), *((name, pa.string()) for name in layout.positions)])
        self._sink = pa.OSFile(str(folder / f"{form.name}.arrow"), "wb")
        self._writer = pa.ipc.new_file(self._sink, self._schema)
        self._rows = 0
        self._last_row = 1
        self.filled_spares: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()
        self._sink.close()

    def write(self, rows: pa.Int64Array, columns: Mapping[int, pa.StringArray]) -> None:
        """Write the rows that hold anything. `columns` maps the delivered position to the cells."""
        for position in self._layout.spare:
            if tidy(columns[position]).null_count < len(rows):
                self.filled_spares.add(position)
        delivered = {name: columns[position] for name, position in self._layout.positions.items()}
        tidied = {name: tidy(cells) for name, cells in delivered.items()}
        self._checks.look_at(rows, delivered, tidied)
        cells = list(tidied.values())
        batch = pa.RecordBatch.from_arrays([rows, *cells], schema=self._schema)
        is_filled = reduce(pc.or_, (column.is_valid() for column in cells))
        batch = batch.filter(is_filled)
        if batch.num_rows:
            self._writer.write_batch(batch)
            self._rows += batch.num_rows
            self._last_row = batch.column(0)[-1].as_py()

    def written(self, place: str) -> WrittenTable:
        """Return what was written. Columns without a heading that hold something become findings: they must not travel."""
        for position in sorted(self.filled_spares):
            self._findings.add("F-031", table=self._form.name, row=1, column=letter(position))
        blank_rows = self._last_row - 1 - self._rows
        if blank_rows:
            self._findings.add("F-059", table=self._form.name, times=blank_rows, blank=blank_rows)
        self._checks.note_changes()
        return WrittenTable(name=self._form.name, place=place, rows=self._rows, blank_rows=blank_rows)
