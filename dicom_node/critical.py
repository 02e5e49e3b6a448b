"""What the node does when a draft holds something that somebody must know within minutes.

In: a run that was judged. Out: an audit event (with the result, in its transaction), a counter, and
for live runs a warning in the log. What the receivers get is the reports' (`reports.draft`).
Never: what was found or of whom, which stands in the result alone; a call to anybody: a draft is
reviewed by nobody, and who is told how is the site's decision.
"""

from __future__ import annotations

import structlog

from dicom_node import metrics
from dicom_node.events import Event
from processors import Analysis
from reports.draft import is_critical
from storage import AuditEntry, Run

log = structlog.get_logger()


def audited(claimed: Run, analysis: Analysis) -> tuple[AuditEntry, ...]:
    """The event to file with a critical result; none for any other."""
    if not is_critical(analysis):
        return ()
    event = AuditEntry(
        event="110103",
        action="R",
        kind=Event.RESULT_CRITICAL.value,
        study_uid=claimed.study_uid,
        who=f"{analysis.algorithm.name} {analysis.algorithm.version}",
        details={"run": claimed.id, "processor": claimed.processor, "mode": claimed.mode},
    )
    return (event,)


def tell(claimed: Run, analysis: Analysis) -> None:
    """Count a critical result; warn of it unless it is in shadow, where nothing is sent."""
    if not is_critical(analysis):
        return
    metrics.CRITICAL.labels(claimed.processor, claimed.mode).inc()
    if claimed.mode == "live":
        log.warning(
            Event.RESULT_CRITICAL,
            study=claimed.study_uid,
            run=claimed.id,
            processor=claimed.processor,
        )
