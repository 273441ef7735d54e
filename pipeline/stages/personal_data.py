"""Personal data where none belongs: says which cells of a return look like it, and never what they say.

One pattern runs in Arrow over every cell of a column; only the distinct texts that it finds are looked at closer. `Kind` is the rule and our words
for what was found. Some kinds are weak in a reference, where ten digits or `AB12CD` may be nothing but a number (`_SHARES`): there a column is judged
by how many of its texts look so.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from pipeline.domain.findings import Finding
    from pipeline.domain.tables import Definitions, Field
    from pipeline.ports import ReturnTable

# The areas of British postcodes. Source: Royal Mail, Programmers' guide to the Postcode Address File.
_AREAS = (
    "AB|AL|BA|BB|BD|BF|BH|BL|BN|BR|BS|BT|BX|B|CA|CB|CF|CH|CM|CO|CR|CT|CV|CW|DA|DD|DE|DG|DH|DL|DN|DT|DY|EC|EH|EN|EX|E|FK|FY|GL|GU|GY|G|HA|HD|HG|"
    "HP|HR|HS|HU|HX|IG|IM|IP|IV|JE|KA|KT|KW|KY|LA|LD|LE|LL|LN|LS|LU|L|ME|MK|ML|M|NE|NG|NN|NP|NR|NW|N|OL|OX|PA|PE|PH|PL|PO|PR|RG|RH|RM|SA|SE|SG|"
    "SK|SL|SM|SN|SO|SP|SR|SS|ST|SW|SY|S|TA|TD|TF|TN|TQ|TR|TS|TW|UB|WA|WC|WD|WF|WN|WR|WS|WV|W|YO|ZE"
)
_OUTWARD, _INWARD = rf"(?:{_AREAS})[0-9][0-9A-Z]?", "[0-9][ABD-HJLNP-UW-Z]{2}"
# Source: HM Revenue and Customs, National Insurance Manual NIM39110. QQ is never given out, and stands in every example.
_NINO = r"(?:QQ|[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z])[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[A-D]"
_NINO_NEVER = re.compile("(?:BG|GB|NK|KN|TN|NT|ZZ)", re.IGNORECASE)
_MOBILE = r"(?:\+?44 ?(?:\(0\) ?)?|0044 ?|0)7[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{3}"
_LANDLINE = r"(?:\(?0[12][0-9]{1,4}\)?[ -][0-9]{3,4}[ -]?[0-9]{3,4}|(?:\+44|0044) ?(?:\(0\) ?)?[12][0-9 -]{8,12})"
_TITLE = r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Rev|Sir|Dame)\.?"
_WORD = r"\p{Lu}[\p{L}'\x{2019}-]*\p{Ll}"
_DAY = r"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/. ](?:[0-9]{1,2}|[A-Za-z]{3,9})[-/. ][0-9]{2,4})"
_BOUND_BEFORE, _BOUND_AFTER = "(?:^|[^0-9A-Za-z])", "(?:$|[^0-9A-Za-z])"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of personal data: the rule, our words for it, the pattern of a text that may hold it, and that of a cell that is an identifier."""

    rule: str
    words: str
    text: str
    reference: str


def _within(pattern: str) -> str:
    return f"{_BOUND_BEFORE}{pattern}{_BOUND_AFTER}"


