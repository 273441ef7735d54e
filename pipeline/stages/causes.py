"""Why a published cell changed: what differs between two positions of the log, and which of it that very cell is made of.

A trace is one return, or one entry of the register, that differs; its touches say where in the facts or the register. Of what a cell is made stands
in `schemas/history/lineage.json`. Nothing is guessed: where no trace touches a cell, that is said. What leaves this room are codes and the names of
returns; the sums that tell whether a return made a difference stay in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.domain.quarters import Quarter
from pipeline.stages.acceptance import SOURCES
from pipeline.stages.frames import equal_to
from pipeline.stages.receipt import ACHIEVED, CHARACTERISTICS

TOTAL, HIDDEN, STATUS = "all", "c", "_status"
FIRST_KINDS = frozenset({"new_period", "late_return"})
"""The causes of a return that was not in force before."""
RETURNS, DUE_RETURNS, DELIVERIES = "returns", "due_returns", "deliveries"
SUMS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "outcomes": (("project_id", "metric_id", "quarter"), "quantity"),
    "payments": (("project_id", "payer_id", "basis", "quarter"), "amount_gbp"),
}
"""Facts that add up to published cells: by which columns, and what is added up."""
STARTS, BY_CHARACTERISTIC = "service_starts", "service_starts.by_characteristic"
SCENARIOS = ("high", "medium", "low")
"""In the order of preference. Source: stages/tabulation/contracts.py."""
_PARTS: Mapping[str, str] = {"project": "projects", "fund": "funds", "plans": "plan_versions"}
_NONE = "\x00"

Facts = Mapping[str, pa.Table]
Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A return (of a project and a quarter) or an entry of the register that differs; `source` names it, `reasons` are the codes that were given."""

    causes: tuple[str, ...]
    source: str
    project_id: str = ""
    quarter: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Touch:
    """A place in the facts or in a part of the register at which a trace made a difference: by the columns that tell it from others.

    `amount` is how much more there is of facts than before; None for what is not added up.
    """

    trace: int
    part: str
    place: Mapping[str, str]
    amount: Decimal | int | None = None


@dataclass(frozen=True, kw_only=True)
class Tracing:
    """All that differs between the position of one version and of the next; `since` and `as_of` are the days of their figures.

    `is_other_method`: the rules, the schemas or the code are others, so that untraced changes have a cause too.
    """

    traces: Sequence[Trace]
    touches: Sequence[Touch]
    since: date
    as_of: date
    is_other_method: bool = False
    is_other_protection: bool = False


FINEST: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "outcomes_by_quarter": ("outcomes", "achieved_quantity", ("metric_id",)),
    "payments_by_quarter": ("payments", "paid_gbp", ("payer_id", "basis")),
    "service_users_by_quarter": (BY_CHARACTERISTIC, "starts_count", ("characteristic", "category")),
}
"""The published tables of the finest grain, of which all totals are made: the facts that they are made of, their figure, and their other keys."""


def veil(tracing: Tracing, versions: Sequence[Mapping[str, pa.Table]]) -> Tracing:
    """Return a tracing that tells nothing of hidden figures: a return whose own figure is hidden is named wherever it could have made a difference.

    Otherwise a total that names all returns but one would say that the hidden figure of that one is zero. Args: versions, the public tables of both.
    """
    traces = {(trace.project_id, trace.quarter): number for number, trace in enumerate(tracing.traces) if trace.project_id}
    veiled = [touch for tables in versions for name in FINEST if name in tables for touch in _veil_table(traces, name, tables[name])]
    return replace(tracing, touches=[*tracing.touches, *veiled])


def _veil_table(traces: Mapping[tuple[str, str], int], name: str, table: pa.Table) -> Iterator[Touch]:
    part, figure, others = FINEST[name]
    hidden = table.filter(equal_to(table[figure + STATUS], HIDDEN)) if figure + STATUS in table.column_names else table.slice(0, 0)
    keys = ("project_id", "quarter", *others)
    for row in zip(*(hidden[key].to_pylist() for key in keys), strict=True):
        if (row[0], row[1]) in traces:
            place = dict(zip(keys, row, strict=True))
            yield Touch(traces[row[0], row[1]], part, place)
            if part == BY_CHARACTERISTIC and place["characteristic"] == TOTAL:
                yield Touch(traces[row[0], row[1]], STARTS, {"project_id": row[0], "quarter": row[1]})


