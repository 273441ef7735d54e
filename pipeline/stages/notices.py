"""Words for the public about what happened to the data: drafts, which a person reads before they go out. No figure, no row, no person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pipeline.errors import RuleError
from pipeline.stages.changelog import plain

REASONS: Mapping[str, str] = {
    "sent_in_error": "it had been sent in error",
    "wrong_project": "it was of another project",
    "wrong_quarter": "it was of another quarter",
    "found_wrong_after_acceptance": "it was found to be wrong after it had been accepted",
    "requested_by_payer": "a payer asked for it",
}
"""The coded reasons for withdrawing a return, as a sentence about it goes on."""


@dataclass(frozen=True, kw_only=True)
class WithdrawnReturn:
    """What a notice on a withdrawn return says."""

    fund: str
    project: str
    project_id: str
    quarter: str
    reason: str
    on: date
    versions: Sequence[str]
    tables: Sequence[str]
    corrected_by: str | None


def withdrawn_return(about: WithdrawnReturn) -> str:
    """Return the draft of a notice, as Markdown. Raises: RuleError when the reason has no words."""
    if about.reason not in REASONS:
        raise RuleError(f"The reason {about.reason} has no words for the public.")
    lines = [
        f"# {plain(about.fund)}: a return was withdrawn",
        "",
        f"On {about.on.isoformat()} the return of {plain(about.project)} ({about.project_id}) for {about.quarter} was withdrawn: "
        f"{REASONS[about.reason]}.",
        "",
    ]
    if not about.versions:
        return "\n".join([*lines, "No published version held its figures.", ""])
    tables = ", ".join(f"`{table}`" for table in about.tables)
    lines += [
        f"Versions {', '.join(about.versions)} hold its figures, in {tables}. They stay as they are, and are marked in the list of versions.",
        "",
    ]
    follows = f"Version {about.corrected_by} is being prepared without it." if about.corrected_by else "A version without it will follow."
    return "\n".join([*lines, follows, ""])