KINDS: tuple[Kind, ...] = (
    Kind(
        rule="H-001",
        words="a name",
        text=rf"{_BOUND_BEFORE}{_TITLE} {_WORD}",
        reference=rf"^(?:{_TITLE} ?{_WORD}.*|{_WORD},? {_WORD}|{_WORD}, ?{_WORD})$",
    ),
    Kind(
        rule="H-002",
        words="an e-mail address",
        text=r"[^\s@,;<>()]+@[^\s@,;<>()]+\.[A-Za-z]{2,}",
        reference=r"[^\s@,;<>()]+@[^\s@,;<>()]+\.[A-Za-z]{2,}",
    ),
    Kind(
        rule="H-003", words="a telephone number", text=_within(f"(?:{_MOBILE}|{_LANDLINE}|0[12][0-9]{{9}})"), reference=f"^(?:{_MOBILE}|{_LANDLINE})$"
    ),
    Kind(rule="H-004", words="a National Insurance number", text=f"(?i){_within(_NINO)}", reference=f"(?i){_within(_NINO)}"),
    Kind(rule="H-005", words="an NHS number", text=_within("[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}"), reference="^[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}$"),
    Kind(
        rule="H-006",
        words="a full postcode",
        text=rf"(?:{_within(f'{_OUTWARD} {_INWARD}')}|^{_OUTWARD}{_INWARD}$|(?i:post ?code)\W{{1,3}}{_OUTWARD}{_INWARD})",
        reference=f"(?i)^{_OUTWARD} ?{_INWARD}$",
    ),
    Kind(
        rule="H-007",
        words="a date of birth",
        text=rf"(?i){_BOUND_BEFORE}(?:d\.?o\.?b\.?|date of birth|birth ?date|born)[^0-9A-Za-z]{{0,5}}(?:is |was |on |in )?{_DAY}",
        reference=f"^{_DAY}$",
    ),
    Kind(rule="H-008", words="a property reference (UPRN)", text=r"(?i)UPRN\W{0,4}[0-9]{6,12}", reference=r"(?i)UPRN\W{0,4}[0-9]{6,12}"),
)
BESIDE, COLUMN, INITIALS = "H-020", "H-010", "H-009"

_SHARES: Mapping[str, float] = {"H-005": 0.5, "H-006": 0.05}
"""The share of a column's references that must look so before one written without spaces counts: of its numbers of ten digits, of which one in eleven
passes the check digit, and of all its references, of which one in some thousand has the shape of a postcode where they are made at random."""

# Nothing of any kind is in a text in which this finds nothing: the one pattern that every value must go through.
_SIGNS = r"(?i)@|[0-9]{10}|[0-9]{2,4}[ /.)-]|[A-Z]{2}[ -]?[0-9]{2}|[0-9][A-Z]{2}|UPRN|\p{L}[, ]|^\p{Lu}\p{Ll}|(?:^|\W)(?:dob|born|birth)"
_SIGNS_OF_REFERENCES = r"@|[0-9]{10}|[ ,+(]|^[0-9]{1,4}[/.-]|(?i)[0-9][A-Z]{2}$|[A-Z]{2}[ -]?[0-9]{2}[0-9 -]{4,7}[A-D]|UPRN"

_HEADINGS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("an e-mail address", re.compile(r"e ?mail")),
    ("a telephone number", re.compile(r"\b(?:tele)?phone|\bmobile\b|\btel\b")),
    ("a National Insurance number", re.compile(r"\bnino\b|\bni (?:no|num)|national insurance")),
    ("an NHS number", re.compile(r"\bnhs\b|\bchi (?:no|num)")),
    ("a full postcode", re.compile(r"post ?code|\baddress\b|\bstreet\b|\bhouse (?:no|num|name)")),
    ("a date of birth", re.compile(r"\bd ?o ?b\b|birth")),
    ("a property reference (UPRN)", re.compile(r"\buprn\b")),
    ("case notes", re.compile(r"\bcase ?notes?\b|\bcase ?worker\b")),
    (
        "a name",
        re.compile(
            r"\b(?:first|fore|given|sur|family|last|middle|full|client|person|participant|child|tenant|user|kin) ?s? ?names?\b"
            r"|\bsurname|\bforename|^names?$"
        ),
    ),
)
_NOT_NAMES = frozenset(
    {"case", "cases", "child", "client", "cohort", "family", "group", "household", "outcome", "participant", "person", "project", "ref", "reference"}
    | {"service", "tenant", "user", "young"}
)