@dataclass(frozen=True)
class Cause:
    """Why one cell changed, in codes; in the order of the code list, reasons and sources sorted."""

    causes: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


def touch_sums(trace: int, before: Facts, after: Facts) -> Iterator[Touch]:
    """Yield where a return's outcomes and payments add up to something else than before."""
    for part, (keys, added) in SUMS.items():
        sums = [_sum(part, facts[part], keys, added) for facts in (before, after)]
        for key in sorted(sums[0].keys() | sums[1].keys()):
            amount = sums[1].get(key, 0) - sums[0].get(key, 0)
            if amount:
                yield Touch(trace, part, dict(zip(keys, key, strict=True)), amount)


def touch_everything(trace: int, facts: Facts) -> Iterator[Touch]:
    """Yield every place at which a return counts: of an erased participant nobody may ask in which of them they were."""
    for part, (keys, added) in SUMS.items():
        yield from (Touch(trace, part, dict(zip(keys, key, strict=True))) for key in sorted(_sum(part, facts[part], keys, added)))
    places = {(start.place, category) for start in _latest(facts[STARTS]).values() for category in start.categories}
    for place, category in sorted(places):
        named = {"project_id": place[0], "quarter": place[1]}
        yield Touch(trace, STARTS, named)
        yield Touch(trace, BY_CHARACTERISTIC, named | {"characteristic": category[0], "category": category[1]})


def touch_starts(traces: Mapping[str, int], before: pa.Table, after: pa.Table) -> Iterator[Touch]:
    """Yield where people of one project are counted, or no longer counted, because of a return that differs.

    Args: traces, by the quarter of the return; the two tables hold everybody of whom such a return speaks or spoke, as all returns tell of them.
    """
    was, now = _latest(before), _latest(after)
    found: Counter[tuple[int, str, tuple[str, ...]]] = Counter()
    for person in was.keys() | now.keys():
        old, new = was.get(person), now.get(person)
        for quarter in {start.told for start in (old, new) if start is not None} & traces.keys():
            for start, amount in ((old, -1), (new, 1)):
                if start is not None:
                    found[traces[quarter], STARTS, start.place] += amount
                    for category in start.categories:
                        found[traces[quarter], BY_CHARACTERISTIC, (*start.place, *category)] += amount
    names = ("project_id", "quarter", "characteristic", "category")
    for (trace, part, place), amount in sorted(found.items()):
        if amount:
            yield Touch(trace, part, dict(zip(names, place, strict=False)), amount)


@dataclass(frozen=True)
class _Start:
    """Where a person's start counts: project and quarter, each characteristic with its category. `told`: the quarter of the return that says so."""

    place: tuple[str, str]
    categories: Sequence[tuple[str, str]]
    told: str


def _latest(starts: pa.Table) -> Mapping[str, _Start]:
    """Return each person's start as the latest return that speaks of them has it. Source: stages/tabulation/sums.py, count_starts."""
    ordered = starts.sort_by([("return_quarter", "ascending"), ("source_row", "ascending")])
    columns = [ordered[name].to_pylist() for name in ("participant", "project_id", "quarter", "return_quarter", *CHARACTERISTICS)]
    found = {}
    for person, project, quarter, told, *categories in zip(*columns, strict=True):
        named = [(TOTAL, TOTAL), *((name, text or "") for name, text in zip(CHARACTERISTICS, categories, strict=True))]
        found[person] = _Start((project, quarter), named, told)
    return found


