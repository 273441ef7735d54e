"""The bad files of the catalogue that hold personal data where none belongs (B028, B085, B087, B119)."""

from __future__ import annotations

from collections.abc import Iterator

from openpyxl.comments import Comment

from tests.corpus.delivered import hidden_sheet
from tests.corpus.making import BOOK, ZIP, BadFile, book_bytes, good_tables, in_formats, put, zip_bytes

TEXTS: dict[str, tuple[str, ...]] = {
    "H-001": ("Ask Mrs Cana\u0301ryworth about it", "Dr. Canaryworth signed"),
    "H-002": ("write to canary.worth@example.org", "Canary_1@mail.example.co.uk"),
    "H-003": ("ring 07700 900471", "ring +44 7700 900471 today", "0161 496 0471"),
    "H-004": ("QQ471234C", "her number is AB 47 12 34 C", "ab471234c"),
    "H-005": ("943 476 5919", "NHS 9434765919"),
    "H-006": ("lives at SW1A 1AA", "M1 1AE", "moved, postcode: EC1A1BB"),
    "H-007": ("born 12/03/1987", "DOB: 1987-03-12", "date of birth 12 March 1987"),
    "H-008": ("UPRN 100023336956", "uprn:10033544614"),
}
REFERENCES: dict[str, tuple[str, ...]] = {
    "H-001": ("Canary Worth", "Worth, Canary", "Mr Canary"),
    "H-002": ("canary.worth@example.org",),
    "H-003": ("07700900471", "07700 900471", "+447700900471"),
    "H-004": ("QQ471234C", "ab471234c", "AB 47 12 34 C"),
    "H-005": ("9434765919", "943 476 5919", "943-476-5919"),
    "H-006": ("SW1A 1AA", "sw1a1aa", "M1 1AE"),
    "H-007": ("12/03/1987", "1987-03-12"),
    "H-008": ("UPRN100023336956",),
}


def bad_files() -> Iterator[BadFile]:
    for rule, texts in TEXTS.items():
        for at, text in enumerate(texts):
            kinds = (ZIP, BOOK)
            yield from in_formats(
                "B119-text", put("cover", 2, "comment", text), rule, "refuse", "cover", kinds=kinds, row=2, column="comment", planted=(text,)
            )
            yield from _beside(text, at)
    for rule, references in REFERENCES.items():
        for text in references:
            change = put("participants", 3, "participant_ref", text)
            yield from in_formats("B119", change, rule, "refuse", "participants", row=3, column="participant_ref", planted=(text,))
    yield from in_formats(
        "B119-number",
        put("participants", 3, "participant_ref", 9434765919),
        "H-005",
        "refuse",
        "participants",
        kinds=(BOOK,),
        row=3,
        planted=("9434765919",),
    )
    yield from in_formats(
        "B119-outcome", put("outcomes", 2, "outcome_ref", "QQ471234C"), "H-004", "refuse", "outcomes", row=2, planted=("QQ471234C",)
    )
    yield from in_formats(
        "B119-date", put("outcomes", 2, "achieved_on", "a@b.example"), "H-002", "refuse", "outcomes", row=2, planted=("a@b.example",)
    )
    yield from in_formats(
        "B119-initials", put("participants", 3, "participant_ref", "CW19870312"), "H-009", "query", "participants", row=3, planted=("CW19870312",)
    )


def _beside(text: str, at: int) -> Iterator[BadFile]:
    """Yield the same text in a hidden sheet, in a sheet that is none of ours, in a comment, and in the name of a file."""
    planted = (text,)
    if at == 0:
        yield BadFile(
            case="B085",
            kind=BOOK,
            content=book_bytes(change=hidden_sheet("people", [["x"], [text]])),
            rule="H-020",
            severity="refuse",
            planted=planted,
        )
        with_comment = book_bytes(change=lambda book: setattr(book["outcomes"]["A2"], "comment", Comment(text, "author")))
        yield BadFile(case="B087", kind=BOOK, content=with_comment, rule="H-020", severity="refuse", planted=planted)
    elif at == 1 and "/" not in text and ":" not in text:
        yield BadFile(
            case="B119-name", kind=ZIP, content=zip_bytes(good_tables(), {f"{text}.csv": b"x"}), rule="H-020", severity="refuse", planted=planted
        )
        yield BadFile(
            case="B119-name", kind=BOOK, content=book_bytes(change=lambda b: b.create_sheet(text)), rule="H-020", severity="refuse", planted=planted
        )
