"""Analyses DICOM files without a network: `dictamen analyse`.

The same rules, gate, processors and writers as the node, without spool, queue or destinations.
Writes OUT/<study uid>/<processor>/ with the reports and result.json; a study that no rule picks
gets OUT/<study uid>/none/result.json with its reason. Bad files are listed, never fatal.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from config import Settings
from dicom_node import pipeline, routing, story
from dicom_node.intake import headers
from dicom_node.wiring import Judge, Judges
from processors import ProcessorError
from processors.pixels import read_dataset
from reports import ReportError
from reports.result import result, unpicked
from storage import Identity, StoredInstance

log = structlog.get_logger()
_TEXT = {
    "en": {
        "two": "Failed: the files of this study name different patients; a person must look.",
        "unread": "it cannot be read as a DICOM data set ({error})",
        "incomplete": "it lacks {missing}, so that it belongs to no study",
        "conflict": "another file has its SOP Instance UID and other content; the first one counts",
    },
    "es": {
        "two": "Fallido: los archivos de este estudio nombran a pacientes distintos; "
        "debe verlo una persona.",
        "unread": "no se puede leer como conjunto de datos DICOM ({error})",
        "incomplete": "le falta {missing}, así que no pertenece a ningún estudio",
        "conflict": "otro archivo tiene el mismo SOP Instance UID y otro contenido; "
        "cuenta el primero",
    },
}
_REQUIRED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One result, as in result.json, and where it lies."""

    result: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that belongs to no study, with the reason."""

    file: Path
    reason: str


def files_of(paths: Iterable[Path]) -> list[Path]:
    """All files below the paths, sorted; folders are searched."""
    found: set[Path] = set()
    for path in paths:
        found |= {p for p in path.rglob("*") if p.is_file()} if path.is_dir() else {path}
    return sorted(found)


def analyse(
    files: Sequence[Path],
    settings: Settings,
    judges: Judges,
    out: Path,
    each: Callable[[Outcome], None] = lambda _: None,
) -> tuple[list[Outcome], list[Rejected]]:
    """Judge every study of the files; `each` hears of every outcome as it comes."""
    language = settings.node.language
    studies, rejected = _read(files, language)
    outcomes = []
    for uid, instances in studies.items():
        for outcome in _study(uid, instances, settings, judges, out):
            outcomes.append(outcome)
            each(outcome)
    return outcomes, rejected


def _read(
    files: Sequence[Path], language: str
) -> tuple[dict[str, list[tuple[StoredInstance, Identity]]], list[Rejected]]:
    text, seen = _TEXT[language], dict[str, str]()
    studies: dict[str, list[tuple[StoredInstance, Identity]]] = {}
    rejected = []
    for file in files:
        try:
            instance, identity = _instance(file)
        except _Incomplete as error:
            rejected.append(Rejected(file, text["incomplete"].format(missing=error)))
            continue
        except Exception as error:  # noqa: BLE001 - pydicom raises many kinds for a broken file
            rejected.append(Rejected(file, text["unread"].format(error=type(error).__name__)))
            continue
        known = seen.setdefault(instance.sop_uid, instance.sha256)
        if known != instance.sha256:
            rejected.append(Rejected(file, text["conflict"]))
        elif not any(i.sop_uid == instance.sop_uid for i, _ in studies.get(identity.study_uid, ())):
            studies.setdefault(identity.study_uid, []).append((instance, identity))
    return studies, rejected


class _Incomplete(Exception):
    """Names the attributes that a file lacks."""


def _instance(file: Path) -> tuple[StoredInstance, Identity]:
    dataset = read_dataset(file, pixels=False)
    missing = [keyword for keyword in _REQUIRED if not dataset.get(keyword)]
    if missing:
        raise _Incomplete(", ".join(missing))
    # Stopping before the pixels hides whether there are any; the rules want to know.
    full = read_dataset(file)
    identity = headers.identity(dataset)
    instance = StoredInstance(
        sop_uid=str(dataset.SOPInstanceUID),
        sop_class=str(dataset.SOPClassUID),
        transfer_syntax=str(dataset.file_meta.get("TransferSyntaxUID", "")),
        series_uid=str(dataset.get("SeriesInstanceUID", "")),
        study_uid=identity.study_uid,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        size=file.stat().st_size,
        path=str(file),
        calling_ae="",
        address="",
        headers=headers.of(dataset, has_pixels="PixelData" in full),
        received_at=datetime.now(UTC),
    )
    return instance, identity


def _study(
    uid: str,
    found: Sequence[tuple[StoredInstance, Identity]],
    settings: Settings,
    judges: Judges,
    out: Path,
) -> Iterable[Outcome]:
    instances = [instance for instance, _ in found]
    language = settings.node.language
    folder = out / (uid if re.fullmatch(r"[0-9.]{1,64}", uid) else _hashed(uid))
    if len({(i.patient_id, i.issuer) for _, i in found}) > 1:
        yield _bare(uid, folder, "failed", _TEXT[language]["two"])
        return
    choices = routing.choose(settings, instances, 0, datetime.now(UTC))
    for choice in choices:
        if choice.picked:
            yield _judged(uid, choice, judges.of(choice.processor.name), folder)
    if not any(choice.picked for choice in choices):
        trace = [{**choice.trace(), "settled": True} for choice in choices]
        yield _bare(uid, folder, "unsuitable", story.not_selected(trace, language))


def _judged(uid: str, choice: routing.Choice, judge: Judge, folder: Path) -> Outcome:
    files = {instance.sop_uid: Path(instance.path) for instance in choice.picked}
    try:
        study = pipeline.load(uid, files)
        judged = pipeline.judge(judge.processor, study, judge.options, judge.kinds)
    except (ReportError, ProcessorError) as error:
        analysis = pipeline.failed(judge.processor, uid, str(error))
        judged = pipeline.Judged(analysis, (), datetime.now(UTC))
    place = folder / choice.processor.name
    place.mkdir(parents=True, exist_ok=True)
    names = {}
    for report in judged.reports:
        ending = "hl7" if report.kind == "hl7_oru" else "dcm"
        name = f"{report.kind}-{report.index}.{ending}"
        (place / name).write_bytes(report.payload)
        names[report.uid] = name
    return _write(place, result(judged.analysis, judged.reports, names))


def _bare(uid: str, folder: Path, status: str, reason: str) -> Outcome:
    """A result without a processor: nothing was asked to judge the study."""
    place = folder / "none"
    place.mkdir(parents=True, exist_ok=True)
    return _write(place, {**unpicked(uid, reason), "status": status})


def _write(place: Path, content: Mapping[str, Any]) -> Outcome:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (place / "result.json").write_text(text + "\n", encoding="utf-8")
    return Outcome(content, place)


def _hashed(uid: str) -> str:
    return "study-" + hashlib.sha256(uid.encode()).hexdigest()[:32]
