"""One run over dictated findings: the draft of an impression, its message and its text report.

In: a claimed run whose input is a message or a DICOM SR. Out: the run's end, its reports and their
deliveries, filed like those of any other run (`pipeline.file`). The message goes out for every
draft; the text report only where the node holds an image of the study to refer to. Never: a draft
that the guard did not see, another patient's header, a final status.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from dicom_node import metrics, narrative, pipeline
from dicom_node.events import Event
from dicom_node.narrative import Disowned, Narrative
from dicom_node.pipeline import Judged
from dicom_node.routing import TEXT_REPORTS
from processors.analysis import (
    Algorithm,
    Analysis,
    Impression,
    Instance,
    Pixels,
    ProcessorError,
    Status,
    Study,
    UnreadablePixels,
)
from processors.draft_guard import identifying, why_withheld
from processors.impressions import plain_language
from processors.impressions.drafting import Draft, Drafter, Request
from processors.impressions.sections import Sections
from processors.impressions.tongue import spoken
from reports import IdentityUnclear, Options, Report, ReportError, uids
from reports.hl7_segments import from_request
from reports.identity import quiet
from storage import Run, RunState, Storage
from storage.records import IMPRESSIONS

log = structlog.get_logger()
_NO_IMAGE = ("SR", "PR", "KO", "DOC", "SEG", "REG")  # modalities that a text cannot refer to
LONGEST = 20_000  # characters of findings; the longest of published collections have a tenth
_WORDS = {
    "en": {
        "none": "no findings section",
        "long": "findings of {} characters, more than {}: no draft is made of them",
        "empty": "no sentence of the draft passed its check against the findings",
        "withheld": "draft withheld: {}",
        "refused": "Left out of the draft: {}",
        "read_en": "The findings were read as English, which they were not announced as.",
        "read_es": "The findings were read as Spanish, which they were not announced as.",
        "no_report": "No text report for the PACS: this node holds no image of the study.",
    },
    "es": {
        "none": "sin apartado de hallazgos",
        "long": "hallazgos de {} caracteres, más de {}: de ellos no se hace borrador",
        "empty": "ninguna frase del borrador superó su comprobación frente a los hallazgos",
        "withheld": "borrador retenido: {}",
        "refused": "Fuera del borrador: {}",
        "read_en": "Los hallazgos se leyeron como inglés, aunque no se anunciaron así.",
        "read_es": "Los hallazgos se leyeron como español, aunque no se anunciaron así.",
        "no_report": "Sin informe de texto para el PACS: este nodo no tiene ninguna imagen del "
        "estudio.",
    },
}


@dataclass(frozen=True, slots=True)
class Scribe:
    """Who drafts, and what becomes of a draft. processing: the MSH-11 that the door takes."""

    drafter: Drafter
    algorithm: Algorithm
    options: Options
    kinds: tuple[str, ...]
    destinations: Callable[[Report], tuple[str, ...]]
    processing: str
    name_of_reader: Callable[[str], str]
    patient_summary: bool = False


def warm(scribe: Scribe) -> None:
    """Draft and write what nobody gets, so that no report waits for what is loaded at first use.

    What goes wrong is logged and left for the first real draft: images must not wait for it.
    """
    uid = uids.uid("warm")
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = SecondaryCaptureImageStorage, uid
    header.StudyInstanceUID, header.SeriesInstanceUID = uid, uid
    header.PatientID, header.Modality = "0", "OT"
    study = Study(uid, (Instance(uid, header),), _no_pixels)
    try:
        for language, findings in (("en", "Cardiomegaly."), ("es", "Cardiomegalia.")):
            text = Narrative("", Sections(findings), language, "", header, datetime.now(UTC))
            analysis = _analysis(uid, text, study, scribe)
            pipeline.written(analysis, study, scribe.options, text.received_at, scribe.kinds)
    except (ProcessorError, ReportError) as error:
        log.error(Event.RUN_CRASHED, processor=IMPRESSIONS, error=str(error))


def run(storage: Storage, claimed: Run, scribe: Scribe) -> RunState:
    """Carry one claimed run to its end and file it. Raises LeaseLost if it is no longer ours."""
    began = time.perf_counter()
    try:
        judged = _judge(storage, claimed, scribe)
    except IdentityUnclear as error:
        return pipeline.hold(storage, claimed, str(error))
    except Disowned:
        return RunState.SET_ASIDE
    except (ProcessorError, ReportError) as error:
        failed = Analysis(
            claimed.study_uid, IMPRESSIONS, scribe.algorithm, Status.FAILED, str(error)
        )
        judged = Judged(failed, (), datetime.now(UTC))
    state = pipeline.file(storage, claimed, judged, scribe.destinations)
    pipeline.measure(claimed, judged.analysis, time.perf_counter() - began)
    return state


def _judge(storage: Storage, claimed: Run, scribe: Scribe) -> Judged:
    text = narrative.of_claimed(storage, claimed, scribe.processing)
    study, known = _study(storage, claimed.study_uid, text)
    options = pipeline.with_predecessor(storage, claimed, scribe.options)
    began = time.perf_counter()
    analysis = _analysis(claimed.study_uid, text, study, scribe)
    drafted = time.perf_counter()
    kinds = scribe.kinds if known else tuple(k for k in scribe.kinds if k == "hl7_oru")
    if not known and "text_report" in scribe.kinds:
        note = _WORDS[options.language]["no_report"]
        analysis = replace(analysis, notes=(*analysis.notes, note))
    if not text.sections.findings:
        kinds = ()
    made_at = pipeline.wall_clock()
    reports = pipeline.written(analysis, study, options, made_at, kinds)
    timings = {
        "draft": round((drafted - began) * 1e3, 1),
        "write": round((time.perf_counter() - drafted) * 1e3, 1),
    }
    return Judged(replace(analysis, timings_ms=timings), reports, made_at)


def _analysis(study_uid: str, text: Narrative, study: Study, scribe: Scribe) -> Analysis:
    """What the drafter says of a text, and the last look at it."""
    node = scribe.options.language
    words, findings = _WORDS[node], text.sections.findings
    base = Analysis(study_uid, IMPRESSIONS, scribe.algorithm, Status.UNSUITABLE, words["none"])
    if not findings:
        return replace(base, kind="no-findings")
    if len(findings) > LONGEST:  # a document in the wrong field would keep the worker for minutes
        reason = words["long"].format(len(findings), LONGEST)
        return replace(base, reason=reason, kind="too-long")
    expected = text.language or node
    language = spoken(findings, expected)
    request = Request(findings, language, text.sections.indication)
    draft = _drafted(scribe, request, study_uid)
    notes = tuple(words["refused"].format(one.reason) for one in draft.refused)
    if language != expected:
        notes = (words[f"read_{language}"], *notes)
    if not draft.impression.sentences:
        return replace(base, reason=words["empty"], kind="no-draft", notes=notes)
    if why := _withheld(draft, request, study):
        reason = words["withheld"].format(why)
        return replace(base, reason=reason, kind="withheld", withheld=why, notes=notes)
    summary = plain_language.of_text(findings, language) if scribe.patient_summary else ""
    return replace(
        base,
        status=Status.COMPLETED,
        reason="",
        impression=draft.impression,
        notes=notes,
        dictated=findings,
        patient_summary=summary,
    )


def _drafted(scribe: Scribe, request: Request, study_uid: str) -> Draft:
    """What a drafter raises on purpose fails the run with its words; anything else is a bug."""
    try:
        return scribe.drafter.draft(request)
    except ProcessorError:
        raise
    except Exception as error:
        log.exception(Event.RUN_CRASHED, study=study_uid, processor=IMPRESSIONS)
        metrics.count(Event.RUN_CRASHED)
        raise ProcessorError(pipeline.INTERNAL[scribe.options.language]) from error


def _withheld(draft: Draft, request: Request, study: Study) -> str:
    given = (request.findings, request.indication)
    patient = identifying(instance.header for instance in study.instances)
    return why_withheld(_as_shown(draft.impression), (), {}, given, patient)


def _as_shown(impression: Impression) -> Impression:
    """Without what cannot be judged: an empty sentence says nothing."""
    return replace(impression, sentences=tuple(s for s in impression.sentences if s.text.strip()))


def _study(storage: Storage, uid: str, text: Narrative) -> tuple[Study, bool]:
    """The study with one instance that stands for it, and whether that is an image of ours."""
    images = [
        stored
        for stored in storage.studies.instances(uid)
        if stored.headers.get("Modality") not in _NO_IMAGE and stored.sop_class not in TEXT_REPORTS
    ]
    if images:
        first = min(images, key=lambda stored: (stored.received_at, stored.sop_uid))
        study = pipeline.load(uid, {first.sop_uid: storage.spool.path(first.path)})
        header = study.instances[0].header
        placer, filler = (
            from_request(text.header, f"{name}OrderNumberImagingServiceRequest")
            for name in ("Placer", "Filler")
        )
        narrative.order(header, placer, filler)
        return study, True
    with quiet():
        header = _of_row(storage, uid, text.header)
    return Study(uid, (Instance(text.source, header),), _no_pixels), False


def _of_row(storage: Storage, uid: str, said: Dataset) -> Dataset:
    """The text's header with the patient as the study's row names him: the courier compares it."""
    study = storage.studies.get(uid)
    if study is None:
        return said
    known = study.identity
    said.StudyInstanceUID, said.PatientID = uid, known.patient_id
    said.PatientName, said.PatientBirthDate = known.patient_name, known.birth_date
    said.AccessionNumber = known.accession
    if known.issuer:
        said.IssuerOfPatientID = known.issuer
    return said


def _no_pixels(_uid: str, _frame: int) -> Pixels:
    raise UnreadablePixels("A dictated text has no pixels.")
