"""How a delivery gets its name: whose it is, by its place and file name, and where its sealed bytes stand.

Nothing is opened here. A delivery that says neither project nor quarter is kept all the same, as `unidentified` under the start of its hash.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from pipeline.domain.submission import UNIDENTIFIED, SubmissionKey
from pipeline.errors import UsageError

_PROJECT = r"(?P<project>[A-Za-z0-9][A-Za-z0-9._-]{0,63}?)"
_QUARTER = r"(?P<quarter>[0-9]{4}-Q[1-4])"
_FOLDERS = re.compile(f"{_PROJECT}/{_QUARTER}", re.ASCII)
# Browsers and mail programs add " (1)" and the like to a name, so anything that does not run on from the quarter may follow it.
_FILE_NAME = re.compile(f"{_PROJECT}_{_QUARTER}(?![A-Za-z0-9]).*", re.ASCII | re.DOTALL)
_DIGEST = re.compile("[0-9a-f]{64}", re.ASCII)


def identify(path: PurePath, content: str) -> SubmissionKey:
    """Return the submission that a delivery is for, from its folders `PROJECT/QUARTER/` or its name `PROJECT_QUARTER...`; folders win.

    Args: content, the SHA-256 of the delivery's bytes in hexadecimal.
    Returns: `unidentified` and the first 16 digits of the hash when neither says.
    """
    for found in (_FOLDERS.fullmatch("/".join(path.parts[-3:-1])), _FILE_NAME.fullmatch(path.name)):
        if found is not None and found["project"] != UNIDENTIFIED:
            return SubmissionKey(found["project"], found["quarter"])
    return SubmissionKey(UNIDENTIFIED, content[:16])


def content_name(sha256: str) -> str:
    """Return the name of an object in the restricted store: `sha256/`, the first two digits, the hash.

    Raises: UsageError when the text is not a SHA-256 in lower-case hexadecimal.
    """
    if not _DIGEST.fullmatch(sha256):
        raise UsageError("A stored object is named by a SHA-256 in lower-case hexadecimal (64 digits).")
    return f"sha256/{sha256[:2]}/{sha256}"
