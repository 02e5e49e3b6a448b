"""One run: load the study, judge it, write its reports, file them in the outbox.

`judge` is pure but for the pixels it reads and is all that `dictamen analyse` needs; `file` puts
the outcome into the database in one transaction, after the reports' bytes are durable. What a
processor raises on purpose fails the run with its reason, or lets it wait (TryLater); anything else
is a bug: it fails the run too, with its traceback in the log and not in the report.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import structlog
from pydicom.dataset import Dataset

from dicom_node import critical, metrics, strata
from dicom_node.events import Event
from dicom_node.stopwatch import Stopwatch
from processors import Analysis, Instance, Processor, ProcessorError, Status, Study, TryLater
from processors.analysis import Pixels
from processors.bounded import DeviceLost
from processors.pixels import colour, read_dataset, render, values
from processors.vae.normalise import reduced
from reports import IdentityUnclear, Options, Report, ReportError, SourceIdentity, write_each
from reports.identity import of
from reports.result import result
from storage import AuditEntry, DeliveryState, NewReport, Run, RunState, Spool, Storage

log = structlog.get_logger()
_AT_ONCE = 4  # reports on their way to the disk: they share its flushes
# under its old UID a corrected image is a conflict while the one that came first counts
SENT_AGAIN = (
    "Before it comes: dictamen studies retry STUDY --without SOP_UID, for each of its images."
)
_MOST_SENT = 10_000  # deliveries of one study that are looked at
_NEVER_CAME = (DeliveryState.REJECTED, DeliveryState.HELD, DeliveryState.GIVEN_UP)
WAIT = timedelta(minutes=1)  # of a run whose worker has not the means for it now
INTERNAL = {
    "en": "Not assessed because of an internal error; the log has the details.",
    "es": "No valorado por un error interno; el registro tiene los detalles.",
}


class InputMissing(ProcessorError):
    """A stored object is no longer where it was written."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The outcome of one run before it is filed. strata: see `dicom_node.strata`."""

    analysis: Analysis
    reports: tuple[Report, ...]
    made_at: datetime
    strata: Mapping[str, str] = field(default_factory=dict)


def load(uid: str, files: Mapping[str, Path]) -> Study:
    """A study of the files of its instances (SOP Instance UID -> file). Raises InputMissing."""

    def read(instance_uid: str, *, pixels: bool) -> Dataset:
        try:
            return read_dataset(files[instance_uid], pixels=pixels)
        except OSError as error:
            raise InputMissing(
                f"Input missing: a stored object cannot be read ({error.strerror}).",
                then="Send the study again, then: dictamen runs retry.",
            ) from error

    def header(instance_uid: str) -> Dataset:
        dataset = read(instance_uid, pixels=False)
        dataset.decode()
        return dataset

    @lru_cache(maxsize=2)  # a volume must not pile up
    def pixels(instance_uid: str, frame: int) -> Pixels:
        return render(read(instance_uid, pixels=True), frame)

    @lru_cache(maxsize=2)  # gate, model and reports look at the same picture
    def film(instance_uid: str, frame: int) -> tuple[Pixels, tuple[int, int]]:
        picture = render(read(instance_uid, pixels=True), frame)
        return reduced(picture), (picture.shape[0], picture.shape[1])

    def coloured(instance_uid: str, frame: int) -> float:
        return colour(read(instance_uid, pixels=True), frame)

    def measured(instance_uid: str, frame: int) -> Pixels:
        return values(read(instance_uid, pixels=True), frame)

    headers = tuple(Instance(instance_uid, header(instance_uid)) for instance_uid in sorted(files))
    return Study(uid, headers, pixels, coloured, measured, film)


def judge(
    processor: Processor, study: Study, options: Options, kinds: Callable[[Status], Sequence[str]]
) -> Judged:
    """Ask the processor, write the reports that its status calls for.

    Raises IdentityUnclear; TryLater.
    """
    for instance in study.instances:
        of(instance.header)
    clock = Stopwatch()
    study = clock.over_pixels(study)
    with clock("analyse"):
        analysis = _ask(processor, study, options.language)
    made_at = wall_clock()
    with clock("write"):
        reports = written(analysis, study, options, made_at, kinds(analysis.status), clock)
    timings = {**analysis.timings_ms, **clock.milliseconds()}
    return Judged(replace(analysis, timings_ms=timings), reports, made_at, strata.of(study))