def _sum(part: str, facts: pa.Table, keys: Sequence[str], added: str) -> Mapping[tuple[str, ...], Any]:
    rows = facts.filter(equal_to(facts["status"], ACHIEVED)) if part == "outcomes" else facts
    sums = rows.group_by(list(keys)).aggregate([(added, "sum")])
    columns = [sums[name].to_pylist() for name in (*keys, f"{added}_sum")]
    return {tuple("" if value is None else str(value) for value in row[:-1]): row[-1] for row in zip(*columns, strict=True) if row[-1] is not None}


def people_of(facts: Iterable[pa.Table]) -> pa.Array:
    """Return the pseudonyms of all people in tables of service starts."""
    key = SOURCES[STARTS].key
    return pc.unique(pa.chunked_array([chunk for table in facts for chunk in table[key].chunks], pa.string()))


def touch_record(trace: int, before: Record, after: Record, since: date, as_of: date) -> Iterator[Touch]:
    """Yield where the register record of a project or fund differs from the one before: part by part, row by row.

    Plans count as they are in force, before on the day `since`, after on the day `as_of`: `plans` when another version or scenario is, and
    `plans.<measure>` where that adds up to something else. `plan_versions` are plans as they were agreed, each version for itself.
    """
    project = (after or before).get("project")
    about = {"project_id": project["project_id"], "policy_sector": project["policy_sector"]} if project else {}
    for name in sorted(before.keys() | after.keys()):
        rows = [{_text(row): row for row in _rows(record.get(name))} for record in (before, after)]
        for text in sorted(rows[0].keys() ^ rows[1].keys()):
            row = rows[0].get(text) or rows[1][text]
            place = about | {column: str(row[column]) for column in ("metric_id", "payer_id", "plan_version") if row.get(column) is not None}
            yield Touch(trace, _PARTS.get(name, name), place)
    was, now = _plan_in_force(_rows(before.get("plans")), since), _plan_in_force(_rows(after.get("plans")), as_of)
    if was.chosen != now.chosen:
        yield Touch(trace, "plans", about)
    for measure, metric, payer, quarter in sorted(was.expected.keys() | now.expected.keys()):
        amount = now.expected.get((measure, metric, payer, quarter), Decimal(0)) - was.expected.get((measure, metric, payer, quarter), Decimal(0))
        if amount:
            yield Touch(trace, f"plans.{measure}", about | {"metric_id": metric, "payer_id": payer, "quarter": quarter}, amount)


@dataclass(frozen=True)
class _Plan:
    """The version and scenario in force, and what they expect by measure, metric, payer and quarter."""

    chosen: tuple[int, str] | None
    expected: Mapping[tuple[str, str, str, str], Decimal]


def _plan_in_force(plans: Sequence[Record], day: date) -> _Plan:
    """Return the latest plan version agreed by a day, in its best scenario. Source: stages/tabulation/contracts.py, choose_plans."""
    agreed = [row for row in plans if row["agreed_on"] is None or row["agreed_on"] <= day.isoformat()]
    if not agreed:
        return _Plan(None, {})
    version = max(row["plan_version"] for row in agreed)
    scenario = min((row["scenario"] for row in agreed if row["plan_version"] == version), key=SCENARIOS.index)
    expected: dict[tuple[str, str, str, str], Decimal] = {}
    for row in agreed:
        if (row["plan_version"], row["scenario"]) == (version, scenario):
            key = (row["measure"], row["metric_id"] or "", row["payer_id"] or "", row["quarter"])
            expected[key] = expected.get(key, Decimal(0)) + Decimal(row["expected_gbp" if row["measure"] == "payments" else "expected_quantity"])
    return _Plan((version, scenario), expected)


def _rows(entry: Any) -> Sequence[Record]:
    return entry if isinstance(entry, list) else [entry] if entry else []


def _text(row: Record) -> str:
    return json.dumps(row, sort_keys=True)


