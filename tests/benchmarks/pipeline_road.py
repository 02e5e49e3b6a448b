"""What a radiologist waits for: from an image's last byte to the last result in the PACS.

  DICTAMEN_SHARED=FOLDER python tests/benchmarks/pipeline_road.py [--rounds 5] [--at-once 1 4 30]
      [--studies N] [--workers N] [--short] [--json FILE]

Radiographs of 2500 x 2048 go through the real node (SQL audit, durable queue, four reports, the
message to the RIS) and through the baseline that a morning's work gives (no disk, no queue, no
message), to the same Orthanc, in alternating rounds. At once 4: four senders, each with its next
study once the last one's results are in the PACS; 30: thirty at the same moment (who is refused
asks again until admitted, which does not count: the baseline takes ten). `expect` ends the node's
wait, so no quiet time is taken off. Prints waits and ratios with their spread, the stages, CPU,
memory and the load of the machine; what misses its floor is RED, and the exit status is 1.
--short: a minute or two, and floors are only shown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import raw_sender
import road_lab
from road_costs import Scales, cpu_seconds
from road_lab import Film, Pacs
from road_table import floors, table
from system.node import NodeUnderTest, wait_for

from storage import Run, RunState, Storage

DIFFERENT = 4  # films; each is sent many times under other names
PATIENCE = 120.0
STAGES = (
    "receive", "settle", "queue", "decode", "gate", "inference", "explanation",
    "secondary_capture", "structured_report", "text_report", "hl7_oru", "load and file", "send",
)  # fmt: skip
_JUDGING = ("decode", "inference", "explanation")


@dataclass(frozen=True)
class Sent:
    """One study on its way, in seconds of the wall clock."""

    study: str
    last_byte: float
    answered: float
    in_pacs: float

    @property
    def wait(self) -> float:
        return self.in_pacs - self.last_byte


@dataclass
class Rounds:
    """What all rounds of one case gave for one peer."""

    sent: list[list[Sent]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def waits(self) -> list[float]:
        return [one.wait for turn in self.sent for one in turn]

    def medians(self) -> list[float]:
        return [statistics.median(one.wait for one in turn) for turn in self.sent]


# ---- sending ------------------------------------------------------------------------------------
def send(port: int, called: str, pacs: Pacs, study: tuple[str, str, bytes], results: int) -> Sent:
    """Send one study over its own association and wait for its results."""
    uid, instance, raw = study
    sender = _admitted(port, called)
    sender.push(sender.packed(instance, raw))
    last_byte = time.time()
    status, answered = sender.answer(), time.time()
    assert status == 0, f"status {status:04X}"
    sender.release()
    return Sent(uid, last_byte, answered, pacs.until(uid, results, PATIENCE))


def _admitted(port: int, called: str) -> raw_sender.Sender:
    """An association; asked for again while the peer has too many (the baseline takes ten)."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return raw_sender.Sender(port, called, "TRIALPACS", PATIENCE, raw_sender.DX)
        except raw_sender.Refused:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def round_of(
    port: int, called: str, pacs: Pacs, films: Sequence[Film], names: Sequence[str], at_once: int,
) -> tuple[list[Sent], float]:  # fmt: skip
    """Send a study of each name, so many at once; what came of it, and seconds in all."""
    results = [1 if called == "BASELINE" else film.results for film in films]
    ready = [
        (films[n % len(films)].study(name), results[n % len(films)]) for n, name in enumerate(names)
    ]
    done: list[Sent] = []
    faults: list[BaseException] = []
    gate, lock = threading.Barrier(at_once + 1), threading.Lock()

    def work() -> None:
        gate.wait()
        while True:
            with lock:
                if not ready:
                    return
                study, expected = ready.pop()
            try:
                done.append(send(port, called, pacs, study, expected))
            except (OSError, AssertionError, raw_sender.Refused) as error:
                faults.append(error)
                return

    threads = [threading.Thread(target=work, daemon=True) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return done, time.monotonic() - began


def chosen(
    shared: Path, folder: Path, under: NodeUnderTest, storage: Storage, number: int
) -> list[Film]:
    """The first films for which the node makes every kind of report; this warms the node too."""
    found: list[Film] = []
    for turn, film in enumerate(road_lab.wrapped(shared, folder)):
        study, instance, raw = film.study(f"CHOOSE{turn}-{time.time_ns()}")
        sender = raw_sender.Sender(under.port, "DICTAMEN", "TRIALPACS", 30, raw_sender.DX)
        assert sender.store(instance, raw) == 0
        sender.release()
        run = wait_for(partial(_ended, storage, study), 60, under.tail())
        kinds = [report.kind for report in storage.runs.reports(run.id)]
        if {"overlay", "strip", "structured_report", "text_report", "hl7_oru"} <= set(kinds):
            found.append(replace(film, results=sum(kind != "hl7_oru" for kind in kinds)))
        if len(found) == number:
            return found
    raise SystemExit("no films that give every kind of report")


def _ended(storage: Storage, study: str) -> Run | None:
    over = (RunState.COMPLETED, RunState.UNSUITABLE, RunState.FAILED)
    return next((run for run in storage.runs.list(study_uid=study) if run.state in over), None)


# ---- what is told -------------------------------------------------------------------------------
def stages(storage: Storage, sent: Sequence[Sent]) -> dict[str, dict[str, float]]:
    """Milliseconds of each stage, by what the node itself recorded: median and 95th percentile."""
    found: dict[str, list[float]] = defaultdict(list)
    for one in sent:
        run = storage.runs.list(study_uid=one.study)[0]
        analysis = storage.runs.analysis(run.id)
        if analysis is None or run.started_at is None or run.ended_at is None:
            raise AssertionError(f"{run} has no result")
        told = {name: value / 1e3 for name, value in analysis["timings_ms"].items()}
        whole, started = (run.ended_at - run.started_at).total_seconds(), run.started_at.timestamp()
        here = {name: told[name] for name in STAGES if name in told}
        here |= {
            "receive": one.answered - one.last_byte,
            "settle": run.created_at.timestamp() - one.answered,
            "queue": started - run.created_at.timestamp(),
            "gate": told["analyse"] - sum(told[name] for name in _JUDGING),
            "load and file": whole - told["analyse"] - told["write"],
            "send": one.in_pacs - run.ended_at.timestamp(),
        }
        for name, value in here.items():
            found[name].append(value * 1e3)
    return {
        name: {"p50": statistics.median(found[name]), "p95": percentile(found[name], 95)}
        for name in STAGES
        if found[name]
    }


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))]