def check(definitions: Definitions, tables: Mapping[str, ReturnTable]) -> Sequence[Finding]:
    """Return which cells of a return look like personal data."""
    findings: list[Finding] = []
    for name, table in tables.items():
        for column in definitions.table("submission", name).fields:
            if column.name in table.cells.column_names:
                findings += _check_column(definitions, name, column, table.cells)
    return findings


def find_in_texts(texts: Sequence[str]) -> Sequence[str]:
    """Return our words for the kinds of personal data in texts that stand beside the tables: in comments, other sheets, names of sheets."""
    return [kind.words for kind, _ in _kinds_in(pa.array(list(texts), pa.string()), is_reference=False)]


def kind_of_heading(heading: str) -> str | None:
    """Return our words for the personal data that a column of this heading would hold, or None."""
    plain = " ".join(re.findall("[a-z0-9]+", re.sub("(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", heading)).casefold()))
    return next((words for words, pattern in _HEADINGS if pattern.search(plain)), None)


def _check_column(definitions: Definitions, table: str, column: Field, cells: pa.Table) -> Iterator[Finding]:
    for kind, texts in _kinds_in(cells[column.name], is_reference=not _is_free(column), without=_not_sought(column)):
        yield from _found(definitions, kind.rule, table, column.name, cells, texts)
    if column.name == "participant_ref":
        initials = cells[column.name].filter(pc.match_substring_regex(cells[column.name], "^[A-Za-z]{2,3}[-_/.]?[0-9]{8}$")).unique()
        born = initials.filter(pa.array([_ends_in_birthday(text) for text in initials.to_pylist()], pa.bool_()))
        if len(born):
            yield from _found(definitions, INITIALS, table, column.name, cells, born)


def _found(definitions: Definitions, rule: str, table: str, column: str, cells: pa.Table, texts: pa.Array) -> Sequence[Finding]:
    from pipeline.stages.validation import found_at  # the reading process, which only looks at texts, starts sooner without it

    rows = cells["row"].filter(pc.is_in(cells[column], texts)).combine_chunks()
    return found_at(definitions.rule(rule), table, column, rows.take(pc.sort_indices(rows)))


def _is_free(column: Field) -> bool:
    return column.type == "string" and not column.codelist and not {"pattern", "enum"} & set(column.constraints)


def _not_sought(column: Field) -> frozenset[str]:
    """Return the rules that a column cannot be judged by.

    Two capitalised words may be a label, a day is what a date column holds, and an id that the register gave out may have any shape.
    """
    if _is_free(column) or column.name == "participant_ref":
        return frozenset()
    if column.name == "outcome_ref":
        return frozenset({"H-007"})
    if column.name.endswith("_id"):
        return frozenset({"H-001", "H-003", "H-005", "H-006", "H-007"})
    return frozenset({"H-001", "H-007"} if column.type == "string" else {"H-001", "H-003", "H-005", "H-007"})


def _kinds_in(cells: pa.ChunkedArray | pa.Array, *, is_reference: bool, without: frozenset[str] = frozenset()) -> Iterator[tuple[Kind, pa.Array]]:
    """Yield each kind that is there, with the distinct texts that look like it."""
    suspects = cells.filter(pc.match_substring_regex(cells, _SIGNS_OF_REFERENCES if is_reference else _SIGNS))
    if not len(suspects):
        return
    texts = suspects.unique()
    for kind in KINDS:
        if kind.rule in without:
            continue
        shaped = pc.match_substring_regex(texts, kind.reference if is_reference else kind.text)
        found = _confirm(kind, texts, shaped, is_reference)
        if is_reference and kind.rule in _SHARES:
            among = pc.sum(shaped, min_count=0).as_py() if kind.rule == "H-005" else len(cells) - cells.null_count
            found = _unless_common(texts, found, among, _SHARES[kind.rule])
        if pc.any(found, min_count=0).as_py():
            yield kind, texts.filter(found)