@dataclass
class Explainer:
    """Says why cells changed. Args: lineage, the document; order, the code list of causes in its order; sectors, of each project."""

    tracing: Tracing
    lineage: Mapping[str, Any]
    order: Sequence[str]
    sectors: Mapping[str, str] = field(default_factory=dict)
    _index: dict[tuple[str, tuple[str, ...]], dict[tuple[str, ...], list[Touch]]] = field(default_factory=dict)

    def suppression(self) -> Cause:
        """Return the cause of a figure that goes into hiding or comes out: never more than that, since more would tell of what is hidden."""
        return Cause(self._ordered({"suppression"} | ({"method"} if self.tracing.is_other_protection else set())))

    def explain(self, table: str, column: str, row: Mapping[str, str | None], *, is_row_new: bool) -> Cause:
        """Return why a cell changed that is hidden in neither version.

        Args: row, the key of its row; is_row_new, whether the row came with this version.
        """
        rules = self.lineage["tables"].get(table, {"rows": [], "columns": {}})
        rule = rules["columns"].get(column, {"made_of": []})
        for parts in (rule["made_of"], rule.get("otherwise", ()), rules["rows"] if is_row_new else ()):
            found = [touch for part in parts for touch in self._touches(part, row)]
            if found:
                return self._cause(found, row, is_new_period=is_row_new and self._is_new_period(row))
        if is_row_new and self._is_new_period(row):
            return Cause(("new_period",))
        if rule.get("moves_with_time") and self.tracing.as_of != self.tracing.since:
            return Cause(("time_passed",))
        return Cause(("method" if self.tracing.is_other_method else "recomputed",))

    def _touches(self, part: Mapping[str, Any], row: Mapping[str, str | None]) -> Iterable[Touch]:
        columns = tuple(name for name in part["match"] if row.get(name) != TOTAL or part.get("all_is_a_value"))
        key = (part["part"], columns)
        if key not in self._index:
            self._index[key] = {}
            for touch in self.tracing.touches:
                if touch.part == part["part"]:
                    self._index[key].setdefault(tuple(self._of(touch.place, name) for name in columns), []).append(touch)
        found = self._index[key].get(tuple(self._of(row, name) for name in columns), ())
        last = row.get(part.get("up_to", ""))
        wanted = found if last is None else [touch for touch in found if touch.place["quarter"] <= last]
        if part.get("ended_only"):
            wanted = [touch for touch in wanted if Quarter.parse(touch.place["quarter"]).end <= self.tracing.as_of]
        amounts: Counter[int] = Counter()
        for touch in wanted:
            amounts[touch.trace] += 0 if touch.amount is None else touch.amount  # type: ignore[assignment]
        return [touch for touch in wanted if touch.amount is None or amounts[touch.trace]]

    def _of(self, place: Mapping[str, str | None], name: str) -> str:
        if name == "policy_sector" and name not in place:
            return self.sectors.get(place.get("project_id") or "", _NONE)
        return place.get(name) or _NONE

    def _is_new_period(self, row: Mapping[str, str | None]) -> bool:
        """Say whether a row speaks of a quarter that had not ended on the day of the version before."""
        quarter = row.get("quarter")
        return quarter is not None and Quarter.parse(quarter).end > self.tracing.since

    def _cause(self, touches: Iterable[Touch], row: Mapping[str, str | None], *, is_new_period: bool) -> Cause:
        quarter = row.get("quarter")
        traces = [self.tracing.traces[number] for number in sorted({touch.trace for touch in touches})]
        if is_new_period:  # the period is why the row is there; what other returns add to its totals is no second reason
            traces = [trace for trace in traces if trace.quarter == quarter]
        causes: set[str] = set()
        for trace in traces:
            is_late_row = quarter is not None and quarter < trace.quarter
            causes.update("late_row" if is_late_row and cause in FIRST_KINDS else cause for cause in trace.causes)
        return Cause(
            self._ordered({"new_period"} if is_new_period else causes),
            () if is_new_period else tuple(sorted({reason for trace in traces for reason in trace.reasons})),
            tuple(sorted({trace.source for trace in traces})),
        )

    def _ordered(self, causes: set[str]) -> tuple[str, ...]:
        return tuple(cause for cause in self.order if cause in causes)