def run(
    storage: Storage,
    claimed: Run,
    processor: Processor,
    options: Options,
    kinds: Callable[[Status], Sequence[str]],
    destinations: Callable[[Report], tuple[str, ...]],
) -> RunState:
    """Carry one claimed run to its end and file it.

    Raises LeaseLost if it is no longer ours; DeviceLost where no other device was there to go on:
    then the run waits.
    """
    began = time.perf_counter()
    try:
        study = _stored_study(storage, claimed)
        judged = judge(processor, study, with_predecessor(storage, claimed, options), kinds)
    except IdentityUnclear as error:
        return hold(storage, claimed, str(error))
    except TryLater as error:
        postponed = postpone(storage, claimed, str(error))
        if isinstance(error, DeviceLost):
            raise
        return postponed
    except (ProcessorError, ReportError) as error:
        judged = Judged(failed(processor, claimed.study_uid, str(error)), (), datetime.now(UTC))
    state = file(storage, claimed, judged, destinations)
    measure(claimed, judged.analysis, time.perf_counter() - began)
    return state


def failed(processor: Processor, study_uid: str, reason: str) -> Analysis:
    """The analysis of a study that could not be judged."""
    return Analysis(study_uid, processor.name, processor.algorithm, Status.FAILED, reason)


def _ask(processor: Processor, study: Study, language: str) -> Analysis:
    try:
        refusal = processor.accepts(study)
        if refusal:
            return Analysis(
                study.uid,
                processor.name,
                processor.algorithm,
                Status.UNSUITABLE,
                refusal.reason,
                kind=refusal.kind,
            )
        return processor.analyse(study)
    except TryLater:
        raise
    except ProcessorError as error:
        return failed(processor, study.uid, str(error))
    except Exception:
        log.exception(Event.RUN_CRASHED, study=study.uid, processor=processor.name)
        return failed(processor, study.uid, INTERNAL[language])


def written(
    analysis: Analysis,
    study: Study,
    options: Options,
    made_at: datetime,
    kinds: Sequence[str],
    clock: Stopwatch | None = None,
) -> tuple[Report, ...]:
    """Every report, or ReportError: a writer that stumbles over one study fails that study."""
    clock, found = clock or Stopwatch(), list[Report]()
    try:
        since = time.perf_counter()
        for kind, reports in write_each(analysis, study, options, made_at, kinds):
            found += reports
            since = clock.add(kind, since)
        return tuple(found)
    except ReportError:
        raise
    except Exception as error:
        log.exception("run.crashed", study=study.uid, processor=analysis.processor)
        raise ReportError(INTERNAL[options.language]) from error


def _stored_study(storage: Storage, claimed: Run) -> Study:
    wanted = set(claimed.instances)
    stored = storage.studies.instances(claimed.study_uid)
    files = {i.sop_uid: storage.spool.path(i.path) for i in stored if i.sop_uid in wanted}
    if wanted - set(files):
        raise InputMissing(
            "Input missing: an instance of the study is gone.",
            then="Send it again, then: dictamen runs retry.",
        )
    newest = max((i for i in stored if i.sop_uid in wanted), key=lambda i: i.received_at)
    return _as_corrected(load(claimed.study_uid, files), newest.sop_uid)


def _as_corrected(study: Study, newest_uid: str) -> Study:
    """Every header with the sex that the instance says which came last; the row has all else."""
    newest = study.header(newest_uid).get("PatientSex")
    for instance in study.instances:
        if newest:
            instance.header.PatientSex = newest
    return study


def with_predecessor(storage: Storage, claimed: Run, options: Options) -> Options:
    """The options with what storage alone knows: whose study, of what content, what it replaces."""
    identity = _identity(storage, claimed.study_uid)
    options = replace(options, identity=identity, content=claimed.digest)
    if claimed.predecessor is None:
        return options
    older = storage.runs.reports(claimed.predecessor)
    sent = [
        one
        for one in storage.outbox.list(study_uid=claimed.study_uid, limit=_MOST_SENT)
        if one.run_id == claimed.predecessor
    ]
    came = {one.report.id for one in sent if one.state not in _NEVER_CAME}
    lost = {one.report.id for one in sent} - came  # nobody has what every receiver turned down
    first = [r for r in older if r.index == 0 and r.kind != "hl7_oru" and r.id not in lost]
    named = {
        f"hl7_oru:{one.destination}": one.report.uid
        for one in sent
        if one.report.kind == "hl7_oru" and one.state not in _NEVER_CAME
    }
    return replace(
        options,
        predecessors={report.kind: report.uid for report in first} | named,
        predecessor_classes={report.kind: report.sop_class for report in first},
    )