def _confirm(kind: Kind, texts: pa.Array, found: pa.Array, is_reference: bool) -> pa.Array:
    """Look closer at what a pattern found: check digits, prefixes that are never given out, words that are no names."""
    if kind.rule == "H-005" and is_reference:
        return pc.and_(found, _has_check_digit(texts, found))
    confirm = {"H-004": _is_national_insurance, "H-005": _holds_nhs_number, "H-001": _is_name}.get(kind.rule)
    if confirm is None or (kind.rule == "H-001" and not is_reference):
        return found
    places = pc.indices_nonzero(found)
    sure = pa.array([confirm(text) for text in texts.take(places).to_pylist()], pa.bool_())
    return pc.is_in(pa.arange(0, len(texts)), places.filter(sure).cast(pa.int64()))


def _unless_common(texts: pa.Array, found: pa.Array, among: int, share: float) -> pa.Array:
    """Drop what is written without spaces when too few of a column's values look so: then they are references that happen to."""
    spaced = pc.and_(found, pc.match_substring_regex(texts, "[ -]"))
    return found if pc.sum(found, min_count=0).as_py() >= share * among else spaced


def _has_check_digit(texts: pa.Array, found: pa.Array) -> pa.Array:
    """Say of whole cells of ten digits whether the last is the check digit. Source: NHS Data Dictionary, NHS number, modulus 11."""
    digits = pc.if_else(found, pc.replace_substring_regex(texts, "[ -]", ""), pa.scalar("0000000000"))
    number = digits.cast(pa.int64())
    places = [pc.subtract(pc.divide(number, 10**at), pc.multiply(pc.divide(number, 10 ** (at + 1)), 10)) for at in range(10)]
    total = pa.scalar(0, pa.int64())
    for at in range(1, 10):
        total = pc.add(total, pc.multiply(places[at], at + 1))
    rest = pc.subtract(total, pc.multiply(pc.divide(total, 11), 11))
    check = pc.if_else(pc.equal(rest, 0), 0, pc.subtract(11, rest))
    is_given_out = pc.or_(pc.is_in(places[9], pa.array([4, 6, 7, 9])), pc.less(number, 4_000_000_000))
    return pc.and_(pc.and_(pc.equal(check, places[0]), pc.greater(number, 0)), is_given_out)


def _holds_nhs_number(text: str) -> bool:
    for found in re.finditer(r"(?<![0-9A-Za-z])(\d{3})[ -]?(\d{3})[ -]?(\d{4})(?![0-9A-Za-z])", text, re.ASCII):
        digits = [int(sign) for sign in "".join(found.groups())]
        check = -sum(digit * (10 - at) for at, digit in enumerate(digits[:9])) % 11
        if check == digits[9] and any(digits):
            return True
    return False


def _is_national_insurance(text: str) -> bool:
    for found in re.finditer(rf"(?<![0-9A-Za-z]){_NINO}(?![0-9A-Za-z])", text, re.ASCII | re.IGNORECASE):
        plain = found.group().replace(" ", "").replace("-", "")
        # Six digits that are a year and a month make a reference, such as HR202401A.
        is_month = plain == text and re.fullmatch("20[0-9]{2}(?:0[1-9]|1[0-2])", plain[2:8])
        if not _NINO_NEVER.match(plain) and not is_month:
            return True
    return False


def _is_name(text: str) -> bool:
    return not {word.casefold() for word in re.findall(r"\w+", text)} & _NOT_NAMES


def _ends_in_birthday(text: str) -> bool:
    """Say whether eight digits are a day on which somebody may have been born who is served today."""
    digits = text[-8:]
    for year, month, day in ((digits[:4], digits[4:6], digits[6:]), (digits[4:], digits[2:4], digits[:2])):
        try:
            born = date(int(year), int(month), int(day))
        except ValueError:
            continue
        if date(1900, 1, 1) <= born < date(2016, 1, 1):
            return True
    return False
