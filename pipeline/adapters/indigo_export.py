"""Reads an INDIGO export: a folder of CSV files, one per kind of record, by their headings and never by their order.

Only the columns listed in `stages.indigo.HEADINGS` are kept, so that no name, e-mail address or address of a person gets further than this file.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.stages.indigo import HEADINGS, OPTIONAL, ExportRow, FileFault, IndigoExport
from pipeline.stages.indigo.export import VALUE


def read_export(folder: Path) -> IndigoExport:
    """Read the files of an export. A file or column that is missing, or cannot be read, is a fault of the export and not an exception.

    Raises: UsageError when the folder is not there.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder. Name the folder that holds the export's CSV files.")
    tables: dict[str, Sequence[ExportRow]] = {}
    faults: list[FileFault] = []
    for table, headings in HEADINGS.items():
        records = _read_records(folder / f"{table}.csv")
        if isinstance(records, str):
            faults.append(FileFault(records, table))
            continue
        places = _places(records[0] if records else [], headings)
        faults += [FileFault("I-502", table, headings[name]) for name in headings if name not in places and name not in OPTIONAL]
        tables[table] = _rows(records, headings, places)
    return IndigoExport(tables=tables, faults=tuple(sorted(faults)))


def _read_records(path: Path) -> list[list[str]] | str:
    """Return the records of a file, or the rule that says why there are none."""
    if not path.is_file():
        return "I-501"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.reader(file, strict=True))
    except (UnicodeDecodeError, csv.Error):
        return "I-503"


def _places(headings: Sequence[str], wanted: Mapping[str, str]) -> Mapping[str, int]:
    """Return where each wanted column stands: under its very heading, else under the only one that differs in case, spaces or ending."""
    exact: dict[str, list[int]] = {}
    loose: dict[str, list[int]] = {}
    for place, heading in enumerate(headings):
        exact.setdefault(heading, []).append(place)
        loose.setdefault(_plain(heading), []).append(place)
    places: dict[str, int] = {}
    for name, heading in wanted.items():
        alike = exact.get(heading) or loose.get(_plain(heading), [])
        if len(alike) == 1:
            places[name] = alike[0]
    return places


def _plain(heading: str) -> str:
    return " ".join(heading.removesuffix(VALUE).split()).casefold()


def _rows(records: Sequence[Sequence[str]], headings: Mapping[str, str], places: Mapping[str, int]) -> list[ExportRow]:
    """Return the records below the heading, numbered as a spreadsheet shows them; records without any cell are no rows."""
    width = len(records[0]) if records else 0
    rows: list[ExportRow] = []
    for number, record in enumerate(records[1:], 2):
        if record:
            cells = {name: record[places[name]] if name in places and places[name] < len(record) else "" for name in headings}
            rows.append(ExportRow(number, cells, is_ragged=len(record) != width))
    return rows
