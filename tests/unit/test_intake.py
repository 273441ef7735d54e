"""How a delivery gets its name."""

from pathlib import PurePath

import pytest

from pipeline.domain.submission import SubmissionKey
from pipeline.errors import UsageError
from pipeline.stages.intake import content_name, identify

CONTENT = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("P01/2024-Q1/return.xlsx", "P01/2024-Q1"),
        ("a/b/P01/2024-Q1/return.xlsx", "P01/2024-Q1"),
        ("P01_2024-Q1.xlsx", "P01/2024-Q1"),
        ("P01_2024-Q1_second try.zip", "P01/2024-Q1"),
        ("P01_2024-Q1 (1).xlsx", "P01/2024-Q1"),
        ("P01_2024-Q1.outcomes.csv", "P01/2024-Q1"),
        ("INDIGO-POJ_0101_2024-Q4.xlsx", "INDIGO-POJ_0101/2024-Q4"),
        ("P01_2024-Q1_2024-Q2.xlsx", "P01/2024-Q1"),
    ],
)
def test_a_delivery_is_named_by_its_folders_or_its_file_name(path: str, key: str) -> None:
    assert identify(PurePath(path), CONTENT) == SubmissionKey.parse(key)


def test_folders_win_over_the_file_name() -> None:
    assert identify(PurePath("P01/2024-Q1/P02_2024-Q2.xlsx"), CONTENT) == SubmissionKey("P01", "2024-Q1")


@pytest.mark.parametrize(
    "path",
    [
        "return.xlsx",
        "P01/return.xlsx",
        "P01/2024-Q5/return.xlsx",
        "P01_2024-Q11.xlsx",
        "P01_2024-q1.xlsx",
        "_2024-Q1.xlsx",
        "../2024-Q1/return.xlsx",
        "-P01_2024-Q1.xlsx",
        "unidentified/2024-Q1/return.xlsx",
        "P\u0660\u0661_2024-Q1.xlsx",
        f"{'P' * 65}_2024-Q1.xlsx",
    ],
)
def test_a_delivery_that_names_neither_project_nor_quarter_is_kept_under_its_hash(path: str) -> None:
    assert identify(PurePath(path), CONTENT) == SubmissionKey("unidentified", "0123456789abcdef")


def test_stored_content_is_named_by_its_hash() -> None:
    assert content_name(CONTENT) == f"sha256/01/{CONTENT}"


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", CONTENT.upper(), CONTENT[:-1], f"{CONTENT}\n"])
def test_what_is_no_hash_names_no_content(digest: str) -> None:
    with pytest.raises(UsageError, match="SHA-256"):
        content_name(digest)
