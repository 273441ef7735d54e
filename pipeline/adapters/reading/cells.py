"""What a cell must not hold, whatever its column: commands, markup, signs that nobody sees. And what was tidied away, which is said.

The bytes of a column are first looked through as one (`_is_plain`): a column of letters, digits and a few signs holds none of this, and most columns
are such. Patterns run in Arrow over the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.adapters.reading.canonical import MOST_PLACES, Findings, Layout, TableForm, compose, key

PLAIN = bytes(range(ord("0"), ord("9") + 1)) + b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" + b" ./_-:,"

INVISIBLE = r"[\x{00AD}\x{034F}\x{180E}\x{200B}\x{200C}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2060}-\x{2064}\x{2066}-\x{2069}\x{FEFF}\x{FFF9}-\x{FFFB}]"
CALLS = r"(?:HYPERLINK|WEBSERVICE|FILTERXML|IMPORT(?:XML|DATA|HTML|FEED|RANGE)|RTD|CALL|EXEC|IMAGE|REGISTER\.ID)\s*\("
REACHES_OUT = (
    rf"(?i)^[=+\x{{FF1D}}\x{{FF0B}}].*(?:\|\s*['\x{{2019}}]|\bcmd\b|powershell|mshta|\bDDE|file:|https?:|\\\\|{CALLS})"
    rf"|^[@\x{{FF20}}\x{{FF0D}}-].*(?:\|\s*['\x{{2019}}]|{CALLS})"
)
"""What a formula is that starts a program or reaches outside its workbook."""

FORMULA = r"^(?:[=@\x{FF1D}\x{FF0B}\x{FF20}\x{FF0D}].|\+[0-9.,]*[^0-9.,\s]|-[^ ].*[+(*!=])"
MARKUP = (
    r"(?i)<[/!?a-z]|\{\{|\{%|\$\{|\]\(\s*(?:https?|javascript|data|file):|javascript:|\bunion\s+(?:all\s+)?select\b|\bdrop\s+table\b|"
    r"['\x{2019}]\s*;|['\x{2019}]\s*or\s+['\x{2019}0-9]"
)
ERRORS = r"^#(?:REF!|N/A|DIV/0!|VALUE!|NAME\?|NUM!|NULL!|SPILL!|CALC!|GETTING_DATA)$"
DOUBLE_ENCODED = r"\x{00C3}[\x{0080}-\x{00BF}\x{0192}\x{201A}-\x{2122}]|\x{00E2}\x{20AC}|\x{00C2}[\x{00A0}-\x{00BF}]|\x{00EF}\x{00BB}\x{00BF}"
LOOKALIKES = r"[\p{Cyrillic}\p{Greek}\x{FF10}-\x{FF5A}]"
MIXED = r"[A-Za-z][\p{Cyrillic}\p{Greek}]|[\p{Cyrillic}\p{Greek}][A-Za-z]"
SUMS = r"(?i)^\W*(?:(?:grand|sub)[ -]?)?totals?\b[^0-9]*$"
EXAMPLES = r"(?i)^(?:example|e\.g\.)"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One rule on cells and its pattern. `sign` finds the sign whose code point the message names; `is_free` says where free text may stand."""

    rule: str
    pattern: str
    sign: str = ""
    is_free: bool | None = None


CHECKS: tuple[Check, ...] = (
    Check(rule="F-071", pattern=REACHES_OUT),
    Check(rule="F-070", pattern=FORMULA),
    Check(rule="F-072", pattern=MARKUP),
    Check(rule="F-041", pattern=ERRORS),
    Check(rule="F-067", pattern=INVISIBLE, sign=INVISIBLE),
    Check(rule="F-068", pattern=r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x{0084}\x{0086}-\x{009F}]"),
    Check(rule="F-073", pattern=r"[\r\n\x{0085}\x{2028}\x{2029}]", is_free=False),
    Check(rule="F-065", pattern=LOOKALIKES, sign=LOOKALIKES, is_free=False),
    Check(rule="F-065", pattern=MIXED, sign=r"[\p{Cyrillic}\p{Greek}]", is_free=True),
    Check(rule="F-028", pattern='"', is_free=False),
    Check(rule="F-053", pattern=DOUBLE_ENCODED),
)
INSTEAD = {"F-070": "F-071"}
"""A cell that the second rule speaks of is not spoken of by the first."""


