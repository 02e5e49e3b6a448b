"""/healthz, /readyz and /metrics over HTTP, on loopback by default.

healthz: this process answers. readyz: the node would do its work now, or the reasons why not; and
whether it does so degraded, for example on the CPU because its GPU was lost.
metrics: Prometheus text; counters of all processes, gauges from the database at this moment.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from dicom_node import ports, product
from dicom_node.events import Event
from storage import Storage, StorageError

log = structlog.get_logger()
SILENCE = 10.0


@dataclass(frozen=True, slots=True)
class Health:
    """reasons: why the node is not ready. degraded: what it goes on without. Both in words."""

    reasons: Callable[[], Sequence[str]]
    degraded: Callable[[], Sequence[str]]


class _Gauges:
    """Queues, ages and free disk, read at each scrape."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def collect(self) -> Iterable[GaugeMetricFamily]:
        now = datetime.now(UTC)
        runs = GaugeMetricFamily("dictamen_runs", "Runs by state", labels=["mode", "state"])
        for mode in ("live", "shadow"):
            for state, count in self._storage.runs.counts(mode).items():
                runs.add_metric([mode, state.value], count)
        yield runs
        deliveries = GaugeMetricFamily(
            "dictamen_deliveries", "Deliveries by state", labels=["destination", "state"]
        )
        for (destination, outcome), count in self._storage.outbox.counts().items():
            deliveries.add_metric([destination, outcome.value], count)
        yield deliveries
        commitments = GaugeMetricFamily(
            "dictamen_commitments", "Commitments by state", labels=["destination", "state"]
        )
        for (destination, said), count in self._storage.commitments.counts().items():
            commitments.add_metric([destination, said.value], count)
        yield commitments
        received = GaugeMetricFamily(
            "dictamen_messages", "Received reports by state", labels=["kind", "state"]
        )
        for (kind, what), count in self._storage.inbox.counts().items():
            received.add_metric([kind.value, what.value], count)
        yield received
        oldest = self._storage.runs.oldest_ready("live")  # nobody waits for the others
        yield GaugeMetricFamily(
            "dictamen_oldest_ready_seconds",
            "Age of the oldest live run that waits for a worker",
            value=(now - oldest).total_seconds() if oldest else 0,
        )
        ages = GaugeMetricFamily(
            "dictamen_oldest_delivery_seconds",
            "Age of the oldest undelivered report",
            labels=["destination"],
        )
        for destination, since in self._storage.outbox.oldest_waiting().items():
            ages.add_metric([destination], (now - since).total_seconds())
        yield ages
        yield GaugeMetricFamily(
            "dictamen_disk_free_bytes",
            "Free space of the spool",
            value=self._storage.spool.free_bytes(),
        )


def serve(address: str, storage: Storage, health: Health, metrics_dir: str) -> ThreadingHTTPServer:
    """Start answering in threads of their own; the caller shuts the server down."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=metrics_dir)  # type: ignore[no-untyped-call]
    registry.register(_Gauges(storage))

    def ready() -> tuple[int, str, bytes]:
        why, without = list(health.reasons()), list(health.degraded())
        body = json.dumps({"ready": not why, "degraded": without, "reasons": why}).encode()
        return (503 if why else 200), "application/json", body

    def scrape() -> tuple[int, str, bytes]:
        try:
            return 200, CONTENT_TYPE_LATEST, generate_latest(registry)
        except (StorageError, OSError) as error:
            return 503, "text/plain", f"{type(error).__name__}\n".encode()

    pages = {"/healthz": lambda: (200, "text/plain", b"ok\n"), "/readyz": ready, "/metrics": scrape}

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = product.NAME, ""
        timeout = SILENCE  # who connects and says nothing holds a thread no longer

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            code, kind, body = page() if page else (404, "text/plain", b"not found\n")
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # as load balancers ask

        def log_message(self, *_: object) -> None:
            """Scrapes are no news."""

    family, host, port = ports.split(address)

    class Server(ThreadingHTTPServer):
        address_family = family

        def handle_error(self, *_: object) -> None:
            """Who asked went away, mostly; the log has lines of ours alone."""
            if not isinstance(sys.exception(), ConnectionError):
                log.exception(Event.STATUS_FAILED)

    server = Server((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="status", daemon=True).start()
    return server
