"""Writes the message to a RIS: ORU^R01, HL7 v2.5.1, in UTF-8 (standards.md C).

In: an analysis and the receivers of the options. Out: one message for each receiver, with the same
result and its own MSH-5, 6, 10 and 11. Statuses are preliminary (OBR-25 and OBX-11 P), always. What
somebody must know within minutes stands in OBR-27 and a note, never in OBX-8: a draft raises no
critical flag of its own.
Without a Patient ID no message is written: a RIS could only guess whose it is (see `obstacle`).
Assigning authority (PID-3.4): the source's issuer, else the configured one, else UNKNOWN, so that
a number whose authority nobody named is never taken for one of the receiver's own.
Sending facility (MSH-4): the receiver's, since the node stands in the same house. MSH-17 (country)
stays empty: the node knows a language, not a country.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from processors.analysis import Analysis, Code, Finding, State, Status, Study
from reports import codes, content, draft, header, uids
from reports import hl7_segments as segments
from reports.hl7_text import escape, paragraphs
from reports.identity import SourceIdentity
from reports.model import Options, Receiver, Report, is_order
from reports.wording import exact, not_assessed, words

_ABNORMAL = {State.PRESENT: "A", State.ABSENT: "N", State.UNDETERMINED: ""}


@dataclass(frozen=True, slots=True)
class _Observation:
    """One OBX with the notes that stand after it. number: OBX-4, ties state and certainty."""

    kind: str
    code: Code
    value: str
    unit: str = ""
    number: str = ""
    abnormal: str = ""
    status: str = segments.PRELIMINARY
    by_model: bool = True
    notes: tuple[str, ...] = ()


def write(
    analysis: Analysis, study: Study, options: Options, made_at: datetime
) -> tuple[Report, ...]:
    """One message for each receiver; none where the patient has no number."""
    origin = header.source(analysis, study, options, content.sources(analysis, study)[0])
    if obstacle(origin.identity):
        return ()
    key = uids.result_key(analysis, study, options)
    reports = []
    for index, receiver in enumerate(options.receivers):
        control = uids.control_id(key, receiver)
        lines = [
            segments.msh(receiver, control, options, made_at),
            segments.pid(origin, options),
            segments.pv1(origin.header),
            segments.orc(origin.header, origin.identity),
            segments.obr(origin, made_at, at_once=draft.is_critical(analysis)),
            *_notes(
                [
                    options.label,
                    *draft.urgency_lines(analysis, options),
                    *analysis.notes,
                    *_replaced(options, receiver),
                ]
            ),
            *_observations(analysis, study, options, made_at),
        ]
        payload = "".join(f"{line}\r" for line in lines).encode("utf-8")
        reports.append(Report("hl7_oru", control, payload, index, destination=receiver.destination))
    return tuple(reports)


def obstacle(identity: SourceIdentity) -> bool:
    """Whether no message can name the patient (PID-3 is required)."""
    return not escape(identity.patient_id)


def _replaced(options: Options, receiver: Receiver) -> list[str]:
    """The message that this one replaces, by its MSH-10: each receiver had one of its own.

    predecessors names it as hl7_oru:DESTINATION; plain hl7_oru serves a single receiver.
    """
    older = options.predecessors
    found = older.get(f"hl7_oru:{receiver.destination}")
    if not found and len(options.receivers) == 1:
        found = older.get("hl7_oru")
    return [words(options.language).replaces.format(found)] if found else []


def _notes(texts: list[str]) -> list[str]:
    """NTE segments after the OBR or OBX that they comment."""
    lines = [line for text in texts for line in paragraphs(text)]
    return [
        segments.segment("NTE", {1: str(number), 2: "L", 3: escape(line)})
        for number, line in enumerate(lines, 1)
    ]


def _observations(
    analysis: Analysis, study: Study, options: Options, made_at: datetime
) -> Iterator[str]:
    found = [*_pointers(analysis, study, options), *_findings(analysis, options)]
    found += _texts(analysis, options)
    for number, one in enumerate(found, 1):
        yield _obx(one, number, analysis, options, made_at)
        last = [options.label] if number == len(found) else []
        yield from _notes([*one.notes, *last])


def _obx(
    one: _Observation, number: int, analysis: Analysis, options: Options, made_at: datetime
) -> str:
    algorithm, when = analysis.algorithm, header.timestamp(made_at)
    fields = {
        1: str(number),
        2: one.kind,
        3: segments.coded(one.code),
        4: one.number,
        5: one.value,
        6: one.unit,
        8: one.abnormal,
        11: one.status,
    }
    if one.status == segments.PRELIMINARY:
        fields |= {
            14: when,
            18: f"{escape(options.node)}^{escape(options.ae_title)}",
            19: when,
        }
        if one.by_model:
            fields[17] = "^" + escape(f"{algorithm.name} {algorithm.version}")
    return segments.segment("OBX", fields)


def _pointers(analysis: Analysis, study: Study, options: Options) -> list[_Observation]:
    """The study, where it is known, and the Structured Report that goes out with this message."""
    found = []
    if not is_order(study.uid):
        found.append(
            _Observation("ST", codes.concept("dicom_study"), escape(study.uid), status="O")
        )
    key = uids.result_key(analysis, study, options)
    for kind, name in (
        ("structured_report", "measurement_report"),
        ("text_report", "diagnostic_report"),
    ):
        if kind in content.written(options, analysis):
            uid = uids.instance_uid(key, kind)
            found.append(_Observation("ST", codes.concept(name), uid, by_model=False))
    return found


def _findings(analysis: Analysis, options: Options) -> Iterator[_Observation]:
    """State and certainty of each coded finding of the study, tied by OBX-4."""
    coded = [f for f in content.leading(analysis) if codes.usable(f.code)]
    for number, finding in enumerate(coded, 1):
        yield from _pair(finding, str(number), analysis, options)


def _pair(
    finding: Finding, number: str, analysis: Analysis, options: Options
) -> Iterator[_Observation]:
    if finding.code is None:
        return
    state = segments.coded(codes.state(finding.state.value))
    abnormal = "" if finding.anatomy else _ABNORMAL[finding.state]
    yield _Observation("CE", finding.code, state, number=number, abnormal=abnormal)
    notes = []
    if finding.state is State.UNDETERMINED:
        notes.append(content.why_undetermined(finding, options))
    if finding.state is not State.ABSENT:
        notes += content.explanation_lines(analysis, finding, words(options.language))
    yield _Observation(
        "NM",
        codes.concept("certainty"),
        f"{exact(finding.probability):.1f}",
        unit=segments.coded(codes.concept("percent")),
        number=number,
        notes=tuple(notes),
    )


def _texts(analysis: Analysis, options: Options) -> Iterator[_Observation]:
    """Findings and impression as readable text, one OBX for each paragraph."""
    language = words(options.language)
    if analysis.status is not Status.COMPLETED:
        said = not_assessed(analysis.reason, language)
    elif analysis.dictated:
        for line in paragraphs(analysis.dictated):
            yield _Observation("TX", codes.concept("findings_text"), escape(line), by_model=False)
        said = ""
    else:
        found = content.leading(analysis)
        said = "\n".join(content.finding_line(f, options) for f in found) or language.no_findings
    yield from _paragraphs("findings_text", said)
    for passage in draft.passages(analysis):
        yield from _paragraphs(
            "impression_text", passage.text, draft.passage_line(passage, options)
        )
    yield from _paragraphs("patient_summary", analysis.patient_summary)


def _paragraphs(name: str, text: str, note: str = "") -> Iterator[_Observation]:
    """One OBX for each paragraph; the note stands after the last."""
    lines = paragraphs(text)
    for number, line in enumerate(lines, 1):
        notes = (note,) if note and number == len(lines) else ()
        yield _Observation("TX", codes.concept(name), escape(line), notes=notes)
