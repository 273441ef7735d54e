"""The work of looking back, each piece in a process of its own: prints one JSON line with seconds and the most memory that the process held.

python -m tests.benchmarks.history_work TASK ARGUMENT...
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.adapters.definitions import find_definitions, load_definitions
from pipeline.adapters.object_store import open_store
from pipeline.application import history, known
from pipeline.domain.quarters import Quarter
from pipeline.ports import ObjectStore
from pipeline.stages import changes
from pipeline.stages.causes import Cause
from pipeline.stages.comparison import compare
from pipeline.stages.publication import csv_bytes, parquet_bytes
from pipeline.stages.verification import manifest_bytes, sha256

FUND, TABLE = "BENCH", "outcomes_by_quarter"
FIGURES = 5
"""Figures in a row of the table that is looked at: achieved and planned, each alone and to date, and the share."""
REVISED = 0.01
"""The part of the rows that a version says otherwise than the one before."""
METRICS = 40
FIRST = date(2020, 5, 1)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _store(folder: str) -> ObjectStore:
    return open_store((Path(folder) / "public").as_uri(), Path(folder) / "cache")


def prepare(folder: str, cells: str, count: str) -> Mapping[str, Any]:
    """Publish so many versions of one table, each with a quarter more and some figures revised, with so many published figures over all of them."""
    store, definitions = _store(folder), load_definitions(find_definitions())
    schema = definitions.table("published", TABLE)
    number = int(count)
    projects = max(1, round(int(cells) / (FIGURES * METRICS * number * (number + 1) / 2)))
    chance = random.Random(1)
    achieved: dict[tuple[int, int, int], int] = {}
    quarters = list(Quarter(2020, 1).until(Quarter(2020 + number // 4, 4)))
    before: pa.Table | None = None
    listed, figures = [], 0
    for place in range(number):
        for row in chance.sample(sorted(achieved), int(len(achieved) * REVISED)):
            achieved[row] += 1
        achieved |= {(p, m, place): chance.randrange(10, 90) for p in range(projects) for m in range(METRICS)}
        table = _table(achieved, quarters, FIRST + timedelta(days=91 * place))
        files = {f"{TABLE}.parquet": parquet_bytes(schema, table), f"{TABLE}.csv": csv_bytes(table)}
        differences = compare({TABLE: before} if before else None, {TABLE: table}, {TABLE: schema})
        told = changes.list_changes(differences, definitions, lambda *_: Cause(("correction",), ("other",), ("P0/2020-Q1/2",)))
        files["changes.parquet"] = parquet_bytes(definitions.table("history", changes.NAME), told)
        for path, content in {**files, "MANIFEST": manifest_bytes(files)}.items():
            store.put(f"datasets/{FUND}/v1.{place}.0/{path}", content)
        published = datetime.combine(FIRST + timedelta(days=91 * place + 10), datetime.min.time(), UTC).isoformat()
        entry = {"version": f"1.{place}.0", "as_of": (FIRST + timedelta(days=91 * place)).isoformat(), "published_at": published}
        listed.append(entry | {"manifest": sha256(manifest_bytes(files)), "status": "published", "reason": None, "withdrawn_at": None})
        before, figures = table, figures + FIGURES * table.num_rows
    store.replace(f"datasets/{FUND}/versions.json", json.dumps({"versions": listed}).encode())
    return {"figures": figures, "newest": FIGURES * table.num_rows, "changed": told.num_rows, "seconds": 0}


def _table(achieved: Mapping[tuple[int, int, int], int], quarters: list[Quarter], as_of: date) -> pa.Table:
    rows = sorted(achieved)
    running: dict[tuple[int, int], int] = {}
    to_date = []
    for row in rows:
        running[row[:2]] = running.get(row[:2], 0) + achieved[row]
        to_date.append(running[row[:2]])
    size = len(rows)
    planned = pa.array([50 * (row[2] + 1) for row in rows], pa.int64())
    columns: dict[str, Any] = {
        "fund_id": [FUND] * size,
        "project_id": [f"P{row[0]:03d}" for row in rows],
        "metric_id": [f"M{row[1]:02d}" for row in rows],
        "quarter": [str(quarters[row[2]]) for row in rows],
        "unit": ["individual"] * size,
        "achieved_quantity": pa.array([achieved[row] for row in rows], pa.int64()),
        "achieved_quantity_status": ["published"] * size,
        "cumulative_quantity": pa.array(to_date, pa.int64()),
        "cumulative_quantity_status": ["published"] * size,
        "scenario": ["high"] * size,
        "plan_version": pa.array([1] * size, pa.int64()),
        "planned_quantity": pa.array([50] * size, pa.int64()),
        "planned_cumulative_quantity": planned,
        "share_of_plan": pa.array([Decimal(total * 100 // (50 * (row[2] + 1))) / 100 for total, row in zip(to_date, rows, strict=True)]).cast(
            pa.decimal128(18, 4)
        ),
        "share_of_plan_status": ["published"] * size,
        "as_of": pa.array([as_of] * size, pa.date32()),
    }
    return pa.table(columns)


def find_changes(folder: str, old: str, new: str) -> Mapping[str, Any]:
    """Return how long the changes between two versions take, with their causes, from the files as published."""
    store, definitions = _store(folder), load_definitions(find_definitions())
    found: list[history.Between] = []
    seconds = _seconds(lambda: found.append(history.compare_versions(store, definitions, FUND, old, new)))
    return {"seconds": seconds, "cells": found[0].cells.num_rows}


def join_with_pandas(folder: str, old: str, new: str) -> Mapping[str, Any]:
    """Return how long the plain way takes: read both CSV files, join them on the key, list the cells that differ. No causes, no hidden figures."""
    import pandas as pd

    key = ["project_id", "metric_id", "quarter"]

    def read(version: str) -> pd.DataFrame:
        return pd.read_csv(Path(folder) / "public" / f"datasets/{FUND}/v{version}/{TABLE}.csv", dtype=str)

    def join() -> int:
        joined = read(old).merge(read(new), on=key, how="outer", suffixes=("_old", "_new"))
        names = [name.removesuffix("_old") for name in joined.columns if name.endswith("_old") and name != "as_of_old"]
        cells = [joined[joined[f"{name}_old"].fillna("") != joined[f"{name}_new"].fillna("")][[*key, f"{name}_old", f"{name}_new"]] for name in names]
        return sum(len(part) for part in cells)

    found: list[int] = []
    seconds = _seconds(lambda: found.append(join()))
    return {"seconds": seconds, "cells": found[0]}


def read_as_of(folder: str, day: str) -> Mapping[str, Any]:
    """Return how long it takes to know what the public knew on a day."""
    store = _store(folder)
    found: list[known.Known] = []
    seconds = _seconds(lambda: found.append(known.read_data(store, FUND, TABLE, day)))
    return {"seconds": seconds, "cells": FIGURES * found[0].rows.num_rows, "version": found[0].version}


def write_triangles(folder: str) -> Mapping[str, Any]:
    """Return how long the revision triangles of all versions take, CSV and Parquet written."""
    store, definitions = _store(folder), load_definitions(find_definitions())
    found: list[int] = []
    seconds = _seconds(lambda: found.append(history.write_triangles(store, definitions, FUND)))
    return {"seconds": seconds, "cells": found[0]}


TASKS = {work.__name__: work for work in (prepare, find_changes, join_with_pandas, read_as_of, write_triangles)}

if __name__ == "__main__":
    result = TASKS[sys.argv[1]](*sys.argv[2:])  # type: ignore[operator]
    print(json.dumps({**result, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
