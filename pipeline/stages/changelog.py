"""The differences between two versions in plain words: the changelog of a version, which is the draft of its release note.

A figure that was or is hidden is counted and never shown. Called by `publication`; finds nothing out by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.domain.release import Version
from pipeline.domain.tables import Field
from pipeline.stages.causes import Cause
from pipeline.stages.changes import count_causes
from pipeline.stages.comparison import Differences, TableDifferences
from pipeline.stages.frames import equal_to

if TYPE_CHECKING:
    from pipeline.stages.publication import ReleaseAbout

CAUSE_WORDS: Mapping[str, str] = {
    "new_period": "new period",
    "late_return": "late return",
    "late_row": "told late, by the return of a later quarter",
    "correction": "correction",
    "withdrawal": "withdrawal of a return",
    "erasure": "erasure of a participant",
    "register": "change of the register",
    "delivery": "a return received, judged or refused",
    "time_passed": "the figures are of a later day",
    "method": "change of method",
    "recomputed": "made again",
    "suppression": "change of what is hidden to protect people",
}
"""How a cause is called in a sentence. Source of the codes: schemas/codelists/change_cause.csv."""

LINES_OF_CAUSES = 30
LINES_PER_TABLE = 20
NAMES_PER_LINE = 10


def changelog(differences: Differences, about: ReleaseAbout, cells: pa.Table | None = None, completeness: pa.Table | None = None) -> str:
    """Return the differences in plain words, as Markdown. A hidden figure is counted, never shown.

    Args: cells, the changes with their causes; completeness, the published table, for the returns that are missing.
    """
    lines = [f"# {plain(about.fund_name)}: changes in version {about.version}", "", _introduction(differences, about), ""]
    lines += [f"- {plain(note)}" for note in about.public_notes]
    lines += [""] if about.public_notes else []
    lines += _cause_lines(cells) if cells is not None else []
    lines += _missing_lines(completeness) if completeness is not None else []
    for table in differences.tables.values():
        if not table.is_empty:
            title = table.schema.title if table.schema else table.name
            lines += [f"## {title} (`{table.name}`)", "", *_table_lines(table), ""]
    same = [f"`{table.name}`" for table in differences.tables.values() if table.is_empty]
    if same:
        lines += [f"Without change: {', '.join(same)}.", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _cause_lines(cells: pa.Table) -> list[str]:
    """Return why cells changed, a line per cause, the most frequent first."""
    counted = count_causes(cells)
    if not counted:
        return []
    lines = [f"- {number:,} {'cell' if number == 1 else 'cells'}: {_told_cause(cause)}" for cause, number in counted[:LINES_OF_CAUSES]]
    rest = sum(number for _, number in counted[LINES_OF_CAUSES:])
    return ["## Why figures changed", "", *lines, *([f"- {rest:,} cells of other causes: see `changes.csv`"] if rest else []), ""]


def _told_cause(cause: Cause) -> str:
    told = " and ".join(CAUSE_WORDS.get(code, code) for code in cause.causes)
    where = [_told_source(source) for source in cause.sources]
    more = f", and {len(where) - NAMES_PER_LINE} more" if len(where) > NAMES_PER_LINE else ""
    reasons = f" ({', '.join(plain(reason) for reason in cause.reasons)})" if cause.reasons else ""
    return f"{told}{': ' if where else ''}{', '.join(where[:NAMES_PER_LINE])}{more}{reasons}"


def _told_source(source: str) -> str:
    """Return a return as `PROJECT for QUARTER (revision N)`, an entry of the register as `register entry ID`."""
    if source.startswith("register/"):
        return f"register entry {plain(source.removeprefix('register/'))}"
    project, quarter, revision = source.rsplit("/", 2)
    return f"{plain(project)} for {quarter} (revision {revision})"


def _missing_lines(completeness: pa.Table) -> list[str]:
    """Return whose returns were due and are not in the version, quarter by quarter."""
    columns = [completeness[name].to_pylist() for name in ("quarter", "project_id", "state", "is_expected", "is_in_release")]
    missing: dict[str, list[str]] = {}
    for quarter, project, state, is_expected, is_in_release in zip(*columns, strict=True):
        if is_expected and not is_in_release:
            missing.setdefault(quarter, []).append(f"{project} ({state})")
    if not missing:
        return []
    lines = [f"- {quarter}: {', '.join(plain(name) for name in sorted(projects))}" for quarter, projects in sorted(missing.items(), reverse=True)]
    more = [f"- and {len(lines) - NAMES_PER_LINE} earlier quarters: see `completeness.csv`"] if len(lines) > NAMES_PER_LINE else []
    return ["## Returns that were due and are not in it", "", *lines[:NAMES_PER_LINE], *more, ""]


def _introduction(differences: Differences, about: ReleaseAbout) -> str:
    as_of = f"Figures as of {about.as_of.isoformat()}."
    if about.base_version is None or differences.is_first:
        return f"{as_of} This is the first version."
    old, new = Version.parse(about.base_version), Version.parse(about.version)
    if new.major != old.major:
        weight = "a major version: columns, the meaning of a row or the method that protects people changed, so look before you read it as before"
    elif new.minor != old.minor:
        weight = "a minor version: there are new periods, codes, columns or tables, and everything else is where it was"
    else:
        weight = "a patch: values or words were corrected, and everything is where it was"
    return f"{as_of} Version {new} follows version {old}. It is {weight}."


def _table_lines(table: TableDifferences) -> list[str]:
    counts = table.counts
    named = [
        ("Columns added", _names(table.columns_added)),
        ("Columns removed", _names(table.columns_removed)),
        ("Columns with another type", _names(table.columns_retyped)),
        *((f"New codes in {name}", _names(codes)) for name, codes in table.codes_added.items()),
        *((f"Codes that no longer occur in {name}", _names(codes)) for name, codes in table.codes_removed.items()),
        ("New quarters", _names(table.quarters_added)),
        ("Rows added", _rows(table.rows_added, table.figures_added, table.hidden_added)),
        ("Rows removed", _rows(table.rows_removed, table.figures_removed, 0)),
        ("Cells with another value", _number(counts["changed"])),
        ("Figures that were published and are now hidden to protect people", _number(counts["hidden"])),
        ("Figures that were hidden and are now published", _number(counts["shown"])),
        ("Figures with the same value and another status", _number(counts["status"])),
        ("Projects concerned", _names(table.projects)),
        ("Quarters concerned", _names(table.quarters)),
    ]
    said = [
        (table.schema is None, "This table is no longer published."),
        (table.is_new, "This table is new."),
        (table.grain_changed, f"A row now means another thing: {table.schema.grain if table.schema else ''}."),
        (table.columns_moved, "The columns stand in another order."),
        (table.words_changed, "Titles or descriptions were reworded."),
    ]
    lines = [f"- {sentence}" for is_so, sentence in said if is_so] + [f"- {title}: {text}" for title, text in named if text]
    return lines + _cell_lines(table)


def _cell_lines(table: TableDifferences) -> list[str]:
    """Return a line per cell that has another value, the first LINES_PER_TABLE of them."""
    if table.schema is None:
        return []
    cells = table.cells.filter(equal_to(table.cells["change"], "changed"))
    if not cells.num_rows:
        return []
    lines = ["", "Old and new values:", ""]
    for cell in cells.slice(0, LINES_PER_TABLE).to_pylist():
        place = ", ".join(plain(cell[name]) for name in table.schema.primary_key)
        lines.append(f"- {place}: `{cell['column']}` {_old_and_new(table.schema.field(cell['column']), cell['old'], cell['new'])}")
    return [*lines, f"- and {cells.num_rows - LINES_PER_TABLE} more"] if cells.num_rows > LINES_PER_TABLE else lines


def _old_and_new(column: Field, old: str | None, new: str | None) -> str:
    """Say how a cell changed; free text is long and only said to be another."""
    is_free_text = column.type == "string" and column.codelist is None and "enum" not in column.constraints
    if is_free_text and old is not None and new is not None:
        return "was reworded"
    return f"from {_told(old, is_free_text)} to {_told(new, is_free_text)}"


def _told(value: str | None, is_free_text: bool) -> str:
    if value is None:
        return "empty"
    return "a text" if is_free_text else plain(value)


def _rows(rows: int, figures: int, hidden: int) -> str:
    parts = [f"{figures} published figures"] * bool(figures) + [f"{hidden} hidden to protect people"] * bool(hidden)
    return (f"{rows}, with " + " and ".join(parts) if parts else str(rows)) if rows else ""


def _number(count: int) -> str:
    return str(count) if count else ""


def _names(names: Sequence[str]) -> str:
    """Return names in their order; when there are more than anybody reads, their number and the first and last of them."""
    if len(names) > NAMES_PER_LINE:
        return f"{len(names)}, from {plain(names[0])} to {plain(names[-1])}"
    return ", ".join(plain(name) for name in names)


def plain(text: str) -> str:
    """Return text in one line in which Markdown finds nothing to act on."""
    return "".join(f"\\{letter}" if letter in "\\`*<>[]|#" else letter for letter in " ".join(text.split()))