def _identity(storage: Storage, uid: str) -> SourceIdentity | None:
    """What the study's row says: the courier compares with it, so that the two cannot differ."""
    study = storage.studies.get(uid)
    return SourceIdentity(**asdict(study.identity)) if study else None


def wall_clock() -> datetime:
    """Now, to the second, with this machine's offset: dates of a document that names none are read
    as local ones (PS3.3 C.12.1.1.8), like those of the images beside it.
    """
    return datetime.now(UTC).astimezone().replace(microsecond=0)


def hold(storage: Storage, claimed: Run, reason: str) -> RunState:
    """Nothing is sent; the study waits for a person. Raises LeaseLost."""
    storage.runs.hold(claimed, reason, f"{reason} {SENT_AGAIN}")
    return RunState.SET_ASIDE


def postpone(storage: Storage, claimed: Run, reason: str) -> RunState:
    """The worker lacks the means, so the run waits; it is no attempt of the study's."""
    storage.runs.postpone(claimed, reason, WAIT)
    metrics.count(Event.RUN_POSTPONED)
    log.warning(Event.RUN_POSTPONED, study=claimed.study_uid, run=claimed.id, why=reason)
    return RunState.WAITING


def file(
    storage: Storage,
    claimed: Run,
    judged: Judged,
    destinations: Callable[[Report], tuple[str, ...]],
) -> RunState:
    analysis, state = judged.analysis, RunState(judged.analysis.status.value)
    live = claimed.mode == "live"
    filed, files = [], {}
    with ThreadPoolExecutor(_AT_ONCE) as hands:
        kept = list(hands.map(partial(_kept, storage.spool), judged.reports))
    for report, (sha256, path) in zip(judged.reports, kept, strict=True):
        files[report.uid] = path
        filed.append(
            NewReport(
                kind=report.kind,
                index=report.index,
                uid=report.uid,
                sha256=sha256,
                size=len(report.payload),
                path=path,
                sop_class=report.sop_class,
                destinations=destinations(report) if live else (),
            )
        )
    storage.runs.finish(
        claimed,
        state=state,
        reason=analysis.reason,
        analysis=_remembered(judged, files),
        reports=filed,
        audit=(_accessed(claimed, analysis), *critical.audited(claimed, analysis)),
    )
    return state


def _kept(spool: Spool, report: Report) -> tuple[str, str]:
    """Digest and path of a report, its bytes durable."""
    sha256 = hashlib.sha256(report.payload).hexdigest()
    ending = "hl7" if report.kind == "hl7_oru" else "dcm"
    name = f"{sha256[:2]}/{report.kind}-{report.index}-{sha256[:32]}.{ending}"
    return sha256, spool.write("reports", name, report.payload)


def _remembered(judged: Judged, files: Mapping[str, str]) -> dict[str, Any]:
    """`result.json` and what a comparison needs once the images are gone."""
    content = result(judged.analysis, judged.reports, files)
    return content | {"kind": judged.analysis.kind, "strata": dict(judged.strata)}


def _accessed(claimed: Run, analysis: Analysis) -> AuditEntry:
    """The model has read the study (PS3.15 A.5.3.6, DICOM Instances Accessed)."""
    return AuditEntry(
        event="110103",
        action="R",
        outcome=4 if analysis.status is Status.FAILED else 0,
        study_uid=claimed.study_uid,
        who=f"{analysis.algorithm.name} {analysis.algorithm.version}",
        details={
            "run": claimed.id,
            "attempt": claimed.attempt,
            "status": analysis.status.value,
            "reason": analysis.reason,
            "weights_sha256": analysis.algorithm.sha256 or "unknown",
            "mode": claimed.mode,
            "draft_withheld": analysis.withheld,
        },
    )


def measure(claimed: Run, analysis: Analysis, seconds: float) -> None:
    whose, status = (claimed.processor, claimed.mode), analysis.status.value
    metrics.RUNS.labels(*whose, status).inc()
    for stage, milliseconds in analysis.timings_ms.items():
        metrics.STAGE_SECONDS.labels(*whose, stage).observe(milliseconds / 1e3)
    metrics.STAGE_SECONDS.labels(*whose, "run").observe(seconds)
    if analysis.withheld:
        metrics.count(Event.DRAFT_WITHHELD)
        log.warning(Event.DRAFT_WITHHELD, processor=claimed.processor, why=analysis.withheld)
    critical.tell(claimed, analysis)
    log.info(
        Event.RUN_ENDED,
        processor=claimed.processor,
        mode=claimed.mode,
        status=status,
        seconds=round(seconds, 3),
    )