class CellChecks:
    """Looks at the cells of one table, batch after batch."""

    def __init__(self, form: TableForm, layout: Layout, findings: Findings) -> None:
        self._form = form
        self._findings = findings
        self._headings = {name: layout.headings[position] for name, position in layout.positions.items()} if layout.headings else {}
        self._first = sorted(layout.positions, key=lambda name: layout.positions[name])[:2]
        self._changed: dict[tuple[str, str], int] = {}
        self._times: Counter[tuple[str, str]] = Counter()

    def look_at(self, rows: pa.Int64Array, delivered: Mapping[str, pa.StringArray], tidied: Mapping[str, pa.StringArray]) -> None:
        """Take down what the cells of one batch must not hold, and what was tidied."""
        for name, cells in tidied.items():
            self._compare(name, rows, delivered[name], cells)
            if not _is_plain(cells):
                self._check(name, rows, cells)
        self._check_rows(rows, tidied)

    def note_changes(self) -> None:
        """Say in which columns cells were tidied, once for each."""
        for (rule, name), row in self._changed.items():
            self._findings.add(rule, table=self._form.name, row=row, column=name, times=self._times[rule, name])

    def _compare(self, name: str, rows: pa.Int64Array, delivered: pa.StringArray, tidied: pa.StringArray) -> None:
        if delivered.equals(tidied):
            return
        composed = compose(delivered)
        for rule, before, after in (("F-066", delivered, composed), ("F-064", composed, tidied)):
            if before is not after:
                changed = rows.filter(pc.fill_null(pc.not_equal(before, after), False))
                if len(changed):
                    self._changed.setdefault((rule, name), changed[0].as_py())
                    self._times[rule, name] += len(changed)

    def _check(self, name: str, rows: pa.Int64Array, cells: pa.StringArray) -> None:
        found: dict[str, pa.BooleanArray] = {}
        is_free = name in self._form.free_text
        for check in CHECKS:
            if check.is_free not in (None, is_free):
                continue
            mask = pc.fill_null(pc.match_substring_regex(cells, check.pattern), False)
            if check.rule in INSTEAD:
                mask = pc.and_not(mask, found[INSTEAD[check.rule]])
            found[check.rule] = mask
            self._add(check.rule, name, rows.filter(mask), cells.filter(mask), check.sign)

    def _add(self, rule: str, name: str, rows: pa.Int64Array, cells: pa.StringArray, sign: str = "") -> None:
        """Take down the first places, and count the rest with the last of them."""
        signs = pc.extract_regex(cells.slice(0, MOST_PLACES), f"(?P<sign>{sign})").to_pylist() if sign else []
        for at, row in enumerate(rows.slice(0, MOST_PLACES).to_pylist()):
            words = {"code_point": f"U+{ord(signs[at]['sign']):04X}"} if sign else {}
            times = len(rows) - at if at == MOST_PLACES - 1 else 1
            self._findings.add(rule, table=self._form.name, row=row, column=name, times=times, **words)

    def _check_rows(self, rows: pa.Int64Array, tidied: Mapping[str, pa.StringArray]) -> None:
        """Find rows that are no records: the headings again, a sum, an example left over from a template."""
        repeated = pa.scalar(False)
        for name in self._first:
            cells = tidied[name]
            for rule, pattern in (("F-062", SUMS), ("F-063", EXAMPLES)):
                mask = pc.fill_null(pc.match_substring_regex(cells, pattern), False)
                self._add(rule, name, rows.filter(mask), cells.filter(mask))
            if self._headings:
                repeated = pc.or_(repeated, pc.fill_null(pc.equal(cells, self._headings[name].strip()), False))
        if not self._headings or not pc.any(repeated, min_count=0).as_py():
            return
        for at in pc.indices_nonzero(repeated).to_pylist():
            same = sum(key(tidied[name][at].as_py() or "") == key(heading) for name, heading in self._headings.items())
            if 2 * same >= len(self._headings):
                self._findings.add("F-060", table=self._form.name, row=rows[at].as_py())


def _is_plain(cells: pa.StringArray) -> bool:
    """Say whether the cells hold nothing but letters, digits and the signs of references, dates and amounts."""
    buffer = cells.buffers()[2]
    if buffer is None or not len(cells):
        return True
    ends = pa.Array.from_buffers(pa.int32(), len(cells) + 1, [None, cells.buffers()[1]], offset=cells.offset)
    return not memoryview(buffer)[ends[0].as_py() : ends[-1].as_py()].tobytes().translate(None, PLAIN)
