"""What the `changes.json` of a version comes to in a sentence: for every feed that tells of it, so that all say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CAUSES_TOLD = 5


def told_changes(changes: Mapping[str, Any] | None) -> str:
    """Return in a sentence how many cells a version changes and why; nothing where its files do not say, or nothing came before."""
    if not changes or changes.get("base_version") is None:
        return ""
    counted: dict[str, int] = {}
    for entry in changes["causes"]:
        for cause in entry["causes"]:
            counted[cause] = counted.get(cause, 0) + entry["cells"]
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{cause.replace('_', ' ')} {cells:,}" for cause, cells in ordered[:CAUSES_TOLD])
    cells = changes["cells"]
    return f"{cells:,} {'cell' if cells == 1 else 'cells'} changed{f' ({told})' if told else ''}."
