"""Writes what readers signed as pairs for training (CSV, UTF-8).

In: the rows of `storage.agreements`. Out: one file that only its owner may read. The uid is a keyed
hash of the study's: the same study has the same one, and nobody outside can tell which it is.
Never: a pair without findings or impression, an existing file overwritten.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path

from dicom_node.agreement.figures import newest
from dicom_node.logs import hashed
from storage import AgreementRecord

COLUMNS = ("uid", "findings", "impression", "language")


def write(
    records: Iterable[AgreementRecord], target: Path, key: bytes, *, changed_only: bool = False
) -> int:
    """How many pairs were written. Raises FileExistsError."""
    pairs = [
        (hashed(key, one.study_uid), one.findings, one.impression, one.language)
        for one in newest(records)
        if one.findings.strip()
        and one.impression.strip()
        and not (changed_only and one.figures["edits"] == 0)
    ]
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        rows.writerows(pairs)
    return len(pairs)
