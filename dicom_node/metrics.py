"""Prometheus metrics of all processes of a node.

Counters and histograms live in files of `prometheus_client`'s multiprocess mode: the supervisor
names the folder in the environment before it starts a process, and sums them at each scrape.
Gauges (queues, ages, free disk) are read from the database at the scrape by `dicom_node.status`.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram

EVENTS = Counter(
    "dictamen_events_total",
    "What happened, by event name (see the administrator's guide)",
    ["event"],
)
RUNS = Counter("dictamen_runs_total", "Runs that ended, by result", ["processor", "mode", "status"])
CRITICAL = Counter(
    "dictamen_critical_results_total",
    "Results whose draft holds something of category 1 (minutes)",
    ["processor", "mode"],
)
STAGE_SECONDS = Histogram(
    "dictamen_stage_seconds",
    "Seconds of a run by stage",
    ["processor", "mode", "stage"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)


def count(event: str) -> None:
    """Count one event; the `on_event` of intake and courier."""
    EVENTS.labels(event=event).inc()
