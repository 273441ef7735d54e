"""The way in of the child process: confines itself, reads one delivery, and hands over Arrow files and a small JSON document.

Started by `pipeline.adapters.reader` with a folder that holds the request. Whatever goes wrong in a file is a finding here; if the process dies
of it, the parent says so.
"""

from __future__ import annotations

import errno
import json
import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.adapters.reading.canonical import Findings, RefusedError, TableForm, WrittenTable
from pipeline.adapters.reading.containers import MEGABYTE, Caps, Kind, recognise
from pipeline.adapters.reading.delimited import read_archive, read_csv
from pipeline.adapters.reading.workbooks import read_workbook

REQUEST, STARTED, ANSWER = "request.json", "started", "answer.json"

Reader = Callable[[Path, Mapping[str, TableForm], Path, Caps, Findings], list[WrittenTable]]
READERS: Mapping[Kind, Reader] = {"csv": read_csv, "archive": read_archive, "workbook": read_workbook}

WORKING_MB = 64
OPEN_FILES = 64
WRITTEN_MB = 1024


class WithoutPandas:
    """Keeps pyarrow from importing pandas, which it does for every list that it is given: 0.2 s of every delivery, for nothing."""

    def find_spec(self, fullname: str, *_: object) -> None:
        """Say that there is no pandas, and nothing about other modules."""
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname, name=fullname)


def main(folder: Path) -> None:
    """Confine this process for good, then answer the request that stands in the folder."""
    sys.meta_path.insert(0, WithoutPandas())
    request = json.loads((folder / REQUEST).read_text("utf-8"))
    confine(request["memory_mb"], request["seconds"])
    bytearray(WORKING_MB * MEGABYTE)  # ends here, before it has started, when the limit leaves no room to work in
    answer_request(folder, request)


def answer_request(folder: Path, request: Mapping[str, Any]) -> None:
    """Leave the answer to a request in the folder, beside the tables."""
    (folder / STARTED).touch()
    forms = {document["name"]: TableForm.parse(document) for document in request["tables"]}
    answer = read_delivery(Path(request["delivery"]), forms, Caps(**request["caps"]), folder)
    (folder / ANSWER).write_text(json.dumps(answer), "utf-8")


def confine(memory_mb: int, seconds: int) -> None:
    """Give up for good what this process does not need: memory, time, files."""
    for limit, value in (
        (resource.RLIMIT_AS, memory_mb * MEGABYTE),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, WRITTEN_MB * MEGABYTE),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def read_delivery(delivery: Path, forms: Mapping[str, TableForm], caps: Caps, folder: Path) -> dict[str, Any]:
    """Return what a delivery is: its tables, whose Arrow files stand in the folder, and the findings."""
    findings = Findings()
    tables: list[WrittenTable] = []
    try:
        kind = recognise(delivery, caps, findings)
        tables = READERS[kind](delivery, forms, folder, caps, findings)
    except RefusedError:
        pass
    except (KeyboardInterrupt, SystemExit):
        raise
    except MemoryError:
        findings.add("F-014")
    except BaseException as fault:  # a parser that panics raises past Exception
        is_limit = isinstance(fault, OSError) and fault.errno == errno.EFBIG
        findings.add("F-014" if is_limit else "F-015", cause=type(fault).__name__)
    return {"tables": [asdict(table) for table in tables], "findings": findings.as_documents()}
