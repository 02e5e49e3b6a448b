"""Writes reports into a folder: `<study>/<kind>-<uid>.dcm` or `.hl7`, whole or not at all.

The same report written again is the same file. Names are made of checked UIDs only, anything else
is hashed, so no report can leave the folder. Never: a patient's name or number in a path.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from config.settings import FolderDestination
from dicom_node.destinations.outcome import Fate, Outcome, Parcel

_UID = re.compile(r"[0-9](?:[0-9.]{0,62}[0-9])?")  # PS3.5 9.1, as far as a path is concerned
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ENDINGS = {"hl7_oru": "hl7"}


class FolderSender:
    """A folder, as `node.yaml` names it."""

    def __init__(self, name: str, settings: FolderDestination) -> None:
        self._name = name
        self._root = settings.path

    @property
    def name(self) -> str:
        return self._name

    def carries(self, kind: str) -> bool:
        del kind  # a file takes anything
        return True

    def send(self, parcels: Sequence[Parcel], stopping: Callable[[], bool]) -> tuple[Outcome, ...]:
        outcomes: list[Outcome] = []
        for parcel in parcels:
            if stopping():
                outcomes.append(Outcome(parcel.delivery_id, Fate.TRY_LATER, ""))
            elif outcomes and outcomes[-1].peer_wide:  # a full disk is full for the next one too
                outcomes.append(_later(parcel, outcomes[-1].answer))
            else:
                outcomes.append(self._write(parcel))
        return tuple(outcomes)

    def close(self) -> None:
        """Nothing is kept open."""

    def probe(self) -> str:
        sample = self._root / f".dictamen-probe-{os.getpid()}"
        try:
            self._root.mkdir(exist_ok=True)
            sample.write_bytes(b"")
            sample.unlink()
        except OSError as error:
            return self._words(error)
        return ""

    def _write(self, parcel: Parcel) -> Outcome:
        target = self._root / relative_path(parcel)
        try:
            # The parent of the root must be there: a share that is not mounted is no reason to
            # fill the disk under its mount point's parent.
            self._root.mkdir(exist_ok=True)
            target.parent.mkdir(exist_ok=True)
            if target.is_file() and target.read_bytes() == parcel.payload:
                return Outcome(parcel.delivery_id, Fate.DELIVERED, "already there", status="same")
            replaced = target.exists()
            write_whole(target, parcel.payload)
            _sync_folder(self._root)
        except OSError as error:
            return _later(parcel, self._words(error))
        if replaced:
            words = "replaced a file of other content"
            return Outcome(
                parcel.delivery_id, Fate.DELIVERED_WITH_WARNING, words, status="replaced"
            )
        return Outcome(parcel.delivery_id, Fate.DELIVERED, "written", status="written")

    def _words(self, error: OSError) -> str:
        return f"folder {self._root} cannot be written: {(error.strerror or str(error)).lower()}"


def relative_path(parcel: Parcel) -> Path:
    """Where a report lies under the root; one safe name per part, whatever the parcel says."""
    study = parcel.study_uid if _UID.fullmatch(parcel.study_uid) else _digest(parcel.study_uid)
    kind = parcel.kind if _SAFE.fullmatch(parcel.kind) else _digest(parcel.kind)
    uid = parcel.uid if _SAFE.fullmatch(parcel.uid) else _digest(parcel.uid)
    return Path(study) / f"{kind}-{uid}.{_ENDINGS.get(parcel.kind, 'dcm')}"


def write_whole(target: Path, data: bytes) -> None:
    """After this returns the file is there with all its bytes, also after a power failure."""
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _later(parcel: Parcel, answer: str) -> Outcome:
    return Outcome(
        parcel.delivery_id, Fate.TRY_LATER, answer, peer_wide=True, status="not writable"
    )