# ---- the whole ----------------------------------------------------------------------------------
def measure(args: argparse.Namespace, shared: Path, folder: Path) -> dict[str, Any]:
    """Alternating rounds of every case; see `road_table` for what is found."""
    with ExitStack() as stack:
        pacs = stack.enter_context(Pacs(shared, folder / "pacs"))
        (folder / "ris").mkdir()
        ris_port = stack.enter_context(road_lab.ris(shared, folder / "ris"))
        naive = stack.enter_context(road_lab.baseline(shared, folder, pacs))
        under = stack.enter_context(road_lab.node(folder / "node", pacs, ris_port, args.workers))
        storage = stack.enter_context(under.storage())
        films = chosen(shared, folder, under, storage, DIFFERENT if not args.short else 1)
        assert under.process is not None
        pid, cases = under.process.pid, {}
        for at_once in args.at_once:
            number = args.studies or (at_once if at_once > 4 else 4 * at_once if args.short else 12)
            ours, theirs = Rounds(), Rounds()
            with Scales(pid) as scales:
                for turn in range(args.rounds):
                    names = [f"{at_once}-{turn}-{n}-{time.time_ns()}" for n in range(number)]
                    for kept, port, called in (
                        (theirs, naive, "BASELINE"), (ours, under.port, "DICTAMEN"),
                    ):  # fmt: skip
                        before = cpu_seconds(pid)
                        of_peer = [f"{called[0]}{name}" for name in names]
                        sent, seconds = round_of(port, called, pacs, films, of_peer, at_once)
                        under.until_done(0, PATIENCE)
                        kept.sent.append(sent)
                        kept.seconds.append(seconds)
                        kept.cpu_ms.append((cpu_seconds(pid) - before) * 1e3 / number)
            all_sent = [one for turn in ours.sent for one in turn]
            cases[at_once] = case(ours, theirs, scales.most, stages(storage, all_sent))
        orders = storage.outbox.counts()
    cases_told = {str(at_once): told for at_once, told in cases.items()}
    delivered = {f"{name} {state.value}": n for (name, state), n in sorted(orders.items())}
    return {"cases": cases_told, "deliveries": delivered, "workers": args.workers,
            "cores": os.cpu_count()}  # fmt: skip


def case(
    ours: Rounds, theirs: Rounds, most: tuple[float, float], of_stages: Mapping[str, Any]
) -> dict[str, Any]:
    ratios = [a / b for a, b in zip(ours.medians(), theirs.medians(), strict=True)]
    rates = [60 * len(turn) / s for turn, s in zip(ours.sent, ours.seconds, strict=True)]
    return {
        "p50_s": statistics.median(ours.waits()),
        "p95_s": percentile(ours.waits(), 95),
        "baseline_p50_s": statistics.median(theirs.waits()),
        "baseline_p95_s": percentile(theirs.waits(), 95),
        "ratio": [min(ratios), statistics.median(ratios), max(ratios)],
        "per_minute": [min(rates), statistics.median(rates), max(rates)],
        "cpu_ms": statistics.median(ours.cpu_ms),
        "resident_mb": most[0],
        "resident_once_mb": most[1],
        "stages_ms": dict(of_stages),
        "load": list(os.getloadavg()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 4, 30])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--studies", type=int, default=0, help="of each round")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--json", type=Path, help="write everything there, too")
    args = parser.parse_args()
    if args.short:
        args.rounds, args.at_once, args.studies = 1, [1, 2], args.studies or 3
    shared = os.environ.get("DICTAMEN_SHARED")
    if not shared:
        parser.error("DICTAMEN_SHARED names no folder with the shared tools and images")
    with tempfile.TemporaryDirectory(prefix="dictamen-road-") as folder:
        found = measure(args, Path(shared), Path(folder))
    print("\n".join(table(found)))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if args.short or all(met for *_, met in floors(found)) else 1


if __name__ == "__main__":
    sys.exit(main())
